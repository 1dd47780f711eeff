"""The Token of a push: what is hashed, in which order, with which spelling of the key.

    Token = hex( SHA-256( body elements + query elements + key ) )

Body elements are values of the report run together; query elements are
`LrnDevEui=…&LrnFPort=…&LrnInfos=…&AS_ID=…&Time=…` with decoded values, in this order whatever the wire's.

The token is weak. The values have no separator between them, and the key stands at the end: FCntUp 1 with
payload `0001` hashes as FCntUp 100 with payload `01`. So counters must be canonical, the values must agree
with the signed `Lrn…` ones, and a delivery is identified by its signed text. RSSI, DevAddr, AppSKey,
positions and CustomerData are *not* covered: TLS alone protects them.

Only `PushRejected` leaves the functions that look at a push, for any bytes at all.
Source: ThingPark LRC–AS tunnel interface, security of the reports; KPN LoRa reference (token verification).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from receiver.errors import IdentifierError, PushRejected, Reason
from receiver.lorawan.frame_counter import F_CNT_MAX, F_PORT_MAX, parse_canonical
from receiver.thingpark.body import UPLINK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from receiver.thingpark.body import Body, Value
    from receiver.thingpark.signed_query import SignedQuery


_DEV_EUI_TEXT = re.compile(r"[\x21-\x7e]{1,64}\Z")
"""Wider than a DevEUI: it must equal the signed LrnDevEui, which is all that the token needs. What the network
signs under an identifier of another form is stored and flagged, not lost."""

_CUSTOMER_ID = re.compile(r"[0-9A-Za-z._-]{1,64}\Z")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})*\Z")


_DOWN_COUNTERS = ("FCntDn", "AFCntDn", "NFCntDn")  # LoRaWAN 1.1 has the latter two in place of the first

_COVERED: Mapping[str, frozenset[str]] = {
    "DevEUI_uplink": frozenset({"FPort", "FCntUp", "payload_hex"}),
    "DevEUI_downlink_Sent": frozenset({"FPort", *_DOWN_COUNTERS}),
    "DevEUI_location": frozenset(),
    "DevEUI_notification": frozenset(),
}
"""What the token covers besides CustomerID and DevEUI. Only these must be canonical: an odd value in another
field is no reason to lose a report that is proved. Of other kinds it is not known, so what is odd there is
left out of the readings that are tried."""


class TokenElements(NamedTuple):
    """The values of a report that its token covers, as spelled. None: the report has no such value."""

    kind: str
    customer_id: str
    dev_eui: str
    f_port: str | None
    f_cnt_up: str | None
    f_cnt_down: str | None
    payload_hex: str
    is_join_request: bool


class TokenMatch(NamedTuple):
    """Which key made the token, and the text it was made over (without the key)."""

    key_index: int
    signed_text: bytes
    delivery_id: bytes
    """16 bytes that identify the delivery: a digest of its signed text, so that no key is needed to know it again."""


def read_token_elements(body: Body) -> TokenElements:
    """Give the values of the report that its token covers.

    Raises:
        PushRejected: `MALFORMED_BODY`: DevEUI or FCntUp is missing, a number that the token covers is not
            canonical or out of range, or payload_hex is not whole bytes of hex.
    """
    members = body.members
    kind = body.kind
    if kind == UPLINK and (usual := _usual_uplink(members)) is not None:
        return usual
    dev_eui = _text(members, "DevEUI")
    if dev_eui is None:
        if kind.startswith("DevEUI_"):
            _malformed_body(f"DevEUI is missing from the {kind}.")
        dev_eui = ""
    elif not _DEV_EUI_TEXT.match(dev_eui):
        _malformed_body(f"DevEUI is {dev_eui[:40]!r}, which is no identifier.")
    customer_id = _text(members, "CustomerID") or ""
    if customer_id and not _CUSTOMER_ID.match(customer_id):
        _malformed_body("CustomerID is not a customer number.")
    covered = _COVERED.get(kind)
    f_port = _canonical(members, "FPort", F_PORT_MAX, covered)
    f_cnt_up = _canonical(members, "FCntUp", F_CNT_MAX, covered)
    f_cnt_down = None
    if covered is None or not covered.isdisjoint(_DOWN_COUNTERS):
        down_counters = (_canonical(members, name, F_CNT_MAX, covered) for name in _DOWN_COUNTERS)
        f_cnt_down = next((text for text in down_counters if text is not None), None)
    payload_hex = _payload_hex(members, covered)
    is_join_request = kind == UPLINK and f_cnt_up is None and not payload_hex
    if kind == UPLINK and f_cnt_up is None and payload_hex:
        _malformed_body("FCntUp is missing from an uplink that has a payload.")
    return TokenElements(kind, customer_id, dev_eui, f_port, f_cnt_up, f_cnt_down, payload_hex, is_join_request)


_USUAL_UPLINK = re.compile(
    r"[0-9A-Fa-f]{16}\|[0-9A-Za-z._-]{0,64}\|(?:[1-9]?[0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5])\|(?:0|[1-9][0-9]{0,8})\|"
    r"(?:[0-9A-Fa-f]{2})*\Z"
)
"""The values of an uplink, each of its form, with a bar between them; what is longer is looked at one by one."""


def _usual_uplink(members: Mapping[str, Value]) -> TokenElements | None:
    """Give the values of an uplink that has all of them in order, with one look; else None."""
    try:
        dev_eui, f_port, f_cnt_up = members["DevEUI"], members["FPort"], members["FCntUp"]
        customer_id, payload_hex = members.get("CustomerID", ""), members.get("payload_hex", "")
        values = "|".join((dev_eui, customer_id, f_port, f_cnt_up, payload_hex))  # type: ignore[arg-type]  # noqa: FLY002 - which raises for what is no text
    except (KeyError, TypeError):
        return None
    if not _USUAL_UPLINK.match(values):
        return None
    return TokenElements(UPLINK, customer_id, dev_eui, f_port, f_cnt_up, None, payload_hex, False)  # type: ignore[arg-type]


def _malformed_body(detail: str) -> NoReturn:
    raise PushRejected(Reason.MALFORMED_BODY, detail)


def _text(members: object, name: str) -> str | None:
    value = members.get(name)  # type: ignore[attr-defined]
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        _malformed_body(f"{name} is not a single value.")
    return value


def _canonical(members: object, name: str, maximum: int, covered: frozenset[str] | None) -> str | None:
    if covered is not None and name not in covered:
        return None
    try:
        text = _text(members, name)
        if text is not None:
            parse_canonical(text, maximum)
    except IdentifierError as exc:
        if covered is None:
            return None
        _malformed_body(f"{name} is {exc}")
    except PushRejected:
        if covered is None:
            return None
        raise
    return text


def _payload_hex(members: object, covered: frozenset[str] | None) -> str:
    if covered is not None and "payload_hex" not in covered:
        return ""
    text = members.get("payload_hex") if covered is None else _text(members, "payload_hex")  # type: ignore[attr-defined]
    if not isinstance(text, str):
        return ""
    if _HEX.match(text):
        return text
    if covered is None:
        return ""
    _malformed_body(f"payload_hex has {len(text)} characters, which are not whole bytes of hexadecimal digits.")


def verify_query_agrees(query: SignedQuery, elements: TokenElements) -> None:
    """Hold the report's DevEUI and FPort against the signed `LrnDevEui` and `LrnFPort`.

    The case of a DevEUI does not matter (locations have it in lower case). A report without FPort goes with
    `LrnFPort` 0 or empty; kinds whose token has no FPort may carry any.

    Raises:
        PushRejected: `QUERY_BODY_MISMATCH`.
    """
    if elements.dev_eui and query.lrn_dev_eui.upper() != elements.dev_eui.upper():
        raise PushRejected(
            Reason.QUERY_BODY_MISMATCH,
            f"LrnDevEui is {query.lrn_dev_eui[:40]!r} but the report is of DevEUI {elements.dev_eui!r}.",
        )
    if elements.f_port is not None:
        agrees = query.lrn_f_port == elements.f_port
    elif elements.kind == UPLINK:
        agrees = query.lrn_f_port in {"0", ""}
    else:
        agrees = len(query.lrn_f_port) <= 3
    if not agrees:
        raise PushRejected(
            Reason.QUERY_BODY_MISMATCH,
            f"LrnFPort is {query.lrn_f_port[:40]!r} but the report's FPort is {elements.f_port or 'absent'}.",
        )


def body_element_texts(elements: TokenElements) -> tuple[str, ...]:
    """Give the body's part of the hashed text: the documented one first, then the other readings.

    Reproduced with published pushes: uplink, downlink_Sent, location (DevEUI in lower case). From
    documentation without a published push: an uplink without FPort (0), a notification. UNSURE, so every
    reading is accepted: join requests, downlink_Rejected, multicast_summary, alarms, cellular, unknown kinds.
    """
    customer, dev_eui = elements.customer_id, elements.dev_eui
    port, up, down, payload = elements.f_port, elements.f_cnt_up, elements.f_cnt_down, elements.payload_hex
    match elements.kind:
        case "DevEUI_uplink":
            head = f"{customer}{dev_eui}"
            if elements.is_join_request:
                return (f"{head}{port or 0}", f"{head}{port or 0}0", head)
            first = f"{head}{port or 0}{up}{payload}"
            return (first,) if port is not None else (first, f"{head}{up}{payload}")
        case "DevEUI_downlink_Sent":
            return (
                f"{customer}{dev_eui}{port or 0}{down or 0}",
                f"{customer}{dev_eui}{port or ''}{down or ''}",
            )
        case "DevEUI_location":
            return (f"{customer}{dev_eui.lower()}",)
        case _:
            texts: dict[str, None] = {}
            for spelling in (dev_eui, dev_eui.lower(), dev_eui.upper()):
                head = f"{customer}{spelling}"
                texts[head] = None
                if elements.kind != "DevEUI_notification":
                    texts[f"{head}{port or ''}"] = None
                    texts[f"{head}{port or 0}"] = None
                    texts[f"{head}{port or ''}{down or ''}"] = None
                    texts[f"{head}{port or 0}{down or 0}"] = None
                    texts[f"{head}{port or 0}{up or ''}{payload}"] = None
            return tuple(texts)


def key_spellings(text: str) -> tuple[bytes, ...]:
    """Give the spellings of a tunnel key to hash with: lower case without dashes first, then as typed.

    A key configured in upper case signs in lower case; documentation examples sign as printed; KPN's retired
    developer portal hashed a dashed UUID with its dashes. So: each of both, with and without dashes.
    """
    plain = text.replace("-", "")
    spellings = dict.fromkeys((plain.lower(), text, text.lower(), plain))
    return tuple(spelling.encode() for spelling in spellings)


def verify_token(query: SignedQuery, elements: TokenElements, keys: Sequence[Sequence[bytes]]) -> TokenMatch:
    """Give which of `keys` (each with its spellings) made the token, comparing in constant time.

    Every reading, key and spelling is tried, also after a match, so that the time tells nothing.

    Raises:
        PushRejected: `TOKEN_MISMATCH`.
    """
    token = bytes.fromhex(query.token)
    signed_elements = query.signed_elements
    match: TokenMatch | None = None
    for body_text in body_element_texts(elements):
        signed_text = (body_text + signed_elements).encode()
        started = hashlib.sha256(signed_text)
        for index, spellings in enumerate(keys):
            for spelling in spellings:
                candidate = started.copy()
                candidate.update(spelling)
                if hmac.compare_digest(candidate.digest(), token) and match is None:
                    match = TokenMatch(index, signed_text, started.digest()[:16])
    if match is None:
        raise PushRejected(
            Reason.TOKEN_MISMATCH,
            f"The token of this {elements.kind} was made with none of the {len(keys)} live keys of the connection,"
            " or over other values.",
        )
    return match


def sign_push(body_elements: str, *, query_elements: str, key: str) -> str:
    """Give the Token over `body_elements` and `query_elements` as the network makes it: 64 lower-case hex digits.

    The key is hashed exactly as given.
    """
    return hashlib.sha256(f"{body_elements}{query_elements}{key}".encode()).hexdigest()
