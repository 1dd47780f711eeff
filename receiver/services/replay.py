"""Replays refused pushes: verified again as of their arrival, and stored exactly once where they are in order now.

A push is verified by the push moment's own function, with the keys that are live now; nothing that it would
not take is stored. What is stored keeps its time of arrival.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from receiver.errors import NotFoundError, PushRejected, Reason
from receiver.kpn_things.token import is_things_push
from receiver.services.connection_directory import prepare
from receiver.services.ingest import verify_push
from receiver.services.judging import (
    NOT_WHOLE,
    choose_connection,
    headers_of,
    load_known_connections,
    require_connection,
    tell_skew,
)
from receiver.services.rejections import without_tokens
from receiver.services.things_push import true_refusal
from receiver.storage import rejections as stored
from receiver.storage.engine import read, write
from receiver.storage.inbox_rows import Outcome
from receiver.storage.replays import find_report_id, store_replayed
from receiver.thingpark.loose_push import repaired_queries

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Engine

    from receiver.keyring import Keyring
    from receiver.services.connection_directory import VerifyingConnection
    from receiver.services.judging import KnownConnection
    from receiver.storage.rejections import RejectionFilter, StoredRejection
    from receiver.storage.reports import NewReport

PAGE = 200
"""Ids looked for at once; of rejections themselves, which hold bodies, only one is in memory."""

_WORTH_A_REPAIR = frozenset({Reason.MALFORMED_QUERY, Reason.TOKEN_MISMATCH})


class ReplayOutcome(StrEnum):
    """What became of a refused push."""

    STORED = "stored"
    ALREADY_STORED = "already stored"  # by this replay or an earlier one, or it came again and was taken
    REFUSED = "still refused"
    NOT_KEPT = "not kept"  # not all of it is there


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """How to judge. All of it widens what is taken, and is therefore asked for by name.

    `as_name`: as pushes to this connection. `max_deviation_s`: instead of the connection's own.
    `with_retired_keys`: also those of the connection that are retired. `repair_query`: where a proxy turned `+`
    into a space or encoded once more, what it was before.
    """

    dry_run: bool = False
    as_name: str | None = None
    max_deviation_s: int | None = None
    with_retired_keys: bool = False
    repair_query: bool = False


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What a replay did with one rejection, or would do. `report_id`: the report it is, where there is one."""

    rejection_id: int
    outcome: ReplayOutcome
    is_dry_run: bool
    connection: str | None
    report_id: int | None
    sentence: str


def replay_by_filter(
    engine: Engine, keyring: Keyring, now: datetime, wanted: RejectionFilter, options: ReplayOptions
) -> Iterator[ReplayResult]:
    """Replay all rejections that `wanted` names, in order of arrival; those that come meanwhile are left out.

    Raises:
        NotFoundError: there is no connection `options.as_name`.
        KeyringError: a tunnel key does not open.
    """
    with read(engine) as tx:
        last_id = stored.newest_rejection_id(tx)
    known = _known(engine, keyring, options)
    after_id = 0
    while True:
        with read(engine) as tx:
            ids = [i for i in stored.list_rejection_ids(tx, wanted, after_id=after_id, limit=PAGE) if i <= last_id]
        if not ids:
            return
        for rejection_id in ids:
            try:
                yield _replay(engine, known, now, rejection_id, options)
            except NotFoundError:  # it was pruned meanwhile
                continue
        after_id = ids[-1]


def replay_by_ids(
    engine: Engine, keyring: Keyring, now: datetime, rejection_ids: Sequence[int], options: ReplayOptions
) -> Iterator[ReplayResult]:
    """Replay these rejections, in this order.

    Raises:
        NotFoundError: one of them does not exist (then none is replayed), or no connection `options.as_name`.
        KeyringError: a tunnel key does not open.
    """
    known = _known(engine, keyring, options)
    with read(engine) as tx:
        for rejection_id in rejection_ids:
            stored.get_rejection(tx, rejection_id)
    for rejection_id in rejection_ids:
        yield _replay(engine, known, now, rejection_id, options)


def _known(engine: Engine, keyring: Keyring, options: ReplayOptions) -> Mapping[str, KnownConnection]:
    known = load_known_connections(engine, keyring)
    if options.as_name is not None:
        require_connection(known, options.as_name)
    return known


