"""The server's certificate: TLS 1.2 and 1.3, read anew when its files change, without dropping a push.

A renewed certificate is tried in a context of its own first, from copies: certificate and key are often
replaced one after the other, and half a pair must not come into force. Open connections keep what they have.
"""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from pathlib import Path
from typing import Any, final
from weakref import WeakSet

from receiver.errors import SettingsError
from receiver.logs import get_logger

WATCH_S = 1.0

_log = get_logger(__name__)


@final
class ServerCertificate:
    """Holds the live TLS context of a certificate and key file, and reloads them."""

    def __init__(self, cert_file: Path, key_file: Path) -> None:
        """Load the pair.

        Raises:
            SettingsError: a file cannot be read, or they are not a certificate and its key.
        """
        self._files = (cert_file, key_file)
        self._seen = self._stamp()
        self._newest = self.context = self._load()
        self.context.sni_callback = self._take_newest

    def reload_if_changed(self) -> bool:
        """Take over changed files; say whether that was done. A pair that does not fit is left for later."""
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen = stamp
        try:
            self._newest = self._load()
        except SettingsError as exc:
            _log.warning("certificate_not_reloaded", error=str(exc))
            return False
        except OSError as exc:  # no room for the copies, say: it is tried again
            self._seen = ()
            _log.warning("certificate_not_reloaded", error=str(exc))
            return False
        _log.info("certificate_reloaded", cert_file=str(self._files[0]))
        return True

    async def watch(self) -> None:
        """Look at the files once a second until cancelled."""
        while True:
            await asyncio.sleep(WATCH_S)
            await asyncio.to_thread(self.reload_if_changed)

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        stamps = []
        for file in self._files:
            try:
                status = file.stat()  # follows links: renewal tools switch a link
            except OSError:
                stamps.append((0, 0, 0))
            else:
                stamps.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(stamps)

    def _take_newest(self, handshake: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """Let a handshake, with or without a server name, go on with the newest pair.

        Loading it into the listening context is not enough: that keeps one certificate for each type of key,
        and an old ECDSA one would still be shown beside a new RSA one.
        """
        handshake.context = self._newest

    def _load(self) -> CountingContext:
        cert_file, key_file = self._files
        with tempfile.TemporaryDirectory(prefix="receiver-tls-") as directory:  # readable by its owner only
            copies: list[Path] = []
            for name, file in (("certificate", cert_file), ("key", key_file)):
                try:
                    content = file.read_bytes()
                except OSError as exc:
                    raise SettingsError(f"The TLS {name} file {file} cannot be read: {exc.strerror}.") from exc
                copy = Path(directory) / name
                copy.touch(mode=0o600)
                copy.write_bytes(content)
                copies.append(copy)
            try:
                context = _new_context()
                context.load_cert_chain(copies[0], copies[1], _no_passphrase)
            except (ssl.SSLError, ValueError) as exc:
                raise SettingsError(
                    f"{cert_file} and {key_file} are not a certificate chain and its private key, both PEM and"
                    f" without a passphrase ({getattr(exc, 'reason', None) or 'no certificate in it'})."
                ) from exc
        return context


class CountingContext(ssl.SSLContext):
    """A context that knows how many TLS connections it has begun and are still in memory."""

    def __init__(self, _protocol: int) -> None:
        self._open: WeakSet[ssl.SSLObject] = WeakSet()
        self._most = 0

    @property
    def connections(self) -> int:
        """Those in their handshake, those that have ended it, and those that are being closed."""
        return len(self._open)

    def count_most(self) -> int:
        """Give how many there were at a time since this was last asked."""
        most, self._most = max(self._most, len(self._open)), len(self._open)
        return most

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:  # noqa: ANN401 - the signature of SSLContext
        """Begin a connection."""
        begun = super().wrap_bio(*args, **kwargs)
        self._open.add(begun)
        self._most = max(self._most, len(self._open))
        return begun


def _new_context() -> CountingContext:
    context = CountingContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _no_passphrase() -> str:
    """Without this, OpenSSL would ask on the terminal for the passphrase of an encrypted key, and wait."""
    return ""
