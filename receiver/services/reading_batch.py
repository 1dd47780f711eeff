"""The rows that one batch of reports leaves behind, gathered first and written together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from receiver.storage.reports import lock_reports
from receiver.storage.seen_devices import DeviceSighting, record_sightings
from receiver.storage.uplinks import (
    find_uplinks_of_frames,
    find_uplinks_of_reports,
    insert_locations,
    insert_notifications,
    insert_receptions,
    insert_uplinks,
    mark_conflicting,
    note_copy,
    update_payloads,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from receiver.storage.reports import UnreadReport
    from receiver.thingpark.reports import Heading, NetworkFix, Reception, UplinkReport


@dataclass(frozen=True, slots=True)
class Payload:
    """What became of a payload: clear | decrypted | waiting_for_key | network | none, and the clear bytes."""

    state: str
    clear: bytes | None

    def __repr__(self) -> str:
        return f"Payload({self.state})"


@dataclass(slots=True)
class _Frame:
    """An uplink under a (session, counter), stored before or in this batch."""

    report_id: int | None
    frame_check: str | None
    row: dict[str, Any] | None = None
    uplink_id: int | None = None


@dataclass(slots=True)
class _NewUplink:
    row: dict[str, Any]
    receptions: tuple[Reception, ...]


class ReadBatch:
    """Collects rows; `write` puts them into the database in the caller's transaction."""

    def __init__(self, connection: Connection, report_ids: Sequence[int]) -> None:
        self._connection = connection
        self._report_ids = report_ids
        self._read_before = find_uplinks_of_reports(connection, report_ids)
        self._frames: dict[tuple[int, int], list[_Frame]] = {}
        self._uplinks: list[_NewUplink] = []
        self._payload_updates: list[dict[str, Any]] = []
        self._conflicting: set[int] = set()
        self._copies: list[tuple[int, int]] = []
        self._locations: list[dict[str, Any]] = []
        self._notifications: list[dict[str, Any]] = []
        self._sightings: dict[str, DeviceSighting] = {}

    def was_read_before(self, report_id: int) -> bool:
        """Say whether an earlier reading made an uplink of this report, whose payload then waited."""
        return report_id in self._read_before

    def add_uplink(
        self,
        unread: UnreadReport,
        report: UplinkReport,
        at: datetime,
        session_id: int | None,
        frame_check: str,
        payload: Payload,
    ) -> int | None:
        """Take an uplink up. Where its frame stands already, give the id of the report that brought it first.

        A frame with the same counter in the same session and other contents is kept, and both are flagged.
        """
        known = self._read_before.get(unread.id)
        if known is not None:
            self._payload_updates.append(
                {
                    "uplink_id": known.id,
                    "new_state": payload.state,
                    "new_payload": payload.clear,
                    "new_session_id": session_id,
                }
            )
            return None
        row = _uplink_row(unread, report, at, session_id, frame_check, payload)
        new = _NewUplink(row, report.receptions)
        if session_id is not None and report.f_cnt_up is not None:
            frames = self._frames_of(session_id, report.f_cnt_up)
            copy = next((frame for frame in frames if frame.frame_check == frame_check), None)
            if copy is not None:
                first = copy.report_id
                if first is not None:
                    self._copies.append((first, unread.id))
                return first or 0
            for other in frames:
                row["conflicting"] = True
                if other.row is not None:
                    other.row["conflicting"] = True
                if other.uplink_id is not None:
                    self._conflicting.add(other.uplink_id)
            frames.append(_Frame(unread.id, frame_check, row))
        self._uplinks.append(new)
        return None

    def _frames_of(self, session_id: int, f_cnt_up: int) -> list[_Frame]:
        key = (session_id, f_cnt_up)
        if key not in self._frames:
            self._frames[key] = [
                _Frame(known.report_id, known.frame_check, uplink_id=known.id)
                for known in find_uplinks_of_frames(self._connection, [key])
            ]
        return self._frames[key]

    def add_sighting(
        self,
        unread: UnreadReport,
        heading: Heading,
        *,
        f_cnt_up: int | None = None,
        battery_level: int | None = None,
        margin_db: float | None = None,
        status_at: datetime | None = None,
    ) -> None:
        """Note that a device was seen, and what was said of it."""
        seen = self._sightings.get(heading.dev_eui)
        if seen is None:
            seen = DeviceSighting(heading.dev_eui, unread.received_at, unread.received_at)
            self._sightings[heading.dev_eui] = seen
        seen.first_at = min(seen.first_at, unread.received_at)
        seen.last_at = max(seen.last_at, unread.received_at)
        data = heading.customer_data
        seen.connection_id = unread.connection_id or seen.connection_id
        seen.name = data.name or seen.name
        seen.customer_id = heading.customer_id or seen.customer_id
        seen.model = data.model or seen.model
        seen.model_version = data.model_version or seen.model_version
        if f_cnt_up is not None:
            seen.last_f_cnt_up = f_cnt_up
        told = battery_level is not None or margin_db is not None
        if told and status_at is not None and (seen.status_at is None or status_at >= seen.status_at):
            seen.battery_level, seen.margin_db, seen.status_at = battery_level, margin_db, status_at

    def add_fix(self, unread: UnreadReport, dev_eui: str, fix: NetworkFix | None, at: datetime) -> None:
        """Take a position up, under the fix's own time: a stale fix that comes again is the same row."""
        if fix is None:
            return
        self._locations.append(
            {
                "dev_eui": dev_eui,
                "at": fix.at or at,
                "report_id": unread.id,
                "latitude": fix.latitude,
                "longitude": fix.longitude,
                "altitude_m": fix.altitude_m,
                "radius_m": fix.radius_m,
                "altitude_radius_m": fix.altitude_radius_m,
                "accuracy_m": fix.accuracy_m,
                "algorithm": fix.algorithm,
                "f_cnt_up_used": fix.f_cnt_up_used,
                "velocity_north_m_s": fix.velocity_north_m_s,
                "velocity_east_m_s": fix.velocity_east_m_s,
            }
        )

    def add_notification(
        self,
        unread: UnreadReport,
        heading: Heading,
        at: datetime,
        *,
        type_: str,
        session_id: int | None = None,
        detail: str | None = None,
        battery_level: int | None = None,
        margin_db: float | None = None,
    ) -> None:
        """Take a join, reset or status up."""
        self._notifications.append(
            {
                "report_id": unread.id,
                "dev_eui": heading.dev_eui,
                "at": at,
                "type": type_,
                "dev_addr": heading.dev_addr,
                "session_id": session_id,
                "detail": detail,
                "battery_level": battery_level,
                "margin_db": margin_db,
            }
        )

    def write(self) -> None:
        """Write all rows."""
        connection = self._connection
        ids = insert_uplinks(connection, [new.row for new in self._uplinks])
        insert_receptions(
            connection,
            [
                {
                    "uplink_id": uplink_id,
                    "position": position,
                    "lrr_id": reception.lrr_id,
                    "chain": reception.chain,
                    "rssi_dbm": reception.rssi_dbm,
                    "snr_db": reception.snr_db,
                    "esp_dbm": reception.esp_dbm,
                    "latitude": reception.latitude,
                    "longitude": reception.longitude,
                }
                for uplink_id, new in zip(ids, self._uplinks, strict=True)
                for position, reception in enumerate(new.receptions)
            ],
        )
        update_payloads(connection, self._payload_updates)
        mark_conflicting(connection, sorted(self._conflicting))
        lock_reports(connection, [*self._report_ids, *(first for first, _ in self._copies)])
        for first, copy in self._copies:
            note_copy(connection, first, copy)
        insert_locations(connection, self._locations)
        insert_notifications(connection, self._notifications)
        record_sightings(connection, list(self._sightings.values()))


