"""How ThingPark's interfaces are asked, whichever they are: refusals explained, things made once, deleted once."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from receiver.errors import PlatformRefusedError
from receiver.platforms.thingpark_refusals import explain_refusal, is_absent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from receiver.platforms.caller import PlatformCaller
    from receiver.platforms.calls import PlatformAnswer, PlatformCall

T = TypeVar("T")


class ThingParkCalls:
    """Sends the requests of one account; the clients of the Device Manager API and of DX Core build on it."""

    url_setting = "api_url"
    """The setting of the account that has its address."""

    def __init__(self, caller: PlatformCaller) -> None:
        """Ask nothing yet."""
        self.caller = caller
        self.base_url = caller.base_url

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.caller!r})"

    async def send(self, call: PlatformCall, *, reads_refusals: bool = False) -> PlatformAnswer:
        """Send a request.

        Raises:
            PlatformRefusedError: ThingPark does not do it; the sentence says what to do where that is known.
            LoginRefusedError, NoAnswerError: as `PlatformCaller.call`.
        """
        try:
            return await self.caller.call(call, reads_refusals=reads_refusals)
        except PlatformRefusedError as exc:
            raise explain_refusal(exc, self.caller.platform) from exc

    async def make(
        self, call: PlatformCall, read: Callable[[PlatformAnswer], T], find: Callable[[], Awaitable[T | None]]
    ) -> T:
        """Send a POST that makes something and `read` its answer; where that is lost, `find` looks whether it did."""
        try:
            answer, found = await self.caller.create(call, find)
        except PlatformRefusedError as exc:
            raise explain_refusal(exc, self.caller.platform) from exc
        return cast("T", found) if answer is None else read(answer)

    async def remove(self, call: PlatformCall) -> bool:
        """Send a DELETE; False: there was no such thing (any more)."""
        try:
            await self.send(call)
        except PlatformRefusedError as exc:
            if is_absent(exc):
                return False
            raise
        return True

    def unreadable(self, what: str) -> PlatformRefusedError:
        """Give the error of an answer that cannot be what was asked for; `what` says why."""
        return PlatformRefusedError(
            f"{self.caller.platform} answered something that cannot be read ({what}): check the account's"
            f" {self.url_setting}.",
            status=200,
        )
