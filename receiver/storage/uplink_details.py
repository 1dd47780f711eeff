"""One uplink with all that belongs to it: which gateways heard it, and every delivery that brought it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from receiver.errors import NotFoundError
from receiver.storage.tables import connections, deliveries, devices, receptions, reports, tunnel_keys, uplinks
from receiver.storage.telemetry_tables import codec_versions, codecs, decodings

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class ReceptionView:
    """One gateway's reception. RSSI and ESP in dBm, SNR in dB."""

    lrr_id: str
    chain: int | None
    rssi_dbm: float | None
    snr_db: float | None
    esp_dbm: float | None


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """One signed delivery of the frame, and how often it came: a retry sends the same one again.

    `connection` is None where that was removed, and so is `key_id`, the tunnel key that signed it.
    """

    first_received_at: datetime
    last_received_at: datetime
    times: int
    connection: str | None
    key_id: str | None


@dataclass(frozen=True, slots=True)
class DecodingView:
    """What a codec made of the frame, or why it made nothing. `codec` is NAME@VERSION, None where it was removed."""

    codec: str | None
    state: str
    decoded: Any
    warnings: list[str]
    errors: list[str]
    decoded_at: datetime

    def __repr__(self) -> str:
        return f"DecodingView({self.codec}, {self.state})"


@dataclass(frozen=True, slots=True)
class UplinkDetails:
    """An uplink by its columns' names, `frm_payload` as clear hex; receptions best first, deliveries oldest first.

    `columns["delivery_count"]` counts every delivery of the frame, retries included.
    """

    columns: dict[str, Any]
    receptions: list[ReceptionView]
    deliveries: list[DeliveryView]
    decoding: DecodingView | None
    """None: no codec was assigned to it, or it was not looked at yet."""

    def __repr__(self) -> str:
        return f"UplinkDetails({self.columns['id']}, {len(self.deliveries)} deliveries)"


_INTERNAL = {"connection_id", "frame_check"}  # for joins, and to tell copies from conflicts


def get_uplink(connection: Connection, uplink_id: int) -> UplinkDetails:
    """Give one uplink with its receptions and deliveries.

    Raises:
        NotFoundError: there is no uplink of that id.
    """
    statement = (
        select(uplinks, connections.c.name.label("connection"), devices.c.name.label("device"))
        .select_from(
            uplinks.outerjoin(connections, connections.c.id == uplinks.c.connection_id).outerjoin(
                devices, devices.c.dev_eui == uplinks.c.dev_eui
            )
        )
        .where(uplinks.c.id == uplink_id)
    )
    row = connection.execute(statement).mappings().one_or_none()
    if row is None:
        raise NotFoundError(f"There is no uplink {uplink_id}. `receiver uplinks list` shows the ids.")
    columns = {name: value for name, value in row.items() if name not in _INTERNAL}
    payload = columns["frm_payload"]
    columns["frm_payload"] = None if payload is None else bytes(payload).hex()
    of_frame = [] if row["report_id"] is None else _list_deliveries(connection, row["report_id"])
    columns["delivery_count"] = sum(delivery.times for delivery in of_frame)
    heard_by = _list_receptions(connection, uplink_id)
    return UplinkDetails(columns, heard_by, of_frame, _find_decoding(connection, uplink_id))


def _list_receptions(connection: Connection, uplink_id: int) -> list[ReceptionView]:
    heard = receptions.c
    statement = (
        select(heard.lrr_id, heard.chain, heard.rssi_dbm, heard.snr_db, heard.esp_dbm)
        .where(heard.uplink_id == uplink_id)
        .order_by(heard.position)
    )
    return [ReceptionView(*row) for row in connection.execute(statement)]


def _find_decoding(connection: Connection, uplink_id: int) -> DecodingView | None:
    row = connection.execute(
        select(decodings, codecs.c.name, codec_versions.c.version)
        .select_from(
            decodings.outerjoin(codec_versions, codec_versions.c.id == decodings.c.codec_version_id).outerjoin(
                codecs, codecs.c.id == codec_versions.c.codec_id
            )
        )
        .where(decodings.c.uplink_id == uplink_id)
    ).one_or_none()
    if row is None:
        return None
    return DecodingView(
        None if row.name is None else f"{row.name}@{row.version}",
        row.state,
        None if row.decoded is None else json.loads(row.decoded),
        json.loads(row.warnings or "[]"),
        json.loads(row.errors or "[]"),
        row.decoded_at,
    )


def _list_deliveries(connection: Connection, report_id: int) -> list[DeliveryView]:
    """Give the deliveries of the report that made an uplink, and of the copies that reading found of it.

    The first delivery stands in `reports`; if that very one came again, a row of `deliveries` counts the others.
    A copy that only reading knew again is a report of its own, and the first one has its delivery in `deliveries`.
    """
    first = connection.execute(
        _WITH_NAMES_OF_REPORT.where(reports.c.id == report_id),
    ).one_or_none()
    if first is None:
        return []
    copies = select(reports.c.id).where(
        reports.c.delivery_id.in_(select(deliveries.c.delivery_id).where(deliveries.c.report_id == report_id)),
    )
    further = _WITH_NAMES.where((deliveries.c.report_id == report_id) | deliveries.c.report_id.in_(copies))
    found = {first.delivery_id: DeliveryView(first.received_at, first.received_at, 1, first.name, first.key_id)}
    for row in connection.execute(further.order_by(deliveries.c.first_received_at, deliveries.c.id)):
        known = found.get(row.delivery_id)
        found[row.delivery_id] = DeliveryView(
            known.first_received_at if known else row.first_received_at,
            row.last_received_at,
            row.times + (known.times if known else 0),
            row.name,
            row.key_id,
        )
    return list(found.values())


_WITH_NAMES_OF_REPORT = select(
    reports.c.delivery_id, reports.c.received_at, connections.c.name, tunnel_keys.c.key_id
).select_from(
    reports.outerjoin(connections, connections.c.id == reports.c.connection_id).outerjoin(
        tunnel_keys, tunnel_keys.c.id == reports.c.tunnel_key_id
    )
)

_WITH_NAMES = select(
    deliveries.c.delivery_id,
    deliveries.c.first_received_at,
    deliveries.c.last_received_at,
    deliveries.c.times,
    connections.c.name,
    tunnel_keys.c.key_id,
).select_from(
    deliveries.outerjoin(connections, connections.c.id == deliveries.c.connection_id).outerjoin(
        tunnel_keys, tunnel_keys.c.id == deliveries.c.tunnel_key_id
    )
)
