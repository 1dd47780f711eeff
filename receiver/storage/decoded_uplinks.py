"""Uplinks with what a codec made of them: the whole object, and each measurement."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from receiver.storage.tables import connections, devices, uplinks
from receiver.storage.telemetry_tables import codec_versions, codecs, decodings
from receiver.storage.uplink_pages import list_values_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class MeasurementView:
    """One measurement; its value is a number, true or false, or text."""

    at: datetime
    name: str
    value: float | bool | str
    unit: str | None

    def __repr__(self) -> str:
        return f"MeasurementView({self.name})"


@dataclass(frozen=True, slots=True)
class DecodedUplinkView:
    """An uplink's place, what its codec made of it or why it made nothing (`state` decoded | failed)."""

    uplink_id: int
    at: datetime
    connection: str | None
    dev_eui: str
    device: str | None
    f_port: int | None
    f_cnt_up: int | None
    codec: str | None
    """NAME@VERSION; None where it was removed."""
    state: str
    decoded: Any
    warnings: list[str]
    errors: list[str]
    measurements: list[MeasurementView]

    def __repr__(self) -> str:
        return f"DecodedUplinkView({self.uplink_id}, {self.state})"


_SELECT = select(
    *(uplinks.c.id, uplinks.c.at, connections.c.name.label("connection"), uplinks.c.dev_eui),
    *(devices.c.name.label("device"), uplinks.c.f_port, uplinks.c.f_cnt_up),
    *(codecs.c.name.label("codec"), codec_versions.c.version),
    *(decodings.c.state, decodings.c.decoded, decodings.c.warnings, decodings.c.errors),
).select_from(
    decodings.join(uplinks, uplinks.c.id == decodings.c.uplink_id)
    .outerjoin(connections, connections.c.id == uplinks.c.connection_id)
    .outerjoin(devices, devices.c.dev_eui == uplinks.c.dev_eui)
    .outerjoin(codec_versions, codec_versions.c.id == decodings.c.codec_version_id)
    .outerjoin(codecs, codecs.c.id == codec_versions.c.codec_id)
)


def list_decoded_uplinks(connection: Connection, uplink_ids: Sequence[int]) -> list[DecodedUplinkView]:
    """Give those of these uplinks that a codec looked at, in no order; measurements by name, unit and time."""
    if not uplink_ids:
        return []
    values = list_values_of(connection, uplink_ids)
    return [
        DecodedUplinkView(
            row.id,
            row.at,
            row.connection,
            row.dev_eui,
            row.device,
            row.f_port,
            row.f_cnt_up,
            None if row.codec is None else f"{row.codec}@{row.version}",
            row.state,
            None if row.decoded is None else json.loads(row.decoded),
            json.loads(row.warnings or "[]"),
            json.loads(row.errors or "[]"),
            [MeasurementView(one.at, one.name, one.value, one.unit) for one in values.get(row.id, ())],
        )
        for row in connection.execute(_SELECT.where(uplinks.c.id.in_(uplink_ids)))
    ]
