"""Does a plan at a network, several rows at once, each outcome written as it comes; so it can be stopped anywhere.

A row is written as `sending` before its request is sent, and as what it came to after its answer. Both are done for
many rows in one transaction, as many as came in the meantime. Whoever goes on after a crash finds the rows between the
two, and plans them anew from what the network has; so none is done twice, and none is left out.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from receiver.errors import ConflictError, NoAnswerError, PlatformRefusedError, ReceiverError
from receiver.services.bulk_columns import BY_NAME
from receiver.services.bulk_networks import Verdict, judge
from receiver.services.bulk_plan import SENT, PlannedRow, Step, differing_columns
from receiver.services.bulk_runs import BEAT_S
from receiver.storage import device_runs as stored
from receiver.storage.device_runs import BAD, Outcome, Settled
from receiver.storage.engine import write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    import sqlalchemy as sa

    from receiver.services.bulk_file import DeviceRow
    from receiver.services.bulk_networks import NetworkDevices
    from receiver.services.bulk_plan import BulkPlan
    from receiver.services.bulk_runs import Lease
    from receiver.storage.device_runs import State

WINDOW = 128
"""Rows that are `sending` at a time: what a thousand a second come to while a slow disk commits."""

LINGER_S = 0.02
"""How long outcomes are gathered before they are written: at a thousand a second, twenty in a transaction."""

SAME_REFUSALS = 20
"""So many refusals in a row with the same words, and no row that went well: the others would meet it too."""

MOST_ERROR = 500
"""Characters of an error that are kept with a row."""

_WRITTEN_AT_ONCE = 1000
_DIGITS = re.compile(r"[0-9A-Fa-f:_-]{4,}|\d+")
_DONE = {
    Step.CREATE: Outcome.CREATED,
    Step.UPDATE: Outcome.UPDATED,
    Step.MOVE: Outcome.MOVED,
    Step.DELETE: Outcome.DELETED,
}
_DONE_BEFORE = {"create": Outcome.CREATED, "update": Outcome.UPDATED, "move": Outcome.MOVED}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is."""

    done: int
    bad: int
    total: int


@dataclass(frozen=True, slots=True)
class WorkDone:
    """How a run ended: `stop_reason` is None if every row has an outcome."""

    progress: Progress
    stop_reason: str | None


