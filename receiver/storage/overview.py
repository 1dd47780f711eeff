"""How much there is of everything: one look for a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from receiver.storage.tables import devices, rejections, reports, uplinks

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class RowCounts:
    """Numbers of rows; `duplicates` are deliveries beyond each report's first, `waiting` uplinks without key."""

    reports: int
    duplicates: int
    uplinks: int
    waiting: int
    devices: int
    rejections: int


def count_rows(connection: Connection) -> RowCounts:
    """Count. It reads whole tables, so it is for the end of a demo and not for a page."""

    def count(statement: object) -> int:
        return connection.scalar(statement) or 0  # type: ignore[call-overload]

    return RowCounts(
        reports=count(select(func.count()).select_from(reports)),
        duplicates=count(select(func.sum(reports.c.deliveries) - func.count()).select_from(reports)),
        uplinks=count(select(func.count()).select_from(uplinks)),
        waiting=count(select(func.count()).select_from(uplinks).where(uplinks.c.payload_state == "waiting_for_key")),
        devices=count(select(func.count()).select_from(devices)),
        rejections=count(select(func.count()).select_from(rejections)),
    )
