"""How the network judges a downlink request: its own reading of the raw query, its checks in their order.

None of it is shared with what builds requests, so that it is a second opinion of it. It is strict where the sources
leave room: a plus sign that is not percent-encoded is a space, as servers that read forms have it, and hexadecimal
digits are upper case, as the network's schema has them.

Source: ThingPark LRC–AS tunnel interface 7.3, downlink: parameters, Token, codes 100 to 121 and their texts.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_plus

from receiver.lorawan.frame_counter import F_CNT_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_PAYLOAD_BYTES = 250
"""Source: the schema of Payload, 1 to 250 bytes in hexadecimal."""

MAX_FCNT_GAP = 16_384
"""How far a counter may be ahead. Source: LoRaWAN L2 1.0.3 section 4.3.1.5, MAX_FCNT_GAP."""

F_PORTS = range(1, 225)
"""Source: the text on FPort; the schema beside it goes to 225."""

BYTES_BY_DATA_RATE = (51, 51, 51, 115, 222, 222, 222, 222)
"""DR0 to DR7. Source: LoRaWAN RP002-1.0.3, EU863-870, maximum payload size N without a repeater."""

_DEV_EUI = re.compile(r"[0-9A-F]{16}\Z")
_CORRELATION_ID = re.compile(r"[0-9A-F]{16}\Z")
_TOKEN = re.compile(r"[0-9a-f]{64}\Z")
_PAYLOAD = re.compile(r"(?:[0-9A-F]{2})+\Z")
_NUMBER = re.compile(r"[0-9]{1,10}\Z")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(Z|[+-]\d\d:\d\d)?\Z", re.ASCII)

_CODES = {  # message of version 2, text of version 1
    100: ("Invalid DevEUI", "Invalid DevEUI"),
    101: ("Downlink counter value already used", "Downlink counter value already used. Expected={expected}"),
    102: (
        "Downlink counter value increment too large",
        "Downlink counter value increment too large. Expected={expected}",
    ),
    103: ("Confirmed downlink is not authorized for this device",) * 2,
    104: ("Invalid LoRa port",) * 2,
    105: ("Security Check: AS_ID is mandatory", "Security Check. AS_ID is mandatory"),
    106: ("Security Check: Missing timestamp", "Security Check. missing timestamp"),
    107: ("Security Check: Bad AS_ID", "Security Check. bad AS_ID"),
    108: ("Security Check: Server Decrypt Error", "Security Check. Server Decrypt Error"),
    109: ("Security Check: Malformed ISO 8601 time", "Security Check. malformed ISO8601 time"),
    110: ("Security Check: Invalid downlink frame timestamp", "Security Check. Invalid downlink frame timestamp"),
    111: ("Security Check: Bad token", "Security Check. bad token"),
    112: ("Validity time expired or invalid", "ValidityTime expired or invalid"),
    113: ("Payload too big or invalid size",) * 2,
    114: ("Downlink transmission disabled",) * 2,
    115: ("No Base Station Available",) * 2,
    116: ("Invalid payload size according to currents DR",) * 2,
    117: ("Invalid Correlation ID. Must be a 64 bits hexadecimal value encoded as string",) * 2,
    118: ("Invalid payload. Must not be empty",) * 2,
    119: ("Payload must be provided encrypted with the downlink counter value",) * 2,
    121: ("Token bucket limit reached",) * 2,
}


class LrcRefusal(NamedTuple):
    """Why a request is not taken; the next counter goes with 101 and 102, sizes with 113 and 116."""

    code: int
    expected: int | None = None
    max_size: int | None = None
    data_rate: int | None = None

    @property
    def message(self) -> str:
        """What version 2 says."""
        return _CODES[self.code][0]

    @property
    def text(self) -> str:
        """What version 1 says."""
        return _CODES[self.code][1].format(expected=self.expected)


class LrcRequest(NamedTuple):
    """A request that was taken. `payload` as it came, encrypted if there is a counter; None: flush only."""

    dev_eui: str
    f_port: int | None
    payload: bytes | None
    f_cnt_down: int | None
    confirmed: bool
    flush: bool
    valid_until: datetime | None
    correlation_id: str | None

    def __repr__(self) -> str:
        return f"LrcRequest({self.dev_eui}, f_port={self.f_port}, f_cnt_down={self.f_cnt_down})"


@dataclass(frozen=True, slots=True)
class LrcSecurity:
    """What the network asks of an application server. `key` is hashed as it stands here.

    `takes_bare_time`: a Time without an offset counts as UTC, as KPN's servers have it; else it is malformed.
    """

    as_id: str
    key: str
    max_deviation: timedelta | None = timedelta(seconds=60)
    takes_bare_time: bool = True

    def __repr__(self) -> str:
        return f"LrcSecurity(as_id={self.as_id!r}, key=…)"


class DeviceStanding(NamedTuple):
    """How a device stands with the network: what its plan allows, and which counter comes next.

    `has_key`: the network holds its AppSKey and encrypts by itself. `data_rate`: of the slot it will be sent in.
    """

    has_key: bool
    expected: int
    may_confirm: bool = True
    is_enabled: bool = True
    has_gateway: bool = True
    data_rate: int = 5


def read_query(raw: str) -> list[tuple[str, str]]:
    """Give the parameters decoded, in the order in which they were sent."""
    pairs = (part.partition("=") for part in raw.split("&") if part)
    return [(unquote_plus(name), unquote_plus(value)) for name, _, value in pairs]


def compute_token(parameters: Sequence[tuple[str, str]], key: str) -> str:
    """Give the Token of a request: over all parameters but Token, decoded and in their order, and the key's text."""
    signed = "&".join(f"{name}={value}" for name, value in parameters if name != "Token")
    return hashlib.sha256((signed + key).encode()).hexdigest()


