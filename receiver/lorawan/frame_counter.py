"""Frame counters: 32 bits, canonical decimals, and when a lower one means a new start.

Source: LoRaWAN L2 1.0.4 section 4.3.1.5. The network extends the 16 bits on the air to 32, and its reports
carry all 32 (ThingPark LRC–AS tunnel interface, uplink report: FCntUp).
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import NewType

from receiver.errors import IdentifierError

FrameCounter = NewType("FrameCounter", int)
"""0 … 2^32 − 1."""

F_CNT_MAX = 2**32 - 1
F_PORT_MAX = 255  # one byte on the air; 1–223 is the application's, LoRaWAN L2 1.0.4 section 4.3.2

SAME_FRAME_WINDOW = timedelta(seconds=120)
"""Copies of one frame (failover, blast, retry, two connections) carry reception times this close.

They normally carry the very same time; the room is for networks that stamp a roaming copy on their own
clock. A device that restarts its counter needs longer than this to send the same counter again.
"""

_CANONICAL = re.compile(r"(?:0|[1-9][0-9]{0,9})\Z")


def parse_canonical(text: str, maximum: int) -> int:
    """Give the number that `text` spells as a canonical decimal: digits only, no sign, no leading zero.

    The token runs values together without a separator, so `0100` and `100` must not both be accepted.

    Raises:
        IdentifierError: it is not canonical, or larger than `maximum`.
    """
    if not _CANONICAL.match(text) or (number := int(text)) > maximum:
        shown = text if len(text) <= 24 else f"{text[:24]}… ({len(text)} characters)"
        raise IdentifierError(f"{shown!r} is not a whole number from 0 to {maximum} without leading zeros.")
    return number


def restarts(*, last_f_cnt: int, last_at: datetime, f_cnt: int, at: datetime, late: bool) -> bool:
    """Say whether `f_cnt`, received at `at`, shows that the device began its counter anew.

    A lower (or equal) counter is a restart only if the frame is newer than the last one by more than
    `SAME_FRAME_WINDOW`: late and reordered frames are older, and copies of a frame are of the same time.
    """
    return not late and f_cnt <= last_f_cnt and at > last_at + SAME_FRAME_WINDOW
