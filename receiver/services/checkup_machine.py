"""What `receiver doctor` finds on the machine and from outside: files and their rights, room, the public URL."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import ssl
import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from receiver.errors import StorageUnavailableError
from receiver.services.checkup import Finding
from receiver.services.wording import tell_count, tell_span
from receiver.storage.spool import read_spool_state

if TYPE_CHECKING:
    from pathlib import Path

    from receiver.services.checkup import Level

URL_TIMEOUT_S = 10.0
CERTIFICATE_WARN_S = 21 * 86_400
"""Let's Encrypt's clients renew 30 days before the end; three weeks before it, a renewal has failed."""
CERTIFICATE_FAIL_S = 2 * 86_400
ROOM_WARN_BYTES = 1024**3
ROOM_FAIL_BYTES = 100 * 1024**2
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MIB = 1024**2


def check_directory(directory: Path) -> Finding:
    """Look at the data directory: is it there, ours, writable, and closed to others."""
    try:
        mode = directory.stat().st_mode
    except FileNotFoundError:
        return Finding("data directory", "warn", f"{directory} is not there yet.", "The first start makes it.")
    except OSError as exc:
        return Finding("data directory", "fail", f"{directory} cannot be looked at: {exc.strerror}.")
    if not stat.S_ISDIR(mode):
        return Finding("data directory", "fail", f"{directory} is not a directory.", "Set RECEIVER_DATA_DIR to one.")
    if not os.access(directory, os.W_OK | os.X_OK):
        return Finding("data directory", "fail", f"{directory} cannot be written by this user.", "`chown` it.")
    if mode & _OTHERS:
        return Finding(
            "data directory",
            "warn",
            f"{directory} is open to other users (mode {stat.S_IMODE(mode):o}).",
            f"`chmod 700 {directory}`.",
        )
    return Finding("data directory", "ok", f"{directory} is writable, and closed to other users.")


def check_key_file(path: Path) -> Finding:
    """Look at the file with the key-encryption key: is it there, readable by us and by nobody else."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return Finding(
            "key-encryption key", "warn", f"{path} is not there yet.", "The first start makes it; then keep a copy."
        )
    except OSError as exc:
        return Finding("key-encryption key", "fail", f"{path} cannot be looked at: {exc.strerror}.")
    if not os.access(path, os.R_OK):
        return Finding("key-encryption key", "fail", f"{path} cannot be read by this user.", "`chown` it.")
    if mode & _OTHERS:
        return Finding(
            "key-encryption key",
            "fail",
            f"{path} is open to other users (mode {stat.S_IMODE(mode):o}).",
            f"`chmod 600 {path}`. Who has read it can open every secret of the database.",
        )
    return Finding("key-encryption key", "ok", f"{path} is readable by its owner only.")


