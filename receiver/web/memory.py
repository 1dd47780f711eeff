"""Gives memory back to the system after a crowd of connections."""

from __future__ import annotations

import asyncio
import ctypes
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

CROWD = 100
"""So many connections at a time make it worth while; fewer touch the same memory again and again."""

LOOK_S = 0.5
"""How often they are counted."""

GIVE_BACK_EVERY = 10
"""Looks between two times that memory is given back: a pause of some ten milliseconds, every five seconds at most."""


async def give_back_memory(count_most: Callable[[], int]) -> None:
    """Do so until cancelled: while there is a crowd, and once when it has gone.

    `count_most` gives how many connections there were at a time since it was last asked: many come and go in a tenth
    of a second.

    Each TLS connection allocates a quarter of a megabyte and writes to a few pages of it. The C library keeps all pages
    that were ever written to: after thousands of connections, hundreds of megabytes.
    """
    trim = _find_trim()
    if trim is None:
        return
    looks, was_crowd = 0, False
    while True:
        await asyncio.sleep(LOOK_S)
        number = count_most()
        looks += 1
        was_crowd = was_crowd or number >= CROWD
        if was_crowd and (looks >= GIVE_BACK_EVERY or number < CROWD / 4):
            await asyncio.to_thread(trim)
            looks, was_crowd = 0, number >= CROWD


def _find_trim() -> Callable[[], object] | None:
    """Give what tells glibc to release all free pages; other C libraries have none, and keep less."""
    try:
        malloc_trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
    return lambda: malloc_trim(0)
