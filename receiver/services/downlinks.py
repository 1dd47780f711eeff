"""The ledger of downlinks as callers see it: put in, taken back, expired. Nothing here sends anything.

What is put in is on the disk when the caller hears of it, and every state that it ever comes into is an event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from receiver.errors import ConflictError
from receiver.services.downlink_checks import (
    DownlinkRefusedError,
    check_idempotency_key,
    check_times,
    check_wish,
    digest_wish,
    json_of,
    warn_of_size,
)
from receiver.services.downlink_encoding import choose_encoder
from receiver.services.downlink_routes import can_carry
from receiver.services.downlink_views import WARNING_END, DownlinkDetails, load_downlink, no_downlink
from receiver.storage import downlinks as stored
from receiver.storage.connections import find_connection, list_connection_names
from receiver.storage.downlink_events import DownlinkState, record_event, record_step
from receiver.storage.engine import read, write
from receiver.storage.reports import lock_reading

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection, Engine

    from receiver.services.downlink_checks import DownlinkWish
    from receiver.services.downlink_encoding import ObjectEncoder
    from receiver.storage.codecs import StoredCodec
    from receiver.storage.connections import Connection as StoredConnection
    from receiver.storage.downlinks import LastDataRate, Target

MOST_QUEUED = 200
"""Of one device: weeks of a class A device that is heard every hour, and few enough to be replaced in one transaction,
which holds SQLite's only write lock."""

EXPIRED_AT_ONCE = 100
"""Of one transaction, for the same reason."""

CORRELATION_BITS = 64
"""As the tunnel interface has it: 16 hexadecimal digits."""


class Enqueued(NamedTuple):
    """What putting in did: the downlink, whether it is new or that of the same key, and which it took the place of."""

    downlink: DownlinkDetails
    is_new: bool
    replaced_ids: tuple[int, ...] = ()


class _Plan(NamedTuple):
    """What was looked up for a wish."""

    connection: StoredConnection
    target: Target | None
    last: LastDataRate | None
    codec: StoredCodec | None


def enqueue(
    engine: Engine,
    encoder: ObjectEncoder,
    now: datetime,
    correlation_id: int,
    wish: DownlinkWish,
    *,
    creator: str,
    idempotency_key: str | None = None,
) -> Enqueued:
    """Put a downlink in, queued; or with a key that the creator used for the same before, give that one again.

    1. The wish is in order as such. 2. Its key was not used, or for the same. 3. Its time is not over. 4. The device
    is known, or a connection is named. 5. The connection can carry it. 6. The codec makes a payload of the object.
    7. There is room. With `replace`, what is queued of the device is cancelled in the same transaction.
    `correlation_id` are CORRELATION_BITS random bits.

    Raises:
        DownlinkRefusedError: one of these does not hold; it names the field.
        ConflictError: the key was used for another wish.
        CodecEngineUnavailableError: JavaScript cannot be run here at all; trying again can help.
        StorageUnavailableError: the database is away; nothing was put in.
    """
    check_wish(wish)  # 1
    digest = digest_wish(wish)
    if idempotency_key is not None:
        check_idempotency_key(idempotency_key)
    with read(engine) as tx:
        first = _find_first(tx, creator, idempotency_key, digest)  # 2
        if first is not None:
            return first
        not_before, expires_at = check_times(wish, now)  # 3
        plan = _look_up(tx, wish, now)  # 4, 5
    payload, f_port, warnings = wish.payload, wish.f_port, _warn_of_group(wish, plan.target)
    if wish.object is not None and plan.codec is not None:
        encoded = encoder.encode(plan.codec, wish.object, wish.f_port)  # 6
        payload, f_port = encoded.payload, encoded.f_port
        warnings += encoded.warnings
    if payload is not None:
        warnings += warn_of_size(len(payload), plan.last)
    new = stored.NewDownlink(
        dev_eui=wish.dev_eui,
        connection_id=plan.connection.id,
        created_at=now,
        created_by=creator,
        reference=wish.reference,
        f_port=f_port,
        payload=payload,
        object=None if wish.object is None else json_of(wish.object),
        codec_version_id=None if plan.codec is None else plan.codec.version_id,
        confirmed=wish.confirmed,
        flush=wish.flush,
        priority=wish.priority,
        not_before=not_before,
        expires_at=expires_at,
        detail=WARNING_END.join(warnings) or None,
        correlation_id=f"{correlation_id:016X}",
    )
    with write(engine) as tx:
        lock_reading(tx)
        first = _find_first(tx, creator, idempotency_key, digest)  # another call with this key may have been quicker
        if first is not None:
            return first
        if not stored.hold_connection(tx, plan.connection.id):
            raise DownlinkRefusedError(
                "connection", f"Connection {plan.connection.name} was removed just now; give another."
            )
        return _put_in(tx, now, new, replace=wish.replace, idempotency_key=idempotency_key, digest=digest)


def cancel(engine: Engine, now: datetime, downlink_id: int, *, by: str) -> DownlinkDetails:
    """Take a queued downlink back: it will not be sent.

    Raises:
        NotFoundError: there is none of that id.
        ConflictError: it is not queued any more; the sentence says where it stands.
    """
    with write(engine) as tx:
        lock_reading(tx)
        state = stored.lock_state(tx, downlink_id)
        if state is None:
            raise no_downlink(downlink_id)
        if state is not DownlinkState.QUEUED:
            raise ConflictError(f"Downlink {downlink_id} cannot be cancelled: {_STANDS[state]}")
        record_step(
            tx,
            now,
            downlink_id,
            DownlinkState.CANCELLED,
            cause="cancelled",
            detail=f"It was taken back by {by} before it was sent.",
            due_at=None,
        )
        return load_downlink(tx, downlink_id)


