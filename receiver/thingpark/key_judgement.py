"""Whether an AS transport key is the right one, judged by what it makes of frames that are stored already.

A wrong key turns every FRMPayload into evenly random bytes. The right one gives real payloads: neighbouring
frames of a device repeat a type byte, a status, the high-order bytes of a measurement; or they are text.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from receiver.lorawan.identifiers import DevAddr, DevEui

CONFIRMED_BELOW = 1e-6
"""One wrong key in a million is confirmed."""
DOUBTFUL_FROM = 0.01
"""What more than one wrong key in a hundred gives as well is no evidence for a key."""
DOUBTFUL_BYTES = 64
"""Chance gives 0.25 agreeing bytes in 64, real payloads a dozen: fewer bytes cannot speak against a key."""
MAX_FRAMES = 400
MAX_FRAMES_PER_GROUP = 40
"""Enough for any verdict, and a few milliseconds of work however much is stored."""

_AGREE_BY_CHANCE = 1 / 256
_PRINTABLE = frozenset(range(0x20, 0x7F)) | frozenset(b"\t\r\n")
_PRINTABLE_BY_CHANCE = len(_PRINTABLE) / 256
_NEGLIGIBLE = 1e-17  # a smaller share no longer changes a double


@dataclass(frozen=True, slots=True)
class DecryptedFrame:
    """One uplink's FRMPayload, as it came and as the key under judgement decrypts it; both of one length."""

    dev_eui: DevEui
    dev_addr: DevAddr
    f_port: int
    f_cnt: int
    encrypted: bytes
    clear: bytes = field(repr=False)


class Verdict(StrEnum):
    """What stored frames say about a key. The value is what `as_transport_keys.confirmation` holds."""

    CONFIRMED = "confirmed"
    DOUBTFUL = "doubtful"
    UNTESTED = "untested"


@dataclass(frozen=True, slots=True)
class KeyJudgement:
    """The verdict on a key, the numbers it stands on, and both as a sentence for who imports it."""

    verdict: Verdict
    frames: int
    compared_bytes: int
    agreeing_bytes: int
    probability: float
    """The chance of evidence this strong if the key is wrong; 1.0 without any evidence."""
    sentence: str


def judge_decryptions(samples: Iterable[DecryptedFrame]) -> KeyJudgement:
    """Judge whether the key that decrypted `samples` is the right one. Their order does not matter.

    Frames are compared within one device, FPort and length. Under a wrong key neighbours by counter agree
    at one position in 256, and 98 bytes of 256 are printable. Both counts are then exactly binomial, because
    the differences along a chain of random frames are independent; the smaller of the two tails, doubled for
    having looked twice, is the probability.

    A frame counts once: frames of one counter share their key stream, so they agree wherever their
    ciphertexts do, whatever the key. Groups that look clear *as received* are left out: they were never
    encrypted and say nothing about the key.

    Returns:
        `confirmed` below 1e-6, `doubtful` from 0.01 on if at least 64 bytes were compared, else `untested`.
    """
    groups: list[list[DecryptedFrame]] = []
    clear_already = 0
    for group in _comparable_groups(samples):
        if _weigh([[frame.encrypted for frame in group]]).probability < CONFIRMED_BELOW:
            clear_already += len(group)
        else:
            groups.append(group)
    evidence = _weigh([[frame.clear for frame in group] for group in groups])
    if evidence.probability < CONFIRMED_BELOW:
        verdict = Verdict.CONFIRMED
    elif evidence.probability >= DOUBTFUL_FROM and evidence.compared >= DOUBTFUL_BYTES:
        verdict = Verdict.DOUBTFUL
    else:
        verdict = Verdict.UNTESTED
    return KeyJudgement(
        verdict=verdict,
        frames=evidence.frames,
        compared_bytes=evidence.compared,
        agreeing_bytes=evidence.agreeing,
        probability=evidence.probability,
        sentence=_sentence(verdict, evidence, clear_already),
    )


def _comparable_groups(samples: Iterable[DecryptedFrame]) -> list[list[DecryptedFrame]]:
    """Group by device, FPort and length, each frame once, by counter, within the bounds; largest first."""
    by_likeness: dict[tuple[str, int, int], list[DecryptedFrame]] = defaultdict(list)
    for frame in sorted(samples, key=_frame_order):
        if frame.clear:
            by_likeness[frame.dev_eui, frame.f_port, len(frame.clear)].append(frame)
    groups = [_once_each(group)[-MAX_FRAMES_PER_GROUP:] for group in by_likeness.values()]
    chosen: list[list[DecryptedFrame]] = []
    room = MAX_FRAMES
    for group in sorted(groups, key=lambda group: (-len(group), _frame_order(group[0]))):
        if room:
            chosen.append(group[-room:])
            room -= len(chosen[-1])
    return chosen


