"""`receiver simulate platforms`: the management APIs of the networks on this machine, to try the commands against."""

from __future__ import annotations

import secrets
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.store import JsonOption, as_json, utc_now
from receiver.errors import SettingsError
from receiver.simulator.loopback_server import LoopbackServer
from receiver.simulator.management_device_manager import REST_PATH, SimulatedDeviceManager
from receiver.simulator.management_device_manager_login import LOGIN_PAGE_PATH
from receiver.simulator.management_http import MAX_MANAGEMENT_BODY_BYTES
from receiver.simulator.management_kpn_lora import BASE_PATH, SimulatedKpnLora
from receiver.simulator.management_kpn_lora_gateway import TOKEN_PATH
from receiver.simulator.management_thingpark import CLIENT_ID, CLIENT_SECRET, SimulatedThingPark
from receiver.simulator.things import SimulatedThings

if TYPE_CHECKING:
    from collections.abc import Callable

    from receiver.simulator.loopback_server import HttpReply, HttpRequest

DEFAULT_PORT = 8470
"""The first of four; free on most machines."""

_KPN_CLIENT = ("client", "secret")
_LOGIN = ("user@example.com", "Right#1password")
_THINGS_KEY = ("key", "secret")
_THINGS_DEVICES = 3
_FOR_EVER_S = 365 * 86_400.0


def platforms(
    *,
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65_532, help="The first of four ports; 0: any.")
    ] = DEFAULT_PORT,
    for_: Annotated[
        float, typer.Option("--for", metavar="S", min=0.1, help="How long, in seconds; else until Ctrl-C.")
    ] = _FOR_EVER_S,
    json: JsonOption = False,
) -> None:
    """Be the management APIs: KPN LoRa, ThingPark, the Device Manager login of the latter's subscription, KPN Things.

    What is made there is gone at the end. The secrets are made up, so they are shown.
    """
    thingpark = SimulatedThingPark(utc_now, client_id=CLIENT_ID, client_secret=CLIENT_SECRET)
    kpn_lora = SimulatedKpnLora(clock=utc_now, client_id=_KPN_CLIENT[0], client_secret=_KPN_CLIENT[1])
    manager = SimulatedDeviceManager(thingpark.resources, clock=utc_now, login=_LOGIN[0], password=_LOGIN[1])
    with ExitStack() as stack:
        origins = [
            _serve(stack, answer, port and port + number)
            for number, answer in enumerate((kpn_lora.answer, thingpark.answer, manager.answer, _things().answer))
        ]
        things = _things_settings(origins[3])
        accounts = [
            ("kpn-lora", "--client-id", _KPN_CLIENT, _kpn_lora_settings(origins[0])),
            ("thingpark", "--client-id", (CLIENT_ID, CLIENT_SECRET), _thingpark_settings(thingpark, origins[1])),
            ("device-manager", "--login", _LOGIN, _device_manager_settings(origins[2])),
        ]
        if json:
            rows = [
                {"surface": surface, "as": own, "secret": secret, "settings": settings}
                for surface, _, (own, secret), settings in accounts
            ]
            key_id, secret = _THINGS_KEY
            rows.append({"surface": "kpn-things", "as": key_id, "secret": secret, "settings": things})
            typer.echo(as_json(rows))
        else:
            for surface, option, (own, secret), settings in accounts:
                more = "".join(f" \\\n      --set {name}={value}" for name, value in settings.items())
                add = f"receiver {surface} account add simulated-{surface} {option} '{own}'{more}"
                typer.echo(f"{surface}:\n\n  echo '{secret}' | {add}\n")
            _show_things(things)
            typer.echo("Ctrl-C ends them.")
        with suppress(KeyboardInterrupt):
            time.sleep(for_)


def _things() -> SimulatedThings:
    found = SimulatedThings(
        shared_secret=secrets.token_hex(20), clock=utc_now, key_id=_THINGS_KEY[0], key_secret=_THINGS_KEY[1]
    )
    for number in range(1, _THINGS_DEVICES + 1):
        found.add_device(name=f"Device {number}")
    return found


def _show_things(settings: dict[str, str]) -> None:
    key_id, secret = _THINGS_KEY
    options = "".join(f" \\\n      --{name.replace('_', '-')} {value}" for name, value in settings.items())
    add = "receiver connection add simulated-things --platform kpn-things --new-secret"
    account = f"receiver connection set-things-account simulated-things --key-id {key_id}{options}"
    typer.echo(f"kpn-things:\n\n  {add}\n  echo '{secret}' | {account}\n")


def _serve(stack: ExitStack, answer: Callable[[HttpRequest], HttpReply], port: int) -> str:
    server = LoopbackServer(answer, port, max_body_bytes=MAX_MANAGEMENT_BODY_BYTES)
    try:
        server.start()
    except OSError as exc:
        raise SettingsError(f"Port {port} is taken: choose another one with --port.") from exc
    stack.callback(server.stop)
    return server.origin


def _kpn_lora_settings(origin: str) -> dict[str, str]:
    return {"api_url": f"{origin}{BASE_PATH}", "token_url": f"{origin}{TOKEN_PATH}"}


def _thingpark_settings(thingpark: SimulatedThingPark, origin: str) -> dict[str, str]:
    return {name: value for name, value in thingpark.settings(origin).items() if name != "client_id"}


def _device_manager_settings(origin: str) -> dict[str, str]:
    return {"api_url": f"{origin}{REST_PATH}", "login_url": f"{origin}{LOGIN_PAGE_PATH}"}


def _things_settings(origin: str) -> dict[str, str]:
    token_url = f"{origin}/api/v3/idp/oidc/token"
    return {"tenant": "tenant", "application": "application", "token_url": token_url, "api_url": origin}
