"""One push as it goes over the wire: the signed query in one of the orders networks use, body and headers."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from receiver.thingpark.body import parse_body
from receiver.thingpark.token import body_element_texts, key_spellings, read_token_elements, sign_push

if TYPE_CHECKING:
    from datetime import datetime

    from receiver.lorawan.identifiers import DevEui
    from receiver.simulator.body_writer import ContentType

USER_AGENT = "ACTILITY-LRCLRN-DEVICE-AGENT/1.0"


class WireOrder(StrEnum):
    """Orders in which the parameters of a query were seen; the token is the same in all of them."""

    ALPHABETICAL = "alphabetical"
    DOCUMENTED = "documented"
    SCRAMBLED = "scrambled"
    """As pushed in 2019: neither the documented nor an alphabetical order."""


_ORDERS: dict[WireOrder, tuple[str, ...]] = {
    WireOrder.ALPHABETICAL: ("AS_ID", "LrnDevEui", "LrnFPort", "LrnInfos", "Time", "Token"),
    WireOrder.DOCUMENTED: ("LrnDevEui", "LrnFPort", "LrnInfos", "AS_ID", "Time", "Token"),
    WireOrder.SCRAMBLED: ("AS_ID", "LrnFPort", "Time", "Token", "LrnDevEui", "LrnInfos"),
}


class TimeEncoding(StrEnum):
    """How `:` and `+` of the query's Time go over the wire."""

    PERCENT = "percent"
    """`%3A` and `%2B`."""
    RAW = "raw"
    """As they are: the receiver must not read the `+` as a space."""


class Fault(StrEnum):
    """What is out of the ordinary about a push."""

    NONE = ""
    LATE = "late"
    """Kept by a gateway and delivered after newer frames."""
    SAME_DELIVERY = "same delivery again"
    SAME_FRAME = "same frame in a new delivery"
    WRONG_TOKEN = "wrong token"  # noqa: S105 - what is wrong, and no token
    WRONG_KEY = "signed with another key"
    WRONG_AS_ID = "signed for another AS_ID"
    CLOCK_SKEW = "signed by a clock that is off"


@dataclass(frozen=True, slots=True)
class Push:
    """One report, signed and ready to be sent.

    `query` is exactly what follows the `?` on the wire, Token included, so it stays out of `repr`, as does
    `clear_payload`: the bytes that the application server should end up with (uplinks only, else None).
    `detail` says which of a kind's several things it is (`join`, `join request` …), where there are several.
    `number` counts the deliveries of a network from 1. `received_at` is the report's own time, `sent_at`
    that of the query; both aware.
    """

    kind: str
    content_type: ContentType
    dev_eui: DevEui
    body: bytes = field(repr=False)
    received_at: datetime
    sent_at: datetime
    f_port: int | None = None
    f_cnt_up: int | None = None
    dev_addr: str | None = None
    clear_payload: bytes | None = field(default=None, repr=False)
    query: str = field(default="", repr=False)
    detail: str = ""
    number: int = 0
    fault: Fault = Fault.NONE
    should_be_accepted: bool = True

    @property
    def headers(self) -> dict[str, str]:
        """The headers the network sends, but those that HTTP itself needs."""
        return {
            "User-Agent": USER_AGENT,
            "Accept": "*/*",
            "Connection": "close",
            "Content-Type": self.content_type.header,
        }

    def url(self, base: str) -> str:
        """Give the URL to post to: `base`, which may have a query of its own, and the signed query."""
        return f"{base}{'&' if urlsplit(base).query else '?'}{self.query}"


@dataclass(frozen=True, slots=True)
class QueryValues:
    """The parameters of a query before they are signed, decoded."""

    lrn_dev_eui: str
    lrn_f_port: str
    lrn_infos: str
    as_id: str
    time: str

    def signed_elements(self) -> str:
        """Give the query's part of the hashed text."""
        return (
            f"LrnDevEui={self.lrn_dev_eui}&LrnFPort={self.lrn_f_port}&LrnInfos={self.lrn_infos}"
            f"&AS_ID={self.as_id}&Time={self.time}"
        )

    def write(self, token: str, order: WireOrder, encoding: TimeEncoding) -> str:
        """Give the query string with `token` in it."""
        values = {
            "LrnDevEui": self.lrn_dev_eui,
            "LrnFPort": self.lrn_f_port,
            "LrnInfos": self.lrn_infos,
            "AS_ID": self.as_id,
            "Time": self.time,
            "Token": token,
        }
        safe = ":+" if encoding is TimeEncoding.RAW else ""
        return "&".join(f"{name}={quote(values[name], safe=safe)}" for name in _ORDERS[order])


def sign(body: bytes, values: QueryValues, key: str) -> str:
    """Give the Token as the network makes it: over the body as written, with the key in lower case."""
    elements = read_token_elements(parse_body(body))
    return sign_push(
        body_element_texts(elements)[0],
        query_elements=values.signed_elements(),
        key=key_spellings(key)[0].decode(),
    )
