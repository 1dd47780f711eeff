"""The reading moment of KPN Things: a message becomes what a report of ThingPark becomes, by the same steps.

A message with a frame or with decoded values is an uplink; one with a position alone is none. Values that KPN Things
decoded are written at once, into the tables that codecs' values stand in, with no codec version: no codec of this
receiver made them, so none replaces them. A payload beside them is decoded by the codec that is assigned, as always.

A message of a frame without counter, or of values alone, that stands already, by device, time and content, is another
delivery of it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from receiver.codecs.rows import Rows
from receiver.errors import ReportUnreadableError
from receiver.kpn_things.records import UUID_PREFIX, read_message
from receiver.lorawan.identifiers import DevEui
from receiver.services.decoding_frames import as_json, number_and_text, storable
from receiver.services.things_push import THINGS_KIND
from receiver.storage.events import EventKind, NewEvent, tell
from receiver.storage.telemetry import NewDecoding, NewValue, SeriesKey, ensure_series, insert_values, write_decodings
from receiver.storage.things_devices import Content, find_contents, find_dev_euis
from receiver.storage.uplinks import find_uplinks_of_reports
from receiver.thingpark.customer_data import CustomerData
from receiver.thingpark.reports import Heading, LocationReport, NetworkFix, UplinkReport

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from receiver.codecs.values import Json, Measurement
    from receiver.kpn_things.records import ThingsFix, ThingsMessage, ThingsValue
    from receiver.services.parsed_reports import Parsed
    from receiver.storage.reports import UnreadReport

__all__ = ["THINGS_KIND", "ThingsBatch", "ToldValues", "read_things_report"]


class ToldValues(NamedTuple):
    """The values that KPN Things decoded: as measurements, as one object, and what had to be done to keep them."""

    measurements: tuple[Measurement, ...]
    decoded: Json
    warnings: tuple[str, ...]

    def __repr__(self) -> str:
        return f"ToldValues({len(self.measurements)})"


class ThingsReport(NamedTuple):
    """A message read: as a report, with its notes, and the values in it; `report` None: it is unreadable."""

    report: UplinkReport | LocationReport | None
    notes: str | None
    values: ToldValues | None = None


def read_things_report(unread: UnreadReport) -> ThingsReport:
    """Read a stored push of KPN Things; never fails."""
    try:
        message = read_message(unread.body, unread.received_at)
    except ReportUnreadableError as exc:
        return ThingsReport(None, storable(str(exc)))
    notes = None if message.notes is None else storable(message.notes)
    heading = Heading(THINGS_KIND, DevEui(message.device), None, message.at, None, CustomerData(), None)
    if not message.is_uplink:
        return ThingsReport(LocationReport(heading, _fix(message.fix)), notes)
    return ThingsReport(_uplink(heading, message), notes, _values(message.values) if message.values else None)


class ThingsBatch:
    """The messages of KPN Things in one batch of reports, within the transaction that reads it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def with_dev_euis(self, parsed: Sequence[Parsed]) -> list[Parsed]:
        """Give the reports with the DevEUIs of those devices that people have mapped to one."""
        reports = [one.report for one in parsed if isinstance(one.report, (UplinkReport, LocationReport))]
        names = {report.heading.dev_eui for report in reports}
        uuids = {name.removeprefix(UUID_PREFIX) for name in names if name.startswith(UUID_PREFIX)}
        dev_euis = find_dev_euis(self._connection, uuids)
        named = []
        for one in parsed:
            report = one.report
            if isinstance(report, (UplinkReport, LocationReport)):
                dev_eui = dev_euis.get(report.heading.dev_eui.removeprefix(UUID_PREFIX))
                if dev_eui is not None:
                    heading = report.heading._replace(dev_eui=DevEui(dev_eui))
                    one = one._replace(report=report._replace(heading=heading))  # noqa: PLW2901
            named.append(one)
        return named

    def copies(self, parsed: Sequence[Parsed]) -> dict[int, int | None]:
        """Give which reports, by id, bring a message that stands already, with the report that brought it first."""
        contents = [
            (one.unread.id, Content(one.report.heading.dev_eui, one.report.heading.at, frame_check_of(one.report)))
            for one in parsed
            if one.unread.kind == THINGS_KIND
            and isinstance(one.report, UplinkReport)
            and one.report.f_cnt_up is None
            and one.report.heading.at is not None
        ]
        first = find_contents(self._connection, list({content for _, content in contents}))
        copies: dict[int, int | None] = {}
        for report_id, content in contents:
            known = first.setdefault(content, report_id)
            if known != report_id:  # else it is the first, or is read again itself
                copies[report_id] = known
        return copies

    def write(self, now: datetime, parsed: Sequence[Parsed]) -> None:
        """Write the values of those reports that became uplinks just now, and tell of them."""
        told = [one for one in parsed if one.values is not None]
        uplinks = find_uplinks_of_reports(self._connection, [one.unread.id for one in told])
        decodings: list[NewDecoding] = []
        rows: list[tuple[SeriesKey, NewValue]] = []
        events: list[NewEvent] = []
        for one in told:
            known = uplinks.get(one.unread.id)
            if known is None or one.values is None or not isinstance(one.report, UplinkReport):  # a copy
                continue
            dev_eui = one.report.heading.dev_eui
            decodings.append(_decoding(known.id, one.values, one.report.heading.at or one.unread.sent_at, now))
            rows += [_row(known.id, dev_eui, value) for value in one.values.measurements]
            events.append(NewEvent(EventKind.TELEMETRY, known.id, dev_eui, one.unread.connection_id))
        series = ensure_series(self._connection, {key for key, _ in rows})
        write_decodings(self._connection, decodings)
        insert_values(self._connection, [row._replace(series_id=series[key]) for key, row in rows])
        tell(self._connection, now, events)


