"""What a report says, typed: the reading moment's view of a body.

Reading never fails for one odd field. A value that is not of its kind becomes None and its name stands in
`Notes`, so that the uplink is kept and the fault is told; the body itself stays stored as it came.
Numbers may be numbers or strings, whatever the content type says (untyped JSON of 2019 mixed both).
The reports are tuples: one of each gateway is made for every uplink, and a frozen dataclass costs four times as much.

Source: ThingPark LRC–AS tunnel interface, reports; units and presence as documented there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from receiver.errors import IdentifierError, PushRejected, ReportUnreadableError
from receiver.lorawan.frame_counter import F_CNT_MAX, F_PORT_MAX
from receiver.lorawan.identifiers import DevEui, parse_dev_eui
from receiver.thingpark.body import parse_body
from receiver.thingpark.customer_data import read_customer_data, read_driver
from receiver.thingpark.downlink_reports import (
    DownlinkRejectedReport,
    DownlinkSentReport,
    MulticastSummaryReport,
    read_downlink_rejected,
    read_downlink_sent,
    read_multicast_summary,
)
from receiver.thingpark.fields import Fields, Notes, SpellingNeededError
from receiver.thingpark.typed_body import parse_typed_body

if TYPE_CHECKING:
    from datetime import datetime

    from receiver.lorawan.identifiers import DevAddr
    from receiver.thingpark.body import Body
    from receiver.thingpark.customer_data import CustomerData

MAX_COUNT = 2**31 - 1
"""What a column of whole numbers holds that is not meant for frame counters."""

MAX_RECEPTIONS = 100
"""The network lists at most ten gateways; a row each is written."""

_NUMBERS = (int, float)

_WRAPPED_KEY = re.compile(r"[0-9A-Fa-f]{32}\Z")


class Reception(NamedTuple):
    """One gateway's reception of the frame. dBm, dB, degrees; a position of 0, 0 is unknown and None."""

    lrr_id: str
    chain: int | None
    rssi_dbm: float | None
    snr_db: float | None
    esp_dbm: float | None
    latitude: float | None = None
    longitude: float | None = None


class NetworkFix(NamedTuple):
    """A position that the network computed. `at` is the fix's own time (DevLocTime), None when not given."""

    latitude: float
    longitude: float
    at: datetime | None
    altitude_m: float | None
    radius_m: float | None
    altitude_radius_m: float | None
    accuracy_m: float | None
    algorithm: str | None
    f_cnt_up_used: int | None
    velocity_north_m_s: float | None
    velocity_east_m_s: float | None


class Heading(NamedTuple):
    """What every report about a device has. `at` is the report's own Time, None where absent or unreadable."""

    kind: str
    dev_eui: DevEui
    dev_addr: DevAddr | None
    at: datetime | None
    customer_id: str | None
    customer_data: CustomerData
    driver: str | None
    """Which codec the network itself would use: `producer:module:version` of DriverCfg, its `app` before its `mod`."""


class UplinkReport(NamedTuple):
    """DevEUI_uplink, and the join-request form of it (then there is no counter and no payload)."""

    heading: Heading
    f_port: int | None
    f_cnt_up: int | None
    payload: bytes
    payload_encryption: bool | None
    app_s_key_field: str | None
    mic: str | None
    late: bool
    m_type: int | None
    adr: bool
    ack: bool
    f_cnt_down: int | None
    """Of LoRaWAN 1.1 the application's counter, AFCntDn."""
    is_lorawan_1_1: bool
    spreading_factor: int | None
    frequency_mhz: float | None
    sub_band: str | None
    channel: str | None
    rssi_dbm: float | None
    snr_db: float | None
    esp_dbm: float | None
    lrr_id: str | None
    gateway_count: int | None
    lost_uplinks: int | None
    instant_per: float | None
    mean_per: float | None
    tx_power_dbm: float | None
    nb_trans: int | None
    device_class: str | None
    battery_level: int | None
    battery_at: datetime | None
    margin_db: float | None
    receptions: tuple[Reception, ...]
    fix: NetworkFix | None

    def __repr__(self) -> str:
        return f"UplinkReport({self.heading.dev_eui}, f_cnt_up={self.f_cnt_up}, …)"


class LocationReport(NamedTuple):
    """DevEUI_location."""

    heading: Heading
    fix: NetworkFix | None


class NotificationReport(NamedTuple):
    """DevEUI_notification: a join (with the wrapped AppSKey, if any), a reset, a device status."""

    heading: Heading
    type: str
    app_s_key_field: str | None
    detail: str | None
    battery_level: int | None
    margin_db: float | None

    def __repr__(self) -> str:
        return f"NotificationReport({self.heading.dev_eui}, {self.type})"


