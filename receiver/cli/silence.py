"""`receiver device silent` and `receiver connection silent`: who has not been heard for longer than its habit."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.store import JsonOption, open_store, print_rows, utc_now
from receiver.lorawan.rhythm import FACTOR

if TYPE_CHECKING:
    from receiver.services.silence import ConnectionSilence, DeviceSilence

FactorOption = Annotated[
    float, typer.Option(min=1, max=1000, help="How many of its usual intervals may pass without a word.")
]

_DEVICE_COLUMNS = ("dev_eui", "name", "connection", "verdict", "last_at", "silent_for", "usually_every", "allowed")
_CONNECTION_COLUMNS = ("name", "verdict", "last_report_at", "silent_for", "usually_every", "allowed")
_VERDICTS = {
    "heard": "heard",
    "silent": "silent",
    "too_few": "too few uplinks to know its habit",
    "never": "never heard",
}


def silent_devices(
    *,
    factor: FactorOption = FACTOR,
    all_: Annotated[
        bool, typer.Option("--all", help="Also those that have too few uplinks to judge, and none.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """List the devices that have been silent for longer than their own rhythm explains, the longest first."""
    from receiver.services.silence import look_for_silence

    with open_store() as store:
        silence = look_for_silence(store.engine, utc_now(), factor)
    wanted = [device for device in silence.devices if all_ or device.verdict == "silent"]
    wanted.sort(key=lambda device: (device.verdict, -(device.silent_s or 0)))
    print_rows((asdict(device) if json else _for_people(device) for device in wanted), _DEVICE_COLUMNS, json)


def silent_connections(*, factor: FactorOption = FACTOR, json: JsonOption = False) -> None:
    """List all connections with their last report, and say from which nothing arrives any more."""
    from receiver.services.silence import look_for_silence

    with open_store() as store:
        silence = look_for_silence(store.engine, utc_now(), factor)
    rows = (asdict(connection) if json else _for_people(connection) for connection in silence.connections)
    print_rows(rows, _CONNECTION_COLUMNS, json)


def _for_people(silence: DeviceSilence | ConnectionSilence) -> dict[str, object]:
    from receiver.services.wording import tell_span

    def span(seconds: float | None) -> str | None:
        return None if seconds is None else tell_span(seconds)

    return {
        **asdict(silence),
        "verdict": _VERDICTS[silence.verdict],
        "silent_for": span(silence.silent_s),
        "usually_every": span(silence.usual_s),
        "allowed": span(silence.allowed_s),
    }
