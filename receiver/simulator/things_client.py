"""Delivers pushes as a destination of KPN Things does: three attempts with growing pauses, then the push is gone.

Source: docs.kpnthings.com, Destinations, HTTPS: `expectedResponseCode` and retries. The pauses are not published.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from receiver.simulator.things import ThingsPush

EXPECTED_STATUS = 200
ATTEMPTS = 3
PAUSES_S = (1.0, 4.0)


async def deliver_things_push(
    client: httpx.AsyncClient,
    url: str,
    push: ThingsPush,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> list[int | None]:
    """Post a push until it is answered 200; give the answers, None for one that did not come."""
    answers: list[int | None] = []
    for attempt in range(ATTEMPTS):
        if attempt:
            await sleep(PAUSES_S[attempt - 1])
        try:
            response = await client.post(url, content=push.body, headers=push.headers)
        except httpx.HTTPError:
            answers.append(None)
            continue
        answers.append(response.status_code)
        if response.status_code == EXPECTED_STATUS:
            break
    return answers
