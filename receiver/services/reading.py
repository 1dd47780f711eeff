"""The reading moment: stored reports become uplinks, receptions, locations, sessions, devices, notifications.

It comes after the answer and can be repeated: a report is read again when a key arrives later. Bodies are
parsed before the transaction; what is written is one transaction per batch. What reports say of downlinks settles
those in the same transaction.

*Unreadable and undecryptable are different things:* an unreadable report stays whole and says why; an
encrypted uplink without its key, or with a stored key that does not open, is an uplink whose payload waits.

A batch goes through its reports twice: first each frame is given its session, and its payload is decrypted; then,
with one look at what stands of all these frames already, rows are made of them. So there is no query for a frame.
Source: ThingPark LRC–AS tunnel interface, payload encryption; LoRaWAN L2 1.0.4 section 4.3.3.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from receiver.errors import KeyringError, ReceiverError
from receiver.logs import get_logger
from receiver.lorawan.frm_payload import decrypt_frm_payload
from receiver.lorawan.identifiers import DevAddr
from receiver.services.as_transport_keys import load_as_transport_keys
from receiver.services.parsed_reports import Parsed, parse_report
from receiver.services.reading_batch import Payload, ReadBatch
from receiver.services.session_book import SessionBook, mark_of_field
from receiver.services.things_reading import THINGS_KIND, ThingsBatch, frame_check_of
from receiver.storage.engine import read, write
from receiver.storage.reports import (
    ReadingOutcome,
    UnreadReport,
    claim_unread_reports,
    list_unread_reports,
    settle_reports,
    wake_reports_of_devices,
    wake_reports_of_sessions,
    wake_reports_with_note,
)
from receiver.storage.seen_devices import record_key_uses
from receiver.thingpark.downlink_reports import DownlinkRejectedReport, DownlinkSentReport, MulticastSummaryReport
from receiver.thingpark.reports import (
    LocationReport,
    NotificationReport,
    OtherReport,
    Report,
    UplinkReport,
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

WAITS_FOR_KEK = "Its payload is encrypted and the stored key of its session does not open with this key-encryption key."

FAULTS_TOLD_AGAIN_AFTER = timedelta(minutes=1)
"""A stored key that does not open is met in every batch that has a frame of its session."""


class _Faults:
    """Logs keys that do not open, once in a while. The worker's clock is its clock."""

    def __init__(self) -> None:
        self._told_at: datetime | None = None

    def tell(self, now: datetime, faults: Sequence[KeyringError]) -> None:
        if not faults or (self._told_at is not None and abs(now - self._told_at) < FAULTS_TOLD_AGAIN_AFTER):
            return
        self._told_at = now
        _log.error("stored_keys_do_not_open", keys=len(faults), error=str(faults[0]))


_faults = _Faults()


class _Frame(NamedTuple):
    """An uplink's place: its session, whether it came out of order or late, and its payload."""

    session_id: int | None
    is_late: bool
    is_newest: bool  # of its device
    payload: Payload


def read_batch(engine: Engine, keyring: Keyring, now: datetime, limit: int) -> int:
    """Read up to `limit` unread reports, oldest first; give how many there were.

    A report that fails in a way nobody foresaw is tried by itself, and then flagged unreadable, so that it
    does not hold up the others.

    Raises:
        StorageUnavailableError: the database is away; nothing of the batch was written.
    """
    with read(engine) as connection:
        unread = list_unread_reports(connection, limit)
    if not unread:
        return 0
    parsed = [parse_report(report) for report in unread]
    try:
        _read_parsed(engine, keyring, now, parsed)
    except ReceiverError:
        raise
    except Exception as exc:  # noqa: BLE001 - one report must not hold up the others
        _log.error("reading_batch_failed", error=type(exc).__name__, reports=len(parsed))
        for one in parsed:
            _read_alone(engine, keyring, now, one)
    return len(unread)


def read_again_what_did_not_open(engine: Engine) -> int:
    """Make the reports unread again that wait because a stored key did not open; give how many.

    For the start of a worker, which may have been given another key-encryption key.

    Raises:
        StorageUnavailableError: the database is away.
    """
    with write(engine) as connection:
        return wake_reports_with_note(connection, WAITS_FOR_KEK)


def _read_alone(engine: Engine, keyring: Keyring, now: datetime, parsed: Parsed) -> None:
    try:
        _read_parsed(engine, keyring, now, [parsed])
    except ReceiverError:
        raise
    except Exception as exc:  # noqa: BLE001 - flagged with the name of the fault, and kept whole
        _log.error("report_unreadable", report=parsed.unread.id, error=type(exc).__name__)
        sentence = f"Reading it failed unexpectedly ({type(exc).__name__}); it is kept whole."
        _read_parsed(engine, keyring, now, [Parsed(parsed.unread, None, sentence)])


