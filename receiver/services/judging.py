"""Judges a refused push once more, check by check, as of its arrival, with the connections and keys of today.

The checks are those of the push moment, by the very same functions and in the same order; here each says how
it ended, with the numbers, and those after the first that failed say how they would have ended.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeVar

from receiver.errors import NotFoundError, PushRejected, Reason, ReportUnreadableError
from receiver.kpn_things.records import read_message
from receiver.kpn_things.token import (
    ThingsSecret,
    candidates,
    is_things_push,
    read_things_headers,
    verify_message_token,
)
from receiver.lorawan.identifiers import shorten
from receiver.services.things_secrets import PLATFORM
from receiver.services.tunnel_keys import open_tunnel_key
from receiver.storage import connections as stored
from receiver.storage.engine import read
from receiver.thingpark.body import parse_body
from receiver.thingpark.signed_query import parse_signed_query
from receiver.thingpark.token import key_spellings, read_token_elements, verify_query_agrees, verify_token

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Engine

    from receiver.keyring import Keyring
    from receiver.services.tunnel_keys import SecretText
    from receiver.storage.connections import Connection
    from receiver.storage.rejections import RejectionView, StoredRejection
    from receiver.thingpark.body import Body
    from receiver.thingpark.signed_query import SignedQuery
    from receiver.thingpark.token import TokenElements

NOT_WHOLE = frozenset({Reason.TOO_LARGE.value, Reason.BODY_INCOMPLETE.value, Reason.HEAD_INCOMPLETE.value})
"""Reasons of pushes of which nothing, or not all, was kept: there is nothing to judge or to replay."""

_T = TypeVar("_T")

CheckOutcome = Literal["passed", "failed", "not reached"]


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A tunnel key or a shared secret of KPN Things, live or retired, opened."""

    id: int
    key_id: str
    text: SecretText
    retired_at: datetime | None
    plug_uuid: str | None = None


@dataclass(frozen=True, slots=True)
class KnownConnection:
    """A connection with all keys that it ever had, newest first."""

    row: Connection
    keys: tuple[KnownKey, ...]

    @property
    def live_keys(self) -> tuple[KnownKey, ...]:
        """Those that pushes may be signed with."""
        return tuple(key for key in self.keys if key.retired_at is None)


@dataclass(frozen=True, slots=True)
class Check:
    """One check of the push moment. `reason`: what a push is refused with that fails it; None if it passed."""

    name: str
    outcome: CheckOutcome
    sentence: str
    reason: Reason | None = None


@dataclass(slots=True)
class Judgement:
    """All checks of a push in their order, and what could be read of it. `key_id`: that its token was made with."""

    checks: list[Check] = field(default_factory=list)
    query: SignedQuery | None = None
    body: Body | None = None
    elements: TokenElements | None = None
    key_id: str | None = None
    skew_s: float | None = None

    @property
    def failed(self) -> Check | None:
        """The check that refuses the push; None if it is in order."""
        return next((check for check in self.checks if check.outcome == "failed"), None)

    def note(self, name: str, reason: Reason | None, sentence: str) -> None:
        """Add a check: passed without a reason; failed if it is the first with one; else not reached."""
        if self.failed is not None:
            would = "it would pass" if reason is None else "it would fail"
            self.checks.append(Check(name, "not reached", f"Not reached; {would}. {sentence}".strip()))
        else:
            self.checks.append(Check(name, "passed" if reason is None else "failed", sentence, reason))

    def skip(self, name: str, sentence: str) -> None:
        """Add a check that cannot be made at all."""
        self.checks.append(Check(name, "not reached", sentence))


def load_known_connections(engine: Engine, keyring: Keyring) -> dict[str, KnownConnection]:
    """Give all connections by name, with their live and retired keys opened.

    Raises:
        KeyringError: a key does not open with the key-encryption key of this process.
    """
    with read(engine) as tx:
        return {
            connection.name: KnownConnection(
                connection,
                tuple(
                    KnownKey(key.id, key.key_id, open_tunnel_key(keyring, key), key.retired_at, key.plug_uuid)
                    for key in reversed(stored.list_tunnel_keys(tx, connection.id))
                ),
            )
            for connection in stored.list_connections(tx)
        }


