"""Judges an AS transport key on the uplinks of its connection that are stored already.

What was unwrapped with a key that turns out wrong is unwrapped anew with the right one.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from receiver.errors import PushRejected, ReportUnreadableError
from receiver.lorawan.frm_payload import decrypt_frm_payload
from receiver.services.sealed_transport_keys import load_as_transport_keys
from receiver.storage import as_transport_keys as stored
from receiver.storage.connections import get_connection
from receiver.storage.reports import wake_reports_of_sessions
from receiver.thingpark.as_transport_key import unwrap_app_s_key
from receiver.thingpark.body import parse_body
from receiver.thingpark.key_judgement import DecryptedFrame, KeyJudgement, Verdict, judge_decryptions
from receiver.thingpark.reports import UplinkReport, read_report

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import sqlalchemy as sa

    from receiver.keyring import Keyring
    from receiver.lorawan.identifiers import DevAddr, DevEui
    from receiver.lorawan.keys import AesKey
    from receiver.storage.as_transport_keys import UnwrappedSession
    from receiver.storage.connections import Connection


@dataclass(frozen=True, slots=True)
class EncryptedFrame:
    """An uplink's encrypted FRMPayload with the wrapped AppSKey of its session."""

    dev_eui: DevEui
    dev_addr: DevAddr
    f_port: int
    f_cnt: int
    payload: bytes
    wrapped_field: str


@dataclass(frozen=True, slots=True)
class KeyComparison:
    """A new key's judgement, and which AppSKey fields each key, old or new, surely unwraps rightly."""

    judgement: KeyJudgement
    read_before: Mapping[int, frozenset[str]]
    """By the row id of each earlier key."""
    read_now: frozenset[str]


def list_encrypted_frames(tx: sa.Connection, connection: Connection) -> list[EncryptedFrame]:
    """Give stored uplinks that are encrypted under a wrapped AppSKey, a bounded sample of them.

    None for a connection whose reports carry AppSKeys in the clear. The AppSKey is the report's own, else the
    one that the session is known to have: some networks send it only after a join.
    """
    if connection.app_s_keys == "clear":
        return []
    uplinks = [uplink for body in stored.list_uplink_bodies(tx, connection.id) if (uplink := _read(body))]
    fields = stored.list_wrapped_fields(tx, {uplink.heading.dev_eui for uplink in uplinks})
    frames = []
    for uplink in uplinks:
        heading = uplink.heading
        field = uplink.app_s_key_field or fields.get((heading.dev_eui, heading.dev_addr))
        if (
            field is not None
            and heading.dev_addr is not None
            and uplink.f_cnt_up is not None
            and uplink.f_port  # FPort 0 carries MAC commands under another key
            and uplink.payload
            and _is_encrypted(uplink, connection.payloads)
        ):
            frames.append(
                EncryptedFrame(heading.dev_eui, heading.dev_addr, uplink.f_port, uplink.f_cnt_up, uplink.payload, field)
            )
    return frames


def compare_keys(
    key: AesKey, frames: Sequence[EncryptedFrame], earlier_keys: Iterable[tuple[int, AesKey]] = ()
) -> KeyComparison:
    """Judge `key` on `frames`; sessions that an earlier key of the connection surely reads are left out.

    With earlier keys the verdict is never `doubtful`: devices stay under the key before until they join
    again, so that a new key that reads nothing stored may well be right.
    """
    by_field: dict[str, list[EncryptedFrame]] = defaultdict(list)
    for frame in frames:
        by_field[frame.wrapped_field].append(frame)
    earlier = [(row_id, other) for row_id, other in earlier_keys if other != key]
    read_before = {row_id: _fields_read(other, by_field) for row_id, other in earlier}
    for field in frozenset().union(*read_before.values()):
        del by_field[field]
    judgement = judge_decryptions(_decrypt(key, chain.from_iterable(by_field.values())))
    if earlier and judgement.verdict is Verdict.DOUBTFUL:
        judgement = replace(
            judgement,
            verdict=Verdict.UNTESTED,
            sentence=(
                f"The key is untested: it does not read the {judgement.frames} stored frames that were looked at,"
                " which may still be under a key before it. Devices use a new key from their next join on."
            ),
        )
    return KeyComparison(judgement, read_before, _fields_read(key, by_field) if earlier else frozenset())


