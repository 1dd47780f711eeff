"""The members of every kind of report, in the order and under the names the network gives them.

These functions decide nothing and draw nothing: all that varies is in their arguments.
Source: ThingPark LRC–AS tunnel interface, reports; member order after reports pushed in public.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta, timezone
from enum import StrEnum
from typing import TYPE_CHECKING

from receiver.simulator.body_writer import write_json_text

if TYPE_CHECKING:
    from datetime import datetime

    from receiver.simulator.body_writer import Member
    from receiver.simulator.device import Frame, SimulatedDevice
    from receiver.simulator.radio import ComputedFix, Heard, Reception

    Members = dict[str, Member]

MODEL_CFG = "0"


class CustomerDataForm(StrEnum):
    """The forms in which CustomerData was seen."""

    OBJECT = "object"
    """An object; in XML its JSON text."""
    JSON_TEXT = "json-text"
    PSEUDO_JSON = "pseudo-json"
    """Text with single quotes in place of double ones."""
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Letterhead:
    """What every report of one network has in common."""

    customer_id: str
    lrc_id: str
    utc_offset: timedelta
    customer_data: CustomerDataForm

    def time(self, at: datetime) -> str:
        """Spell a time as the network does: its own offset, one to three digits of a second."""
        local = at.astimezone(timezone(self.utc_offset)).isoformat(timespec="milliseconds")
        stem, _, rest = local.partition(".")
        fraction = rest[:3].rstrip("0") or "0"
        return f"{stem}.{fraction}{rest[3:]}"

    def owner(self, device: SimulatedDevice) -> Members:
        """Give CustomerID and, in its form, CustomerData."""
        owner: Members = {"CustomerID": self.customer_id}
        profile: Member = {"pro": device.sensor.profile, "ver": "1"}
        whole: Members = {"alr": profile, "loc": None, "tags": [], "doms": [], "name": device.name}
        match self.customer_data:
            case CustomerDataForm.OBJECT:
                owner["CustomerData"] = whole
            case CustomerDataForm.JSON_TEXT:
                owner["CustomerData"] = write_json_text(whole)
            case CustomerDataForm.PSEUDO_JSON:
                pseudo: Members = {"alr": profile, "name": device.name}
                owner["CustomerData"] = write_json_text(pseudo).replace('"', "'")
            case CustomerDataForm.ABSENT:
                pass
        return owner


def to_milliseconds(at: datetime) -> datetime:
    """Give `at` as far as a report can tell it: the rest of the microseconds is cut off."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def uplink(
    letterhead: Letterhead,
    device: SimulatedDevice,
    frame: Frame,
    *,
    payload: bytes | None,
    mic_hex: str,
    reception: Reception,
    late: bool,
    confirmed: bool,
    ack: bool,
    lrr_as_object: bool,
    app_s_key_field: str | None,
    payload_encryption: bool | None,
) -> Members:
    """Give the members of a DevEUI_uplink; `payload` is as pushed, encrypted or not, and None: no member at all."""
    members: Members = {"Time": letterhead.time(frame.received_at), "DevEUI": device.dev_eui}
    if frame.f_port is not None:
        members["FPort"] = frame.f_port
    members |= {"FCntUp": frame.f_cnt_up, "LostUplinksAS": device.lost_uplinks, "ADRbit": 1}
    if ack:
        members["ACKbit"] = 1
    members |= {"MType": 4 if confirmed else 2, "FCntDn": device.f_cnt_down}
    if payload is not None:
        members["payload_hex"] = payload.hex()
    members |= {"mic_hex": mic_hex, "Lrcid": letterhead.lrc_id}
    members |= _reception(reception, late=late, lrr_as_object=lrr_as_object)
    if device.fix is not None:
        members |= _fix(letterhead, device.fix)
    members |= letterhead.owner(device)
    if reception.heard:
        best: Members = {"doms": [], "name": reception.heard[0].gateway.name}
        members["BaseStationData"] = best
    members |= {"ModelCfg": MODEL_CFG, "InstantPER": 0.0, "MeanPER": 0.019608}
    if app_s_key_field is not None:
        members["AppSKey"] = app_s_key_field
    members |= {"DevAddr": frame.dev_addr, "AckRequested": int(confirmed), "TxPower": 14.0, "NbTrans": 1}
    members |= {"Frequency": reception.frequency_mhz, "DynamicClass": device.device_class}
    if payload_encryption is not None:
        members["PayloadEncryption"] = int(payload_encryption)
    return members


