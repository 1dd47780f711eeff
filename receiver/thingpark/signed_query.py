"""The query of a push: six signed parameters, decoded as the token wants them.

Percent-encoding is decoded and `+` stays `+`: it is the sign of an offset here and never a space. Only
`PushRejected` leaves this module, for any bytes at all.
Source: ThingPark LRC–AS tunnel interface, query and security of the reports.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NamedTuple, NoReturn
from urllib.parse import unquote_to_bytes

from receiver.errors import PushRejected, Reason

MAX_QUERY_BYTES = 4096
"""A real one has about 250; the configured URL may bring parameters of its own."""

_PARAMETERS = ("LrnDevEui", "LrnFPort", "LrnInfos", "AS_ID", "Time", "Token")

_USUAL_QUERY = re.compile(
    r"(?:(?:LrnDevEui=([0-9A-Za-z]*+)|LrnFPort=([0-9]*+)|LrnInfos=([!$'-~]*+)|AS_ID=([!$'-~]*+)|"
    r"Time=([0-9A-Za-z%:.+-]*+)|(Token=[0-9A-Fa-f]{64}))(?:&|\Z)){6}+\Z"
)
"""Six parameters and nothing else, in any order. If each was found, then none stands twice."""

_TOKEN = re.compile(r"[0-9A-Fa-f]{64}\Z")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)?\Z", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class SignedQuery(NamedTuple):
    """The query of a push, decoded. Every text is as received, case kept; `at` is `Time` in UTC."""

    lrn_dev_eui: str
    lrn_f_port: str
    lrn_infos: str
    as_id: str
    time: str
    token: str
    at: datetime
    without_token: str
    """The query as on the wire, less the Token: what is stored."""

    @property
    def signed_elements(self) -> str:
        """The query's part of the hashed text."""
        return (
            f"LrnDevEui={self.lrn_dev_eui}&LrnFPort={self.lrn_f_port}&LrnInfos={self.lrn_infos}"
            f"&AS_ID={self.as_id}&Time={self.time}"
        )

    def __repr__(self) -> str:
        return f"SignedQuery({self.signed_elements!r}, token=…)"


def _malformed_query(detail: str) -> NoReturn:
    raise PushRejected(Reason.MALFORMED_QUERY, detail)


def parse_signed_query(raw: bytes) -> SignedQuery:
    """Give the six signed parameters of the raw query string, in whatever order they came.

    Percent-encoding is decoded; `+` stays `+`, because it is the sign of an offset here and never a space.
    Parameters of other names may stand in the configured URL and are not part of the hash.

    Raises:
        PushRejected: `MALFORMED_QUERY`: one is missing, doubled, not UTF-8, or Time is not ISO 8601.
    """
    if not raw:
        _malformed_query("The push has no query; LrnDevEui, LrnFPort, LrnInfos, AS_ID, Time and Token belong there.")
    if len(raw) > MAX_QUERY_BYTES:
        _malformed_query(f"The query has {len(raw)} bytes; at most {MAX_QUERY_BYTES} are read.")
    try:
        text = raw.decode("utf-8")
        return _usual_query(text) or _read_query(text)
    except UnicodeDecodeError:
        _malformed_query("The query is not UTF-8.")


def _usual_query(text: str) -> SignedQuery | None:
    """Give what networks send, of which at most Time is percent-encoded, with one look; None for all else."""
    match = _USUAL_QUERY.match(text)
    if match is None:
        return None
    dev_eui, f_port, infos, as_id, time, token = match.groups()
    if dev_eui is None or f_port is None or infos is None or as_id is None or time is None or token is None:
        return None
    time = time.replace("%3A", ":").replace("%2B", "+")
    at = parse_time(time)  # what is encoded in another way is no time here
    if at is None:
        return None
    begin, end = match.span(6)
    without_token = text[: begin - 1] if end == len(text) else text[:begin] + text[end + 1 :]
    return SignedQuery(dev_eui, f_port, infos, as_id, time, token[6:], at, without_token)


def _read_query(text: str) -> SignedQuery:
    """Give any query's parameters one by one, or say what is wrong with it."""
    found, without_token = _split_query(text)
    if len(found) < len(_PARAMETERS):
        missing = ", ".join(name for name in _PARAMETERS if name not in found)
        _malformed_query(
            f"{missing} missing from the query; AS_ID, Time and Token come once AS authentication is switched on."
        )
    _refuse_control_characters("The query", text)
    token = found["Token"]
    if not _TOKEN.match(token):
        _malformed_query(f"Token has {len(token)} characters; it must be 64 hexadecimal digits.")
    return SignedQuery(
        found["LrnDevEui"],
        found["LrnFPort"],
        found["LrnInfos"],
        found["AS_ID"],
        found["Time"],
        token,
        _query_time(found["Time"]),
        without_token,
    )


def _split_query(text: str) -> tuple[dict[str, str], str]:
    """Give the known parameters decoded, and all pairs but the Token as they stand."""
    found: dict[str, str] = {}
    kept: list[str] = []
    for pair in text.split("&"):
        name, _, value = pair.partition("=")
        if "%" in name:
            name = unquote_to_bytes(name).decode("utf-8")
        if name not in _PARAMETERS:
            kept.append(pair)
            continue
        if name in found:
            _malformed_query(f"{name} stands twice in the query.")
        if "%" in value:
            value = _percent_decode(value)
            _refuse_control_characters(name, value)
        found[name] = value
        if name != "Token":
            kept.append(pair)
    return found, "&".join(kept)


def _refuse_control_characters(name: str, text: str) -> None:
    if not text.isprintable() and _CONTROL.search(text):
        _malformed_query(f"{name} holds a control character.")


def _percent_decode(text: str) -> str:
    """Decode as `unquote` does; the two escapes that every Time has are decoded ten times faster."""
    text = text.replace("%3A", ":").replace("%2B", "+")
    return unquote_to_bytes(text).decode("utf-8") if "%" in text else text


def _query_time(text: str) -> datetime:
    at = parse_time(text)
    if at is None:
        _malformed_query(
            f"Time is {text[:40]!r}, which is not ISO 8601 like 2026-11-21T08:30:00.000+01:00"
            + (" (a proxy has turned its `+` into a space)." if " " in text else ".")
        )
    return at


def parse_time(text: str) -> datetime | None:
    """Give the UTC time that ISO 8601 `text` names, or None. Without an offset it is UTC.

    Fractions of 1 to 9 digits are read to the microsecond. Source: the reports' Time has 1 to 3.
    """
    match = _TIME.match(text)
    if match is None:
        return None
    fraction, offset = match.groups()
    if fraction and len(fraction) > 6:
        text = text.replace(f".{fraction}", f".{fraction[:6]}")
    try:
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if offset else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
