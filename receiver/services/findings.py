"""What can be said of a refused push besides its token: its name, its AS_ID, its Time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from receiver.errors import Reason
from receiver.lorawan.identifiers import shorten
from receiver.services.judging import tell_skew
from receiver.services.rejections import without_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from receiver.services.judging import Judgement, KnownConnection
    from receiver.storage.rejections import RejectionView

LONGEST_ZONE_S = 14 * 3600
ZONE_STEP_S = 1800
"""Offsets from UTC go from −12 to +14 hours, nearly all in half hours (IANA time zone database)."""
ZONE_ROOM_S = 30
"""What clocks and queues may add to a whole number of half hours. A random clock is as near in 1 of 30 cases."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that would make the push right. `codes` name the mistakes; there may be none.

    `connection` and `key_id` say whose key the token was made with, where it is known.
    """

    codes: tuple[str, ...]
    sentence: str
    advice: str
    connection: str | None = None
    key_id: str | None = None


def find_near_name(view: RejectionView, near: str) -> Finding:
    """Say that the push was meant for the connection `near`, as its name tells."""
    return Finding(
        ("connection-name",),
        f"It was pushed to /push/{shorten(view.path_name)}; there is a connection {near}, which differs from it by"
        " case or one character only.",
        f"Correct the URL at the network to end with /push/{near}. `receiver rejections replay {view.id} --as {near}`"
        " judges this push as one to that connection.",
        connection=near,
    )


def find_as_id(view: RejectionView, judgement: Judgement, connection: KnownConnection) -> Sequence[Finding]:
    """Say how AS_ID differs from the connection's, and whether that is all that is wrong."""
    if judgement.query is None:
        return ()
    sent, expected = judgement.query.as_id, connection.row.as_id
    if sent.casefold() == expected.casefold():
        return ()
    proved = " The token is right, so this is all that is wrong with its sender." if judgement.key_id else ""
    kind = "its own id of this application server" if sent.upper().startswith("TWA_") else "another id"
    return (
        Finding(
            ("as-id-of-the-network",),
            f"The network sends {kind}, {without_tokens(sent[:80])!r}, where the connection has {expected!r}.{proved}",
            f"Set {expected!r} as application server ID at the portal; or add a connection with `--as-id` as it is"
            f" sent and with the same key: `receiver rejections replay {view.id} --as NAME` judges this push as one to"
            " that.",
            connection=connection.row.name,
            key_id=judgement.key_id,
        ),
    )


def find_contradiction(judgement: Judgement) -> Sequence[Finding]:
    """Say where a report that contradicts its query is signed all the same."""
    if judgement.key_id is None or not any(check.reason is Reason.QUERY_BODY_MISMATCH for check in judgement.checks):
        return ()
    return (
        Finding(
            ("signed-contradiction",),
            "The token is right for these very values, so whoever has the key signed a report of one device or FPort"
            " under the name of another.",
            "Nothing on the way did this: look at what signs these pushes, and who else has the key.",
            key_id=judgement.key_id,
        ),
    )


def find_time(view: RejectionView, judgement: Judgement, allowed_s: int) -> Sequence[Finding]:
    """Say what a Time out of the window comes from: a time zone, or a clock."""
    skew_s = judgement.skew_s
    if skew_s is None or abs(skew_s) <= allowed_s:
        return ()
    enough_s = math.ceil(abs(skew_s))
    replay = f"`receiver rejections replay {view.id} --max-deviation {enough_s}` takes this push all the same."
    steps = round(abs(skew_s) / ZONE_STEP_S)
    rest_s = abs(abs(skew_s) - ZONE_STEP_S * steps)
    if 0 < steps <= LONGEST_ZONE_S // ZONE_STEP_S and rest_s <= ZONE_ROOM_S:
        return (
            Finding(
                ("time-zone",),
                f"{tell_skew(skew_s)}, which is {steps / 2:g} h but for {rest_s:.0f} s: a time zone that was left out"
                " or is wrong.",
                f"See that the sender's Time has its offset from UTC, and that this machine's clock is right. {replay}",
            ),
        )
    which = "this clock is ahead or the push was held up" if skew_s > 0 else "this clock is behind"
    return (
        Finding(
            ("clock",),
            f"{tell_skew(skew_s)}: {which}, or the sender's clock is wrong.",
            f"Look at this machine's clock with `timedatectl`. {replay}",
        ),
    )


def unique_near_name(name: str, known: Sequence[str]) -> str | None:
    """Give the one known name that `name` equals but for case or one character; None if there is none, or several."""
    same = [other for other in known if other.casefold() == name.casefold()]
    near = same or [other for other in known if _differs_by_one(name.casefold(), other.casefold())]
    return near[0] if len(near) == 1 else None


def _differs_by_one(one: str, other: str) -> bool:
    """Say whether one character was typed wrong, left out, or typed too much, or two were exchanged."""
    if abs(len(one) - len(other)) > 1 or one == other:
        return False
    start = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    rest, other_rest = one[start:], other[start:]
    exchanged = rest[:2] == other_rest[1::-1] and rest[2:] == other_rest[2:]
    return rest[1:] == other_rest[1:] or rest[1:] == other_rest or rest == other_rest[1:] or exchanged
