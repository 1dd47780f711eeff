"""The rows that one batch of reports leaves behind, gathered first and written together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from receiver.services.downlink_settle import settle_downlinks
from receiver.storage.events import EventKind, NewEvent, tell
from receiver.storage.reports import lock_reports
from receiver.storage.seen_devices import LORAWAN_1_1, DeviceSighting, record_sightings
from receiver.storage.telemetry import forget_decodings
from receiver.storage.undecoded import enqueue_undecoded
from receiver.storage.uplinks import (
    NewUplink,
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
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from receiver.storage.reports import UnreadReport
    from receiver.thingpark.reports import DownlinkReport, Heading, NetworkFix, Reception, UplinkReport


class Payload(NamedTuple):
    """What became of a payload: clear | decrypted | waiting_for_key | network | none, and the clear bytes."""

    state: str
    clear: bytes | None
    note: str | None = None
    """Why it waits."""

    def __repr__(self) -> str:
        return f"Payload({self.state})"


@dataclass(slots=True)
class _Frame:
    """An uplink under a (session, counter), stored before or in this batch."""

    report_id: int | None
    frame_check: str | None
    new: _NewUplink | None = None
    uplink_id: int | None = None


@dataclass(slots=True)
class _NewUplink:
    row: NewUplink
    receptions: tuple[Reception, ...]
    is_conflicting: bool = False


class ReadBatch:
    """Collects rows; `write` puts them into the database in the caller's transaction."""

    def __init__(self, connection: Connection, report_ids: Sequence[int], frames: Iterable[tuple[int, int]]) -> None:
        """Look up what stands already of these reports and of these frames: (session id, FCntUp)."""
        self._connection = connection
        self._report_ids = report_ids
        self._read_before = find_uplinks_of_reports(connection, report_ids)
        self._frames: dict[tuple[int | None, int | None], list[_Frame]] = {}
        for known in find_uplinks_of_frames(connection, sorted(set(frames))):
            frame = _Frame(known.report_id, known.frame_check, uplink_id=known.id)
            self._frames.setdefault((known.session_id, known.f_cnt_up), []).append(frame)
        self._uplinks: list[_NewUplink] = []
        self._payload_updates: list[dict[str, Any]] = []
        self._conflicting: set[int] = set()
        self._copies: list[tuple[int, int]] = []
        self._locations: list[dict[str, Any]] = []
        self._notifications: list[dict[str, Any]] = []
        self._sightings: dict[str, DeviceSighting] = {}
        self._opened: list[NewEvent] = []
        self._downlink_reports: list[tuple[UnreadReport, DownlinkReport]] = []
        self._acknowledging: set[str] = set()

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
        *,
        late: bool,
    ) -> int | None:
        """Take an uplink up. Where its frame stands already, give the id of the report that brought it first.

        A frame with the same counter in the same session and other contents is kept, and both are flagged.
        Those that stand are found only for frames that were named at the start.
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
            if payload.state in _CLEAR:
                dev_eui = report.heading.dev_eui
                self._opened.append(NewEvent(EventKind.UPLINK, known.id, dev_eui, unread.connection_id))
            return None
        row = _uplink_row(unread, report, at, session_id, frame_check, payload, late)
        new = _NewUplink(row, report.receptions)
        if session_id is not None and report.f_cnt_up is not None:
            frames = self._frames.setdefault((session_id, report.f_cnt_up), [])
            for other in frames:
                if other.frame_check == frame_check:
                    if other.report_id is not None:
                        self._copies.append((other.report_id, unread.id))
                    return other.report_id or 0
            for other in frames:
                new.is_conflicting = True
                if other.new is not None:
                    other.new.is_conflicting = True
                if other.uplink_id is not None:
                    self._conflicting.add(other.uplink_id)
            frames.append(_Frame(unread.id, frame_check, new))
        self._uplinks.append(new)
        return None

    def add_acknowledgement(self, dev_eui: str) -> None:
        """Note that a device acknowledges a downlink in an uplink of this batch."""
        self._acknowledging.add(dev_eui)

    def add_downlink_report(self, unread: UnreadReport, report: DownlinkReport) -> None:
        """Take up what a report says of a downlink."""
        self._downlink_reports.append((unread, report))

    def add_copy(self, first_report_id: int | None, report_id: int) -> None:
        """Count a report that was known for another delivery of the one that brought its content first."""
        if first_report_id is not None:
            self._copies.append((first_report_id, report_id))

    def add_sighting(
        self,
        unread: UnreadReport,
        heading: Heading,
        *,
        f_cnt_up: int | None = None,
        is_lorawan_1_1: bool = False,
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
        seen.driver = heading.driver or seen.driver
        if is_lorawan_1_1:
            seen.lorawan_version = LORAWAN_1_1
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

    def write(self, now: datetime) -> None:
        """Write all rows, and tell of the uplinks."""
        connection = self._connection
        ids = insert_uplinks(
            connection,
            [new.row._replace(conflicting=True) if new.is_conflicting else new.row for new in self._uplinks],
        )
        insert_receptions(
            connection,
            [
                (uplink_id, position, *reception)
                for uplink_id, new in zip(ids, self._uplinks, strict=True)
                for position, reception in enumerate(new.receptions)
            ],
        )
        update_payloads(connection, self._payload_updates)
        sealed = [update["uplink_id"] for update in self._payload_updates if update["new_state"] == "waiting_for_key"]
        forget_decodings(connection, sealed)
        enqueue_undecoded(connection, [*self._decodable(ids), *self._decodable_now()])
        mark_conflicting(connection, sorted(self._conflicting))
        lock_reports(connection, [*self._report_ids, *(first for first, _ in self._copies)])
        for first, copy in self._copies:
            note_copy(connection, first, copy)
        insert_locations(connection, self._locations)
        insert_notifications(connection, self._notifications)
        record_sightings(connection, list(self._sightings.values()))
        read = [
            NewEvent(EventKind.UPLINK, uplink_id, new.row.dev_eui, new.row.connection_id)
            for uplink_id, new in zip(ids, self._uplinks, strict=True)
        ]
        tell(connection, now, read + self._opened)
        settle_downlinks(connection, now, self._downlink_reports, self._acknowledging)

    def _decodable(self, ids: Sequence[int]) -> Iterator[int]:
        """Give the ids of the new uplinks whose payload a codec can read."""
        for uplink_id, new in zip(ids, self._uplinks, strict=True):
            row = new.row
            if row.payload_state in _CLEAR and row.f_port:
                yield uplink_id

    def _decodable_now(self) -> Iterator[int]:
        """Give the ids of those whose key came, or whose payload turned out to be encrypted."""
        for update in self._payload_updates:
            if update["new_state"] in _CLEAR:
                yield update["uplink_id"]


_CLEAR = {"clear", "decrypted"}


def _uplink_row(
    unread: UnreadReport,
    report: UplinkReport,
    at: datetime,
    session_id: int | None,
    frame_check: str,
    payload: Payload,
    late: bool,
) -> NewUplink:
    return NewUplink(
        at,
        unread.received_at,
        unread.id,
        unread.connection_id,
        session_id,
        report.heading.dev_eui,
        report.heading.dev_addr,
        report.f_port,
        report.f_cnt_up,
        payload.state,
        payload.clear,
        len(report.payload),
        frame_check,
        False,  # until another frame is found to have its counter
        late,
        report.m_type,
        report.adr,
        report.ack,
        report.f_cnt_down,
        report.spreading_factor,
        report.frequency_mhz,
        report.sub_band,
        report.channel,
        report.rssi_dbm,
        report.snr_db,
        report.esp_dbm,
        report.lrr_id,
        report.gateway_count,
        report.lost_uplinks,
        report.instant_per,
        report.mean_per,
        report.tx_power_dbm,
        report.nb_trans,
        report.device_class,
    )
