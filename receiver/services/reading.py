"""The reading moment: stored reports become uplinks, receptions, locations, sessions, devices, notifications.

It comes after the answer and can be repeated: a report is read again when a key arrives later. Bodies are
parsed before the transaction; what is written is one transaction per batch.

*Unreadable and undecryptable are different things:* an unreadable report stays whole and says why; an
encrypted uplink without its key is an uplink whose payload waits.
Source: ThingPark LRC–AS tunnel interface, payload encryption; LoRaWAN L2 1.0.4 section 4.3.3.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from receiver.errors import PushRejected, ReceiverError, ReportUnreadableError
from receiver.logs import get_logger
from receiver.lorawan.frm_payload import decrypt_frm_payload
from receiver.lorawan.identifiers import DevAddr
from receiver.services.as_transport_keys import load_as_transport_keys
from receiver.services.reading_batch import Payload, ReadBatch
from receiver.services.session_book import SessionBook, mark_of_field
from receiver.storage.engine import read, write
from receiver.storage.reports import (
    ReadingOutcome,
    UnreadReport,
    claim_unread_reports,
    list_unread_reports,
    settle_reports,
    wake_reports_of_device,
    wake_reports_of_sessions,
)
from receiver.storage.seen_devices import record_key_uses
from receiver.thingpark.body import parse_body
from receiver.thingpark.reports import (
    LocationReport,
    NotificationReport,
    OtherReport,
    Report,
    UplinkReport,
    read_report,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Engine

    from receiver.keyring import Keyring
    from receiver.lorawan.keys import AesKey
    from receiver.storage.sessions import SessionRow

_log = get_logger(__name__)

WAITS = "Its payload is encrypted and the key of its session is not known yet."


@dataclass(frozen=True, slots=True)
class _Parsed:
    """A report with what its body says; `report` None: it is unreadable, and `notes` say why."""

    unread: UnreadReport
    report: Report | None
    notes: str | None


def read_batch(engine: Engine, keyring: Keyring, now: datetime, limit: int) -> int:
    """Read up to `limit` unread reports, oldest first; give how many there were.

    A report that fails in a way nobody foresaw is tried by itself, and then flagged unreadable, so that it
    does not hold up the others.

    Raises:
        StorageUnavailableError: the database is away; nothing of the batch was written.
        KeyringError: a stored secret does not open with this key-encryption key.
    """
    with read(engine) as connection:
        unread = list_unread_reports(connection, limit)
    if not unread:
        return 0
    parsed = [_parse(report) for report in unread]
    try:
        _read_parsed(engine, keyring, now, parsed)
    except ReceiverError:
        raise
    except Exception as exc:  # noqa: BLE001 - one report must not hold up the others
        _log.error("reading_batch_failed", error=type(exc).__name__, reports=len(parsed))
        for one in parsed:
            _read_alone(engine, keyring, now, one)
    return len(unread)


def _parse(unread: UnreadReport) -> _Parsed:
    try:
        report, notes = read_report(parse_body(unread.body))
    except (ReportUnreadableError, PushRejected) as exc:
        return _Parsed(unread, None, str(exc))
    return _Parsed(unread, report, notes.sentence())


def _read_alone(engine: Engine, keyring: Keyring, now: datetime, parsed: _Parsed) -> None:
    try:
        _read_parsed(engine, keyring, now, [parsed])
    except ReceiverError:
        raise
    except Exception as exc:  # noqa: BLE001 - flagged with the name of the fault, and kept whole
        _log.error("report_unreadable", report=parsed.unread.id, error=type(exc).__name__)
        sentence = f"Reading it failed unexpectedly ({type(exc).__name__}); it is kept whole."
        _read_parsed(engine, keyring, now, [_Parsed(parsed.unread, None, sentence)])


def _read_parsed(engine: Engine, keyring: Keyring, now: datetime, parsed: Sequence[_Parsed]) -> None:
    with write(engine) as connection:
        claimed = claim_unread_reports(connection, [one.unread.id for one in parsed])
        mine = [
            replace(one, unread=replace(one.unread, connection_id=claimed[one.unread.id]))
            for one in parsed
            if one.unread.id in claimed
        ]
        _write_batch(connection, keyring, now, mine)


def _write_batch(connection: Connection, keyring: Keyring, now: datetime, parsed: Sequence[_Parsed]) -> None:
    transport_keys: dict[int, list[tuple[int, AesKey]]] = {}

    def keys_of(connection_id: int) -> list[tuple[int, AesKey]]:
        if connection_id not in transport_keys:
            transport_keys[connection_id] = load_as_transport_keys(connection, keyring, connection_id)
        return transport_keys[connection_id]

    headings = [one.report.heading for one in parsed if one.report is not None]
    dev_euis = {heading.dev_eui for heading in headings if heading is not None}
    book = SessionBook(connection, keyring, now, keys_of, dev_euis)
    batch = ReadBatch(connection, [one.unread.id for one in parsed])
    outcomes = [_read_one(book, batch, one) for one in parsed]
    book.close()
    batch.write()
    settle_reports(connection, outcomes)
    record_key_uses(connection, _key_uses(batch, parsed))
    for dev_eui in sorted(book.devices_with_new_keys):
        wake_reports_of_device(connection, dev_eui)
    # What was taken for clear before the session's key was known may have been encrypted.
    wake_reports_of_sessions(connection, sorted(book.sessions_with_new_keys))


def _key_uses(batch: ReadBatch, parsed: Sequence[_Parsed]) -> list[tuple[int, int, datetime]]:
    """Count each tunnel key's reports; one that is read again for its payload was counted before."""
    hits: Counter[int] = Counter()
    newest: dict[int, datetime] = {}
    for one in parsed:
        key_id = one.unread.tunnel_key_id
        if key_id is None or batch.was_read_before(one.unread.id):
            continue
        hits[key_id] += 1
        newest[key_id] = max(newest.get(key_id, one.unread.received_at), one.unread.received_at)
    return [(key_id, count, newest[key_id]) for key_id, count in hits.items()]


