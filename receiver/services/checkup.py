"""What `receiver doctor` finds in the database: whether it is there, current, opened by the key, read, and fed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from statistics import median
from typing import TYPE_CHECKING, Literal

from receiver.errors import KeyringError, SchemaError, StorageUnavailableError
from receiver.services.session_book import app_s_key_purpose
from receiver.services.silence import look_for_silence
from receiver.services.things_accounts import account_purpose
from receiver.services.wording import tell_count, tell_span
from receiver.storage import checkup as stored
from receiver.storage import schema
from receiver.storage.engine import read

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Engine

    from receiver.keyring import Keyring
    from receiver.services.silence import ConnectionSilence

Level = Literal["ok", "warn", "fail"]

LATE_READING = timedelta(seconds=30)
"""An unread report is read within a second; older than this, the worker is behind."""
NO_READING = timedelta(minutes=10)
"""Older than this, there is no worker."""
SKEW_TOLD_S = 20.0
"""A third of the deviation that a connection allows by default: half of the pushes still have room."""
LEAST_SKEWS = 5
RECENT = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it is, in a sentence, and what to do (None where there is nothing)."""

    check: str
    level: Level
    sentence: str
    advice: str | None = None


def check_database(engine: Engine, keyring: Keyring | None, now: datetime) -> list[Finding]:
    """Look at the database and what stands in it. `keyring` None: the key-encryption key could not be had.

    Changes nothing. A database that is away or of another schema is a finding, and ends the look.
    """
    try:
        schema_finding = _check_schema(engine)
        if schema_finding.level == "fail":
            return [Finding("database", "ok", "The database answers."), schema_finding]
        return [
            Finding("database", "ok", "The database answers."),
            schema_finding,
            _check_secrets(engine, keyring),
            *_check_backlog(engine, now),
            _check_rejections(engine, now),
            _check_clock(engine, now),
            *_check_silence(engine, now),
        ]
    except StorageUnavailableError as exc:
        return [
            Finding(
                "database",
                "fail",
                str(exc),
                "Is it running, and can this machine reach it? What stands in it was not looked at.",
            )
        ]


def _check_schema(engine: Engine) -> Finding:
    try:
        status = schema.check(engine)
    except SchemaError as exc:
        return Finding("schema", "fail", str(exc))
    problem = schema.explain(status)
    if problem is None:
        return Finding("schema", "ok", f"The database has schema {status.current}, the newest.")
    return Finding("schema", "fail", problem)


def _check_secrets(engine: Engine, keyring: Keyring | None) -> Finding:
    with read(engine) as tx:
        secrets = stored.list_sealed_secrets(tx)
    sealed = [
        *((f"tunnel_key:{connection_id}:{key_id}", row) for connection_id, key_id, row in secrets.tunnel_keys),
        *((f"as_transport_key:{connection_id}", row) for connection_id, row in secrets.as_transport_keys),
        *((app_s_key_purpose(session_id), row) for session_id, row in secrets.session_keys),
        *((account_purpose(connection_id), row) for connection_id, row in secrets.things_accounts),
    ]
    if not sealed:
        return Finding("sealed keys", "ok", "There are no sealed keys yet.")
    if keyring is None:
        return Finding(
            "sealed keys",
            "fail",
            f"{tell_count(len(sealed), 'sealed key')} cannot be opened without the key-encryption key.",
            "Restore it from its backup, or give the right one with RECEIVER_KEK_FILE or RECEIVER_KEK.",
        )
    closed = sum(not _opens(keyring, row, purpose) for purpose, row in sealed)
    if closed:
        return Finding(
            "sealed keys",
            "fail",
            f"{closed:,} of {tell_count(len(sealed), 'sealed key')} do not open with this key-encryption key.",
            "It is another one than they were sealed with: give the right one with RECEIVER_KEK_FILE or RECEIVER_KEK.",
        )
    return Finding("sealed keys", "ok", f"The key-encryption key opens {tell_count(len(sealed), 'sealed key')}.")