def _read_parsed(engine: Engine, keyring: Keyring, now: datetime, parsed: Sequence[Parsed]) -> None:
    with write(engine) as connection:
        claimed = claim_unread_reports(connection, [one.unread.id for one in parsed])
        mine = []
        for one in parsed:
            if one.unread.id in claimed:
                connection_id = claimed[one.unread.id]
                if connection_id != one.unread.connection_id:  # it was removed meanwhile
                    one = one._replace(unread=one.unread._replace(connection_id=connection_id))  # noqa: PLW2901
                mine.append(one)
        faults = _write_batch(connection, keyring, now, mine)
    _faults.tell(now, faults)


def _write_batch(
    connection: Connection, keyring: Keyring, now: datetime, parsed: Sequence[Parsed]
) -> list[KeyringError]:
    """Write what the reports say; give why keys that were needed did not open."""
    transport_keys: dict[int, list[tuple[int, AesKey]] | KeyringError] = {}

    def keys_of(connection_id: int) -> list[tuple[int, AesKey]]:
        if connection_id not in transport_keys:
            try:
                transport_keys[connection_id] = load_as_transport_keys(connection, keyring, connection_id)
            except KeyringError as exc:
                transport_keys[connection_id] = exc
        keys = transport_keys[connection_id]
        if isinstance(keys, KeyringError):
            raise keys
        return keys

    things = None
    if any(one.unread.kind == THINGS_KIND for one in parsed):
        things = ThingsBatch(connection)
        parsed = things.with_dev_euis(parsed)
    dev_euis = {one.report.heading.dev_eui for one in parsed if one.report is not None and one.report.heading}
    book = SessionBook(connection, keyring, now, keys_of, dev_euis)
    places = [_place(book, one) for one in parsed]
    frames = [
        (place.session_id, one.report.f_cnt_up)
        for one, place in zip(parsed, places, strict=True)
        if isinstance(place, _Frame)
        and place.session_id is not None
        and isinstance(one.report, UplinkReport)
        and one.report.f_cnt_up is not None
    ]
    batch = ReadBatch(connection, [one.unread.id for one in parsed], frames)
    copies = {} if things is None else things.copies(parsed)
    outcomes = [
        _read_copy(batch, one, copies[one.unread.id]) if one.unread.id in copies else _read_one(batch, one, place)
        for one, place in zip(parsed, places, strict=True)
    ]
    book.close()
    batch.write(now)
    if things is not None:
        things.write(now, [one for one in parsed if not batch.was_read_before(one.unread.id)])
    settle_reports(connection, outcomes)
    record_key_uses(connection, _key_uses(batch, parsed))
    wake_reports_of_devices(connection, sorted(book.devices_with_new_keys))
    # What was taken for clear before the session's key was known may have been encrypted.
    wake_reports_of_sessions(connection, sorted(book.sessions_with_new_keys))
    return list(book.faults.values())


def _read_copy(batch: ReadBatch, one: Parsed, first: int | None) -> ReadingOutcome:
    batch.add_copy(first, one.unread.id)
    dev_eui = one.report.heading.dev_eui if one.report is not None and one.report.heading is not None else None
    return ReadingOutcome(one.unread.id, "read", f"Another delivery of the frame in report {first or 0}.", dev_eui)


def _key_uses(batch: ReadBatch, parsed: Sequence[Parsed]) -> list[tuple[int, int, datetime]]:
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


def _place(book: SessionBook, parsed: Parsed) -> _Frame | int | None:
    """Find or begin the session that a report is of: an uplink's place, a notification's session id, or None."""
    report = parsed.report
    if isinstance(report, UplinkReport):
        return _place_frame(book, parsed.unread, report)
    if isinstance(report, NotificationReport):
        return _place_notification(book, parsed.unread, report)
    return None


def _place_frame(book: SessionBook, unread: UnreadReport, report: UplinkReport) -> _Frame:
    heading = report.heading
    at = heading.at or unread.sent_at
    session: SessionRow | None = None
    is_late = report.late
    if report.f_cnt_up is not None:
        field = report.app_s_key_field
        mark = _mark(unread, field)
        session, is_out_of_order = book.session_of_frame(
            heading.dev_eui, heading.dev_addr, mark, at, report.f_cnt_up, late=report.late
        )
        is_late = is_late or is_out_of_order
        if field is not None:
            wrapped = unread.app_s_keys == "wrapped"
            book.learn_key(session, field, "report", unread.connection_id, wrapped=wrapped)
    payload = _read_payload(book, unread, report, session)
    is_newest = book.is_newest_of_device(heading.dev_eui, at)
    return _Frame(session.id if session else None, is_late, is_newest, payload)