class OtherReport(NamedTuple):
    """Any other kind: kept whole in `reports`, with its device known where it names one."""

    heading: Heading | None


DownlinkReport: TypeAlias = "DownlinkSentReport | DownlinkRejectedReport | MulticastSummaryReport"

Report: TypeAlias = "UplinkReport | LocationReport | NotificationReport | DownlinkReport | OtherReport"


def read_raw_report(raw: bytes) -> tuple[Report, Notes]:
    """Give what `read_report` gives of `parse_body(raw)`, more quickly where the body is plain JSON.

    Raises:
        PushRejected: it is not a body.
        ReportUnreadableError: it is of a kind that is read, but names no device.
    """
    typed = parse_typed_body(raw)
    if typed is not None:
        try:
            return read_report(typed)
        except SpellingNeededError:
            pass
    return read_report(parse_body(raw))


def read_time_text(raw: bytes) -> str | None:
    """Give the Time of a report as the network spelled it, or None where there is none."""
    try:
        body = parse_typed_body(raw) or parse_body(raw)
        return Fields(body.members, Notes()).text("Time")
    except (PushRejected, SpellingNeededError):
        return None


def read_report(body: Body) -> tuple[Report, Notes]:
    """Give the typed report of a body, and what in it could not be read.

    Raises:
        ReportUnreadableError: it is of a kind that is read, but names no device.
    """
    fields = Fields(body.members, Notes())
    match body.kind:
        case "DevEUI_uplink":
            return _uplink(body.kind, fields), fields.notes
        case "DevEUI_location":
            return LocationReport(_heading(body.kind, fields), _fix(fields)), fields.notes
        case "DevEUI_notification":
            return _notification(body.kind, fields), fields.notes
        case "DevEUI_downlink_Sent":
            return read_downlink_sent(_heading(body.kind, fields), fields), fields.notes
        case "DevEUI_downlink_Rejected":
            return read_downlink_rejected(_heading(body.kind, fields), fields), fields.notes
        case "DevEUI_multicast_summary":
            return read_multicast_summary(_heading(body.kind, fields), fields), fields.notes
        case _:
            heading = _heading(body.kind, fields) if fields.text("DevEUI") else None
            return OtherReport(heading), fields.notes


def _heading(kind: str, fields: Fields) -> Heading:
    text = fields.text("DevEUI")
    if text is None:
        raise ReportUnreadableError(f"The {kind} names no DevEUI.")
    try:
        dev_eui = parse_dev_eui(text)
    except IdentifierError:
        # The network signed it, so it is kept under what the network calls it, and the fault is noted.
        dev_eui = DevEui(text.upper())
        fields.notes.fields.append("DevEUI")
    return Heading(
        kind,
        dev_eui,
        fields.dev_addr(),
        fields.time("Time"),
        fields.text("CustomerID"),
        read_customer_data(fields),
        read_driver(fields),
    )


def _uplink(kind: str, fields: Fields) -> UplinkReport:
    spreading = "SpFact" if fields.value("SpFact") is not None else "Spfact"  # so spelled in join requests
    is_lorawan_1_1 = fields.value("AFCntDn") is not None  # which has one for the network and one for applications
    return UplinkReport(
        heading=_heading(kind, fields),
        f_port=fields.integer("FPort", 0, F_PORT_MAX),
        f_cnt_up=fields.integer("FCntUp", 0, F_CNT_MAX),
        payload=_payload(fields),
        payload_encryption=fields.flag("PayloadEncryption"),
        app_s_key_field=_key_field(fields, "AppSKey"),
        mic=(fields.text("mic_hex") or "").lower() or None,
        late=bool(fields.flag("Late")),
        m_type=fields.integer("MType", 0, 7),
        adr=bool(fields.flag("ADRbit")),
        ack=bool(fields.flag("ACKbit")),
        f_cnt_down=fields.integer("AFCntDn" if is_lorawan_1_1 else "FCntDn", 0, F_CNT_MAX),
        is_lorawan_1_1=is_lorawan_1_1,
        spreading_factor=fields.integer(spreading, 5, 12),
        frequency_mhz=fields.number("Frequency"),
        sub_band=fields.text("SubBand"),
        channel=fields.text("Channel"),
        rssi_dbm=fields.number("LrrRSSI"),
        snr_db=fields.number("LrrSNR"),
        esp_dbm=fields.number("LrrESP"),
        lrr_id=fields.text("Lrrid"),
        gateway_count=fields.integer("DevLrrCnt", 0, 10_000),
        lost_uplinks=fields.integer("LostUplinksAS", -MAX_COUNT, MAX_COUNT),
        instant_per=fields.number("InstantPER"),
        mean_per=fields.number("MeanPER"),
        tx_power_dbm=fields.number("TxPower"),
        nb_trans=fields.integer("NbTrans", 0, 255),
        device_class=fields.text("DynamicClass"),
        battery_level=fields.integer("BatteryLevel", 0, 255),
        battery_at=fields.time("BatteryTime"),
        margin_db=fields.number("Margin"),
        receptions=_receptions(fields),
        fix=_fix(fields),
    )


