"""Calls that a hung database may keep for ever, away from the event loop and in nobody's way at the end."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


def in_daemon_thread(function: Callable[[], Result]) -> asyncio.Future[Result]:
    """Run `function` in a thread that does not keep the process alive, unlike those of `asyncio.to_thread`."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def settle(set_it: Callable[[Any], None], value: object) -> None:
        if not future.done():
            set_it(value)

    def run() -> None:
        try:
            outcome = future.set_result, function()
        except BaseException as exc:  # noqa: BLE001 - it is the caller's
            outcome = future.set_exception, exc  # type: ignore[assignment]
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=run, name="call", daemon=True).start()
    return future


class SharedCall(Generic[Result]):
    """A call that is made once for all who want its result at the same time: at most one thread hangs in it."""

    def __init__(self, function: Callable[[], Result]) -> None:
        self._function = function
        self._under_way: asyncio.Future[Result] | None = None

    async def result(self, within_s: float) -> Result:
        """Give its result, or raise what it raised.

        Raises:
            TimeoutError: it has not ended within that time; it goes on, and the next caller waits for the same one.
        """
        if self._under_way is None or self._under_way.done():
            self._under_way = in_daemon_thread(self._function)
            self._under_way.add_done_callback(_take_note)
        return await asyncio.wait_for(asyncio.shield(self._under_way), within_s)


def _take_note(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()  # nobody may wait for it any more
