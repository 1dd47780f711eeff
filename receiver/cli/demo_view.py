"""What `receiver demo` shows: for a person, or one JSON object a line."""

from __future__ import annotations

import shutil
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from receiver.cli.store import as_json
from receiver.cli.uplinks import uplink_line

if TYPE_CHECKING:
    from receiver.simulator.push_client import Delivery
    from receiver.storage.downlinks import DownlinkEventView
    from receiver.storage.overview import RowCounts
    from receiver.storage.uplink_queries import UplinkView


class DemoView:
    """Prints a demo as it goes."""

    def __init__(self, data_dir: Path, *, json: bool) -> None:
        from rich.console import Console

        self._console = Console(highlight=False, soft_wrap=True)
        self._data_dir = data_dir
        self._json = json

    def introduce(self, url: str, connection: str, key_check_value: str) -> None:
        """Say what runs where, and how to look at it."""
        push_url, database, certificate = f"{url}/push/{connection}", self._data_dir / "receiver.db", self._certificate
        if self._json:
            self._event("started", push_url=push_url, database=str(database), certificate=str(certificate))
            return
        command = _command()
        lines = (
            "\n[bold]receiver demo[/bold]: a receiver, its worker and a simulated network, on this machine\n",
            f"  push URL   {push_url}   (TLS, self-signed ECDSA: {certificate})",
            f"  health     {url}/healthz   {url}/readyz",
            f"  database   {database}   (SQLite, a commit before each answer)",
            "  keys       a tunnel key that verifies tokens; an AS transport key that opens AppSKeys, unwrapped with",
            f"             an RSA-2048 key made just now (key check value {key_check_value})",
            "\n  Look at it from another terminal:\n",
            f"    export RECEIVER_DATA_DIR={self._data_dir}",
            f"    {command} uplinks tail",
            f"    {command} telemetry latest",
            f"    {command} device list",
            f"    {command} downlink list",
            f"    {command} downlink send EUI --port 10 --hex 01     (a device of `device list`)",
            f"    {command} connection keys {connection}",
            f"    curl --cacert {certificate} {url}/readyz",
            f"    sqlite3 {database} \\",
            '      "SELECT at, dev_eui, f_port, f_cnt_up, hex(frm_payload) FROM uplinks ORDER BY id DESC LIMIT 5"',
            f"    {command} simulate push --help        (push something yourself)\n",
            "  Ctrl-C ends it. Uplinks, decrypted, as they come, and downlinks to one of the devices:\n",
        )
        for line in lines:
            self._console.print(line)

    @property
    def _certificate(self) -> Path:
        return self._data_dir / "tls.crt"

    def uplink(self, uplink: UplinkView) -> None:
        """Show an uplink that was read."""
        if self._json:
            self._event("uplink", **asdict(uplink))
        else:
            self._console.print(f"  {uplink_line(uplink)}", markup=False)

    def downlink(self, downlink_id: int, dev_eui: str, event: DownlinkEventView) -> None:
        """Show a step of a downlink."""
        if self._json:
            self._event("downlink", id=downlink_id, dev_eui=dev_eui, state=event.state, detail=event.detail)
            return
        told = f"  {event.detail}" if event.detail else ""
        self._console.print(
            f"[bold]  {event.at:%H:%M:%S}  {dev_eui}  downlink {downlink_id}: {event.state}[/bold]{told}"
        )

    def delivery(self, delivery: Delivery) -> None:
        """Show what is not seen as an uplink: other reports, and what was out of the ordinary."""
        push = delivery.push
        if push.kind == "DevEUI_uplink" and not push.fault and delivery.was_accepted:
            return
        answer = delivery.answers[-1]
        told = answer.status if answer.status is not None else answer.error
        if self._json:
            fault = str(push.fault)
            self._event("push", kind=push.kind, detail=push.detail, dev_eui=push.dev_eui, fault=fault, answer=told)
            return
        what = push.detail or push.kind.removeprefix("DevEUI_")
        what += f" ({push.fault})" if push.fault else ""
        self._console.print(f"[dim]  {push.sent_at:%H:%M:%S}  {push.dev_eui}  {what}: answered {told}[/dim]")

    def conclude(self, counts: RowCounts) -> None:
        """Say what came of it."""
        if self._json:
            self._event("ended", **asdict(counts))
            return
        self._console.print(
            f"\n  {counts.reports} reports stored, {counts.uplinks} uplinks ({counts.waiting} wait for their key) of"
            f" {counts.devices} devices, {counts.duplicates} further deliveries, {counts.rejections} pushes refused"
            f" and kept.\n  All of it stays in {self._data_dir} until the next demo.\n"
        )

    @staticmethod
    def _event(event: str, **values: object) -> None:
        typer.echo(as_json({"event": event, **values}))


def _command() -> str:
    """Give how this command is called here: by its name if the shell finds it, else by its path."""
    here = Path(sys.argv[0])
    if shutil.which("receiver") is not None or here.name != "receiver":
        return "receiver"
    with suppress(ValueError):
        here = here.resolve().relative_to(Path.cwd())
    return str(here)
