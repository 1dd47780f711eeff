"""What to do about what ThingPark refuses, in one sentence; what is not known here is told in ThingPark's words.

ThingPark numbers its errors and has not published the list. Sources: Device Manager contract 7.3, example of an
import (111, 222); KPN LoRa Device Management API 1.2, example of an error (214); the contract's system-wide switches
for destinations; the documentation of TPX IoT Flow (cap of connections). The rest is known by its words only.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from receiver.errors import PlatformRefusedError

DEVICE_EXISTS = 111
NO_DEVICE_PROFILE = 222
NO_CONNECTIVITY_PLAN = 214

_BY_CODE = {
    DEVICE_EXISTS: "There is a device with this DevEUI already: change that one, or delete it first where it is",
    NO_DEVICE_PROFILE: "There is no such device profile: choose one from the list of device profiles",
    NO_CONNECTIVITY_PLAN: "There is no such connectivity plan: choose one from the list of network subscriptions",
}


class _Known(NamedTuple):
    words: re.Pattern[str]
    hint: str


_BY_WORDS = (
    _Known(
        re.compile(r"entropy|(?:weak|too simple).*key|key.*(?:weak|too simple)", re.IGNORECASE),
        "The key is refused because it looks as if it were not random: make a new one of 16 random bytes",
    ),
    _Known(
        re.compile(r"max(?:imum)? connection limit|too many connections", re.IGNORECASE),
        "There are as many IoT Flow connections as this subscription may have: delete one that is not needed",
    ),
    _Known(
        re.compile(r"licen[cs]e|no more (?:free )?devices", re.IGNORECASE),
        "The plan has no free licences: delete devices that are not needed, choose another plan, or order licences",
    ),
    _Known(
        re.compile(r"https.*(?:required|only|must)|(?:required|only|must|needs?)\b.*https", re.IGNORECASE),
        "The destination is refused: ThingPark takes only a URL that begins with https:// here",
    ),
    _Known(
        re.compile(r"security.*(?:required|mandatory)|(?:required|mandatory).*security", re.IGNORECASE),
        "ThingPark wants signed uplinks and downlinks here: the connection needs a tunnel key",
    ),
    _Known(
        re.compile(r"name.*(?:already|taken|in use|unique)|(?:already|duplicate).*name", re.IGNORECASE),
        "The name is taken: choose another one, or change what has it",
    ),
    _Known(
        re.compile(r"certificate", re.IGNORECASE),
        "ThingPark does not take the certificate: serve one of a public authority, whole, with its intermediates",
    ),
)

_CONFLICT_STATUSES = frozenset({409, 412})
_CONFLICT_WORDS = re.compile(r"\bocc|occ[ _]?context|concurren|optimistic|out ?dated|stale|version", re.IGNORECASE)
_ABSENT_WORDS = re.compile(r"not found|no such|does(?: not|n't) exist|unknown (?:device|multicast|app)", re.IGNORECASE)


def explain_refusal(error: PlatformRefusedError, platform: str = "ThingPark") -> PlatformRefusedError:
    """Give the error with a sentence that says what to do, or as it is where nothing better is known."""
    hint = _hint(error)
    if hint is None:
        return error
    number = f", code {error.oss_code}" if error.oss_code is not None else ""
    said = f": {error.said}" if error.said else ""
    return PlatformRefusedError(
        f"{hint} ({platform} refused with status {error.status}{number}{said}).",
        status=error.status,
        oss_code=error.oss_code,
        error_id=error.error_id,
        said=error.said,
    )


def explain_code(code: int, said: str) -> str:
    """Give what to do about one error of an imported row; ThingPark's words where it is not known."""
    hint = _BY_CODE.get(code)
    return said if hint is None else f"{hint} (code {code}: {said})"


def is_conflict(error: PlatformRefusedError) -> bool:
    """Say whether an update was refused as someone else has changed the object since it was read.

    Neither its status nor its number is published: every reading is taken, since to look again is harmless.
    """
    return error.status in _CONFLICT_STATUSES or (
        error.status in {400, 200} and _CONFLICT_WORDS.search(error.said) is not None
    )


def is_absent(error: PlatformRefusedError) -> bool:
    """Say whether what was asked for is not there: ThingPark was seen to answer 400 with "Device not found"."""
    return error.status in {404, 410} or (error.status in {400, 200} and _ABSENT_WORDS.search(error.said) is not None)


def _hint(error: PlatformRefusedError) -> str | None:
    if error.oss_code in _BY_CODE:
        return _BY_CODE[error.oss_code]
    return next((known.hint for known in _BY_WORDS if known.words.search(error.said)), None)
