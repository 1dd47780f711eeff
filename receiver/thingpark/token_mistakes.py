"""What goes wrong with tokens in the field: the known mistakes, each with what undoes it and what to do about it.

To undo a mistake gives values that may have been signed; whether they were, only the token tells.
Source: ThingPark LRC–AS tunnel interface (security of the reports); KPN LoRa reference (token verification).
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from itertools import product
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote

from receiver.thingpark.loose_push import SIGNED_PARAMETERS, QueryValues
from receiver.thingpark.token import key_spellings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from receiver.thingpark.loose_push import LoosePush, SignedValues

_TWA_ID = re.compile(r"(TWA_([0-9]{1,20})\.[0-9]{1,6}(?:\.AS)?)(?:-|\Z)", re.IGNORECASE)
_NOT_HEX = re.compile(r"^0[xX]|[^0-9A-Fa-f]")

MAX_LOST_ZEROS = 16
"""Zeros that a payload of digits alone may have lost when something took it for a number: 8 bytes."""

_MAX_EXPONENT = 12  # counters have 10 digits, customer numbers 9 or 10


class Mistake(NamedTuple):
    """A known mistake: a sentence that names it, what to do, and what undoes it (several ways, if unsure)."""

    code: str
    sentence: str
    advice: str
    undo: Callable[[LoosePush, SignedValues], Iterable[SignedValues]]


class KeyMistake(NamedTuple):
    """A known way to spell a tunnel key that no receiver expects; `spell` takes 32 lower-case hex digits."""

    code: str
    sentence: str
    advice: str
    spell: Callable[[str], tuple[bytes, ...]]


# --- what undoes each mistake


def _with_query(values: SignedValues, **changed: str) -> SignedValues:
    return values._replace(query=values.query._replace(**changed))


def _with_elements(values: SignedValues, **changed: str | None) -> SignedValues:
    return values._replace(elements=values.elements._replace(**changed))  # type: ignore[arg-type]


def _in_query(change: Callable[[str], str]) -> Callable[[LoosePush, SignedValues], Iterable[SignedValues]]:
    def undo(_push: LoosePush, values: SignedValues) -> Iterable[SignedValues]:
        return (values._replace(query=QueryValues(*map(change, values.query))),)

    return undo


def _encoded(push: LoosePush, values: SignedValues) -> Iterable[SignedValues]:
    yield values._replace(query=push.wire)
    yield values._replace(query=QueryValues(*(quote(value, safe="") for value in values.query)))
    yield _with_query(values, time=quote(values.query.time, safe="").lower().replace("t", "T", 1))


def _body_dev_eui(_push: LoosePush, values: SignedValues) -> Iterable[SignedValues]:
    dev_eui = values.elements.dev_eui
    for spelled in (dev_eui.lower(), dev_eui.upper()):
        # A location's reading makes lower case of whatever stands there; a notification's takes it as it is.
        kind = "DevEUI_notification" if values.elements.kind == "DevEUI_location" else values.elements.kind
        yield _with_elements(values, dev_eui=spelled, kind=kind)


def _query_dev_eui(_push: LoosePush, values: SignedValues) -> Iterable[SignedValues]:
    yield _with_query(values, lrn_dev_eui=values.query.lrn_dev_eui.lower())
    yield _with_query(values, lrn_dev_eui=values.query.lrn_dev_eui.upper())


def _body_f_port(_push: LoosePush, values: SignedValues) -> Iterable[SignedValues]:
    for f_port in (None, "0", values.query.lrn_f_port):
        yield _with_elements(values, f_port=f_port)


def _query_f_port(_push: LoosePush, values: SignedValues) -> Iterable[SignedValues]:
    for f_port in ("0", "", values.elements.f_port or "", "null"):
        yield _with_query(values, lrn_f_port=f_port)


def _whole_number(text: str) -> str:
    """Give `13` for `13.0`, `1.3e1` and `013`; what is no whole number stays as it is."""
    try:
        number = Decimal(text)
        if not number.is_finite() or number.adjusted() > _MAX_EXPONENT or number != int(number):
            return text
        return str(int(number))
    except InvalidOperation:
        return text


def _numbers(_push: LoosePush, values: SignedValues) -> Iterable[SignedValues]:
    elements = values.elements

    def restored(text: str | None) -> str | None:
        return text and _whole_number(text)

    yield _with_elements(
        values,
        customer_id=_whole_number(elements.customer_id),
        f_port=restored(elements.f_port),
        f_cnt_up=restored(elements.f_cnt_up),
        f_cnt_down=restored(elements.f_cnt_down),
    )


def _payload_spelling(_push: LoosePush, values: SignedValues) -> Iterable[SignedValues]:
    payload = values.elements.payload_hex
    plain = _NOT_HEX.sub("", payload)
    for spelled in (payload.lower(), payload.upper(), plain, plain.lower(), plain.upper()):
        yield _with_elements(values, payload_hex=spelled)


def _payload_zeros(_push: LoosePush, values: SignedValues) -> Iterable[SignedValues]:
    payload = values.elements.payload_hex
    digits = payload if payload.isascii() and payload.isdigit() else _whole_number(payload)
    if not digits.isascii() or not digits.isdigit():
        return
    for lost in range(MAX_LOST_ZEROS + 1):
        yield _with_elements(values, payload_hex="0" * lost + digits)
        yield _with_elements(values, payload_hex=digits + "0" * lost)


def _customer_id(_push: LoosePush, values: SignedValues) -> Iterable[SignedValues]:
    yield _with_elements(values, customer_id="")
    for text in (values.query.lrn_infos, values.query.as_id):
        twa = _TWA_ID.match(text)
        if twa:
            yield _with_elements(values, customer_id=twa[2])


def _other_as_ids(push: LoosePush, values: SignedValues) -> Iterator[str]:
    twa = _TWA_ID.match(values.query.lrn_infos)
    if twa:
        yield twa[1]
        yield twa[1].removesuffix(".AS") + ".AS"
    yield from push.as_ids
    yield from (values.query.as_id.lower(), values.query.as_id.upper())


def _as_id(push: LoosePush, values: SignedValues) -> Iterable[SignedValues]:
    for as_id in _other_as_ids(push, values):
        yield _with_query(values, as_id=as_id)


def _wire_order(push: LoosePush, values: SignedValues) -> Iterable[SignedValues]:
    yield values._replace(order=push.wire_order)
    yield values._replace(order=tuple(sorted(values.order, key=lambda index: SIGNED_PARAMETERS[index])))


def _lost_parameter(push: LoosePush, values: SignedValues) -> Iterable[SignedValues]:
    elements = values.elements
    fillings = {
        "LrnDevEui": (elements.dev_eui, elements.dev_eui.lower()),
        "LrnFPort": (elements.f_port or "0", ""),
        "LrnInfos": ("", "null"),
        "AS_ID": (*dict.fromkeys(_other_as_ids(push, values)), ""),
        "Time": ("",),  # cannot be known again
    }
    choices = [
        fillings[name] if name in push.missing else (value,)
        for name, value in zip(SIGNED_PARAMETERS, values.query, strict=True)
    ]
    for query in product(*choices):
        yield values._replace(query=QueryValues(*query))


def _other_formula(_push: LoosePush, values: SignedValues) -> Iterable[SignedValues]:
    elements = values.elements
    parts = (elements.f_port or "", elements.f_cnt_up or "", elements.f_cnt_down or "", elements.payload_hex)
    texts: dict[str, None] = {}
    for customer, *taken in product((elements.customer_id, ""), *((part, "") for part in parts)):
        texts[f"{customer}{elements.dev_eui}{''.join(taken)}"] = None
    yield values._replace(body_texts=tuple(texts))


LOST_PARAMETER = Mistake(
    "parameter-lost",
    "A parameter was signed that did not arrive with the query, or arrived empty.",
    "Look for what rewrites URLs between the network and this receiver; a proxy must pass the query on as it is.",
    _lost_parameter,
)

MISTAKES: tuple[Mistake, ...] = (
    Mistake(
        "query-encoded-twice",
        "The query was percent-encoded twice on its way.",
        "Let the proxy pass the query on as it came, not encoded again. `receiver rejections replay --repair-query`"
        " takes such pushes.",
        _in_query(unquote),
    ),
    Mistake(
        "plus-became-space",
        "A `+` of the query was turned into a space on its way: something read the query as a form.",
        "Let the proxy pass the query on as it came, undecoded. `receiver rejections replay --repair-query` takes"
        " such pushes.",
        _in_query(lambda value: value.replace(" ", "+")),
    ),
    Mistake(
        "space-signed-for-plus",
        "The token was made over a space where the query has a `+`: its sender read its own Time as a form.",
        "Correct the sender: the `+` of a time offset is signed as a `+`. ThingPark itself does so.",
        _in_query(lambda value: value.replace("+", " ")),
    ),
    Mistake(
        "query-signed-encoded",
        "The token was made over percent-encoded values; it must be over decoded ones.",
        "Correct the sender: sign first, and encode what goes into the URL after that.",
        _encoded,
    ),
    Mistake(
        "body-dev-eui-case",
        "The token was made over the report's DevEUI in the other case.",
        "Something changed the case of DevEUI in the body, or the sender signs another spelling than it sends"
        " (locations are signed in lower case, all else as it stands).",
        _body_dev_eui,
    ),
    Mistake(
        "query-dev-eui-case",
        "The token was made over LrnDevEui in the other case.",
        "Something changed the case of LrnDevEui in the query, or the sender signs another spelling than it sends.",
        _query_dev_eui,
    ),
    Mistake(
        "body-f-port",
        "The token was made with another FPort than the body has: absent, 0, or that of LrnFPort.",
        "Something added FPort to the body or took it away; the body must arrive as the network sent it.",
        _body_f_port,
    ),
    Mistake(
        "query-f-port",
        "The token was made with another LrnFPort than the query has: empty, 0, or the body's FPort.",
        "Something rewrote LrnFPort; a proxy must pass the query on as it is.",
        _query_f_port,
    ),
    Mistake(
        "numbers-rewritten",
        "The body was read and written again on its way: a number is spelled otherwise than it was signed"
        " (`13.0` for `13`).",
        "Let what stands in between pass the body on byte for byte; a rewritten body also loses what no token covers.",
        _numbers,
    ),
    Mistake(
        "payload-rewritten",
        "payload_hex is spelled otherwise than it was signed: in the other case, or with separators.",
        "Let what stands in between pass the body on byte for byte.",
        _payload_spelling,
    ),
    Mistake(
        "payload-lost-zeros",
        "payload_hex has lost zeros: something took its digits for a number.",
        "Let what stands in between pass the body on byte for byte.",
        _payload_zeros,
    ),
    Mistake(
        "customer-id",
        "The token was made without the body's CustomerID, or with the one of LrnInfos that the body lacks.",
        "Something added CustomerID to the body or took it away, or the sender leaves it out of the hash.",
        _customer_id,
    ),
    Mistake(
        "as-id",
        "The token was made over another AS_ID than the query has: the connection's, or the network's own (TWA_…).",
        "Something rewrote AS_ID, or the sender signs another AS_ID than it sends: make the two alike at the portal.",
        _as_id,
    ),
    Mistake(
        "order-of-the-wire",
        "The token was made over the query in the order of the wire or of the alphabet.",
        "Correct the sender: the order is LrnDevEui, LrnFPort, LrnInfos, AS_ID, Time, however they are sent.",
        _wire_order,
    ),
    Mistake(
        "other-formula",
        "The token was made over other values of the body than are documented for this kind of report.",
        "If this is a real network, tell us the kind and the network: its formula can be added.",
        _other_formula,
    ),
)
"""All of what is tried, alone and in pairs, in the order of undoing it; where two say the same, the first is named."""


def _grouped(digits: str, *sizes: int) -> str:
    groups, start = [], 0
    for size in sizes:
        groups.append(digits[start : start + size])
        start += size
    return "-".join(groups)


def _dashed(digits: str) -> tuple[bytes, ...]:
    groupings = ((8, 4, 4, 4, 12), (2,) * 16, (4,) * 8, (8,) * 4)
    dashed = [_grouped(digits, *sizes) for sizes in groupings]
    return tuple(text.encode() for spelled in dashed for text in (spelled, spelled.upper()))


_ADD_AS_SPELLED = (
    "Add the key once more as the network spells it, with `receiver connection add-key`: what is typed with dashes"
    " or in upper case is tried that way too."
)

KEY_MISTAKES: tuple[KeyMistake, ...] = (
    KeyMistake(
        "key-upper-case",
        "The token was made with the key in upper case.",
        _ADD_AS_SPELLED,
        lambda digits: (digits.upper().encode(),),
    ),
    KeyMistake(
        "key-with-dashes",
        "The token was made with the key as a portal shows it, dashes and all.",
        _ADD_AS_SPELLED,
        _dashed,
    ),
    KeyMistake(
        "key-as-bytes",
        "The token was made with the 16 bytes of the key instead of its 32 digits.",
        "Correct the sender: the key is hashed as text. ThingPark itself does so.",
        lambda digits: (bytes.fromhex(digits),),
    ),
    KeyMistake(
        "key-with-line-end",
        "The token was made with the key and a line end after it, as a file or the clipboard brings.",
        "Enter the key at the sender again, without the line end.",
        lambda digits: tuple(f"{text}{end}".encode() for text in (digits, digits.upper()) for end in ("\n", "\r\n")),
    ),
)


def mistaken_spellings(text: str) -> tuple[tuple[KeyMistake, bytes], ...]:
    """Give the spellings of a tunnel key (as typed) that are not accepted, each with the mistake it would be."""
    digits = text.replace("-", "").lower()
    accepted = set(key_spellings(text))
    return tuple(
        (mistake, spelled) for mistake in KEY_MISTAKES for spelled in mistake.spell(digits) if spelled not in accepted
    )