def _decoding(uplink_id: int, values: ToldValues, at: datetime, now: datetime) -> NewDecoding:
    times = [one.at for one in values.measurements] or [at]
    warnings = as_json(list(values.warnings)) if values.warnings else None
    decoded = as_json(values.decoded)
    return NewDecoding(uplink_id, None, "decoded", decoded, warnings, None, min(times), max(times), now)


def frame_check_of(report: UplinkReport) -> str:
    """Give what tells copies of a frame from conflicts: the MIC, or a message's own mark, and its payload.

    Both: a frame with the MIC of another one and other contents is a conflict to be shown, not a copy.
    """
    return f"{report.mic or ''}:{hashlib.sha256(report.payload).hexdigest()[:16]}"


def _row(uplink_id: int, dev_eui: str, one: Measurement) -> tuple[SeriesKey, NewValue]:
    number, text = number_and_text(one.value)
    key = SeriesKey(dev_eui, storable(one.name), storable(one.unit or ""))
    return key, NewValue(0, one.at, uplink_id, number, text, None)


def _values(values: Sequence[ThingsValue]) -> ToldValues:
    rows = Rows({})
    decoded: dict[str, Json] = {}
    for one in values:
        rows.take(one.value, one.name, one.at, one.unit)
        if one.name not in decoded:
            decoded[one.name] = one.value
        else:  # of several times
            earlier = decoded[one.name]
            decoded[one.name] = [*earlier, one.value] if isinstance(earlier, list) else [earlier, one.value]
    return ToldValues(tuple(rows.measurements), decoded, rows.warnings())


def _fix(fix: ThingsFix | None) -> NetworkFix | None:
    if fix is None:
        return None
    return NetworkFix(
        latitude=fix.latitude,
        longitude=fix.longitude,
        at=fix.at,
        altitude_m=fix.altitude_m,
        radius_m=fix.radius_m,
        altitude_radius_m=None,
        accuracy_m=None,
        algorithm=fix.algorithm,
        f_cnt_up_used=None,
        velocity_north_m_s=None,
        velocity_east_m_s=None,
    )


def _uplink(heading: Heading, message: ThingsMessage) -> UplinkReport:
    return UplinkReport(
        heading=heading,
        f_port=message.f_port,
        f_cnt_up=message.f_cnt_up,
        payload=message.payload or b"",
        payload_encryption=False,  # KPN Things has decrypted it
        app_s_key_field=None,
        mic=message.mark,
        late=False,
        m_type=None,
        adr=message.adr,
        ack=False,
        f_cnt_down=message.f_cnt_down,
        is_lorawan_1_1=False,
        spreading_factor=message.spreading_factor,
        frequency_mhz=None,
        sub_band=message.sub_band,
        channel=message.channel,
        rssi_dbm=message.rssi_dbm,
        snr_db=message.snr_db,
        esp_dbm=message.esp_dbm,
        lrr_id=None,
        gateway_count=message.gateway_count,
        lost_uplinks=None,
        instant_per=None,
        mean_per=None,
        tx_power_dbm=None,
        nb_trans=None,
        device_class=None,
        battery_level=None,
        battery_at=None,
        margin_db=None,
        receptions=(),
        fix=_fix(message.fix),
    )
