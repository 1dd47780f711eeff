"""A push read loosely: whatever stands in it is taken as it is, whether a strict reader would take it or not.

So a value that was rewritten on its way can be put back to what was signed. Nothing that is read so is ever
accepted; it only explains a refusal, or proposes a query that is then verified like any other.
Source: ThingPark LRC–AS tunnel interface (query, and security of the reports).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from receiver.thingpark.body import UPLINK
from receiver.thingpark.token import TokenElements, body_element_texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from receiver.thingpark.body import Body

SIGNED_PARAMETERS = ("LrnDevEui", "LrnFPort", "LrnInfos", "AS_ID", "Time")
_TOKEN = re.compile(r"[0-9A-Fa-f]{64}\Z")


class QueryValues(NamedTuple):
    """The five signed parameters of a query, in the token's order."""

    lrn_dev_eui: str
    lrn_f_port: str
    lrn_infos: str
    as_id: str
    time: str


class SignedValues(NamedTuple):
    """What a token may have been made over. `body_texts` None: the documented readings of `elements`."""

    elements: TokenElements
    query: QueryValues
    order: tuple[int, ...] = (0, 1, 2, 3, 4)
    body_texts: tuple[str, ...] | None = None

    def signed_texts(self) -> Iterator[str]:
        """Give each reading of the hashed text, without the key."""
        query = "&".join(f"{SIGNED_PARAMETERS[index]}={self.query[index]}" for index in self.order)
        for body_text in self.body_texts if self.body_texts is not None else body_element_texts(self.elements):
            yield body_text + query


class LoosePush(NamedTuple):
    """A push read loosely. `token` None: the query has none of 64 hex digits, so that nothing can be tried."""

    values: SignedValues
    token: bytes | None
    missing: tuple[str, ...]
    wire: QueryValues
    wire_order: tuple[int, ...]
    as_ids: tuple[str, ...]

    def __repr__(self) -> str:
        return f"LoosePush({self.values.elements.kind}, token=…)"


def read_loosely(query: str, body: Body, as_ids: Sequence[str] = ()) -> LoosePush:
    """Give what stands in a push, whether it is of its form or not. `as_ids`: those that connections have."""
    found: dict[str, str] = {}
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        found.setdefault(unquote(name), value)
    wire = QueryValues(*(found.get(name, "") for name in SIGNED_PARAMETERS))
    token = found.get("Token", "").strip()
    order = tuple(SIGNED_PARAMETERS.index(name) for name in found if name in SIGNED_PARAMETERS)
    return LoosePush(
        values=SignedValues(_read_elements(body), QueryValues(*map(unquote, wire))),
        token=bytes.fromhex(token) if _TOKEN.match(token) else None,
        missing=tuple(name for name in SIGNED_PARAMETERS if name not in found),
        wire=wire,
        wire_order=order,
        as_ids=tuple(as_ids),
    )


def _read_elements(body: Body) -> TokenElements:
    def text(name: str) -> str:
        value = body.members.get(name)
        return value if isinstance(value, str) else ""

    f_cnt_up, payload_hex = text("FCntUp") or None, text("payload_hex")
    return TokenElements(
        kind=body.kind,
        customer_id=text("CustomerID"),
        dev_eui=text("DevEUI"),
        f_port=text("FPort") or None,
        f_cnt_up=f_cnt_up,
        f_cnt_down=text("FCntDn") or text("AFCntDn") or text("NFCntDn") or None,
        payload_hex=payload_hex,
        is_join_request=body.kind == UPLINK and f_cnt_up is None and not payload_hex,
    )


def repaired_queries(query: str) -> tuple[str, ...]:
    """Give what a query may have been before a proxy turned `+` into a space, or encoded it once more.

    Each is only a proposal: a push is proved by its token and by nothing else.
    """
    unescaped = "&".join(
        f"{name}={unquote(value)}" if name in SIGNED_PARAMETERS and "%25" in value else f"{name}{equals}{value}"
        for name, equals, value in (pair.partition("=") for pair in query.split("&"))
    )
    proposals = dict.fromkeys((_with_plus(query), unescaped, _with_plus(unescaped)))
    return tuple(proposal for proposal in proposals if proposal != query)


def _with_plus(query: str) -> str:
    pairs = (pair.partition("=") for pair in query.split("&"))
    return "&".join(
        f"{name}{equals}{value.replace('%20', '%2B').replace(' ', '%2B') if name in SIGNED_PARAMETERS else value}"
        for name, equals, value in pairs
    )