def choose_connection(
    view: RejectionView, known: Mapping[str, KnownConnection], as_name: str | None
) -> KnownConnection | None:
    """Give the connection that a rejection is judged as: `as_name`, its own, or one that has its name by now.

    Raises:
        NotFoundError: there is no connection `as_name`.
    """
    if as_name is not None:
        return require_connection(known, as_name)
    return known.get(view.connection or view.path_name)


def require_connection(known: Mapping[str, KnownConnection], name: str) -> KnownConnection:
    """Give the connection of that name.

    Raises:
        NotFoundError: there is none; the sentence names those there are.
    """
    if name not in known:
        names = ", ".join(sorted(known)[:10]) or "none"
        raise NotFoundError(f"There is no connection named {shorten(name)!r}; there are: {names}.")
    return known[name]


def judge(
    connection: KnownConnection | None,
    path_name: str,
    raw_query: bytes,
    raw_body: bytes,
    received_at: datetime,
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> Judgement:
    """Make every check of the push moment; `connection` None: nobody knows the one that was called."""
    judgement = Judgement()
    if connection is not None and connection.row.platform == PLATFORM:
        _judge_things(judgement, connection, headers, raw_body, received_at)
        return judgement
    if is_things_push(headers) and not raw_query:
        _judge_stray(judgement, connection, path_name)
        return judgement
    judgement.query = _read(judgement, "query", lambda: parse_signed_query(raw_query), _tell_query)
    judgement.body = _read(judgement, "body", lambda: parse_body(raw_body), _tell_body)
    if judgement.body is not None:
        body = judgement.body
        judgement.elements = _read(judgement, "values", lambda: read_token_elements(body), _tell_elements)
    else:
        judgement.skip("values", "Not reached: there is no report to take values from.")
    if connection is None:
        judgement.note("connection", Reason.UNKNOWN_CONNECTION, f"There is no connection {path_name[:64]!r}.")
    else:
        judgement.note("connection", None, f"{connection.row.name} is known.")
    _check_as_id(judgement, connection)
    _check_agreement(judgement)
    _check_token(judgement, connection)
    _check_time(judgement, connection, received_at)
    return judgement


def headers_of(rejection: StoredRejection) -> list[tuple[bytes, bytes]]:
    """Give the headers that a refused push came with, as far as they were kept, names in lower case."""
    return [
        (name.lower().encode("latin-1", "replace"), value.encode("latin-1", "replace"))
        for name, value in rejection.headers
    ]


def _judge_things(
    judgement: Judgement,
    connection: KnownConnection,
    headers: Sequence[tuple[bytes, bytes]],
    raw_body: bytes,
    received_at: datetime,
) -> None:
    name = connection.row.name
    judgement.note("connection", None, f"{name} is known, a connection of KPN Things.")
    given = read_things_headers(headers)
    live = {key.id: key for key in connection.live_keys}
    secrets = [ThingsSecret(key.id, key.plug_uuid, key.text.reveal().encode()) for key in live.values()]
    try:
        fitting = verify_message_token(given, raw_body, secrets)
    except PushRejected as exc:
        names = ", ".join(live[one.row_id].key_id for one in candidates(given.plug_uuid, secrets))
        tried = f" Tried: {names}." if names and given.token is not None else ""
        judgement.note("token", exc.reason, exc.detail + tried)
    else:
        judgement.key_id = live[fitting.row_id].key_id
        judgement.note("token", None, f"It was made with {judgement.key_id} of {name}, over this very body.")
    try:
        message = read_message(raw_body, received_at)
    except ReportUnreadableError as exc:  # no reason to refuse it: what is signed is kept
        judgement.skip("body", f"It would be stored and flagged unreadable. {exc}")
    else:
        judgement.note("body", None, f"It is a message of {message.device}.")


def _judge_stray(judgement: Judgement, connection: KnownConnection | None, path_name: str) -> None:
    """Judge a push of KPN Things that came to no connection of it."""
    if connection is None:
        judgement.note("connection", Reason.UNKNOWN_CONNECTION, f"There is no connection {path_name[:64]!r}.")
        judgement.skip("token", "Not reached: there is no secret to hash it with.")
        return
    judgement.note("connection", None, f"{connection.row.name} is known, a connection of ThingPark.")
    judgement.note("token", Reason.TOKEN_MISMATCH, "It is signed as KPN Things signs, with a Things-Message-Token.")


def _read(judgement: Judgement, name: str, parse: Callable[[], _T], tell: Callable[[_T], str]) -> _T | None:
    try:
        value = parse()
    except PushRejected as exc:
        judgement.note(name, exc.reason, exc.detail)
        return None
    judgement.note(name, None, tell(value))
    return value


def _tell_query(query: SignedQuery) -> str:
    return f"The five signed parameters and the Token are there, once each; Time is {query.time}."


def _tell_body(body: Body) -> str:
    return f"It is a {body.kind} in {body.content_type.upper()}."


def _tell_elements(elements: TokenElements) -> str:
    values = {"DevEUI": elements.dev_eui, "FPort": elements.f_port, "FCntUp": elements.f_cnt_up}
    told = ", ".join(f"{name} {value}" for name, value in values.items() if value)
    return f"What the token covers is canonical ({told or 'nothing of a device'})."


def _check_as_id(judgement: Judgement, connection: KnownConnection | None) -> None:
    if connection is None or judgement.query is None:
        judgement.skip("as_id", "Not reached: there is no AS_ID to compare, or none to compare it with.")
        return
    sent, expected = judgement.query.as_id, connection.row.as_id
    if sent.casefold() == expected.casefold():
        judgement.note("as_id", None, f"AS_ID is {sent!r}, that of the connection.")
    else:
        judgement.note(
            "as_id",
            Reason.AS_ID_MISMATCH,
            f"AS_ID is {sent[:80]!r}; connection {connection.row.name!r} has {expected!r}.",
        )


def _check_agreement(judgement: Judgement) -> None:
    query, elements = judgement.query, judgement.elements
    if query is None or elements is None:
        judgement.skip("agreement", "Not reached: query or body cannot be read.")
        return
    try:
        verify_query_agrees(query, elements)
    except PushRejected as exc:
        judgement.note("agreement", exc.reason, exc.detail)
    else:
        judgement.note("agreement", None, "DevEUI and FPort are those of LrnDevEui and LrnFPort.")


def _check_token(judgement: Judgement, connection: KnownConnection | None) -> None:
    query, elements = judgement.query, judgement.elements
    if query is None or elements is None or connection is None:
        judgement.skip("token", "Not reached: there is nothing to hash, or no key to hash it with.")
        return
    live = connection.live_keys
    try:
        match = verify_token(query, elements, [key_spellings(key.text.reveal()) for key in live])
    except PushRejected as exc:
        names = f" ({', '.join(key.key_id for key in live)})" if live else ""
        judgement.note("token", exc.reason, f"It was made with none of the {len(live)} live keys{names}.")
    else:
        judgement.key_id = live[match.key_index].key_id
        judgement.note("token", None, f"It was made with {judgement.key_id} of {connection.row.name}.")


def _check_time(judgement: Judgement, connection: KnownConnection | None, received_at: datetime) -> None:
    if judgement.query is None:
        judgement.skip("time", "Not reached: there is no Time to compare with the arrival.")
        return
    skew_s = (received_at - judgement.query.at).total_seconds()
    judgement.skew_s = skew_s
    told = tell_skew(skew_s)
    if connection is None:
        judgement.skip("time", f"Not reached. {told}.")
        return
    allowed = connection.row.max_deviation_s
    is_within = abs(skew_s) <= allowed
    judgement.note("time", None if is_within else Reason.TIME_OUT_OF_WINDOW, f"{told}; {allowed} s are allowed.")


def tell_skew(skew_s: float) -> str:
    """Say how far the Time of a push is from its arrival: `skew_s` seconds before it, after it if negative."""
    way = "before" if skew_s >= 0 else "after"
    return f"Time is {abs(skew_s):.0f} s {way} the arrival"
