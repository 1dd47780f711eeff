"""A copy of the connections and their sealed tunnel keys beside the database, to verify pushes while that is away.

Whatever a running receiver takes over from the database is written there, whole or not at all, readable by its owner
only. The keys in it are sealed as in the database, and the file as a whole once more, so that nobody without the
key-encryption key can add a connection to it. It serves for the database that it was made from, and for no other.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from receiver.errors import KeyringError, StorageUnavailableError
from receiver.storage import connections as stored
from receiver.storage.connections import Connection, StoredTunnelKey
from receiver.storage.engine import get_revision, read

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

    from receiver.keyring import Keyring

_PURPOSE = "connections.cache:1"
"""What the file is sealed for; the number is that of its form."""


@dataclass(frozen=True, slots=True)
class ConnectionSnapshot:
    """The connections and their live tunnel keys, newest first and sealed, at one revision."""

    revision: int
    connections: tuple[Connection, ...]
    tunnel_keys: tuple[StoredTunnelKey, ...]


def read_snapshot(engine: Engine) -> ConnectionSnapshot:
    """Give the connections as they are in the database.

    Raises:
        StorageUnavailableError: it is away.
    """
    with read(engine) as tx:
        return ConnectionSnapshot(
            get_revision(tx, stored.REVISION),
            tuple(stored.list_connections(tx)),
            tuple(stored.list_live_tunnel_keys(tx)),
        )


class ConnectionCache:
    """The copy in the file at `path`, of the database of `engine`."""

    def __init__(self, path: Path, engine: Engine, keyring: Keyring) -> None:
        self.path = path
        self._database = hashlib.sha256(engine.url.set(password=None).render_as_string().encode()).hexdigest()
        self._keyring = keyring

    def save(self, snapshot: ConnectionSnapshot) -> None:
        """Write the copy anew.

        Raises:
            OSError: it cannot be written; the former one is as it was.
        """
        text = json.dumps({"database": self._database, **asdict(snapshot)}, default=_as_text)
        sealed = self._keyring.seal(text.encode(), _PURPOSE)
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = self.path.with_name(f"{self.path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(sealed)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.path)
        finally:
            draft.unlink(missing_ok=True)

    def load(self) -> ConnectionSnapshot:
        """Give the copy.

        Raises:
            StorageUnavailableError: there is none, or it is not to be used; the sentence says why.
        """
        try:
            found = json.loads(self._keyring.open(self.path.read_bytes(), _PURPOSE))
        except FileNotFoundError as exc:
            raise StorageUnavailableError(
                f"There is no copy of the connections yet ({self.path}): it is made as soon as the database answers."
            ) from exc
        except OSError as exc:
            raise StorageUnavailableError(
                f"The copy of the connections {self.path} cannot be read: {exc.strerror}."
            ) from exc
        except KeyringError as exc:
            raise StorageUnavailableError(
                f"The copy of the connections {self.path} was changed, or made with another key-encryption key:"
                " it is not used."
            ) from exc
        if found["database"] != self._database:
            raise StorageUnavailableError(
                f"The copy of the connections {self.path} is of another database: it is not used."
            )
        return ConnectionSnapshot(
            found["revision"],
            tuple(Connection(**_typed(row)) for row in found["connections"]),
            tuple(StoredTunnelKey(**_typed(row)) for row in found["tunnel_keys"]),
        )


def _as_text(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    assert isinstance(value, datetime)  # noqa: S101 - there is nothing else in these rows
    return value.isoformat()


def _typed(row: dict[str, Any]) -> dict[str, Any]:
    typed = dict(row)
    for name, value in row.items():
        if name.endswith("_at") and value is not None:
            typed[name] = datetime.fromisoformat(value)
        elif name.startswith("sealed_"):
            typed[name] = base64.b64decode(value)
    return typed
