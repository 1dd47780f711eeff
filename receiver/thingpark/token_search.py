"""Looks for the mistake, or the two, under which a token was made: with which key, over which values.

The work is bounded whatever a push holds and however many keys there are. What it finds is told to an
operator and is never a reason to accept a push.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from receiver.thingpark.token import key_spellings
from receiver.thingpark.token_mistakes import LOST_PARAMETER, MISTAKES, mistaken_spellings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from receiver.thingpark.loose_push import LoosePush, SignedValues
    from receiver.thingpark.token_mistakes import KeyMistake, Mistake

MAX_MISTAKES = 2
"""One thing is wrong, seldom two; three would match by guessing what was never sent."""

MAX_HASHES = 200_000
"""About 0.2 s. With one key it takes 700, with 300 keys of other connections beside it 14,000."""

MAX_TEXT_CHARACTERS = 16_384
"""A signed text has some 300 characters. Of longer ones (a payload may be as large as a body) no pairs are tried."""


@dataclass(frozen=True, slots=True)
class CandidateKey:
    """A key that may have made the token. `is_expected`: it is live and of the connection that was called.

    `label` is the caller's own name for it. Its `repr` does not show the key.
    """

    label: object
    text: str = field(repr=False)
    is_expected: bool


class Ring(NamedTuple):
    """A key in one spelling, with the mistake that the spelling would be."""

    key: CandidateKey
    mistake: KeyMistake | None
    spelled: bytes

    def __repr__(self) -> str:
        return f"Ring({self.key!r}, {self.mistake.code if self.mistake else None})"


class Found(NamedTuple):
    """How the token was made. Without mistakes and with an expected key it is simply right."""

    key: CandidateKey
    mistakes: tuple[Mistake | KeyMistake, ...]


class SearchResult(NamedTuple):
    """What was found, and whether everything was tried that is known; `hashes` says how much was."""

    found: Found | None
    is_complete: bool
    hashes: int


def search(push: LoosePush, keys: Sequence[CandidateKey], max_hashes: int = MAX_HASHES) -> SearchResult:
    """Find the fewest mistakes under which one of `keys` made the push's token.

    A key that is not expected counts as a mistake, and so does an odd spelling of a key. Of equally few, those
    with the likelier key come first. A push without a token of its form gives nothing.
    """
    if push.token is None:
        return SearchResult(None, is_complete=False, hashes=0)
    hashes = 0
    for ring, mistakes, text in _trials(push, _rings(keys)):
        hashes += len(ring)
        if hashes > max_hashes:
            return SearchResult(None, is_complete=False, hashes=hashes - len(ring))
        opened = _try(text, ring, push.token)
        if opened is not None:
            named: tuple[Mistake | KeyMistake, ...] = mistakes
            if opened.mistake is not None:
                named = (*mistakes, opened.mistake)
            return SearchResult(Found(opened.key, named), is_complete=True, hashes=hashes)
    is_short = all(len(text) <= MAX_TEXT_CHARACTERS for text in push.values.signed_texts())
    return SearchResult(None, is_complete=is_short, hashes=hashes)


def _trials(
    push: LoosePush, rings: Sequence[Sequence[Ring]]
) -> Iterator[tuple[Sequence[Ring], tuple[Mistake, ...], str]]:
    """Give what to try: keys and a text, by the number of mistakes that both are together."""
    for total in range(MAX_MISTAKES + 1):
        for in_values in range(total + 1):
            ring = rings[total - in_values]
            seen: set[str] = set()
            for mistakes, values in _readings(push, in_values) if ring else ():
                for text in values.signed_texts():
                    if text not in seen and (total < MAX_MISTAKES or len(text) <= MAX_TEXT_CHARACTERS):
                        seen.add(text)
                        yield ring, mistakes, text


def _rings(keys: Sequence[CandidateKey]) -> tuple[list[Ring], ...]:
    """Give all keys in all spellings, by how many mistakes each would be."""
    rings: tuple[list[Ring], ...] = tuple([] for _ in range(MAX_MISTAKES + 1))
    for key in keys:
        mistakes = 0 if key.is_expected else 1
        rings[mistakes].extend(Ring(key, None, spelled) for spelled in key_spellings(key.text))
        rings[mistakes + 1].extend(Ring(key, *mistaken) for mistaken in mistaken_spellings(key.text))
    return rings


def _readings(push: LoosePush, count: int) -> Iterator[tuple[tuple[Mistake, ...], SignedValues]]:
    """Give the values with each `count` mistakes undone, the values as they stand for none."""
    if push.missing:
        if count:
            for values in LOST_PARAMETER.undo(push, push.values):
                yield from _undone(push, (LOST_PARAMETER,), values, count - 1, 0)
        return
    yield from _undone(push, (), push.values, count, 0)


def _undone(
    push: LoosePush, undone: tuple[Mistake, ...], values: SignedValues, count: int, first: int
) -> Iterator[tuple[tuple[Mistake, ...], SignedValues]]:
    if count == 0:
        yield undone, values
        return
    for index in range(first, len(MISTAKES)):
        mistake = MISTAKES[index]
        for changed in mistake.undo(push, values):
            if changed != values:
                yield from _undone(push, (*undone, mistake), changed, count - 1, index + 1)


def _try(text: str, ring: Sequence[Ring], token: bytes) -> Ring | None:
    started = hashlib.sha256(text.encode("utf-8", "surrogatepass"))
    for candidate in ring:
        hashed = started.copy()
        hashed.update(candidate.spelled)
        if hmac.compare_digest(hashed.digest(), token):
            return candidate
    return None