def _frame_order(frame: DecryptedFrame) -> tuple[str, int, str, int, bytes]:
    return frame.dev_eui, frame.f_port, frame.dev_addr, frame.f_cnt, frame.encrypted


def _once_each(group: Sequence[DecryptedFrame]) -> list[DecryptedFrame]:
    kept: list[DecryptedFrame] = []
    counters: set[tuple[str, int]] = set()
    ciphertexts: set[bytes] = set()
    for frame in group:
        counter = (frame.dev_addr, frame.f_cnt)
        if counter not in counters and frame.encrypted not in ciphertexts:
            kept.append(frame)
        counters.add(counter)
        ciphertexts.add(frame.encrypted)
    return kept


@dataclass(frozen=True, slots=True)
class _Evidence:
    frames: int
    compared: int
    agreeing: int
    size: int
    printable: int
    probability: float


def _weigh(groups: Sequence[Sequence[bytes]]) -> _Evidence:
    """Count agreeing and printable bytes and give the chance that random bytes do as well."""
    compared = agreeing = size = printable = 0
    for group in groups:
        for payload in group:
            size += len(payload)
            printable += sum(byte in _PRINTABLE for byte in payload)
        for left, right in pairwise(group):
            compared += len(left)
            agreeing += sum(a == b for a, b in zip(left, right, strict=True))
    tails = (
        binomial_tail(agreeing, compared, _AGREE_BY_CHANCE),
        binomial_tail(printable, size, _PRINTABLE_BY_CHANCE),
    )
    return _Evidence(
        frames=sum(len(group) for group in groups),
        compared=compared,
        agreeing=agreeing,
        size=size,
        printable=printable,
        probability=min(1.0, 2 * min(tails)),
    )


def binomial_tail(successes: int, trials: int, chance: float) -> float:
    """Give P(X ≥ `successes`) for X ~ Binomial(`trials`, `chance`), to the precision of a double."""
    if successes <= 0:
        return 1.0
    if successes > trials * chance:
        return min(1.0, _sum_terms(successes, trials, chance, upward=True))
    return max(0.0, 1.0 - _sum_terms(successes - 1, trials, chance, upward=False))


def _sum_terms(start: int, trials: int, chance: float, *, upward: bool) -> float:
    """Sum the binomial terms from `start` away from the mode, where each is smaller than the one before."""
    odds = chance / (1 - chance)
    log_term = math.lgamma(trials + 1) - math.lgamma(start + 1) - math.lgamma(trials - start + 1)
    term = math.exp(log_term + start * math.log(chance) + (trials - start) * math.log1p(-chance))
    total, at = 0.0, start
    while term > total * _NEGLIGIBLE:
        total += term
        if upward:
            term *= (trials - at) / (at + 1) * odds
            at += 1
        else:
            term *= at / ((trials - at + 1) * odds)
            at -= 1
    return total


def _sentence(verdict: Verdict, evidence: _Evidence, clear_already: int) -> str:
    counts = (
        f"in {evidence.frames} stored frames, {evidence.agreeing} of {evidence.compared} compared bytes agree"
        f" from one frame to the next (chance gives {evidence.compared * _AGREE_BY_CHANCE:.1f}) and"
        f" {evidence.printable} of {evidence.size} bytes are printable (chance gives"
        f" {evidence.size * _PRINTABLE_BY_CHANCE:.1f})"
    )
    left_out = f" {clear_already} frames came in the clear and say nothing about it." if clear_already else ""
    if verdict is Verdict.CONFIRMED:
        chance = f"{evidence.probability:.0e}" if evidence.probability > 1e-99 else "below 1e-99"
        return f"The key is right: {counts}; a wrong key does that with probability {chance}.{left_out}"
    if verdict is Verdict.DOUBTFUL:
        return f"The key looks wrong: {counts}, no more than chance.{left_out}"
    if not evidence.frames:
        return f"The key is untested: no stored frame is known to be encrypted under it yet.{left_out}"
    return f"The key is untested, there is too little to tell: {counts}.{left_out}"
