"""What was sent and answered, frame by frame, and what of it the database holds."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from receiver.errors import StorageUnavailableError
from receiver.storage.engine import read
from receiver.storage.tables import reports, uplinks
from tests.soak.pushes import NUMBER_IN_QUERY

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from tests.soak.pushes import Frames


class Ledger:
    """Counts of every frame: how often it was sent, and how often it was answered `stored` and `duplicate`."""

    def __init__(self) -> None:
        self.attempts = array("H")
        self.stored = array("H")
        self.duplicate = array("H")
        self.refused: Counter[int] = Counter()
        self.unanswered = 0
        self.never_sent_before = 0

    def new_frame(self) -> int:
        """Give the number of a frame that was not sent yet."""
        for counts in (self.attempts, self.stored, self.duplicate):
            counts.append(0)
        return len(self.attempts) - 1

    def sent(self, number: int) -> None:
        self.attempts[number] += 1

    def answered(self, number: int, status: int, body: bytes) -> None:
        if status != 200:
            self.refused[status] += 1
        elif body == b"stored\n":
            self.stored[number] += 1
        else:
            assert body == b"duplicate\n", body
            self.duplicate[number] += 1
            self.never_sent_before += self.attempts[number] == 1

    @property
    def answered_200(self) -> int:
        """Give how many pushes were answered 200."""
        return sum(self.stored) + sum(self.duplicate)

    def acknowledged(self) -> set[int]:
        """Give the frames that were answered 200 at least once."""
        return {number for number in range(len(self.attempts)) if self.stored[number] or self.duplicate[number]}


@dataclass
class Counts:
    """What a run came to; what must be zero is in `failures`.

    `answers_lost` are frames whose commit was done and whose answer did not come: only a duplicate was acknowledged.
    """

    frames_sent: int = 0
    pushes_sent: int = 0
    answered_stored: int = 0
    answered_duplicate: int = 0
    refused: dict[int, int] = field(default_factory=dict)
    unanswered: int = 0
    acknowledged: int = 0
    found_once: int = 0
    found_twice: int = 0
    lost: int = 0
    found_unacknowledged: int = 0
    answers_lost: int = 0
    read_once: int = 0
    read_twice: int = 0
    unread: int = 0
    wrong: int = 0
    too_few_deliveries: int = 0
    too_many_deliveries: int = 0
    false_duplicates: int = 0
    children_died: int = 0
    errors_logged: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    @property
    def failures(self) -> dict[str, int]:
        """Give what should be zero and is not."""
        return {name: value for name in _MUST_BE_ZERO if (value := getattr(self, name))}

    def table(self) -> str:
        """Give a line for each count."""
        rows = [(item.name.replace("_", " "), getattr(self, item.name)) for item in fields(self)]
        shown = [(name, value) for name, value in rows if name != "examples"]
        return "\n".join(
            [*(f"  {name:<22}{value}" for name, value in shown), *(f"  ! {line}" for line in self.examples)]
        )


_MUST_BE_ZERO = (
    *("lost", "found_twice", "unread", "read_twice", "wrong"),
    *("too_many_deliveries", "false_duplicates", "children_died"),
)


def wait_until_settled(engine: Engine, ledger: Ledger, within_s: float) -> None:
    """Wait until all that was acknowledged is in `reports` and read, or the time is over: the comparison tells."""
    expected = len(ledger.acknowledged())
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            with read(engine) as connection:
                stored = connection.scalar(select(func.count()).select_from(reports)) or 0
                unread = connection.scalar(select(func.count()).where(reports.c.state == "unread")) or 0
        except StorageUnavailableError:
            unread = 1
        if not unread and stored >= expected:
            return
        time.sleep(0.1)


def compare(engine: Engine, frames: Frames, ledger: Ledger, *, was_read: bool = True) -> Counts:
    """Hold the ledger against the database, row by row. `was_read` False: no worker ran, so that none is unread."""
    counts = Counts(
        frames_sent=len(ledger.attempts),
        pushes_sent=sum(ledger.attempts),
        answered_stored=sum(ledger.stored),
        answered_duplicate=sum(ledger.duplicate),
        refused=dict(ledger.refused),
        unanswered=ledger.unanswered,
        false_duplicates=ledger.never_sent_before,
    )
    found, delivered, read_of = _stored(engine, frames, len(ledger.attempts), counts)
    acknowledged = ledger.acknowledged()
    counts.acknowledged = len(acknowledged)
    for number in range(len(ledger.attempts)):
        is_unread = was_read and found[number] > 0 and read_of[number] == 0
        counts.unread += is_unread
        _judge(counts, ledger, number, number in acknowledged, found[number], delivered[number], read_of[number])
    return counts


def _judge(
    counts: Counts, ledger: Ledger, number: int, is_acknowledged: bool, found: int, delivered: int, read_times: int
) -> None:
    answered = ledger.stored[number] + ledger.duplicate[number]
    faults = {
        "lost": is_acknowledged and found == 0,
        "found_twice": found > 1,
        "read_twice": read_times > 1,
        "too_few_deliveries": found == 1 and delivered < answered,
        "too_many_deliveries": found == 1 and delivered > ledger.attempts[number],
    }
    counts.found_once += is_acknowledged and found == 1
    counts.found_unacknowledged += found > 0 and not is_acknowledged
    counts.answers_lost += ledger.duplicate[number] > 0 and not ledger.stored[number]
    counts.read_once += read_times == 1
    for name, is_so in faults.items():
        setattr(counts, name, getattr(counts, name) + is_so)
    if any(faults.values()) and len(counts.examples) < 10:
        names = ", ".join(name for name, is_so in faults.items() if is_so)
        counts.examples.append(
            f"frame {number}: {names}; sent {ledger.attempts[number]}, answered stored {ledger.stored[number]},"
            f" duplicate {ledger.duplicate[number]}; in reports {found}, deliveries {delivered}, uplinks {read_times}"
        )


def _stored(engine: Engine, frames: Frames, size: int, counts: Counts) -> tuple[array[int], array[int], array[int]]:
    found, delivered, read_of = (array("H", bytes(2 * size)) for _ in range(3))
    with read(engine) as connection:
        streamed = connection.execution_options(yield_per=5000)
        for query, deliveries in streamed.execute(select(reports.c.query, reports.c.deliveries)):
            match = NUMBER_IN_QUERY.search(query)
            assert match, f"a report that nobody sent: {query}"
            found[int(match[1])] += 1
            delivered[int(match[1])] += deliveries
        rows = streamed.execute(select(uplinks.c.dev_eui, uplinks.c.f_cnt_up, uplinks.c.frm_payload))
        for dev_eui, f_cnt_up, payload in rows:
            number = int.from_bytes(bytes(payload)[:4])
            read_of[number] += 1
            counts.wrong += frames.identity(number) != (dev_eui, f_cnt_up, bytes(payload))
    return found, delivered, read_of
