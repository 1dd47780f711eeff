"""Events from the database, page by page: what a reader gets that comes back, or is behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from receiver.services.event_contents import EventContent, EventFilter, load_contents
from receiver.storage.connections import list_connection_names
from receiver.storage.engine import read
from receiver.storage.events import list_events, newest_event_id, oldest_event_id

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

PAGE_EVENTS = 200
"""Of one page: some hundred kilobytes, made within some ten milliseconds."""

PAGE_SPAN = 20_000
"""So many events are looked through for a page, if a filter leaves few: a few milliseconds."""

EVERYTHING = EventFilter()


class EventPage(NamedTuple):
    """What follows a place in the order of events; `position` is the place behind it.

    `gap` are the first and last id of what can no longer be told, before the rest of the page, since it was deleted.
    """

    contents: list[EventContent]
    position: int
    is_last: bool
    """There was nothing behind it then."""
    gap: tuple[int, int] | None = None


def read_event_page(engine: Engine, after_id: int, wanted: EventFilter, limit: int = PAGE_EVENTS) -> EventPage:
    """Give up to `limit` events behind `after_id` that are wanted and that there is something to tell of.

    Raises:
        StorageUnavailableError: the database is away.
    """
    with read(engine) as connection:
        newest = newest_event_id(connection)
        if newest <= after_id:
            return EventPage([], after_id, is_last=True)
        oldest = oldest_event_id(connection) or newest
        gap = (after_id + 1, oldest - 1) if oldest > after_id + 1 else None
        start = gap[1] if gap else after_id
        end = min(newest, start + PAGE_SPAN)
        events = list_events(
            connection,
            start,
            limit,
            up_to_id=end,
            kinds=wanted.kinds or None,
            dev_euis=wanted.dev_euis or None,
            connection_ids=_connection_ids(connection, wanted),
        )
        contents = [content for content in load_contents(connection, events) if wanted.wants(content)]
    position = events[-1].id if len(events) == limit else end
    return EventPage(contents, position, position >= newest, gap)


def _connection_ids(connection: Connection, wanted: EventFilter) -> set[int] | None:
    if not wanted.connections:
        return None
    names = list_connection_names(connection)
    return {connection_id for connection_id, name in names.items() if name in wanted.connections}