def _read_one(book: SessionBook, batch: ReadBatch, parsed: _Parsed) -> ReadingOutcome:
    unread, report = parsed.unread, parsed.report
    match report:
        case UplinkReport():
            return _read_uplink(book, batch, unread, report, parsed.notes)
        case LocationReport():
            at = report.heading.at or unread.sent_at
            batch.add_sighting(unread, report.heading)
            batch.add_fix(unread, report.heading.dev_eui, report.fix, at)
            return _settled(unread, report, parsed.notes)
        case NotificationReport():
            return _read_notification(book, batch, unread, report, parsed.notes)
        case OtherReport():
            if report.heading is not None:
                batch.add_sighting(unread, report.heading)
            return _settled(unread, report, parsed.notes)
        case _:
            return ReadingOutcome(unread.id, "unreadable", parsed.notes, None)


def _settled(unread: UnreadReport, report: Report, note: str | None) -> ReadingOutcome:
    return ReadingOutcome(unread.id, "read", note, report.heading.dev_eui if report.heading else None)


def _read_notification(
    book: SessionBook, batch: ReadBatch, unread: UnreadReport, report: NotificationReport, note: str | None
) -> ReadingOutcome:
    heading = report.heading
    at = heading.at or unread.sent_at
    session: SessionRow | None = None
    if report.type == "join":
        session = book.join(heading.dev_eui, heading.dev_addr, _mark(unread, report.app_s_key_field), at)
        if report.app_s_key_field is not None:
            wrapped = unread.app_s_keys == "wrapped"
            book.learn_key(session, report.app_s_key_field, "join", unread.connection_id, wrapped=wrapped)
    elif report.type == "reset":
        session = book.reset(heading.dev_eui, heading.dev_addr, at)
    batch.add_sighting(unread, heading, battery_level=report.battery_level, margin_db=report.margin_db, status_at=at)
    batch.add_notification(
        unread,
        heading,
        at,
        type_=report.type,
        session_id=session.id if session else None,
        detail=report.detail,
        battery_level=report.battery_level,
        margin_db=report.margin_db,
    )
    return _settled(unread, report, note)


