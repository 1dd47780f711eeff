"""Downlinks in the demo: one after the other to a device that was heard, each followed to its end."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from receiver.errors import ReceiverError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from receiver.cli.demo_view import DemoView
    from receiver.lorawan.identifiers import DevEui
    from receiver.services.downlink_encoding import ObjectEncoder

F_PORT = 10
PAYLOADS = (b"\x01", b"\x00")
"""As if it were a valve that is opened and closed."""

AFTER_UPLINKS = 5
LOOK_S = 0.2
PAUSE_S = 10.0
"""From the end of one downlink, or from when it waits too long, to the next."""

FOLLOW_S = 60.0
"""How long one is followed: a device that speaks seldom keeps the others waiting no longer."""

_SETTLED = frozenset({"acknowledged", "refused", "failed", "unconfirmed", "cancelled", "expired"})


async def send_downlinks(view: DemoView, engine: Engine) -> None:
    """Put confirmed downlinks in, and show what becomes of them, until it is cancelled."""
    from receiver.services.downlink_encoding import ObjectEncoder

    number = 0
    with ObjectEncoder() as encoder:
        while True:
            dev_eui = await asyncio.to_thread(_heard_device, engine)
            if dev_eui is not None:
                payload = PAYLOADS[number % len(PAYLOADS)]
                number += 1
                with suppress(ReceiverError):  # the demo goes on, and the next one may go through
                    downlink_id = await asyncio.to_thread(_put_in, engine, encoder, dev_eui, payload)
                    await _follow(view, engine, downlink_id)
                    await asyncio.sleep(PAUSE_S)
            await asyncio.sleep(LOOK_S)


async def _follow(view: DemoView, engine: Engine, downlink_id: int) -> None:
    from receiver.services.downlink_views import get_downlink

    shown = 0
    deadline = asyncio.get_running_loop().time() + FOLLOW_S
    while asyncio.get_running_loop().time() < deadline:
        downlink = await asyncio.to_thread(get_downlink, engine, downlink_id)
        for event in downlink.events[shown:]:
            view.downlink(downlink.id, downlink.dev_eui, event)
        shown = len(downlink.events)
        if downlink.state in _SETTLED:
            return
        await asyncio.sleep(LOOK_S)


def _put_in(engine: Engine, encoder: ObjectEncoder, dev_eui: DevEui, payload: bytes) -> int:
    from receiver.services.downlink_checks import DownlinkWish
    from receiver.services.downlinks import CORRELATION_BITS, enqueue

    wish = DownlinkWish(dev_eui=dev_eui, f_port=F_PORT, payload=payload, confirmed=True, reference="demo")
    now, correlation_id = datetime.now(UTC), secrets.randbits(CORRELATION_BITS)
    return enqueue(engine, encoder, now, correlation_id, wish, creator="demo").downlink.id


def _heard_device(engine: Engine) -> DevEui | None:
    """Give the device of the oldest of the first uplinks, once there are some."""
    from receiver.lorawan.identifiers import DevEui
    from receiver.storage.engine import read
    from receiver.storage.uplink_queries import list_uplinks_since

    with read(engine) as tx:
        found = list_uplinks_since(tx, 0, limit=AFTER_UPLINKS)
    return DevEui(found[0].dev_eui) if len(found) == AFTER_UPLINKS else None