def _uplink_row(
    unread: UnreadReport,
    report: UplinkReport,
    at: datetime,
    session_id: int | None,
    frame_check: str,
    payload: Payload,
) -> dict[str, Any]:
    heading = report.heading
    return {
        "report_id": unread.id,
        "connection_id": unread.connection_id,
        "session_id": session_id,
        "dev_eui": heading.dev_eui,
        "dev_addr": heading.dev_addr,
        "at": at,
        "received_at": unread.received_at,
        "f_port": report.f_port,
        "f_cnt_up": report.f_cnt_up,
        "payload_state": payload.state,
        "frm_payload": payload.clear,
        "payload_size_bytes": len(report.payload),
        "frame_check": frame_check,
        "conflicting": False,
        "late": report.late,
        "m_type": report.m_type,
        "adr": report.adr,
        "ack": report.ack,
        "f_cnt_down": report.f_cnt_down,
        "spreading_factor": report.spreading_factor,
        "frequency_mhz": report.frequency_mhz,
        "sub_band": report.sub_band,
        "channel": report.channel,
        "rssi_dbm": report.rssi_dbm,
        "snr_db": report.snr_db,
        "esp_dbm": report.esp_dbm,
        "lrr_id": report.lrr_id,
        "gateway_count": report.gateway_count,
        "lost_uplinks": report.lost_uplinks,
        "instant_per": report.instant_per,
        "mean_per": report.mean_per,
        "tx_power_dbm": report.tx_power_dbm,
        "nb_trans": report.nb_trans,
        "device_class": report.device_class,
    }