def join_request(
    letterhead: Letterhead, device: SimulatedDevice, *, at: datetime, raw: bytes, reception: Reception
) -> Members:
    """Give the members of the join-request form of DevEUI_uplink; `Spfact` is so spelled in it."""
    members: Members = {
        "Time": letterhead.time(at),
        "DevEUI": device.dev_eui,
        "rawJoinRequest": raw.hex(),
        "MType": 0,
        "mic_hex": raw[-4:].hex(),
        "airtime": 1.318912,
    }
    members |= _reception(reception, late=False, lrr_as_object=False)
    members["Spfact"] = members.pop("SpFact")
    return members | letterhead.owner(device)


def downlink_sent(
    letterhead: Letterhead,
    device: SimulatedDevice,
    *,
    at: datetime,
    f_port: int,
    f_cnt_down: int,
    reception: Reception,
    slot: int,
    correlation_id: str | None,
    causes: tuple[str, str, str] | None = None,
) -> Members:
    """Give the members of a DevEUI_downlink_Sent: sent in RX1 or RX2 (`slot`), or (0) in neither.

    Causes of slots 1, 2 and 3, if none are given: C0 the LRC chose RX2, DA the duty cycle forbade it, 00 none.
    """
    causes = causes or ("00" if slot == 1 else "C0", "DA" if slot == 0 else "00", "00")
    members: Members = {
        "Time": letterhead.time(at),
        "DevEUI": device.dev_eui,
        "FPort": f_port,
        "FCntDn": f_cnt_down,
        "FCntUp": max(0, device.f_cnt_up - 1),
        "Lrcid": letterhead.lrc_id,
        "SpFact": reception.spreading_factor,
        "SubBand": reception.sub_band,
        "Channel": reception.channel,
        "Lrrid": reception.heard[0].gateway.lrr_id if reception.heard else "",
        "DeliveryStatus": int(slot > 0),
    }
    members |= {f"DeliveryFailedCause{number}": cause for number, cause in enumerate(causes, start=1)}
    members |= letterhead.owner(device)
    if correlation_id is not None:
        members["CorrelationID"] = correlation_id
    return members | {
        "ModelCfg": MODEL_CFG,
        "TransmissionSlot": slot,
        "Frequency": reception.frequency_mhz,
    }


def downlink_rejected(
    letterhead: Letterhead,
    device: SimulatedDevice,
    *,
    at: datetime,
    f_port: int,
    cause: str,
    correlation_id: str | None,
) -> Members:
    """Give the members of a DevEUI_downlink_Rejected."""
    members: Members = {
        "Time": letterhead.time(at),
        "DevEUI": device.dev_eui,
        "FPort": f_port,
        "DeliveryStatus": 350,
        "DownlinkRejectionCause": cause,
    }
    if correlation_id is not None:
        members["CorrelationID"] = correlation_id
    return members | letterhead.owner(device)


def location(letterhead: Letterhead, device: SimulatedDevice, fix: ComputedFix, *, at: datetime) -> Members:
    """Give the members of a DevEUI_location; its DevEUI is in lower case."""
    members: Members = {
        "DevEUI": device.dev_eui.lower(),
        "DevAddr": device.dev_addr,
        "Lrcid": letterhead.lrc_id,
        "Time": letterhead.time(at),
    }
    return members | _fix(letterhead, fix) | letterhead.owner(device) | {"ModelCfg": MODEL_CFG}


def notification(
    letterhead: Letterhead,
    device: SimulatedDevice,
    *,
    at: datetime,
    type_: str,
    var1: str = "",
    var2: str | None = None,
) -> Members:
    """Give the members of a DevEUI_notification: `join`, `reset` or `devstatusans`."""
    members: Members = {
        "Time": letterhead.time(at),
        "DevEUI": device.dev_eui,
        "Lrcid": letterhead.lrc_id,
        "DevAddr": device.dev_addr,
        "FCntDn": device.f_cnt_down,
        "Type": type_,
        "Var1": var1,
    }
    if var2 is not None:
        members["Var2"] = var2
    return members | letterhead.owner(device) | {"ModelCfg": MODEL_CFG}


