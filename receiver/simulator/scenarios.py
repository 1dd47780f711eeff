"""A network that runs: its pushes go out at their times, several at once, and their answers come back."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from receiver.simulator.planner import Planner, Scenario

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

    from receiver.simulator.network import SimulatedNetwork
    from receiver.simulator.push import Push
    from receiver.simulator.push_client import Delivery

MAX_IN_FLIGHT = 64
"""Pushes without an answer yet; the next one waits."""

MAX_LAG = timedelta(seconds=5)
"""How far behind its time a push may be signed: well inside the deviation that receivers tolerate."""

__all__ = ["MAX_IN_FLIGHT", "MAX_LAG", "Scenario", "run_network"]


async def run_network(
    network: SimulatedNetwork,
    scenario: Scenario,
    send: Callable[[Push], Awaitable[Delivery]],
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncGenerator[Delivery, None]:
    """Run `scenario` on `network`, and give each push with its answers as they come in.

        async with aclosing(run_network(network, scenario, client.deliver)) as deliveries:
            async for delivery in deliveries: …

    It ends after `max_pushes` or `duration_s` on the network's clock, whichever is first, when the pushes
    that are out have their answers. Closing or cancelling it takes those back. The same seed and time of
    start give the same pushes, as long as the receiver keeps up: what is later than `MAX_LAG` is signed
    with a later time.

    Args:
        network: as made; its devices are added here, its clock is the time.
        scenario: what happens.
        send: takes a push to where it goes; `PushClient.deliver`.
        sleep: waits for some seconds on the network's clock.
    """
    planner = Planner(network, scenario)
    start = network.clock()
    in_flight: set[asyncio.Future[Delivery]] = set()
    try:
        for due in planner.due_times():
            while True:
                wait_s = (start + due - network.clock()).total_seconds()
                if wait_s <= 0 and len(in_flight) < MAX_IN_FLIGHT:
                    break
                for delivery in await _take_answers(in_flight, wait_s, sleep):
                    yield delivery
            now = network.clock()
            if (now - start).total_seconds() >= scenario.duration_s:
                break
            push = planner.next_push(max(start + due, now - MAX_LAG))
            in_flight.add(asyncio.ensure_future(send(push)))
        while in_flight:
            for delivery in await _take_answers(in_flight, 0, sleep):
                yield delivery
    finally:
        await _call_off(in_flight)


async def _take_answers(
    in_flight: set[asyncio.Future[Delivery]], wait_s: float, sleep: Callable[[float], Awaitable[None]]
) -> list[Delivery]:
    """Wait for an answer, for `wait_s` at most if that is more than 0; take those that came out of `in_flight`."""
    timers = [asyncio.ensure_future(sleep(wait_s))] if wait_s > 0 else []
    awaited: list[asyncio.Future[Any]] = [*timers, *in_flight]
    try:
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _call_off(timers)
    done = [future for future in in_flight if future.done()]
    in_flight.difference_update(done)
    return sorted((future.result() for future in done), key=lambda delivery: delivery.push.number)


async def _call_off(futures: Iterable[asyncio.Future[Any]]) -> None:
    for future in futures:
        future.cancel()
    await asyncio.gather(*futures, return_exceptions=True)