def compare_on_stored_reports(tx: sa.Connection, keyring: Keyring, name: str, key: AesKey) -> KeyComparison:
    """Judge a key on what the connection has stored, beside the keys it has.

    Raises:
        NotFoundError: there is no such connection.
        KeyringError: a key that it has does not open.
    """
    connection = get_connection(tx, name)
    earlier = load_as_transport_keys(tx, keyring, connection.id)
    return compare_keys(key, list_encrypted_frames(tx, connection), earlier)


def is_outdated(session: UnwrappedSession, comparison: KeyComparison, *, force: bool) -> bool:
    """Say whether a session's AppSKey was unwrapped with a wrong key and is to be unwrapped with the new one.

    A session that an earlier key surely reads stays. One that the new key surely reads does not. For the rest
    the earlier key decides: if it reads no session at all, a confirmed (or forced) new key takes its place.
    """
    if any(session.wrapped_field in fields for fields in comparison.read_before.values()):
        return False
    if session.wrapped_field in comparison.read_now:
        return True
    reads_nothing = not comparison.read_before[session.as_transport_key_id]
    return reads_nothing and (force or comparison.judgement.verdict is Verdict.CONFIRMED)


def read_again_with(tx: sa.Connection, connection_id: int, comparison: KeyComparison, *, force: bool) -> int:
    """Make the reports that a newly imported key can read unread again; gives how many.

    Those are the ones that wait for a key, and those of sessions that a wrong key unwrapped.
    """
    reports = stored.reread_waiting_reports(tx, connection_id)
    sessions = stored.list_unwrapped_sessions(tx, list(comparison.read_before))
    outdated = [session.id for session in sessions if is_outdated(session, comparison, force=force)]
    for batch in batched_ids(outdated):
        stored.forget_app_s_keys(tx, batch)
        reports += wake_reports_of_sessions(tx, batch, ("decrypted",))
    return reports


def batched_ids(ids: Sequence[int], size: int = 1000) -> Iterable[Sequence[int]]:
    """Give the ids in pieces that are well below what one statement may have as parameters."""
    return (ids[start : start + size] for start in range(0, len(ids), size))


def _fields_read(key: AesKey, by_field: Mapping[str, Sequence[EncryptedFrame]]) -> frozenset[str]:
    """Give the AppSKey fields whose frames confirm `key`, each by itself."""
    return frozenset(
        field
        for field, frames in by_field.items()
        if judge_decryptions(_decrypt(key, frames)).verdict is Verdict.CONFIRMED
    )


def _read(body: bytes) -> UplinkReport | None:
    try:
        report, _ = read_report(parse_body(body))
    except (PushRejected, ReportUnreadableError):
        return None  # it is stored and flagged; it only cannot serve as a sample
    return report if isinstance(report, UplinkReport) else None


def _is_encrypted(uplink: UplinkReport, payloads: str) -> bool:
    """Ask the report, else the connection; `auto` takes a wrapped AppSKey as a sign of encryption."""
    return payloads != "clear" if uplink.payload_encryption is None else uplink.payload_encryption


def _decrypt(key: AesKey, frames: Iterable[EncryptedFrame]) -> list[DecryptedFrame]:
    app_s_keys: dict[str, AesKey] = {}
    decrypted = []
    for frame in frames:
        app_s_key = app_s_keys.get(frame.wrapped_field)
        if app_s_key is None:
            app_s_key = app_s_keys[frame.wrapped_field] = unwrap_app_s_key(key, frame.wrapped_field)
        clear = decrypt_frm_payload(app_s_key, frame.dev_addr, frame.f_cnt, frame.payload)
        decrypted.append(DecryptedFrame(frame.dev_eui, frame.dev_addr, frame.f_port, frame.f_cnt, frame.payload, clear))
    return decrypted