def _read_uplink(
    book: SessionBook, batch: ReadBatch, unread: UnreadReport, report: UplinkReport, note: str | None
) -> ReadingOutcome:
    heading = report.heading
    at = heading.at or unread.sent_at
    session: SessionRow | None = None
    if report.f_cnt_up is not None:
        mark = _mark(unread, report.app_s_key_field)
        session = book.session_of_frame(heading.dev_eui, heading.dev_addr, mark, at, report.f_cnt_up, late=report.late)
        if report.app_s_key_field is not None:
            wrapped = unread.app_s_keys == "wrapped"
            book.learn_key(session, report.app_s_key_field, "report", unread.connection_id, wrapped=wrapped)
    payload = _read_payload(book, unread, report, session)
    state = "waiting_for_key" if payload.state == "waiting_for_key" else "read"
    if state == "waiting_for_key":
        note = f"{WAITS} {note}" if note else WAITS
    # Both: a frame with the MIC of another one and other contents is a conflict to be shown, not a copy.
    frame_check = f"{report.mic or ''}:{hashlib.sha256(report.payload).hexdigest()[:16]}"
    first = batch.add_uplink(unread, report, at, session.id if session else None, frame_check, payload)
    if first is not None:
        return ReadingOutcome(unread.id, "read", f"Another delivery of the frame in report {first}.", heading.dev_eui)
    if not batch.was_read_before(unread.id):
        batch.add_sighting(
            unread,
            heading,
            f_cnt_up=report.f_cnt_up if book.is_newest_of_device(heading.dev_eui, at) else None,
            battery_level=report.battery_level,
            margin_db=report.margin_db,
            status_at=report.battery_at or at,
        )
        batch.add_fix(unread, heading.dev_eui, report.fix, at)
        if report.battery_level is not None:
            batch.add_notification(
                unread,
                heading,
                report.battery_at or at,
                type_="devstatusans",
                battery_level=report.battery_level,
                margin_db=report.margin_db,
            )
    return ReadingOutcome(unread.id, state, note, heading.dev_eui)


def _mark(unread: UnreadReport, field: str | None) -> str | None:
    return None if field is None else mark_of_field(field, wrapped=unread.app_s_keys == "wrapped")


def _read_payload(book: SessionBook, unread: UnreadReport, report: UplinkReport, session: SessionRow | None) -> Payload:
    """Decide whether the payload is encrypted, and decrypt it if its key is known.

    `PayloadEncryption` decides where the report has it, else the connection's setting. `auto` takes a
    payload for encrypted where an AppSKey came with the report or is known for its session: the network
    keeps the AppSKey from us exactly where it decrypts itself.
    """
    if not report.payload:
        return Payload("none", None)
    if report.f_port == 0:  # LoRaWAN L2 1.0.4 section 4.3.3: MAC commands, under the network's own key
        return Payload("network", report.payload)
    encrypted = report.payload_encryption
    if encrypted is None:
        encrypted = unread.payloads == "encrypted" or (
            unread.payloads == "auto"
            and (report.app_s_key_field is not None or (session is not None and session.key_source is not None))
        )
    if not encrypted:
        return Payload("clear", report.payload)
    if session is None or session.dev_addr is None or report.f_cnt_up is None:
        return Payload("waiting_for_key", None)
    key = book.try_unwrap(session, unread.connection_id)
    if key is None:
        return Payload("waiting_for_key", None)
    clear = decrypt_frm_payload(key, DevAddr(session.dev_addr), report.f_cnt_up, report.payload)
    return Payload("decrypted", clear)
