"""What the network answers to a downlink request, read by one table: accepted, try again, or refused, and why.

Version 1 answers 200, or status 350 with a text in HTML; version 2 answers 202, or 409 with a code and the same texts.
Other servers on the way have answers of their own. Where a text is not known the status decides.

Source: ThingPark LRC–AS tunnel interface, downlink responses (codes 100 to 121).
"""

from __future__ import annotations

import json
import re
from enum import StrEnum
from typing import NamedTuple


class Verdict(StrEnum):
    """What an answer means for a downlink."""

    ACCEPTED = "accepted"
    """The network has it in its queue."""
    RETRY = "retry"
    """It has not, and may take the same request later."""
    REFUSED = "refused"
    """It has not, and will not take it."""
    COUNTER = "counter"
    """The frame counter is another one: take `expected`, encrypt anew, and ask again."""
    HOLD = "hold"
    """Nothing of this connection will be taken before a person mends it: a key, an AS_ID, a clock."""
    UNKNOWN = "unknown"
    """It may or may not have it: only the same bytes may be sent again."""
    AWAY = "away"
    """It was not asked: no request got there. No answer says so; it is for whoever sends."""


class DownlinkAnswer(NamedTuple):
    """An answer, read. `cause` is a word for machines, `text` a sentence for people, `expected` the next counter."""

    verdict: Verdict
    cause: str | None
    text: str
    expected: int | None = None
    max_size: int | None = None


class _Known(NamedTuple):
    code: int
    pattern: re.Pattern[str]
    verdict: Verdict
    cause: str
    text: str


def _known(code: int, pattern: str, verdict: Verdict, cause: str, text: str) -> _Known:
    return _Known(code, re.compile(pattern, re.IGNORECASE), verdict, cause, text)


_TABLE = (  # the first text that is found counts: the longer ones stand first
    _known(100, r"invalid deveui", Verdict.REFUSED, "invalid-dev-eui", "The network does not know this DevEUI."),
    _known(
        101,
        r"counter value already used",
        Verdict.COUNTER,
        "counter-used",
        "The network has another frame with this frame counter.",
    ),
    _known(
        102,
        r"counter value increment too large|counter.*too large",
        Verdict.COUNTER,
        "counter-too-large",
        "The frame counter is too far ahead of the network's.",
    ),
    _known(
        103,
        r"confirmed downlink is not authorized",
        Verdict.REFUSED,
        "confirmed-not-allowed",
        "Confirmed downlinks are not allowed for this device; its connectivity plan decides.",
    ),
    _known(104, r"invalid lora port", Verdict.REFUSED, "invalid-f-port", "The network does not take this FPort."),
    _known(
        105,
        r"as_id is mandatory",
        Verdict.HOLD,
        "as-id-missing",
        "The network wants an AS_ID: the connection here and the one there differ.",
    ),
    _known(
        106,
        r"missing timestamp|missing token",
        Verdict.HOLD,
        "token-missing",
        "The network found no Time or Token in the request: something on the way cut it off.",
    ),
    _known(
        107,
        r"bad as_id",
        Verdict.HOLD,
        "bad-as-id",
        "The network does not know this AS_ID: `receiver connection show` has ours, compare it with the portal's.",
    ),
    _known(
        108,
        r"server decrypt error",
        Verdict.HOLD,
        "token-unreadable",
        "The network could not read the Token: its tunnel key may be of another form.",
    ),
    _known(
        109,
        r"malformed iso\s?8601",
        Verdict.HOLD,
        "time-malformed",
        "The network could not read the Time: choose the other form of it for this connection.",
    ),
    _known(
        110,
        r"invalid downlink frame timestamp",
        Verdict.HOLD,
        "time-deviates",
        "The Time is too far from the network's clock: set this machine's clock by NTP.",
    ),
    _known(
        111,
        r"bad token",
        Verdict.HOLD,
        "bad-token",
        "The network computed another Token: the tunnel key here is not the one there.",
    ),
    _known(
        112,
        r"validity\s?time expired",
        Verdict.REFUSED,
        "expired",
        "The time in which it was to be sent had passed when the network looked.",
    ),
    _known(
        116,
        r"invalid payload size according",
        Verdict.REFUSED,
        "too-long-for-data-rate",
        "The payload does not fit the device's current data rate.",
    ),
    _known(
        113,
        r"payload too big|invalid size",
        Verdict.REFUSED,
        "too-long",
        "The payload is longer than the network takes.",
    ),
    _known(
        114,
        r"downlink transmission disabled",
        Verdict.REFUSED,
        "disabled",
        "Downlinks are switched off for this device; its connectivity plan decides.",
    ),
    _known(
        115,
        r"no base station",
        Verdict.RETRY,
        "no-gateway",
        "The network has no gateway for this device: it was not heard yet, or its gateway is away.",
    ),
    _known(117, r"invalid correlation\s?id", Verdict.REFUSED, "bad-correlation", "The network did not take our id."),
    _known(
        119,
        r"must be provided encrypted",
        Verdict.REFUSED,
        "not-encrypted",
        "The network has no key for this device: payloads must be encrypted here, with the key of its session.",
    ),
    _known(118, r"must not be empty", Verdict.REFUSED, "empty", "The network does not take an empty payload."),
    _known(
        121,
        r"token bucket limit",
        Verdict.RETRY,
        "rate-limited",
        "The device has had as many downlinks as its plan allows for now.",
    ),
)
_BY_CODE = {known.code: known for known in _TABLE}
_EXPECTED = re.compile(r"expected\s*=\s*(\d{1,10})", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]{0,200}>")
_SPACE = re.compile(r"\s+")
_COUNTER_MAX = 2**32 - 1
_MAX_DATA_RATE = 15  # LoRaWAN L2 1.0.4 section 5.3: four bits
MAX_READ_BYTES = 8192
"""An answer is one sentence."""