class BulkWork:
    """The work on one run, for one event loop; `stop` may be called at any time, by a signal too."""

    def __init__(
        self,
        engine: sa.Engine,
        network: NetworkDevices,
        lease: Lease,
        utc_now: Callable[[], datetime],
        *,
        at_once: int = 4,
        told: Callable[[Progress], None] = lambda _progress: None,
    ) -> None:
        self._engine = engine
        self._network = network
        self._lease = lease
        self._utc_now = utc_now
        self._at_once = at_once
        self._told = told
        self._queue: asyncio.Queue[PlannedRow] = asyncio.Queue()
        self._settled: list[Settled] = []
        self._wake = asyncio.Event()
        self._stop_reason: str | None = None
        self._fault: Exception | None = None
        self._refused_alike = ("", 0)
        self._done = self._bad = self._total = 0

    def stop(self, reason: str) -> None:
        """Send nothing more; what is under way is waited for."""
        self._stop_reason = self._stop_reason or reason
        self._wake.set()

    async def do(self, plan: BulkPlan, action: str, doubtful: AbstractSet[int] = frozenset()) -> WorkDone:
        """Do the plan. `doubtful`: lines that were `sending` when the run broke off.

        Raises:
            ConflictError: another process has taken the run over.
            StorageUnavailableError: outcomes cannot be written; the run can be gone on with.
        """
        self._total = len(plan.rows)
        state: State = "stopped"
        reason: str | None = "It broke off."
        try:
            await self._settle_unsent(plan, action, doubtful)
            await self._send_all(deque(one for one in plan.rows if one.step in SENT))
            if self._done == self._total:  # also where it was to stop, and nothing was left to be done
                self._stop_reason = None
            reason = self._stop_reason
            state = "done" if reason is None else "stopped"
        except ReceiverError as exc:
            reason = str(exc)
            raise
        finally:
            with write(self._engine) as tx:
                stored.end_run(tx, self._lease.run_id, self._lease.owner, state, reason, self._utc_now())
        return WorkDone(Progress(self._done, self._bad, self._total), self._stop_reason)

    # --- rows that need no request

    async def _settle_unsent(self, plan: BulkPlan, action: str, doubtful: AbstractSet[int]) -> None:
        settled = [
            _unsent(one, action, self._network.platform, is_doubtful=one.row.line in doubtful)
            for one in plan.rows
            if one.step not in SENT
        ]
        for start in range(0, len(settled), _WRITTEN_AT_ONCE):
            part = settled[start : start + _WRITTEN_AT_ONCE]
            await asyncio.to_thread(self._write, part)
            self._count(part)

    # --- rows that are sent

    async def _send_all(self, waiting: deque[PlannedRow]) -> None:
        workers = [asyncio.create_task(self._serve()) for _ in range(self._at_once)]
        try:
            await self._keep_ledger(waiting)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _keep_ledger(self, waiting: deque[PlannedRow]) -> None:
        """Write what rows came to and which are next, and only then hand those out."""
        under_way = 0
        beat_at = time.monotonic()
        while True:
            if self._fault is not None:
                raise self._fault
            settled, self._settled = self._settled, []
            under_way -= len(settled)
            claimed: list[PlannedRow] = []
            while self._stop_reason is None and waiting and under_way + len(claimed) < WINDOW:
                claimed.append(waiting.popleft())
            if settled or claimed or time.monotonic() - beat_at >= BEAT_S:
                sending = [Settled(one.row.line, Outcome.SENDING) for one in claimed]
                await asyncio.to_thread(self._write, settled + sending)
                beat_at = time.monotonic()
            self._count(settled)
            under_way += len(claimed)
            for one in claimed:
                self._queue.put_nowait(one)
            if self._stop_reason is not None:
                self._give_back()
            if under_way == 0 and (not waiting or self._stop_reason is not None):
                return
            await self._wait()

    async def _wait(self) -> None:
        if not self._settled and self._fault is None:
            self._wake.clear()
            try:
                async with asyncio.timeout(BEAT_S):
                    await self._wake.wait()
            except TimeoutError:
                return
        await asyncio.sleep(LINGER_S)

    def _give_back(self) -> None:
        """Take back what nobody has begun."""
        while not self._queue.empty():
            self._settled.append(Settled(self._queue.get_nowait().row.line, Outcome.PLANNED))

    def _count(self, settled: Sequence[Settled]) -> None:
        for one in settled:
            self._done += one.outcome not in stored.OPEN
            self._bad += one.outcome in BAD
        self._told(Progress(self._done, self._bad, self._total))

    def _write(self, settled: Sequence[Settled]) -> None:
        now = self._utc_now()
        with write(self._engine) as tx:
            if not stored.beat(tx, self._lease.run_id, self._lease.owner, now):
                raise ConflictError(f"Another process has taken over run {self._lease.run_id}; this one ends.")
            stored.settle_rows(tx, self._lease.run_id, settled, now)

    async def _serve(self) -> None:
        while True:
            planned = await self._queue.get()
            try:
                settled = await self._send(planned)
            except Exception as exc:  # noqa: BLE001 - the ledger raises it, for it must not wait for this row for ever
                self._fault = exc
            else:
                self._settled.append(settled)
            self._wake.set()

    async def _send(self, planned: PlannedRow) -> Settled:
        row = planned.row
        if self._stop_reason is not None:
            return Settled(row.line, Outcome.PLANNED)
        try:
            ref = await self._ask(planned)
        except PlatformRefusedError as exc:
            return await self._refused(planned, exc)
        except NoAnswerError as exc:  # it may have been done, in one of the tries
            self.stop(_without_keys(str(exc), row))
            return Settled(row.line, Outcome.SENDING)
        except ConflictError as exc:  # this device alone cannot be what the row says
            return Settled(row.line, Outcome.FAILED, planned.device.ref if planned.device else None, str(exc))
        except ReceiverError as exc:
            self.stop(_without_keys(str(exc), row))
            return Settled(row.line, Outcome.PLANNED)
        self._refused_alike = ("", 0)
        return Settled(row.line, _DONE[planned.step], ref)

    async def _ask(self, planned: PlannedRow) -> str:
        device = planned.device
        if device is None:
            return await self._network.create(planned.row)
        if planned.step is Step.DELETE:
            await self._network.delete(device)
        else:
            await self._network.update(device, planned.row, planned.differing)
        return device.ref

    async def _refused(self, planned: PlannedRow, refused: PlatformRefusedError) -> Settled:
        row = planned.row
        sentence = _without_keys(str(refused), row)
        verdict = judge(refused)
        if verdict is Verdict.RUN:
            self.stop(sentence)
            return Settled(row.line, Outcome.PLANNED)
        if planned.step in {Step.CREATE, Step.DELETE} and verdict is Verdict.ROW:
            done = await self._done_already(planned)
            if done is not None:
                return done
        if verdict is Verdict.UNCLEAR:
            self._count_alike(refused, sentence)
        return Settled(row.line, Outcome.FAILED, planned.device.ref if planned.device else None, sentence)

    async def _done_already(self, planned: PlannedRow) -> Settled | None:
        """Give the outcome if the network refuses since it did it before: by a request whose answer was lost."""
        row = planned.row
        try:
            found = await self._network.find(row.dev_eui)
        except PlatformRefusedError:
            return None
        except ReceiverError as exc:
            self.stop(str(exc))
            return Settled(row.line, Outcome.SENDING)
        if planned.step is Step.DELETE:
            return (
                Settled(row.line, Outcome.DELETED, planned.device.ref if planned.device else None)
                if not found
                else None
            )
        if found is None or differing_columns(row, found, [n for n in BY_NAME if getattr(found, n, None) is not None]):
            return None
        return Settled(row.line, Outcome.CREATED, found.ref)

    def _count_alike(self, refused: PlatformRefusedError, sentence: str) -> None:
        words = f"{refused.status} {refused.oss_code} {_DIGITS.sub('#', refused.said)}"
        number = self._refused_alike[1] + 1 if words == self._refused_alike[0] else 1
        self._refused_alike = (words, number)
        if number >= SAME_REFUSALS:
            self.stop(f"{number} devices in a row were refused with the same words: {sentence}")


