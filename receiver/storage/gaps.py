"""Holes in the frame counters: uplinks that a device sent and nobody heard, by the view `uplink_gaps`.

A hole stands between two frames of one session that were heard; a new session (a join, a restart) begins
without one. A late frame closes its hole, since the view is computed when it is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from receiver.storage.tables import connections, devices, uplink_gaps

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class UplinkGap:
    """A hole: `missing` counters between two that were heard at `from_at` and `until_at`, the network's times."""

    dev_eui: str
    device: str | None
    connection: str | None
    session_id: int
    after_f_cnt_up: int
    before_f_cnt_up: int
    missing: int
    from_at: datetime
    until_at: datetime


def list_gaps(
    connection: Connection, *, limit: int, dev_eui: str | None = None, since: datetime | None = None
) -> list[UplinkGap]:
    """Give up to `limit` holes, those that ended last first; of one device, or that ended at `since` or later.

    Of one device it reads that device's uplinks; of all, it reads and sorts all uplinks.
    """
    gap = uplink_gaps.c
    statement = (
        select(
            gap.dev_eui,
            devices.c.name,
            connections.c.name,
            gap.session_id,
            gap.after_f_cnt_up,
            gap.before_f_cnt_up,
            gap.missing,
            gap.from_at,
            gap.until_at,
        )
        .select_from(
            uplink_gaps.outerjoin(devices, devices.c.dev_eui == gap.dev_eui).outerjoin(
                connections, connections.c.id == gap.connection_id
            )
        )
        .order_by(gap.until_at.desc(), gap.session_id.desc(), gap.before_f_cnt_up.desc())
        .limit(limit)
    )
    if dev_eui is not None:
        statement = statement.where(gap.dev_eui == dev_eui)
    if since is not None:
        statement = statement.where(gap.until_at >= since)
    return [UplinkGap(*row) for row in connection.execute(statement)]