def check_room(directory: Path) -> Finding:
    """Look at the room on the disk of `directory`, or of the nearest directory above that exists."""
    place = next(path for path in (directory.absolute(), *directory.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    told = f"{free // _MIB:,} MiB are free on the disk of {directory}."
    if free < ROOM_FAIL_BYTES:
        return Finding("disk", "fail", told, "Make room: when it is full, no push can be taken.")
    if free < ROOM_WARN_BYTES:
        return Finding("disk", "warn", told, "Make room, or keep less: RECEIVER_REPORTS_KEEP_DAYS and its like.")
    return Finding("disk", "ok", told)


def check_spool(path: Path, now: datetime) -> Finding:
    """Look at the spool, where pushes stand while the database is away."""
    try:
        state = read_spool_state(path)
    except StorageUnavailableError as exc:
        return Finding("spool", "fail", str(exc), "Without it, pushes are refused while the database is away.")
    held = f"{tell_count(state.rows, 'report')} ({state.bytes // _MIB:,} of {state.max_bytes // _MIB:,} MiB)"
    if state.set_aside:
        return Finding(
            "spool",
            "fail",
            f"{tell_count(state.set_aside, 'report')} set aside, which the database refused: {state.set_aside_reason}",
            f"They stand in {path}, table set_aside; {held} wait beside them.",
        )
    if not state.rows:
        return Finding("spool", "ok", "It is empty.")
    age = tell_span(state.oldest_s(now))
    if state.is_full(now):
        return Finding("spool", "fail", f"It is full: {held}, the oldest for {age}.", "Bring the database back.")
    return Finding(
        "spool", "warn", f"{held} wait for the database, the oldest for {age}.", "`receiver serve` drains it."
    )


def check_public_url(url: str, now: datetime) -> list[Finding]:
    """Ask `/readyz` as the network would: over TLS that is verified in full. Only the origin of `url` counts."""
    parts = urlsplit(url if "://" in url else f"https://{url}")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return [Finding("public url", "fail", f"{url!r} is not a URL.", "Give one like https://lora.example.org.")]
    try:
        port = parts.port
    except ValueError:
        return [Finding("public url", "fail", f"{url!r} has no valid port.", "Give one like https://lora.example.org.")]
    if parts.scheme == "http":
        connection: http.client.HTTPConnection = http.client.HTTPConnection(parts.hostname, port, timeout=URL_TIMEOUT_S)
        certificate = Finding("certificate", "warn", "Asked without TLS.", "The networks push to https only.")
    else:
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(parts.hostname, port, timeout=URL_TIMEOUT_S, context=context)
        certificate = Finding("certificate", "ok", "")
    try:
        connection.connect()
        if isinstance(connection.sock, ssl.SSLSocket):
            certificate = _tell_certificate(connection.sock, now)
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return [certificate, _tell_readiness(answer.status, answer.read(10_000))]
    except ssl.SSLCertVerificationError as exc:
        return [
            Finding(
                "certificate",
                "fail",
                f"The certificate of {parts.hostname} is not trusted: {exc.verify_message}.",
                "The networks then deliver nothing and tell nobody. Serve one that is publicly trusted, for this name,"
                " with its whole chain (fullchain.pem).",
            )
        ]
    except (ssl.SSLError, http.client.HTTPException) as exc:
        reason = getattr(exc, "reason", None) or type(exc).__name__
        return [Finding("public url", "fail", f"{url} does not speak as a receiver does: {reason}.", "Is it the port?")]
    except (OSError, UnicodeError) as exc:
        reason = _tell_os_error(exc)
        return [
            Finding("public url", "fail", f"{url} cannot be reached: {reason}.", "Name, port, firewall; is it serving?")
        ]
    finally:
        connection.close()


def _tell_certificate(connection: ssl.SSLSocket, now: datetime) -> Finding:
    certificate = connection.getpeercert() or {}
    ends_at = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    left_s = (ends_at - now).total_seconds()
    sentence = f"It is trusted, over {connection.version()}, and valid for {tell_span(max(left_s, 0))} more."
    if left_s < CERTIFICATE_WARN_S:
        level: Level = "fail" if left_s < CERTIFICATE_FAIL_S else "warn"
        return Finding("certificate", level, sentence, "Renew it: why did that not happen by itself?")
    return Finding("certificate", "ok", sentence)


def _tell_readiness(status: int, body: bytes) -> Finding:
    try:
        told = json.loads(body)
        state = str(told["status"])
    except (ValueError, TypeError, KeyError):
        return Finding("public url", "fail", f"/readyz answered {status}, and not as a receiver does.", "Which is it?")
    if status != http.HTTPStatus.OK:
        return Finding("public url", "fail", f"/readyz answered {status}: pushes cannot be stored.", "See its log.")
    if state != "ready":
        return Finding("public url", "warn", f"/readyz answered that it is {state}.", "Pushes wait in the spool.")
    return Finding("public url", "ok", "/readyz answered 200: pushes can be stored.")


def _tell_os_error(error: OSError | UnicodeError) -> str:
    if isinstance(error, socket.gaierror):
        return "the name is not known"
    if isinstance(error, TimeoutError):
        return f"no answer within {URL_TIMEOUT_S:.0f} s"
    return getattr(error, "strerror", None) or type(error).__name__
