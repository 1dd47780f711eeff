"""The steps of downlinks: a state is changed here only, and so always with an event that says why."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import bindparam, insert, select, update

from receiver.storage.downlink_tables import downlink_events, downlinks
from receiver.storage.events import EventKind, NewEvent, tell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from typing import Any

    from sqlalchemy import Connection


class DownlinkState(StrEnum):
    """Where a downlink stands.

    queued → sending → accepted → sent → acknowledged; or, the cause in words: sending → refused, accepted → failed,
    queued → cancelled or expired. From sending back to queued: it is tried again later. From sending to unknown: the
    answer was lost. From accepted to unconfirmed: no report came.
    """

    QUEUED = "queued"
    """It waits for its turn here."""
    SENDING = "sending"
    """A request is under way."""
    UNKNOWN = "unknown"
    """The answer was lost: the same bytes will be sent again, and nothing else of this device before."""
    ACCEPTED = "accepted"
    """The network has it in its queue."""
    SENT = "sent"
    """A gateway transmitted it."""
    ACKNOWLEDGED = "acknowledged"
    """The device said that it got it: of confirmed ones."""
    REFUSED = "refused"
    """The network did not take it."""
    FAILED = "failed"
    """The network took it and could not transmit it."""
    UNCONFIRMED = "unconfirmed"
    """The network took it and did not report in time what became of it."""
    CANCELLED = "cancelled"
    """Taken back before it was sent."""
    EXPIRED = "expired"
    """Its time was over before it was sent."""


FINAL = frozenset(
    {
        DownlinkState.ACKNOWLEDGED,
        DownlinkState.REFUSED,
        DownlinkState.FAILED,
        DownlinkState.CANCELLED,
        DownlinkState.EXPIRED,
    }
)
"""Nothing follows these. `sent` may become `acknowledged`, and a late report may still settle `unconfirmed`."""

MOST_ANSWER = 1000
"""Characters of an answer that are kept."""


def record_step(
    connection: Connection,
    now: datetime,
    downlink_id: int,
    state: DownlinkState,
    *,
    cause: str | None = None,
    detail: str | None = None,
    request: str | None = None,
    answer: str | None = None,
    report_id: int | None = None,
    **columns: Any,  # noqa: ANN401 - other columns of `downlinks`, to be set with it
) -> int:
    """Bring a downlink into a state, keep why, and tell of it; give the id of the event.

    Within the caller's transaction, which holds `lock_reading`. The cause of the step before is replaced.
    """
    values = {"state": state.value, "state_at": now, "cause": cause, "detail": detail, **columns}
    connection.execute(update(downlinks).where(downlinks.c.id == downlink_id).values(values))
    return record_event(
        connection,
        now,
        downlink_id,
        state,
        cause=cause,
        detail=detail,
        request=request,
        answer=None if answer is None else answer[:MOST_ANSWER],
        report_id=report_id,
    )


class NewStep(NamedTuple):
    """A step of a downlink of that device and connection; `columns` are others of `downlinks`, set with it."""

    downlink_id: int
    dev_eui: str
    connection_id: int | None
    state: DownlinkState
    cause: str | None = None
    detail: str | None = None
    request: str | None = None
    answer: str | None = None
    report_id: int | None = None
    columns: Mapping[str, Any] = {}

    def __repr__(self) -> str:
        return f"NewStep({self.downlink_id}, {self.state}, {self.cause})"


def record_steps(connection: Connection, now: datetime, steps: Sequence[NewStep]) -> None:
    """Do for different downlinks what `record_step` does for one, in a few statements for all of them."""
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for step in steps:
        values = {"state": step.state.value, "state_at": now, "cause": step.cause, "detail": step.detail}
        values |= step.columns
        alike.setdefault(tuple(sorted(values)), []).append(values | {"of_id": step.downlink_id})
    for names, rows in alike.items():
        statement = update(downlinks).where(downlinks.c.id == bindparam("of_id"))
        connection.execute(statement.values({name: bindparam(name) for name in names}), rows)
    if not steps:
        return
    events = [
        {
            "downlink_id": step.downlink_id,
            "at": now,
            "state": step.state.value,
            "cause": step.cause,
            "detail": step.detail,
            "request": step.request,
            "answer": None if step.answer is None else step.answer[:MOST_ANSWER],
            "report_id": step.report_id,
        }
        for step in steps
    ]
    inserted = insert(downlink_events).returning(downlink_events.c.id, sort_by_parameter_order=True)
    ids = connection.scalars(inserted, events).all()
    told = zip(ids, steps, strict=True)
    tell(
        connection,
        now,
        [NewEvent(EventKind.DOWNLINK, event_id, step.dev_eui, step.connection_id) for event_id, step in told],
    )


def record_event(
    connection: Connection,
    now: datetime,
    downlink_id: int,
    state: DownlinkState,
    *,
    cause: str | None = None,
    detail: str | None = None,
    request: str | None = None,
    answer: str | None = None,
    report_id: int | None = None,
) -> int:
    """Keep a step of a downlink whose row was written already, and tell of it; likewise with `lock_reading` held."""
    statement = insert(downlink_events).values(
        downlink_id=downlink_id,
        at=now,
        state=state.value,
        cause=cause,
        detail=detail,
        request=request,
        answer=answer,
        report_id=report_id,
    )
    event_id: int = connection.execute(statement.returning(downlink_events.c.id)).scalar_one()
    of = connection.execute(
        select(downlinks.c.dev_eui, downlinks.c.connection_id).where(downlinks.c.id == downlink_id)
    ).one()
    tell(connection, now, [NewEvent(EventKind.DOWNLINK, event_id, of.dev_eui, of.connection_id)])
    return event_id
