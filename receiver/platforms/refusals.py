"""What a management API says when it refuses, in any of its envelopes, as one error with one sentence.

KPN's gateway has two envelopes: `{transactionId, status, name, message, info}` and `{code, message, errorId}`.
ThingPark's own is `{code, message}`, whose code is a number of Actility's and not the HTTP status, and which may come
with status 200. OAuth servers and Spring have theirs.
Sources: KPN LoRa Device Management API 1.2 and its documentation page; ThingPark Device
Manager contract 7.3, `Error`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from receiver.errors import PlatformRefusedError
from receiver.platforms.calls import WITHHELD, read_answer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from receiver.http_client import HttpAnswer
    from receiver.platforms.calls import PlatformAnswer
    from receiver.platforms.members import Members

MOST_SAID = 300
"""Characters of what a platform says that are shown."""

_OSS = re.compile(r"OSS-(\d{1,6})\Z")
_ENVELOPES = (
    frozenset({"code", "message"}),
    frozenset({"code", "message", "errorId"}),
)

MOST_ID = 60
"""Characters of its name for an error."""

_NOT_PRINTABLE = re.compile(r"[^\x20-\x7e\u00a1-\u024f\u2026]+")
_LIKE_A_KEY = re.compile(r"(?:[0-9A-Fa-f]{2}[-: ]?){15,}[0-9A-Fa-f]{2,}")  # a platform may repeat what it refuses
_SHORTEST_SECRET = 4
_MOST_READ = 10_000
_CODE_BELOW = 10**9


def refusal_in(answer: PlatformAnswer) -> bool:
    """Say whether an answer with a good status is an error all the same: exactly a code and a message."""
    return isinstance(answer.value, dict) and frozenset(answer.value) in _ENVELOPES


def refusal_of(platform: str, answer: HttpAnswer, secrets: Iterable[str] = ()) -> PlatformRefusedError:
    """Give the error that an answer is. `platform` is its name for people, such as `KPN LoRa`.

    Platforms may repeat what they were sent: `secrets` of the request, and whatever looks like a key, are withheld.
    """
    read = read_answer(answer)
    members = read.members
    hidden = [secret for secret in secrets if len(secret) >= _SHORTEST_SECRET]
    said = _said(members, hidden)
    code = _code(members, answer.status)
    error_id = _clean(members.text("errorId") or members.text("name") or "", hidden)[:MOST_ID] or None
    also = f" (code {code})" if code is not None else ""
    if not said:
        said = "without a word that could be read"
        sentence = f"{platform} refused with status {answer.status}{also}, {said}.{_hint(answer.status)}"
    else:
        sentence = f"{platform} refused with status {answer.status}{also}: {said}.{_hint(answer.status)}"
    return PlatformRefusedError(sentence, status=answer.status, oss_code=code, error_id=error_id, said=said)


def _said(members: Members, secrets: list[str]) -> str:
    for name in ("message", "error_description", "info", "error", "fault"):
        said = _clean(members.text(name) or "", secrets)[:MOST_SAID].rstrip(".")
        if said:
            return said
    return ""


def _clean(text: str, secrets: list[str]) -> str:
    text = text[:_MOST_READ]
    for secret in secrets:
        text = re.sub(re.escape(secret), WITHHELD, text, flags=re.IGNORECASE)
    return _NOT_PRINTABLE.sub(" ", _LIKE_A_KEY.sub(WITHHELD, text)).strip()


def _code(members: Members, status: int) -> int | None:
    found = _OSS.match(members.text("errorId") or "")
    if found:
        return int(found[1])
    code = members.integer("code")
    return code if code is not None and code != status and abs(code) < _CODE_BELOW else None


def _hint(status: int) -> str:
    if status == 401:
        return " Check the account's client id and secret, or its login."
    if status == 403:
        return " The account may not do this: its role or scope is to be widened at the network."
    if 300 <= status < 400:
        return " A redirect is not followed: the account's URL is another one."
    return ""