def _place_notification(book: SessionBook, unread: UnreadReport, report: NotificationReport) -> int | None:
    heading = report.heading
    at = heading.at or unread.sent_at
    if report.type == "join":
        session = book.join(heading.dev_eui, heading.dev_addr, _mark(unread, report.app_s_key_field), at)
        if report.app_s_key_field is not None:
            wrapped = unread.app_s_keys == "wrapped"
            book.learn_key(session, report.app_s_key_field, "join", unread.connection_id, wrapped=wrapped)
        return session.id
    if report.type == "reset":
        return book.reset(heading.dev_eui, heading.dev_addr, at).id
    return None


def _read_one(batch: ReadBatch, parsed: Parsed, place: _Frame | int | None) -> ReadingOutcome:
    unread, report = parsed.unread, parsed.report
    if isinstance(report, UplinkReport) and isinstance(place, _Frame):
        return _read_uplink(batch, unread, report, place, parsed.notes)
    if isinstance(report, NotificationReport) and not isinstance(place, _Frame):
        return _read_notification(batch, unread, report, place, parsed.notes)
    if isinstance(report, LocationReport):
        batch.add_sighting(unread, report.heading)
        batch.add_fix(unread, report.heading.dev_eui, report.fix, report.heading.at or unread.sent_at)
        return _settled(unread, report, parsed.notes)
    if isinstance(report, DownlinkSentReport | DownlinkRejectedReport | MulticastSummaryReport):
        batch.add_sighting(unread, report.heading)
        batch.add_downlink_report(unread, report)
        return _settled(unread, report, parsed.notes)
    if isinstance(report, OtherReport):
        if report.heading is not None:
            batch.add_sighting(unread, report.heading)
        return _settled(unread, report, parsed.notes)
    return ReadingOutcome(unread.id, "unreadable", parsed.notes, None)


def _settled(unread: UnreadReport, report: Report, note: str | None) -> ReadingOutcome:
    return ReadingOutcome(unread.id, "read", note, report.heading.dev_eui if report.heading else None)


def _read_notification(
    batch: ReadBatch, unread: UnreadReport, report: NotificationReport, session_id: int | None, note: str | None
) -> ReadingOutcome:
    heading = report.heading
    at = heading.at or unread.sent_at
    batch.add_sighting(unread, heading, battery_level=report.battery_level, margin_db=report.margin_db, status_at=at)
    batch.add_notification(
        unread,
        heading,
        at,
        type_=report.type,
        session_id=session_id,
        detail=report.detail,
        battery_level=report.battery_level,
        margin_db=report.margin_db,
    )
    return _settled(unread, report, note)


def _read_uplink(
    batch: ReadBatch, unread: UnreadReport, report: UplinkReport, frame: _Frame, note: str | None
) -> ReadingOutcome:
    heading = report.heading
    at = heading.at or unread.sent_at
    payload = frame.payload
    frame_check = frame_check_of(report)
    first = batch.add_uplink(unread, report, at, frame.session_id, frame_check, payload, late=frame.is_late)
    if first is not None:
        return ReadingOutcome(unread.id, "read", f"Another delivery of the frame in report {first}.", heading.dev_eui)
    if not batch.was_read_before(unread.id):
        if report.ack:
            batch.add_acknowledgement(heading.dev_eui)
        batch.add_sighting(
            unread,
            heading,
            f_cnt_up=report.f_cnt_up if frame.is_newest else None,
            is_lorawan_1_1=report.is_lorawan_1_1,
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
    if payload.note is None:
        return ReadingOutcome(unread.id, "read", note, heading.dev_eui)
    return ReadingOutcome(
        unread.id, "waiting_for_key", f"{payload.note} {note}" if note else payload.note, heading.dev_eui
    )


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
        return Payload("waiting_for_key", None, WAITS)
    key = book.try_unwrap(session, unread.connection_id)
    if key is None:
        return Payload("waiting_for_key", None, WAITS if book.opens(session) else WAITS_FOR_KEK)
    clear = decrypt_frm_payload(key, DevAddr(session.dev_addr), report.f_cnt_up, report.payload)
    return Payload("decrypted", clear)
