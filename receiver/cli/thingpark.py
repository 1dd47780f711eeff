"""`receiver thingpark`: the management API of ThingPark Enterprise, Community and Wireless, and IoT Flow."""

from __future__ import annotations

import typer

from receiver.cli import connect, thingpark_iot_flow
from receiver.cli.platform_account import account_app
from receiver.cli.thingpark_groups import add_device_manager_groups
from receiver.cli.thingpark_view import SURFACE, ask_by_token, reach_by

app = typer.Typer(no_args_is_help=True, help="ThingPark: connections, IoT Flow, devices, multicast groups, alarms.")
app.command("connect")(connect.thingpark_connect)
app.command("rotate-key")(connect.thingpark_rotate_key)
app.command("disconnect")(connect.thingpark_disconnect)
app.add_typer(account_app(SURFACE), name="account")
add_device_manager_groups(app)
app.add_typer(thingpark_iot_flow.app, name="iot-flow")


@app.callback()
def _reach() -> None:
    """Let its commands reach the API with a token."""
    reach_by(ask_by_token)
