"""How a connection's downlinks go, for people: where to, how their Time is spelled, whether they are held, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from receiver.errors import SettingsError
from receiver.services.connections import check_downlink_url
from receiver.services.things_secrets import PLATFORM
from receiver.storage import connections as stored
from receiver.storage.downlink_transports import (
    FREE,
    TIME_BARE,
    TIME_WITH_OFFSET,
    list_passages,
    list_time_forms,
    put_passage,
    put_time_form,
)
from receiver.storage.engine import read, write
from receiver.storage.reports import lock_reading

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Engine

TIME_FORMS = (TIME_WITH_OFFSET, TIME_BARE)


@dataclass(frozen=True, slots=True)
class DownlinkPassage:
    """Where a connection's downlinks go, and what keeps them. `held_…` None: nothing a person must mend."""

    connection: str
    downlink_url: str | None
    time_form: str
    held_since: datetime | None
    held_cause: str | None
    held_detail: str | None
    next_try_at: datetime | None


def get_downlink_passage(engine: Engine, name: str) -> DownlinkPassage:
    """Give how the downlinks of a connection go.

    Raises:
        NotFoundError: there is no connection of that name.
    """
    with read(engine) as tx:
        connection = stored.get_connection(tx, name)
        passage = list_passages(tx).get(connection.id, FREE)
        time_form = list_time_forms(tx).get(connection.id, TIME_WITH_OFFSET)
    return DownlinkPassage(
        name,
        connection.downlink_url,
        time_form,
        passage.held_since,
        passage.held_cause,
        passage.held_detail,
        passage.next_try_at,
    )


def change_downlink_passage(
    engine: Engine, name: str, *, url: str | None = None, time_form: str | None = None
) -> DownlinkPassage:
    """Give a connection's downlinks another URL or form of Time, and let them go: what held them may be mended now.

    Raises:
        NotFoundError: there is no connection of that name.
        SettingsError: the URL or the form is none, or it is a connection of KPN Things, which has an account instead.
        StorageUnavailableError: the database is away; nothing was changed.
    """
    if url is not None:
        check_downlink_url(url)
    if time_form is not None and time_form not in TIME_FORMS:
        raise SettingsError(f"{time_form[:40]!r} is no form of Time: choose {' or '.join(TIME_FORMS)}.")
    with write(engine) as tx:
        lock_reading(tx)
        connection = stored.get_connection(tx, name)
        if connection.platform == PLATFORM:
            raise SettingsError(
                f"{name} is a connection of KPN Things: `receiver connection set-things-account` says where its"
                " downlinks go."
            )
        if url is not None:
            stored.set_downlink_url(tx, connection.id, url)
        if time_form is not None:
            put_time_form(tx, connection.id, time_form)
        put_passage(tx, connection.id, FREE)
    return get_downlink_passage(engine, name)


def resume_downlinks(engine: Engine, now: datetime, name: str) -> bool:
    """Let a connection's downlinks go again, because a person has mended it; say whether anything kept them.

    Raises:
        NotFoundError: there is no connection of that name.
        StorageUnavailableError: the database is away.
    """
    from receiver.services.downlink_dispatch import resume_connection

    with read(engine) as tx:
        connection = stored.get_connection(tx, name)
    return resume_connection(engine, now, connection.id)
