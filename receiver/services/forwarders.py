"""Forwarders: where events are sent on to, by name.

Each function is one transaction; the worker that delivers notices within seconds.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

import msgspec

from receiver.errors import ConflictError, SettingsError
from receiver.services.forward_opening import seal_secret
from receiver.services.forward_signing import NEW_BYTES, parse_signing_secret, write_signing_secret
from receiver.services.forwarder_settings import (
    DEFAULT_GIVE_UP_AFTER,
    LONGEST_GIVE_UP_AFTER,
    MqttOptions,
    Wants,
    WebhookOptions,
    check_mqtt,
    check_name,
    check_webhook,
    read_options,
    read_wants,
)
from receiver.services.tunnel_keys import SecretText
from receiver.storage import forwarders as stored
from receiver.storage.connections import get_connection
from receiver.storage.engine import read, write
from receiver.storage.events import find_event_id_at, newest_event_id, oldest_event_id

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection, Engine

    from receiver.keyring import Keyring
    from receiver.storage.forwarders import Backlog, StoredForwarder

UID_BYTES = 6
"""Random: two forwarders of one receiver of webhooks must not have message ids in common."""

MOST_FORWARDERS = 50
"""Each takes a thread of the worker, and commits twice a second."""

Begin = Literal["now", "start"]


@dataclass(frozen=True, slots=True)
class ForwarderView:
    """A forwarder as an operator sees it; no secret is in it."""

    name: str
    kind: str
    url: str
    state: str
    position: int
    lag_events: int
    lag_s: float
    delivered: int
    retries: int
    dead_letters: int
    last_delivered_at: datetime | None
    last_error: str | None
    last_error_at: datetime | None


@dataclass(frozen=True, slots=True)
class ForwarderDetails:
    """All of a forwarder but its secrets: of those how many there are, and since when each is."""

    view: ForwarderView
    wants: Wants
    options: WebhookOptions | MqttOptions
    give_up_after_s: int
    created_at: datetime
    secrets_since: tuple[datetime, ...]


def add_forwarder(
    engine: Engine,
    keyring: Keyring,
    now: datetime,
    *,
    name: str,
    url: str,
    options: WebhookOptions | MqttOptions,
    wants: Wants | None = None,
    secret: str | None = None,
    give_up_after: timedelta = DEFAULT_GIVE_UP_AFTER,
    begin: Begin | datetime = "now",
) -> SecretText | None:
    """Add a forwarder; give the signing secret of a webhook, which is made here unless one is given.

    It begins with what is told from now on, from a time on, or with all events that are kept.

    Raises:
        IdentifierError: the name, or the secret, is not of its form.
        SettingsError: something else is not possible.
        NotFoundError: a connection that is to be sent on does not exist.
        ConflictError: the name is taken, or there are too many.
    """
    check_name(name)
    wants = wants or Wants()
    if not timedelta(seconds=1) <= give_up_after <= LONGEST_GIVE_UP_AFTER:
        raise SettingsError(f"Events can be given up after 1 second to {LONGEST_GIVE_UP_AFTER.days} days.")
    if isinstance(options, WebhookOptions):
        kind, options = "webhook", check_webhook(url, options)
        kept: SecretText | None = parse_signing_secret(secret) if secret is not None else new_signing_secret()
    else:
        kind, options = "mqtt", check_mqtt(url, options)
        kept = _check_password(secret, options.username)
    with write(engine) as connection:
        for wanted in wants.connections:
            get_connection(connection, wanted)
        if len(stored.list_forwarders(connection)) >= MOST_FORWARDERS:
            raise ConflictError(f"There are {MOST_FORWARDERS} forwarders already, which is as many as there can be.")
        forwarder_id = stored.insert_forwarder(
            connection,
            name=name,
            kind=kind,
            uid=secrets.token_hex(UID_BYTES),
            url=url,
            options=msgspec.json.encode(options).decode(),
            wants=msgspec.json.encode(wants).decode(),
            give_up_after_s=int(give_up_after.total_seconds()),
            created_at=now,
            position=_first_position(connection, begin),
        )
        if forwarder_id is None:
            raise ConflictError(f"There is a forwarder named {name} already: choose another name, or remove that one.")
        if kept is not None:
            stored.insert_secret(connection, forwarder_id, "s1", seal_secret(keyring, forwarder_id, "s1", kept), now)
    return kept if kind == "webhook" else None


def list_forwarders(engine: Engine, now: datetime) -> list[ForwarderView]:
    """Give all forwarders by name, with how far each is."""
    with read(engine) as connection:
        return [_view(connection, each, now) for each in stored.list_forwarders(connection)]


def get_forwarder(engine: Engine, now: datetime, name: str) -> ForwarderDetails:
    """Give all of a forwarder but its secrets.

    Raises:
        NotFoundError: there is none of that name.
    """
    with read(engine) as connection:
        forwarder = stored.get_forwarder(connection, name)
        return ForwarderDetails(
            view=_view(connection, forwarder, now),
            wants=read_wants(forwarder),
            options=read_options(forwarder),
            give_up_after_s=forwarder.give_up_after_s,
            created_at=forwarder.created_at,
            secrets_since=tuple(each.created_at for each in stored.list_secrets(connection, forwarder.id)),
        )


def pause_forwarder(engine: Engine, now: datetime, name: str) -> None:
    """Send nothing more until it is resumed. What is told meanwhile is kept for it for a week.

    Raises:
        NotFoundError: there is none of that name.
        ConflictError: it is paused already.
    """
    with write(engine) as connection:
        forwarder = stored.get_forwarder(connection, name)
        if forwarder.paused_at is not None:
            raise ConflictError(f"{name} is paused already, since {forwarder.paused_at:%Y-%m-%d %H:%M} UTC.")
        stored.set_paused(connection, forwarder.id, now, None)


def resume_forwarder(engine: Engine, name: str) -> int:
    """Go on where it stopped; give how many events were deleted meanwhile and are lost to it.

    Raises:
        NotFoundError: there is none of that name.
        ConflictError: it is not paused.
    """
    with write(engine) as connection:
        forwarder = stored.get_forwarder(connection, name)
        if forwarder.paused_at is None:
            raise ConflictError(f"{name} is not paused.")
        stored.set_resumed(connection, forwarder.id)
        oldest = oldest_event_id(connection) or newest_event_id(connection) + 1
        return max(0, oldest - forwarder.position - 1) if not forwarder.holds_events else 0


def remove_forwarder(engine: Engine, name: str) -> Backlog:
    """Remove a forwarder with its secrets, retries and dead letters; give what it had not delivered.

    Raises:
        NotFoundError: there is none of that name.
    """
    with write(engine) as connection:
        forwarder = stored.get_forwarder(connection, name)
        backlog = stored.get_backlog(connection, forwarder)
        stored.delete_forwarder(connection, forwarder.id)
        return backlog


def rotate_secret(
    engine: Engine, keyring: Keyring, now: datetime, name: str, secret: str | None = None
) -> SecretText | None:
    """Give a webhook a new signing secret beside the old one: both sign until `finish_rotation`. Give the new one.

    A broker's password is replaced at once.

    Raises:
        NotFoundError: there is none of that name.
        ConflictError: it has two secrets already.
        IdentifierError: the secret is not of its form.
        SettingsError: it has no user name, or no new password is given.
    """
    with write(engine) as connection:
        forwarder = stored.get_forwarder(connection, name)
        present = stored.list_secrets(connection, forwarder.id)
        options = read_options(forwarder)
        if isinstance(options, WebhookOptions):
            if len(present) > 1:
                raise ConflictError(
                    f"{name} signs with two secrets already: end that with `receiver forwarder rotate-secret {name}"
                    " --finish` first."
                )
            kept: SecretText | None = parse_signing_secret(secret) if secret is not None else new_signing_secret()
        else:
            kept = _check_password(secret, options.username)
            if kept is None:
                raise SettingsError("Give the new password: `--secret -` reads it from standard input.")
            for each in present:
                stored.delete_secret(connection, forwarder.id, each.secret_id)
        secret_id = f"s{1 + max((int(each.secret_id[1:]) for each in present), default=0)}"
        if kept is not None:
            sealed = seal_secret(keyring, forwarder.id, secret_id, kept)
            stored.insert_secret(connection, forwarder.id, secret_id, sealed, now)
    return kept if forwarder.kind == "webhook" else None


def finish_rotation(engine: Engine, name: str) -> None:
    """Drop the old signing secret.

    Raises:
        NotFoundError: there is none of that name.
        ConflictError: it has one secret only.
    """
    with write(engine) as connection:
        forwarder = stored.get_forwarder(connection, name)
        older = stored.list_secrets(connection, forwarder.id)[1:]
        if not older:
            raise ConflictError(f"{name} has no older secret to drop.")
        for each in older:
            stored.delete_secret(connection, forwarder.id, each.secret_id)


def new_signing_secret() -> SecretText:
    """Make a signing secret."""
    return write_signing_secret(secrets.token_bytes(NEW_BYTES))


def _check_password(password: str | None, username: str | None) -> SecretText | None:
    if password is None:
        return None
    if username is None:
        raise SettingsError("A password needs a user name: give --username too.")
    if not 1 <= len(password) <= 1000:
        raise SettingsError("A password must have 1 to 1000 characters.")
    return SecretText(password)


def _first_position(connection: Connection, begin: Begin | datetime) -> int:
    if begin == "now":
        return newest_event_id(connection)
    if begin == "start":
        oldest = oldest_event_id(connection)
        return newest_event_id(connection) if oldest is None else oldest - 1
    return find_event_id_at(connection, begin)


def _view(connection: Connection, forwarder: StoredForwarder, now: datetime) -> ForwarderView:
    backlog = stored.get_backlog(connection, forwarder)
    lag_s = 0.0 if backlog.oldest_told_at is None else max(0.0, (now - backlog.oldest_told_at).total_seconds())
    return ForwarderView(
        name=forwarder.name,
        kind=forwarder.kind,
        url=forwarder.url,
        state=_state(forwarder, backlog),
        position=forwarder.position,
        lag_events=backlog.events,
        lag_s=round(lag_s, 1),
        delivered=forwarder.delivered,
        retries=backlog.retries,
        dead_letters=backlog.dead_letters,
        last_delivered_at=forwarder.last_delivered_at,
        last_error=forwarder.last_error,
        last_error_at=forwarder.last_error_at,
    )


def _state(forwarder: StoredForwarder, backlog: Backlog) -> str:
    if forwarder.paused_at is not None:
        since = f"since {forwarder.paused_at:%Y-%m-%d %H:%M} UTC"
        return (
            f"paused {since}" if forwarder.paused_because is None else f"disabled {since}: {forwarder.paused_because}"
        )
    if forwarder.lease_holder is None:
        return "waits for a worker: run `receiver serve` or `receiver worker`"
    if forwarder.away_since is not None:
        return f"the target takes nothing since {forwarder.away_since:%Y-%m-%d %H:%M} UTC; tried every few minutes"
    if backlog.retries:
        return "delivers; some events are tried again"
    return "delivers"
