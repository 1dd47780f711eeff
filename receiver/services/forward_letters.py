"""Dead letters and sending again: what was given up, and history from the events that are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from receiver.errors import NotFoundError, SettingsError
from receiver.services.event_contents import load_contents
from receiver.services.forward_opening import open_target
from receiver.services.forward_plan import lane_of
from receiver.services.forwarder_settings import read_wants
from receiver.storage import forwarder_progress as progress
from receiver.storage import forwarders as stored
from receiver.storage.engine import read, write
from receiver.storage.events import find_event_id_at, list_events

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from sqlalchemy import Engine

    from receiver.keyring import Keyring
    from receiver.services.forward_targets import Outcome
    from receiver.storage.forwarder_progress import Retry

MOST_REPLAYED = 100_000
"""Events that are sent again by one command: each takes a row until it was taken."""

READ_ROWS = 500
"""Events read in one transaction."""


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What is sent again, or would be: how many events, and of how many ids there was nothing to send."""

    events: int
    not_found: tuple[int, ...] = ()


def list_dead_letters(engine: Engine, name: str, after_id: int, limit: int) -> list[Retry]:
    """Give up to `limit` dead letters of a forwarder, oldest event first, behind event `after_id`.

    Raises:
        NotFoundError: there is no such forwarder.
    """
    with read(engine) as connection:
        return progress.list_dead_letters(connection, stored.get_forwarder(connection, name).id, after_id, limit)


def replay_dead_letters(
    engine: Engine, now: datetime, name: str, event_ids: Sequence[int] | None, *, dry_run: bool = False
) -> ReplayResult:
    """Send dead letters again: these, or all. Of each device in order, beside what is new of it.

    Raises:
        NotFoundError: there is no such forwarder, or none of the ids is a dead letter of it.
    """
    with read(engine) as connection:
        forwarder = stored.get_forwarder(connection, name)
        after_id, dead = 0, set[int]()
        while page := progress.list_dead_letters(connection, forwarder.id, after_id, READ_ROWS):
            after_id = page[-1].event_id
            dead.update(retry.event_id for retry in page)
    chosen = dead if event_ids is None else dead & set(event_ids)
    missing = () if event_ids is None else tuple(sorted(set(event_ids) - dead))
    if event_ids is not None and not chosen:
        raise NotFoundError(
            f"None of these is a dead letter of {name}: `receiver forwarder dead-letters {name}` has them."
        )
    if dry_run or not chosen:
        return ReplayResult(len(chosen), missing)
    with write(engine) as connection:
        count = progress.revive_dead_letters(connection, forwarder.id, now, sorted(chosen))
    return ReplayResult(count, missing)


def replay_history(
    engine: Engine, now: datetime, name: str, since: datetime, until: datetime | None, *, dry_run: bool = False
) -> ReplayResult:
    """Send events of the past again: those that are kept, that the forwarder wants, and that it has passed.

    Raises:
        NotFoundError: there is no such forwarder.
        SettingsError: `until` is not after `since`, or more than `MOST_REPLAYED` would be sent.
    """
    if until is not None and until <= since:
        raise SettingsError("There is nothing between --since and --until: the second must be the later one.")
    with read(engine) as connection:
        forwarder = stored.get_forwarder(connection, name)
        after_id = find_event_id_at(connection, since)
        last_id = forwarder.position
        if until is not None:
            last_id = min(last_id, find_event_id_at(connection, until))
    wanted = read_wants(forwarder).as_filter()
    count, batches = 0, list[list[progress.Retry]]()
    while after_id < last_id:
        with read(engine) as connection:
            kinds = wanted.kinds or None
            found = list_events(connection, after_id, READ_ROWS, up_to_id=last_id, kinds=kinds)
            contents = filter(wanted.wants, load_contents(connection, found))
            rows = [
                progress.Retry(
                    content.event.id,
                    progress.REPLAY + lane_of(content.event),
                    content.event.kind.value,
                    content.event.dev_eui,
                    *(0, None, None, None, None),
                )
                for content in contents
            ]
        if not found:
            break
        after_id = found[-1].id
        count += len(rows)
        batches.append(rows)
        if count > MOST_REPLAYED:
            raise SettingsError(
                f"More than {MOST_REPLAYED} events stand in that time: give a shorter one with --since and --until."
            )
    if dry_run:
        return ReplayResult(count)
    count = 0
    for rows in batches:
        with write(engine) as connection:
            count += progress.insert_replays(connection, forwarder.id, now, rows)
    return ReplayResult(count)


def send_test(engine: Engine, keyring: Keyring, clock: Callable[[], datetime], name: str) -> Outcome:
    """Send one event of type `test` now, past all that waits, and say what came back.

    Raises:
        NotFoundError: there is no such forwarder.
        KeyringError: a secret does not open.
        SettingsError: a file of certificates cannot be used.
    """
    with read(engine) as connection:
        forwarder = stored.get_forwarder(connection, name)
        sealed = stored.list_secrets(connection, forwarder.id)
    now = clock()
    data = {"forwarder": name, "message": "This is a test of a forwarder; no device has sent anything."}
    body = msgspec.json.encode({"id": 0, "type": "test", "timestamp": now, "data": data})
    target = open_target(keyring, forwarder, sealed, clock, is_test=True)
    try:
        return target.send_test(body)
    finally:
        target.close()
