"""Reports and rejections made for the inbox, and ways to put them."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from threading import Thread

from sqlalchemy import func, select

from receiver.storage.engine import driver_cursor, read, write
from receiver.storage.inbox import make_inbox
from receiver.storage.inbox_rows import Outcome, insert_new_reports, note_deliveries
from receiver.storage.rejections import NewRejection, RejectionLimits
from receiver.storage.reports import NewReport
from receiver.storage.tables import deliveries, reports

STORED, DUPLICATE = Outcome.STORED, Outcome.DUPLICATE
LIMITS = RejectionLimits(max_rows=1000, max_bytes=10**7, unknown_max_rows=100)
TUNNEL_KEY = "17d107c7e4ae7ad8ea64ea25ee6a6b52"


def digest(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()[:16]


def report_maker(connection_id, now):
    """Give reports that differ by their number; `delivery` tells several deliveries of one frame apart."""

    def make(number: int, delivery: int = 1) -> NewReport:
        return NewReport(
            connection_id=connection_id,
            tunnel_key_id=1,
            kind="DevEUI_uplink",
            content_type="json",
            dev_eui="20635F0000000001",
            received_at=now + timedelta(milliseconds=number),
            sent_at=now,
            delivery_id=digest(number, delivery),
            frame_id=digest("frame", number),
            query=f"LrnInfos=TWA-{number}-{delivery}",
            body=b'{"DevEUI_uplink":{}}',
        )

    return make


def rejection_maker(connection_id, now):
    """Give refused pushes, of the connection or (`known` False) of one that nobody knows."""

    def make(body: bytes = b"", *, known: bool = True) -> NewRejection:
        owner = connection_id if known else None
        return NewRejection(owner, "field", now, "token-mismatch", "Why.", "LrnInfos=1", (("host", "h"),), body)

    return make


def use_inbox(engine, work):
    """Run `work(inbox)` on a loop of its own, between start and stop."""

    async def main():
        inbox = make_inbox(engine, LIMITS)
        inbox.start()
        try:
            return await work(inbox)
        finally:
            await inbox.stop()

    return asyncio.run(main())


def put_all(engine, new_reports, *, at_once=False):
    async def work(inbox):
        if at_once:
            return await asyncio.gather(*(inbox.put(report) for report in new_reports))
        return [await inbox.put(report) for report in new_reports]

    return use_inbox(engine, work)


def put_together(engine, new_reports):
    """Let all of them wait before the writer starts, so that they are one batch."""

    async def main():
        inbox = make_inbox(engine, LIMITS)
        inbox._loop = asyncio.get_running_loop()
        waiting = [asyncio.create_task(inbox.put(report)) for report in new_reports]
        await asyncio.sleep(0)
        inbox.start()
        try:
            return await asyncio.gather(*waiting, return_exceptions=True)
        finally:
            await inbox.stop()

    return asyncio.run(main())


def stored_reports(engine):
    with read(engine) as connection:
        return connection.execute(select(reports).order_by(reports.c.id)).all()


def stored_deliveries(engine):
    with read(engine) as connection:
        return connection.execute(select(deliveries).order_by(deliveries.c.id)).all()


def in_threads(*works):
    threads = [Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def count(engine, table):
    with read(engine) as connection:
        return connection.scalar(select(func.count()).select_from(table))


def take_batch(engine, batch):
    """Insert a batch and note its copies, as the inbox's writer does; give the outcomes."""
    with driver_cursor(engine) as cursor:
        are_new = insert_new_reports(cursor, engine.dialect.name, batch)
    with write(engine) as connection:
        note_deliveries(connection, [report for report, is_new in zip(batch, are_new, strict=True) if not is_new])
    return [STORED if is_new else DUPLICATE for is_new in are_new]
