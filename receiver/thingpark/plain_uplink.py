"""A quicker way to an uplink for the reading moment, for the plain JSON that networks send: read in C, into its types.

It takes half of what `reports.read_raw_report` takes, and gives the same report. Whatever is not as most uplinks are
is left to that one: a value of another type or out of its range, a text too long for its column, a position that the
network computed, another kind of report.
Source: ThingPark LRC–AS tunnel interface, reports; ranges as in `reports`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta, Struct, field

from receiver.errors import IdentifierError, PushRejected
from receiver.lorawan.frame_counter import F_CNT_MAX, F_PORT_MAX
from receiver.lorawan.identifiers import parse_dev_addr, parse_dev_eui
from receiver.thingpark.body import UPLINK
from receiver.thingpark.customer_data import CustomerData, read_driver
from receiver.thingpark.fields import MAX_TEXT, Fields, Notes, SpellingNeededError
from receiver.thingpark.plain_body import MAX_PLAIN_BYTES, parse_signed_body
from receiver.thingpark.reports import MAX_COUNT, MAX_RECEPTIONS, Heading, Reception, UplinkReport

if TYPE_CHECKING:
    from datetime import datetime

_Text: TypeAlias = Annotated[str, Meta(max_length=MAX_TEXT)] | None
_Number: TypeAlias = Annotated[float, Meta(ge=-1e15, le=1e15)] | None  # what is larger may be wanted as it was spelled
_Flag: TypeAlias = Annotated[int, Meta(ge=0, le=1)] | None
_Byte: TypeAlias = Annotated[int, Meta(ge=0, le=255)] | None
_Counter: TypeAlias = Annotated[int, Meta(ge=0, le=F_CNT_MAX)] | None
_Key: TypeAlias = Annotated[str, Meta(min_length=32, max_length=32, pattern="^[0-9A-Fa-f]*$")] | None


class _Profile(Struct):
    pro: _Text = None
    ver: _Text | int = None


class _CustomerData(Struct):
    name: _Text = None
    alr: _Profile | None = None


class _Gateway(Struct):
    lrr_id: Annotated[str, Meta(min_length=1, max_length=MAX_TEXT)] = field(name="Lrrid")
    chain: _Byte = field(name="Chain", default=None)
    rssi_dbm: _Number = field(name="LrrRSSI", default=None)
    snr_db: _Number = field(name="LrrSNR", default=None)
    esp_dbm: _Number = field(name="LrrESP", default=None)


class _Gateways(Struct):
    entries: _Gateway | Annotated[list[_Gateway], Meta(max_length=MAX_RECEPTIONS)] = field(name="Lrr")


class _Uplink(Struct):
    """The members that are read; one of a name that is not here is passed over, as everywhere."""

    dev_eui: str = field(name="DevEUI")
    dev_addr: _Text = field(name="DevAddr", default=None)
    time: _Text = field(name="Time", default=None)
    customer_id: _Text | int = field(name="CustomerID", default=None)
    customer_data: _CustomerData | None = field(name="CustomerData", default=None)
    driver: dict[str, Any] | None = field(name="DriverCfg", default=None)
    f_port: Annotated[int, Meta(ge=0, le=F_PORT_MAX)] | None = field(name="FPort", default=None)
    f_cnt_up: _Counter = field(name="FCntUp", default=None)
    payload: str | None = field(name="payload_hex", default=None)
    payload_encryption: _Flag = field(name="PayloadEncryption", default=None)
    app_s_key: _Key = field(name="AppSKey", default=None)
    mic: _Text = field(name="mic_hex", default=None)
    late: _Flag = field(name="Late", default=None)
    m_type: Annotated[int, Meta(ge=0, le=7)] | None = field(name="MType", default=None)
    adr: _Flag = field(name="ADRbit", default=None)
    ack: _Flag = field(name="ACKbit", default=None)
    f_cnt_down: _Counter = field(name="FCntDn", default=None)
    a_f_cnt_down: _Counter = field(name="AFCntDn", default=None)
    spreading_factor: Annotated[int, Meta(ge=5, le=12)] | None = field(name="SpFact", default=None)
    frequency_mhz: _Number = field(name="Frequency", default=None)
    sub_band: _Text = field(name="SubBand", default=None)
    channel: _Text = field(name="Channel", default=None)
    rssi_dbm: _Number = field(name="LrrRSSI", default=None)
    snr_db: _Number = field(name="LrrSNR", default=None)
    esp_dbm: _Number = field(name="LrrESP", default=None)
    lrr_id: _Text = field(name="Lrrid", default=None)
    latitude: Annotated[float, Meta(ge=-90, le=90)] | None = field(name="LrrLAT", default=None)
    longitude: Annotated[float, Meta(ge=-180, le=180)] | None = field(name="LrrLON", default=None)
    gateway_count: Annotated[int, Meta(ge=0, le=10_000)] | None = field(name="DevLrrCnt", default=None)
    lost_uplinks: Annotated[int, Meta(ge=-MAX_COUNT, le=MAX_COUNT)] | None = field(name="LostUplinksAS", default=None)
    instant_per: _Number = field(name="InstantPER", default=None)
    mean_per: _Number = field(name="MeanPER", default=None)
    tx_power_dbm: _Number = field(name="TxPower", default=None)
    nb_trans: _Byte = field(name="NbTrans", default=None)
    device_class: _Text = field(name="DynamicClass", default=None)
    battery_level: _Byte = field(name="BatteryLevel", default=None)
    battery_at: _Text = field(name="BatteryTime", default=None)
    margin_db: _Number = field(name="Margin", default=None)
    gateways: _Gateways | None = field(name="Lrrs", default=None)
    join_spreading: None = field(name="Spfact", default=None)  # these three: of reports that are read the other way
    fix_latitude: None = field(name="DevLAT", default=None)
    fix_longitude: None = field(name="DevLON", default=None)


class _Top(Struct, forbid_unknown_fields=True):
    uplink: _Uplink = field(name=UPLINK)


_decode = msgspec.json.Decoder(_Top).decode


class _NotPlainError(Exception):
    """A value is not as most uplinks have it."""


def read_plain_uplink(raw: bytes) -> UplinkReport | None:
    """Give what `reports.read_raw_report` gives of a body, in which it then notes nothing; None: it has to read it."""
    if len(raw) > MAX_PLAIN_BYTES or not raw.startswith(b"{") or b"\\" in raw:
        return None
    try:
        parse_signed_body(raw)  # which sees at little cost that no name stands twice, and that it is UTF-8
        return _report(_decode(raw).uplink)
    except (PushRejected, msgspec.MsgspecError, RecursionError):
        return None
    except (IdentifierError, SpellingNeededError, _NotPlainError):
        return None


def _report(said: _Uplink) -> UplinkReport:
    is_lorawan_1_1 = said.a_f_cnt_down is not None
    return UplinkReport(
        _heading(said),
        said.f_port,
        said.f_cnt_up,
        _payload(said.payload),
        None if said.payload_encryption is None else said.payload_encryption == 1,
        None if said.app_s_key is None else said.app_s_key.lower(),
        (said.mic or "").lower() or None,
        said.late == 1,
        said.m_type,
        said.adr == 1,
        said.ack == 1,
        said.a_f_cnt_down if is_lorawan_1_1 else said.f_cnt_down,
        is_lorawan_1_1,
        said.spreading_factor,
        said.frequency_mhz,
        said.sub_band or None,
        said.channel or None,
        said.rssi_dbm,
        said.snr_db,
        said.esp_dbm,
        said.lrr_id or None,
        said.gateway_count,
        said.lost_uplinks,
        said.instant_per,
        said.mean_per,
        said.tx_power_dbm,
        said.nb_trans,
        said.device_class or None,
        said.battery_level,
        _time(said.battery_at),
        said.margin_db,
        _receptions(said),
        None,
    )


def _heading(said: _Uplink) -> Heading:
    told = said.customer_data
    profile = None if told is None else told.alr
    return Heading(
        UPLINK,
        parse_dev_eui(said.dev_eui),
        parse_dev_addr(said.dev_addr) if said.dev_addr else None,
        _time(said.time),
        _spelled(said.customer_id),
        CustomerData(
            None if told is None else told.name or None,
            None if profile is None else profile.pro or None,
            None if profile is None else _spelled(profile.ver),
        ),
        None if said.driver is None else read_driver(Fields({"DriverCfg": said.driver}, Notes())),
    )


def _spelled(value: str | int | None) -> str | None:
    """Give a text; a whole number has one spelling in JSON."""
    return None if value is None else str(value)[:MAX_TEXT] or None


def _time(text: str | None) -> datetime | None:
    if not text:
        return None
    at = Fields({"Time": text}, Notes()).time("Time")
    if at is None:
        raise _NotPlainError
    return at


def _payload(text: str | None) -> bytes:
    try:
        return bytes.fromhex(text or "")
    except ValueError:
        raise _NotPlainError from None


def _receptions(said: _Uplink) -> tuple[Reception, ...]:
    if said.gateways is None:
        return ()
    entries = said.gateways.entries
    position = said.latitude, said.longitude
    if None in position or position == (0, 0):
        position = None, None
    return tuple(
        [
            Reception(
                one.lrr_id,
                one.chain,
                one.rssi_dbm,
                one.snr_db,
                one.esp_dbm,
                *(position if one.lrr_id == said.lrr_id else (None, None)),
            )
            for one in (entries if isinstance(entries, list) else [entries])
        ]
    )