def multicast_summary(
    letterhead: Letterhead,
    device: SimulatedDevice,
    *,
    at: datetime,
    f_port: int,
    f_cnt_down: int,
    gateways: int,
    failed: int,
    correlation_id: str | None,
    is_partial: bool = False,
) -> Members:
    """Give the members of a DevEUI_multicast_summary; `device` stands for the multicast group.

    `is_partial`: the gateways that failed will try again.
    """
    members: Members = {
        "Time": letterhead.time(at),
        "DevEUI": device.dev_eui,
        "DevAddr": device.dev_addr,
        "FPort": f_port,
        "FCntDn": f_cnt_down,
        "Lrcid": letterhead.lrc_id,
        "TransmissionStatus": "PARTIAL" if is_partial else "ABORTED" if failed else "SUCCESS",
        "LrrCnt": gateways,
        "LrrSuccessCnt": gateways - failed,
        "LrrFailedCnt": failed,
    }
    if failed:
        members["LrrFailedDistribution"] = f"D0={failed}"
    members |= letterhead.owner(device)
    if correlation_id is not None:
        members["CorrelationID"] = correlation_id
    return members


def alarm(letterhead: Letterhead, device: SimulatedDevice, *, at: datetime) -> Members:
    """Give the members of a DevEUI_alarm; its times have names of their own."""
    members: Members = {
        "ID": 4,
        "State": 1,
        "CreationTime": letterhead.time(at - timedelta(minutes=11)),
        "LastUpdateTime": letterhead.time(at),
        "Occurrence": 1,
        "Acked": 0,
        "AddInfo1": "69",
        "DevEUI": device.dev_eui,
    }
    return members | letterhead.owner(device)


def cellular_session(letterhead: Letterhead, device: SimulatedDevice, *, at: datetime) -> Members:
    """Give the members of a stand-in for cellular reports, whose real bodies nobody has published."""
    digits = int(device.dev_eui, 16)
    members: Members = {
        "Time": letterhead.time(at),
        "DevEUI": device.dev_eui,
        "SessionEvent": "create",
        "RAN": "CELLULAR",
        "RAT": "LTE-M",
        "APN": "sim.example",
        "IMEI": f"00{digits % 10**13:013d}",
        "IMSI": f"00101{digits % 10**10:010d}",  # 001-01: the test network of 3GPP TS 36.508
        "EPSBearerID": 5,
    }
    return members | letterhead.owner(device)


def never_seen(letterhead: Letterhead, device: SimulatedDevice, *, at: datetime) -> Members:
    """Give the members of a report of a kind that does not exist (yet)."""
    members: Members = {
        "Time": letterhead.time(at),
        "DevEUI": device.dev_eui,
        "Something": {"Level": -3.25, "Steps": [{"Number": 1}, {"Number": 2}]},
        "Flag": 1,
    }
    return members | letterhead.owner(device)


def _reception(reception: Reception, *, late: bool, lrr_as_object: bool) -> Members:
    members: Members = {}
    heard = reception.heard
    if heard:
        best = heard[0]
        members |= {"LrrRSSI": best.rssi_dbm, "LrrSNR": best.snr_db, "LrrESP": best.esp_dbm}
    members |= {
        "SpFact": reception.spreading_factor,
        "SubBand": reception.sub_band,
        "Channel": reception.channel,
        "DevLrrCnt": len(heard),
    }
    if heard:
        members["Lrrid"] = heard[0].gateway.lrr_id
    members["Late"] = int(late)
    if heard:
        members |= {"LrrLAT": heard[0].gateway.latitude, "LrrLON": heard[0].gateway.longitude}
    listed: list[Member] = [_lrr(entry) for entry in heard]
    lrrs: Members = {"Lrr": listed[0] if lrr_as_object and len(listed) == 1 else listed}
    return members | {"Lrrs": lrrs}


def _lrr(entry: Heard) -> Members:
    return {
        "Lrrid": entry.gateway.lrr_id,
        "Chain": 0,
        "LrrRSSI": entry.rssi_dbm,
        "LrrSNR": entry.snr_db,
        "LrrESP": entry.esp_dbm,
    }


def _fix(letterhead: Letterhead, fix: ComputedFix) -> Members:
    return {
        "NwGeolocAlgo": 0,
        "NwGeolocAlgoUsed": 0,
        "DevLocTime": letterhead.time(fix.at),
        "DevLAT": fix.latitude,
        "DevLON": fix.longitude,
        "DevAlt": 0.0,
        "DevLocRadius": fix.radius_m,
        "DevAltRadius": 0.0,
        "DevUlFCntUpUsed": fix.f_cnt_up_used,
        "DevLocDilution": 0.452809,
        "DevAltDilution": 0.0,
        "DevNorthVel": 0.0,
        "DevEastVel": 0.0,
    }