def judge_security(parameters: Sequence[tuple[str, str]], security: LrcSecurity, now: datetime) -> LrcRefusal | None:
    """Say why a request is not that of the application server, or None: 1. AS_ID, 2. Time, 3. Token."""
    values = dict(parameters)
    as_id = values.get("AS_ID", "")
    if not as_id:  # 1
        return LrcRefusal(105)
    if as_id != security.as_id:
        return LrcRefusal(107)
    if not values.get("Time"):  # 2
        return LrcRefusal(106)
    at = _read_time(values["Time"], takes_bare=security.takes_bare_time)
    if at is None:
        return LrcRefusal(109)
    if security.max_deviation is not None and abs(at - now) > security.max_deviation:
        return LrcRefusal(110)
    token = values.get("Token", "")
    if not _TOKEN.match(token):  # 3
        return LrcRefusal(108)
    if not hmac.compare_digest(compute_token(parameters, security.key), token):
        return LrcRefusal(111)
    return None


def judge_request(
    parameters: Sequence[tuple[str, str]], device: DeviceStanding, now: datetime
) -> LrcRequest | LrcRefusal:
    """Give what is asked for, or why it is not taken.

    1. FPort. 2. Payload. 3. CorrelationID. 4. Confirmed. 5. The frame counter. 6. ValidityTime. 7. What the plan
    allows. The token bucket comes after all of them, and is not looked at here.
    """
    values = dict(parameters)
    counter = values.get("FCntDn", values.get("AFCntDn"))
    refusal = _judge_form(values, device)  # 1 to 3
    if refusal is None and values.get("Confirmed") == "1" and not device.may_confirm:  # 4
        refusal = LrcRefusal(103)
    if refusal is None and "Payload" in values:
        refusal = _judge_counter(counter, device)  # 5
    valid_until = _read_validity(values["ValidityTime"], now) if "ValidityTime" in values else None
    if refusal is None and "ValidityTime" in values and (valid_until is None or valid_until <= now):  # 6
        refusal = LrcRefusal(112)
    if refusal is None and not device.is_enabled:  # 7
        refusal = LrcRefusal(114)
    if refusal is None and not device.has_gateway:
        refusal = LrcRefusal(115)
    if refusal is not None:
        return refusal
    payload = values.get("Payload")
    return LrcRequest(
        dev_eui=values["DevEUI"],
        f_port=None if payload is None else int(values["FPort"]),
        payload=None if payload is None else bytes.fromhex(payload),
        f_cnt_down=None if payload is None or counter is None else int(counter),
        confirmed=values.get("Confirmed") == "1",
        flush=_flushes(values),
        valid_until=valid_until,
        correlation_id=values.get("CorrelationID"),
    )


def is_dev_eui(text: str) -> bool:
    """Say whether it is one as the schema has it, in upper case."""
    return _DEV_EUI.match(text) is not None


def _is_port(text: str) -> bool:
    return _NUMBER.match(text) is not None and int(text) in F_PORTS


def _flushes(values: Mapping[str, str]) -> bool:
    return values.get("FlushDownlinkQueue") == "1"


def _judge_form(values: Mapping[str, str], device: DeviceStanding) -> LrcRefusal | None:
    payload = values.get("Payload")
    if payload is not None and not _is_port(values.get("FPort", "")):  # 1
        return LrcRefusal(104)
    if not payload and (payload is not None or not _flushes(values)):  # 2
        return LrcRefusal(118)
    size = len(payload or "") // 2
    if payload and (not _PAYLOAD.match(payload) or size > MAX_PAYLOAD_BYTES):
        return LrcRefusal(113, max_size=MAX_PAYLOAD_BYTES)
    fits = BYTES_BY_DATA_RATE[device.data_rate]
    if size > fits:
        return LrcRefusal(116, max_size=fits, data_rate=device.data_rate)
    correlation_id = values.get("CorrelationID")
    if correlation_id is not None and not _CORRELATION_ID.match(correlation_id):  # 3
        return LrcRefusal(117)
    return None


def _judge_counter(text: str | None, device: DeviceStanding) -> LrcRefusal | None:
    """Say why a payload cannot go with this counter; without one the network encrypts."""
    if text is None:
        return None if device.has_key else LrcRefusal(119)
    if not _NUMBER.match(text) or int(text) > F_CNT_MAX or int(text) - device.expected >= MAX_FCNT_GAP:
        return LrcRefusal(102, expected=device.expected)
    return LrcRefusal(101, expected=device.expected) if int(text) < device.expected else None


def _read_time(text: str, *, takes_bare: bool) -> datetime | None:
    found = _TIME.match(text)
    if found is None or (found[1] is None and not takes_bare):
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _read_validity(text: str, now: datetime) -> datetime | None:
    """Read a moment, or a number of seconds from now."""
    if _NUMBER.match(text):
        return now + timedelta(seconds=int(text))
    return _read_time(text, takes_bare=True)
