"""Keys of API callers: made here, shown once, known afterwards by their SHA-256 alone.

A key is 256 random bits, so its plain hash cannot be turned back; a slow hash would only slow every call.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from receiver.errors import ConflictError, IdentifierError, NotFoundError, SettingsError, StorageUnavailableError
from receiver.logs import get_logger
from receiver.lorawan.identifiers import shorten
from receiver.services.tunnel_keys import SecretText
from receiver.storage import api_keys as stored
from receiver.storage.engine import read, write

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Engine

    from receiver.storage.api_keys import StoredApiKey

SCOPES = ("read", "downlink", "admin")
"""Each may do what those before it may: look; send downlinks; change things."""

PREFIX = "rcv_"
"""So that a key that turns up in a file or a log is known for what it is."""
KEY_BYTES = 32

USE_NOTED_EVERY = timedelta(minutes=1)
"""The last use is kept this exactly: a caller that asks often must not write as often."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
_KEY = re.compile(rf"{PREFIX}[0-9a-f]{{{2 * KEY_BYTES}}}\Z")

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it may be shown; the key itself is not in it."""

    name: str
    scope: str
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None

    def allows(self, scope: str) -> bool:
        """Say whether the key is good for what asks for `scope`."""
        return SCOPES.index(self.scope) >= SCOPES.index(scope)


def create_api_key(engine: Engine, now: datetime, name: str, scope: str) -> tuple[ApiKey, SecretText]:
    """Make a key. Its text is given here and never again.

    Raises:
        IdentifierError: the name is not of its form.
        SettingsError: there is no such scope.
        ConflictError: the name is taken, if only by a key that was revoked.
    """
    if not _NAME.match(name):
        raise IdentifierError(
            f"{shorten(name)!r} cannot be a key's name: it must be 1 to 63 letters, digits, dots, dashes and"
            " underscores, and begin with a letter or digit."
        )
    if scope not in SCOPES:
        raise SettingsError(f"{shorten(scope)!r} is not a scope: choose {', '.join(SCOPES[:-1])} or {SCOPES[-1]}.")
    text = PREFIX + secrets.token_hex(KEY_BYTES)
    with write(engine) as tx:
        row = stored.insert_api_key(tx, name=name, scope=scope, key_hash=_hash(text), created_at=now)
    if row is None:
        raise ConflictError(
            f"There is an API key named {name} already, perhaps a revoked one: `receiver api-key list` shows them."
        )
    return _shown(row), SecretText(text)


def list_api_keys(engine: Engine) -> list[ApiKey]:
    """Give all keys by name, revoked ones too."""
    with read(engine) as tx:
        return [_shown(row) for row in stored.list_api_keys(tx)]


def revoke_api_key(engine: Engine, now: datetime, name: str) -> None:
    """Revoke a key: from now on it opens nothing. It stays listed.

    Raises:
        NotFoundError: there is none of that name.
        ConflictError: it is revoked already.
    """
    with write(engine) as tx:
        row = stored.find_api_key(tx, name)
        if row is None:
            raise NotFoundError(f"There is no API key named {shorten(name)!r}; `receiver api-key list` shows them.")
        if row.revoked_at is not None:
            raise ConflictError(f"{name} was revoked already, on {row.revoked_at:%Y-%m-%d}.")
        stored.set_api_key_revoked(tx, row.id, now)


def find_live_api_key(engine: Engine, now: datetime, text: str) -> ApiKey | None:
    """Give the key that `text` is, and note its use; None if it is none, or was revoked.

    What is looked up is a hash, so that the time it takes tells nothing of the key.

    Raises:
        StorageUnavailableError: the database is away. That the use cannot be noted is no reason.
    """
    if not _KEY.match(text):
        return None
    key_hash = _hash(text)
    with read(engine) as tx:
        row = stored.find_api_key_by_hash(tx, key_hash)
    if row is None or not hmac.compare_digest(row.key_hash, key_hash) or row.revoked_at is not None:
        return None
    if row.last_used_at is None or now - row.last_used_at >= USE_NOTED_EVERY:
        try:
            with write(engine) as tx:
                stored.note_api_key_used(tx, row.id, now, now - USE_NOTED_EVERY)
        except StorageUnavailableError as exc:
            _log.warning("api_key_use_not_noted", error=str(exc))
    return _shown(row)


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _shown(row: StoredApiKey) -> ApiKey:
    return ApiKey(row.name, row.scope, row.created_at, row.last_used_at, row.revoked_at)