def _notification(kind: str, fields: Fields) -> NotificationReport:
    type_ = fields.text("Type") or "unknown"
    is_status = type_ == "devstatusans"
    status = Fields({"battery": fields.value("Var1"), "margin": fields.value("Var2")}, fields.notes)
    return NotificationReport(
        heading=_heading(kind, fields),
        type=type_,
        app_s_key_field=_key_field(fields, "Var1") if type_ == "join" else None,
        detail=None if type_ == "join" or is_status else fields.text("Var1"),
        battery_level=status.integer("battery", 0, 255) if is_status else None,
        margin_db=status.number("margin") if is_status else None,
    )


def _payload(fields: Fields) -> bytes:
    value = fields.value("payload_hex")  # not cut to a column's length, as texts are
    if isinstance(value, str):
        try:
            return bytes.fromhex(value)
        except ValueError:
            pass
    if type(value) in _NUMBERS:
        raise SpellingNeededError
    if value is not None:
        fields.notes.fields.append("payload_hex")
    return b""


def _key_field(fields: Fields, name: str) -> str | None:
    text = fields.text(name)
    if text is None:
        return None
    if not _WRAPPED_KEY.match(text):
        fields.notes.fields.append(name)
        return None
    return text.lower()


def _receptions(fields: Fields) -> tuple[Reception, ...]:
    lrrs = fields.value("Lrrs")
    entries = lrrs.get("Lrr") if isinstance(lrrs, dict) else None
    if isinstance(entries, dict):  # one gateway comes as an object and not as an array of one
        entries = [entries]
    if not isinstance(entries, list):
        if type(lrrs) in _NUMBERS or type(entries) in _NUMBERS:
            raise SpellingNeededError
        if entries or (lrrs and not isinstance(lrrs, dict)):
            fields.notes.fields.append("Lrrs")
        return ()
    best = fields.text("Lrrid")
    receptions = []
    for entry in entries[:MAX_RECEPTIONS]:
        lrr = Fields(entry, fields.notes) if isinstance(entry, dict) else None
        lrr_id = lrr.text("Lrrid") if lrr else None
        if lrr is None or lrr_id is None:
            fields.notes.fields.append("Lrrs")
            continue
        latitude, longitude = _position(fields, "LrrLAT", "LrrLON") if lrr_id == best else (None, None)
        receptions.append(
            Reception(
                lrr_id,
                lrr.integer("Chain", 0, 255),
                lrr.number("LrrRSSI"),
                lrr.number("LrrSNR"),
                lrr.number("LrrESP"),
                latitude,
                longitude,
            )
        )
    return tuple(receptions)


def _position(fields: Fields, latitude_name: str, longitude_name: str) -> tuple[float | None, float | None]:
    latitude, longitude = fields.number(latitude_name), fields.number(longitude_name)
    if latitude is None or longitude is None or (latitude == 0 and longitude == 0):
        return None, None
    if abs(latitude) > 90 or abs(longitude) > 180:
        fields.notes.fields.append(latitude_name)
        return None, None
    return latitude, longitude


def _fix(fields: Fields) -> NetworkFix | None:
    latitude, longitude = _position(fields, "DevLAT", "DevLON")
    if latitude is None or longitude is None:
        return None
    algorithm = fields.integer("NwGeolocAlgoUsed", 0, 255)
    if algorithm is None:
        algorithm = fields.integer("NwGeolocAlgo", 0, 255)
    return NetworkFix(
        latitude=latitude,
        longitude=longitude,
        at=fields.time("DevLocTime"),
        altitude_m=fields.number("DevAlt"),
        radius_m=fields.number("DevLocRadius"),
        altitude_radius_m=fields.number("DevAltRadius"),
        accuracy_m=fields.number("DevAcc"),
        algorithm={0: "tdoa", 1: "rssi", 2: "both"}.get(algorithm) if algorithm is not None else None,
        f_cnt_up_used=fields.integer("DevUlFCntUpUsed", 0, F_CNT_MAX),
        velocity_north_m_s=fields.number("DevNorthVel"),
        velocity_east_m_s=fields.number("DevEastVel"),
    )