def read_downlink_answer(status: int, body: bytes) -> DownlinkAnswer:
    """Read an answer by its status and its body; never raises, whatever stands in it."""
    text = body[:MAX_READ_BYTES].decode("utf-8", "replace")
    words = _SPACE.sub(" ", _TAG.sub(" ", text)).strip()
    code, members = _read_json(text)
    found = _BY_CODE.get(code) if code is not None else None
    if found is None:
        found = next((known for known in _TABLE if known.pattern.search(words)), None)
    if found is not None:
        expected = _counter(members.get("expected")) if "expected" in members else _counter_in(words)
        max_size = _counter(members.get("maxSize"))
        if found.verdict is Verdict.COUNTER and expected is None:
            return DownlinkAnswer(Verdict.REFUSED, found.cause, f"{found.text} It did not say which one it expects.")
        return DownlinkAnswer(found.verdict, found.cause, found.text + _limits(members, max_size), expected, max_size)
    return _by_status(status, words)


def _limits(members: dict[str, object], max_size: int | None) -> str:
    """Say what a version 2 answer adds about the size: how many bytes fit, and at which data rate."""
    text = "" if max_size is None else f" At most {max_size} bytes fit."
    for name, where in (("rx2DR", "the second receive window"), ("pingSlotDR", "the ping slot")):
        rate = _counter(members.get(name))
        if rate is not None and rate <= _MAX_DATA_RATE:
            text += f" In {where} its data rate is DR{rate}."
    return text


def _by_status(status: int, words: str) -> DownlinkAnswer:
    told = f" It said: {words[:200]!r}." if words else ""
    if 200 <= status < 300:
        unusual = told if words and "queued" not in words.lower() else ""
        return DownlinkAnswer(Verdict.ACCEPTED, None, f"The network has it in its queue.{unusual}")
    if status == 404 and not words:  # version 1 says so for a device that no gateway has heard, with a text or without
        return DownlinkAnswer(Verdict.RETRY, "no-gateway", "The network answered 404: it has no gateway for it.")
    if status == 404:
        return DownlinkAnswer(Verdict.HOLD, "not-found", f"Something answered 404: check the downlink URL.{told}")
    if status in {401, 403}:
        return DownlinkAnswer(Verdict.HOLD, "unauthorised", f"The network answered {status}: it does not let us.{told}")
    if status in {408, 425, 429, 503}:
        return DownlinkAnswer(Verdict.RETRY, "busy", f"The network answered {status}: it is busy or away.{told}")
    if status >= 500:  # 502 and 504 too: what stands in front may have passed the request on
        return DownlinkAnswer(Verdict.UNKNOWN, "fault", f"The network answered {status}: it failed amid it.{told}")
    if 300 <= status < 400 and status != 350:
        return DownlinkAnswer(
            Verdict.HOLD,
            "redirected",
            f"Something answered {status}, a redirect, which is not followed: check the URL.",
        )
    return DownlinkAnswer(Verdict.REFUSED, f"status-{status}", f"The network answered {status}.{told}")


def _read_json(text: str) -> tuple[int | None, dict[str, object]]:
    if not text.lstrip().startswith("{"):
        return None, {}
    try:
        members = json.loads(text)
    except (ValueError, RecursionError):
        return None, {}
    if not isinstance(members, dict):
        return None, {}
    code = members.get("code")
    if isinstance(code, str) and code.isascii() and code.isdigit() and len(code) < 6:
        code = int(code)
    return (code if type(code) is int else None), members


def _counter(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 10:
        value = int(value)
    return value if type(value) is int and 0 <= value <= _COUNTER_MAX else None


def _counter_in(words: str) -> int | None:
    found = _EXPECTED.search(words)
    return None if found is None else _counter(found[1])