def expire_due(engine: Engine, now: datetime, limit: int = EXPIRED_AT_ONCE) -> int:
    """Move up to `limit` queued downlinks whose time is over to `expired`; give how many.

    Raises:
        StorageUnavailableError: the database is away; nothing was moved.
    """
    with read(engine) as tx:
        if not stored.list_expired(tx, now, 1):
            return 0
    with write(engine) as tx:
        lock_reading(tx)
        over = stored.list_expired(tx, now, limit, lock=True)
        for one in over:
            tried = f" It was tried {one.attempts} times." if one.attempts else ""
            record_step(
                tx,
                now,
                one.id,
                DownlinkState.EXPIRED,
                cause="expired",
                detail=f"Its time was over at {one.expires_at:%Y-%m-%dT%H:%M:%SZ}, before it was sent.{tried}",
                due_at=None,
            )
    return len(over)


def _find_first(tx: Connection, creator: str, key: str | None, digest: bytes) -> Enqueued | None:
    if key is None:
        return None
    known = stored.find_downlink_key(tx, creator, key)
    if known is None:
        return None
    if known.digest != digest:
        raise ConflictError(
            f"This Idempotency-Key stands for downlink {known.downlink_id}, and something else was asked for then."
            " Give the same again, or another key."
        )
    return Enqueued(load_downlink(tx, known.downlink_id), is_new=False)


def _look_up(tx: Connection, wish: DownlinkWish, now: datetime) -> _Plan:
    target = stored.find_target(tx, wish.dev_eui)
    name = wish.connection
    if name is None:
        if target is None:
            raise DownlinkRefusedError(
                "dev_eui",
                f"There is no device {wish.dev_eui}: it was not heard yet. Of a multicast group, or to send all the"
                " same, give the connection too.",
            )
        name = target.connection
        if name is None:
            raise DownlinkRefusedError(
                "connection", f"Device {wish.dev_eui} has no connection: nothing came from it yet. Please give one."
            )
    connection = find_connection(tx, name)
    if connection is None:
        names = sorted(list_connection_names(tx).values())[:10]
        there_are = f"there are: {', '.join(names)}." if names else "add one with `receiver connection add`."
        raise DownlinkRefusedError("connection", f"There is no connection {name[:40]!r}; {there_are}")
    reason = can_carry(tx, connection)
    if reason is not None:
        raise DownlinkRefusedError("connection", reason, by_state=True)
    if wish.confirmed and stored.is_multicast_group(tx, wish.dev_eui):
        raise DownlinkRefusedError(
            "confirmed", f"{wish.dev_eui} is a multicast group, which takes unconfirmed downlinks only; leave it out."
        )
    codec = None
    if wish.object is not None:
        codec = choose_encoder(tx, wish.dev_eui, target, connection.id, wish.f_port, now)
    return _Plan(connection, target, stored.find_last_data_rate(tx, wish.dev_eui), codec)


def _put_in(
    tx: Connection,
    now: datetime,
    new: stored.NewDownlink,
    *,
    replace: bool,
    idempotency_key: str | None,
    digest: bytes,
) -> Enqueued:
    queued = stored.lock_queued(tx, new.dev_eui) if replace else []
    if not replace and stored.count_queued(tx, new.dev_eui) >= MOST_QUEUED:  # 7
        raise DownlinkRefusedError(
            "dev_eui",
            f"{MOST_QUEUED} downlinks are queued for {new.dev_eui}, which is the most; cancel some, or give replace.",
            by_state=True,
        )
    downlink_id = stored.insert_downlink(tx, new)
    for one in queued:
        detail = f"Downlink {downlink_id} took its place."
        record_step(tx, now, one, DownlinkState.CANCELLED, cause="replaced", detail=detail, due_at=None)
    record_event(tx, now, downlink_id, DownlinkState.QUEUED, detail=new.detail)
    if idempotency_key is not None:
        stored.insert_downlink_key(tx, new.created_by, idempotency_key, downlink_id, digest, now)
    return Enqueued(load_downlink(tx, downlink_id), is_new=True, replaced_ids=tuple(queued))


def _warn_of_group(wish: DownlinkWish, target: Target | None) -> list[str]:
    if target is not None:
        return []
    told = [f"{wish.dev_eui} was not heard here yet; that is right for a multicast group."]
    if wish.confirmed:
        told.append("Multicast groups take unconfirmed downlinks only, and this one is to be confirmed.")
    return told


_STANDS = {
    DownlinkState.SENDING: "it is being sent at this moment.",
    DownlinkState.UNKNOWN: "it was sent, and the network's answer was lost; it may be on its way.",
    DownlinkState.ACCEPTED: "the network has it in its queue. A downlink with flush empties that queue.",
    DownlinkState.SENT: "a gateway has transmitted it.",
    DownlinkState.ACKNOWLEDGED: "the device has it.",
    DownlinkState.REFUSED: "the network has refused it.",
    DownlinkState.FAILED: "the network could not transmit it.",
    DownlinkState.UNCONFIRMED: "the network took it, and did not report what became of it.",
    DownlinkState.CANCELLED: "it is cancelled already.",
    DownlinkState.EXPIRED: "it has expired.",
}
"""Where one stands that cannot be cancelled any more."""