def _unsent(planned: PlannedRow, action: str, platform: str, *, is_doubtful: bool) -> Settled:
    """Give the outcome of a row that the plan has nothing to do for."""
    row, device = planned.row, planned.device
    ref = device.ref if device else None
    match planned.step:
        case Step.SAME:
            return Settled(row.line, _DONE_BEFORE[action] if is_doubtful else Outcome.SAME, ref)
        case Step.ABSENT:
            return Settled(row.line, Outcome.DELETED if is_doubtful else Outcome.ABSENT)
        case Step.DIFFERENT:
            columns = ", ".join(BY_NAME[name].header for name in planned.differing)
            said = f"{platform} has this device already, and otherwise: {columns}. `--action update` changes it."
            return Settled(row.line, Outcome.DIFFERS, ref, said)
    return Settled(row.line, Outcome.UNKNOWN, None, f"{platform} has no device {row.dev_eui} in this account.")


def _without_keys(sentence: str, row: DeviceRow) -> str:
    """Give a sentence without this row's keys, should a network repeat them, in any grouping."""
    for key in (row.app_key, row.nwk_key):
        if key is not None:
            digits = key.reveal().hex()
            sentence = re.sub("[-: ]?".join(digits), "…", sentence, flags=re.IGNORECASE)
    return sentence[:MOST_ERROR]
