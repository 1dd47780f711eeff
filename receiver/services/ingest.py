"""The push moment: what happens between the last byte of a push and its answer.

1. The connection by its path, its live keys from memory.
2. The query: six parameters, `+` literal, in the token's order whatever the wire's.
3. The body: its kind and the values that the token covers.
4. AS_ID is the connection's; DevEUI and FPort agree with the signed `Lrn…` values.
5. The token, in constant time, against every live key.
6. `Time` within the connection's deviation, both ways.
7. Handed to the inbox, which returns after the commit.

Steps 2 and 3 are the same for a connection that nobody knows, so that its refusal looks like any other.
A push to a connection of KPN Things is judged by its headers and its body alone (`things_push`).
Nothing here decrypts, and nothing asks a network. Source: LRC–AS tunnel interface, security of the reports.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from receiver.errors import PushRejected, Reason, ReceiverError, StorageUnavailableError
from receiver.log_limit import LogLimit
from receiver.logs import get_logger
from receiver.services.things_push import PROOF_HEADERS, true_refusal, verify_things_push
from receiver.storage.rejections import NewRejection
from receiver.storage.reports import NewReport
from receiver.thingpark.body import UPLINK
from receiver.thingpark.plain_body import parse_signed_body
from receiver.thingpark.signed_query import parse_signed_query, parse_time
from receiver.thingpark.token import read_token_elements, verify_query_agrees, verify_token

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from receiver.services.connection_directory import ConnectionDirectory, VerifyingConnection
    from receiver.storage.inbox import Inbox
    from receiver.storage.inbox_batch import Done
    from receiver.storage.inbox_rows import Outcome
    from receiver.thingpark.body import Body
    from receiver.thingpark.token import TokenElements

_log = get_logger(__name__)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

_DECOY_KEYS = ((b"a key that no connection has",),)
"""Hashed for unknown connections, so that they take as long as a known one."""

_WORTH_A_SECOND_LOOK = frozenset({Reason.UNKNOWN_CONNECTION, Reason.TOKEN_MISMATCH, Reason.AS_ID_MISMATCH})
"""What a connection or key that was added a moment ago would have prevented."""

REFUSALS_LOGGED_PER_S = 10
"""Each refusal is kept in the database; a flood of them must not become a flood of log lines."""

LOSSES_LOGGED_PER_S = 1
"""Of pushes that were in order and not stored, of which there are many at once or none."""

MAX_KEPT_HEADERS_BYTES = 4096
MAX_KEPT_QUERY_BYTES = 4096
_SECRET_HEADERS = frozenset({b"authorization", b"proxy-authorization", b"cookie", b"x-api-key"})


class Ingest:
    """Takes pushes for all connections of one process."""

    def __init__(self, directory: ConnectionDirectory, inbox: Inbox, clock: Callable[[], datetime]) -> None:
        self._directory = directory
        self._inbox = inbox
        self._clock = clock
        self._refusals = LogLimit(REFUSALS_LOGGED_PER_S)
        self._losses = LogLimit(LOSSES_LOGGED_PER_S)

    def take_at_once(self, name: str, raw_query: bytes, body: bytes, done: Done) -> None:
        """Verify a push and hand it to the inbox without waiting; `done` gets the outcome after the commit.

        Raises:
            PushRejected: it is to be refused; nothing was kept of it.
            StorageUnavailableError: too many wait to be stored already.
        """
        self._refuse_if_full(name)
        report = verify_push(self._directory.find(name), name, raw_query, body, self._clock())
        self._inbox.put_where_there_is_room(report, done)

    def _refuse_if_full(self, name: str) -> None:
        """Refuse a push that could not be stored before it costs anything: in an overload time is what lacks.

        Raises:
            StorageUnavailableError: too many wait already, or no disk takes them.
        """
        if self._inbox.is_full:
            self._inbox.refused_for_room += 1
            left_out = self._losses.admit(int(self._clock().timestamp()))
            if left_out is not None:
                _log.error("pushes_not_stored", connection=ascii(name[:64]), reason="no room", count=left_out + 1)
            raise StorageUnavailableError("Too many pushes wait to be stored, or no disk takes them.")

    def _log_refusal(self, name: str, rejection: PushRejected) -> None:
        """Log it, unless so many come that the log would be the flood."""
        left_out = self._refusals.admit(int(self._clock().timestamp()))
        if left_out is not None:
            if left_out:
                _log.info("pushes_refused_unlogged", count=left_out)
            reason = rejection.reason.value
            _log.info("push_refused", connection=ascii(name[:64]), reason=reason, detail=rejection.detail)

    async def take(self, name: str, raw_query: bytes, body: bytes, headers: Sequence[tuple[bytes, bytes]]) -> Outcome:
        """Verify a push and store it; return after the commit.

        Raises:
            PushRejected: it was refused, and kept as a rejection with the true reason.
            StorageUnavailableError: it was in order but could not be stored.
        """
        self._refuse_if_full(name)
        received_at = self._clock()
        revision = self._directory.revision
        try:
            report = verify_push(self._directory.find(name), name, raw_query, body, received_at, headers)
        except PushRejected as exc:
            is_known = self._directory.find(name) is not None
            refusal = true_refusal(exc, name, body, headers, is_known=is_known)
            try:
                second = await self._look_again(refusal, revision, name, raw_query, body, headers, received_at)
                if second is None:
                    await self.refuse(refusal, name, raw_query, body, headers, received_at)
                    raise refusal from None
            finally:
                del refusal  # it holds this frame, and so the body, in a circle
            report = second
        return await self._inbox.put(report)

    async def _look_again(
        self,
        rejection: PushRejected,
        revision: int,
        name: str,
        raw_query: bytes,
        body: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        received_at: datetime,
    ) -> NewReport | None:
        if rejection.reason not in _WORTH_A_SECOND_LOOK:
            return None
        try:
            await self._directory.refresh()
            if self._directory.revision == revision:  # what it was refused by is the newest there is
                return None
            return verify_push(self._directory.find(name), name, raw_query, body, received_at, headers)
        except PushRejected:
            return None
        except ReceiverError as exc:
            _log.warning("connections_not_refreshed", error=str(exc))
            return None

    async def refuse(
        self,
        rejection: PushRejected,
        name: str,
        raw_query: bytes,
        body: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        received_at: datetime | None = None,
    ) -> None:
        """Keep a refused push with its true reason. That the store is away must not change the answer."""
        connection = self._directory.find(name)
        self._log_refusal(name, rejection)
        try:
            await self._inbox.put_rejection(
                NewRejection(
                    connection_id=connection.id if connection else None,
                    path_name=_printable(name.encode("utf-8", "replace")[:128]),
                    received_at=received_at or self._clock(),
                    reason=rejection.reason.value,
                    detail=_printable(rejection.detail.encode("utf-8", "backslashreplace")),
                    query=_printable(raw_query[:MAX_KEPT_QUERY_BYTES]),
                    headers=_kept_headers(headers),
                    body=body,
                )
            )
        except StorageUnavailableError as exc:
            _log.warning("rejection_not_kept", error=str(exc))


def verify_push(
    connection: VerifyingConnection | None,
    name: str,
    raw_query: bytes,
    raw_body: bytes,
    received_at: datetime,
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> NewReport:
    """Judge a push by the numbered steps 1 to 6 and give what to store; one of KPN Things by its headers instead.

    Raises:
        PushRejected: always the reason of the first step that fails; nothing else, for any bytes at all.
    """
    if connection is not None and connection.things_secrets is not None:
        return verify_things_push(connection.id, connection.things_secrets, raw_query, raw_body, received_at, headers)
    query = parse_signed_query(raw_query)  # 2
    body = parse_signed_body(raw_body)  # 3
    elements = read_token_elements(body)
    if (  # 4
        connection is not None
        and query.as_id != connection.as_id
        and query.as_id.casefold() != connection.as_id.casefold()
    ):
        raise PushRejected(
            Reason.AS_ID_MISMATCH,
            f"AS_ID is {query.as_id[:80]!r}; connection {connection.name!r} has {connection.as_id!r}.",
        )
    if connection is not None:
        verify_query_agrees(query, elements)
    try:
        match = verify_token(query, elements, connection.key_spellings if connection else _DECOY_KEYS)  # 5
    except PushRejected as exc:
        if connection is None:  # 1
            raise PushRejected(Reason.UNKNOWN_CONNECTION, f"There is no connection {name[:64]!r}.") from exc
        raise
    if connection is None:
        raise PushRejected(Reason.UNKNOWN_CONNECTION, f"There is no connection {name[:64]!r}.")
    deviation_s = (received_at - query.at).total_seconds()
    if abs(deviation_s) > connection.max_deviation_s:  # 6
        way = "behind" if deviation_s > 0 else "ahead of"
        raise PushRejected(
            Reason.TIME_OUT_OF_WINDOW,
            f"Time is {abs(deviation_s):.0f} s {way} this clock; connection {connection.name!r} allows"
            f" {connection.max_deviation_s} s.",
        )
    return NewReport(  # by place: by name it takes twice as long to make
        connection.id,
        connection.key_row_ids[match.key_index],
        body.kind,
        body.content_type,
        elements.dev_eui.upper() or None,
        received_at,
        query.at,
        _in_order_of_time(query.at, match.delivery_id),
        _frame_id(body, elements),
        query.without_token,
        raw_body,
    )


def _frame_id(body: Body, elements: TokenElements) -> bytes | None:
    """Identify one reception of one frame, whatever content type or connection it comes by.

    Its own Time stands in it: an ABP device that restarts sends the very same frame again, MIC and all, and
    that is another uplink. Copies with another Time are told apart at the reading moment.
    """
    members = body.members
    if elements.kind != UPLINK or (elements.is_join_request and not members.get("mic_hex")):
        return None
    frame = (
        f"{elements.dev_eui}|{elements.f_cnt_up}|{elements.f_port}|{elements.payload_hex}"
        f"|{members.get('DevAddr')}|{members.get('mic_hex')}|{members.get('Time')}|{members.get('rawJoinRequest')}"
    )
    time = members.get("Time")
    at = parse_time(time) if isinstance(time, str) else None
    return _in_order_of_time(at, hashlib.sha256(frame.upper().encode()).digest())


def _in_order_of_time(at: datetime | None, digest: bytes) -> bytes:
    """Give 16 bytes: the milliseconds of a time that all copies have, 6 bytes, then of the digest, as in a UUIDv7.

    Ids of about one time so stand side by side in their index. Those of a batch would otherwise write a page
    each, all over it.
    """
    milliseconds = (at - _EPOCH) // _MILLISECOND & 0xFFFFFFFFFFFF if at is not None else 0
    return milliseconds.to_bytes(6, "big") + digest[:10]


def _printable(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace").replace("\0", "\\x00")


def _kept_headers(headers: Sequence[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    kept: list[tuple[str, str]] = []
    room = MAX_KEPT_HEADERS_BYTES
    for name, value in sorted(headers, key=lambda header: header[0].lower() not in PROOF_HEADERS):
        if name.lower() in _SECRET_HEADERS:
            continue
        room -= len(name) + len(value)
        if room < 0:
            break
        kept.append((_printable(name), _printable(value)))
    return tuple(kept)