def _replay(
    engine: Engine, known: Mapping[str, KnownConnection], now: datetime, rejection_id: int, options: ReplayOptions
) -> ReplayResult:
    with read(engine) as tx:
        rejection = stored.get_rejection(tx, rejection_id)
    view = rejection.view
    connection = choose_connection(view, known, options.as_name)
    name = connection.row.name if connection is not None else None

    def result(outcome: ReplayOutcome, sentence: str, report_id: int | None = None) -> ReplayResult:
        return ReplayResult(view.id, outcome, options.dry_run, name, report_id, without_tokens(sentence))

    if view.replayed_at is not None:
        told = f"It was replayed on {view.replayed_at:%Y-%m-%d %H:%M:%SZ}."
        return result(ReplayOutcome.ALREADY_STORED, told, view.replayed_report_id)
    if view.reason in NOT_WHOLE:
        return result(ReplayOutcome.NOT_KEPT, f"Not all of it was kept ({view.reason}), so it cannot be replayed.")
    try:
        report, remarks = _verify(rejection, connection, options)
    except PushRejected as exc:
        return result(ReplayOutcome.REFUSED, f"{exc.reason.value}: {exc.detail}")
    if options.dry_run:
        with read(engine) as tx:
            report_id = find_report_id(tx, report)
        if report_id is None:
            return result(ReplayOutcome.STORED, f"It would be stored{remarks}.")
        return result(ReplayOutcome.ALREADY_STORED, f"Its report is stored already{remarks}.", report_id)
    with write(engine) as tx:
        replayed = store_replayed(tx, view.id, report, now)
    if replayed is None:
        return result(ReplayOutcome.ALREADY_STORED, "Another replay was a moment quicker.")
    if replayed.outcome is Outcome.DUPLICATE:
        told = f"Its report was stored already; this counts as a further delivery{remarks}."
        return result(ReplayOutcome.ALREADY_STORED, told, replayed.report_id)
    told = f"It is stored, with its arrival at {view.received_at:%Y-%m-%d %H:%M:%SZ}{remarks}."
    return result(ReplayOutcome.STORED, told, replayed.report_id)


def _verify(
    rejection: StoredRejection, connection: KnownConnection | None, options: ReplayOptions
) -> tuple[NewReport, str]:
    """Give the report of a push that is in order, and in which way it was helped.

    Raises:
        PushRejected: it is not in order.
    """
    verifying = _verifying(connection, options)
    view = rejection.view
    repaired = False
    try:
        report = verify_push(
            verifying,
            view.path_name,
            rejection.query.encode(),
            rejection.body,
            view.received_at,
            headers_of(rejection),
        )
    except PushRejected as exc:
        if verifying is not None and verifying.things_secrets is not None:
            raise  # there is no query to repair
        if is_things_push(headers_of(rejection)):
            raise true_refusal(
                exc, view.path_name, rejection.body, headers_of(rejection), is_known=verifying is not None
            ) from None
        if not options.repair_query or exc.reason not in _WORTH_A_REPAIR:
            raise
        report = _verify_repaired(rejection, verifying, exc)
        repaired = True
    remarks = []
    if repaired:
        remarks.append("its query was repaired")
    if connection is not None:
        retired = {key.id: key.key_id for key in connection.keys if key.retired_at is not None}
        if report.tunnel_key_id in retired:
            remarks.append(f"signed with the retired key {retired[report.tunnel_key_id]}")
        skew_s = (view.received_at - report.sent_at).total_seconds()
        if abs(skew_s) > connection.row.max_deviation_s:
            allowed = f"{options.max_deviation_s} s by --max-deviation"
            remarks.append(f"{tell_skew(skew_s)}, allowed {allowed}")
    return report, f" ({'; '.join(remarks)})" if remarks else ""


def _verify_repaired(
    rejection: StoredRejection, verifying: VerifyingConnection | None, refusal: PushRejected
) -> NewReport:
    view = rejection.view
    for query in repaired_queries(rejection.query):
        try:
            return verify_push(verifying, view.path_name, query.encode(), rejection.body, view.received_at)
        except PushRejected as exc:
            if exc.reason not in _WORTH_A_REPAIR:  # the token is right now; what else is wrong is the better answer
                raise
    raise refusal


def _verifying(connection: KnownConnection | None, options: ReplayOptions) -> VerifyingConnection | None:
    if connection is None:
        return None
    verifying = prepare(connection.row, connection.keys if options.with_retired_keys else connection.live_keys)
    if options.max_deviation_s is not None:
        return replace(verifying, max_deviation_s=options.max_deviation_s)
    return verifying