def _opens(keyring: Keyring, sealed: bytes, purpose: str) -> bool:
    try:
        keyring.open(sealed, purpose)
    except KeyringError:
        return False
    return True


def _check_backlog(engine: Engine, now: datetime) -> list[Finding]:
    with read(engine) as tx:
        backlog = stored.get_backlog(tx)
    if backlog.oldest_received_at is None:
        findings = [Finding("reading", "ok", "Every report has been read.")]
    else:
        age = now - backlog.oldest_received_at
        level: Level = "fail" if age > NO_READING else "warn" if age > LATE_READING else "ok"
        sentence = f"{tell_count(backlog.unread, 'report')} unread, the oldest for {tell_span(age.total_seconds())}."
        advice = "Is a worker running? `receiver serve` starts one unless it has --without-worker; see its log."
        findings = [Finding("reading", level, sentence, None if level == "ok" else advice)]
    if backlog.waiting_for_key:
        findings.append(
            Finding(
                "waiting for keys",
                "warn",
                f"{tell_count(backlog.waiting_for_key, 'encrypted uplink')} without the key of the session.",
                "`receiver as-key import`, or `receiver device set … --app-s-key` for ABP devices; then they are read.",
            )
        )
    else:
        findings.append(Finding("waiting for keys", "ok", "No uplink waits for a key."))
    return findings


def _check_rejections(engine: Engine, now: datetime) -> Finding:
    with read(engine) as tx:
        reasons = stored.count_rejections_since(tx, now - RECENT)
    if not reasons:
        return Finding("rejections", "ok", "No push was refused in the last day.")
    told = ", ".join(f"{reason} {count:,}" for reason, count in reasons.items())
    return Finding(
        "rejections",
        "warn",
        f"{tell_count(sum(reasons.values()), 'push').replace('pushs', 'pushes')} refused in the last day: {told}.",
        "`receiver rejections list`, then `receiver rejections explain ID` says why.",
    )


def _check_clock(engine: Engine, now: datetime) -> Finding:
    with read(engine) as tx:
        skews_s = stored.list_newest_skews_s(tx, now - RECENT)
    if len(skews_s) < LEAST_SKEWS:
        return Finding("clock", "ok", "Too few reports in the last day to tell this clock from the network's.")
    skew_s = median(skews_s)
    if abs(skew_s) < SKEW_TOLD_S:
        return Finding("clock", "ok", f"Reports come {skew_s:.1f} s after the network's time, by the median.")
    where = "after" if skew_s > 0 else "before"
    return Finding(
        "clock",
        "warn",
        f"Reports come {abs(skew_s):.0f} s {where} the network's time, by the median.",
        "Is this machine's clock kept right? `timedatectl`. Beyond the allowed deviation pushes are refused.",
    )


def _check_silence(engine: Engine, now: datetime) -> list[Finding]:
    silence = look_for_silence(engine, now)
    findings = [_tell_connection(connection) for connection in silence.connections]
    if not findings:
        findings = [Finding("connections", "warn", "There is no connection yet.", "`receiver connection add`.")]
    silent = sum(device.verdict == "silent" for device in silence.devices)
    known = silence.heard_devices + silent
    if silent:
        findings.append(
            Finding(
                "devices",
                "warn",
                f"{silent:,} of {tell_count(known, 'device')} silent for longer than their rhythm explains.",
                "`receiver device silent` names them.",
            )
        )
    else:
        findings.append(Finding("devices", "ok", f"{tell_count(known, 'device')} with a rhythm, and none is silent."))
    return findings


def _tell_connection(connection: ConnectionSilence) -> Finding:
    check = f"connection {connection.name}"
    nothing_comes = "See “When nothing arrives” in docs/operations.md."
    if connection.last_report_at is None or connection.silent_s is None:
        return Finding(check, "warn", "No report ever came by it.", nothing_comes)
    last = f"Its last report came {tell_span(connection.silent_s)} ago"
    if connection.verdict == "silent" and connection.allowed_s is not None:
        return Finding(check, "warn", f"{last}; at most {tell_span(connection.allowed_s)} were usual.", nothing_comes)
    return Finding(check, "ok", f"{last}.")
