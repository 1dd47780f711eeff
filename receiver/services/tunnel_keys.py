"""Tunnel keys: what the network signs its pushes with (ThingPark: Tunnel Interface Authentication Key).

A connection may have several live keys at once, so that the network can be given a new one without losing a
push: add the new key here, change it at the network, watch the uses move over, retire the old one.
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, final

from receiver.errors import ConflictError, IdentifierError, NotFoundError, SettingsError
from receiver.lorawan.identifiers import shorten
from receiver.lorawan.keys import AesKey, key_check_value
from receiver.storage import connections as stored
from receiver.storage.engine import read, write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import sqlalchemy as sa

    from receiver.keyring import Keyring
    from receiver.storage.connections import StoredTunnelKey

KEY_DIGITS = 32  # 128 bits

NEW_KEY_BITS_PER_DIGIT = 3.4
"""Networks refuse keys of low Shannon entropy at a threshold they do not publish. 94 in 100 random keys have
this much, so a new one is soon drawn; keys of 2.85 are known to have been accepted."""
LOW_BITS_PER_DIGIT = 3.2
"""Below this a key typed by hand is worth a warning: 1 random key in 300 is."""

SAFE_AFTER = timedelta(days=7)
"""An old key that signed nothing for this long, while a newer one did, is safe to retire."""
RECENT_REPORTS = 1000
"""The share of a key is counted among this many last reports of its connection."""

_HEX_DIGITS = re.compile(r"[0-9A-Fa-f]{32}\Z")


@final
class SecretText:
    """A secret that is text. Its `repr` is redacted, it has no `str`; `reveal()` gives it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Give the text. Every use of it can be found by this name."""
        return self._text

    def __repr__(self) -> str:
        return "SecretText(…)"

    __str__ = None  # type: ignore[assignment]

    def __format__(self, spec: str) -> str:
        return "SecretText(…)"

    def __reduce__(self) -> str:
        raise TypeError("A secret is not pickled; seal it with the keyring instead.")


@dataclass(frozen=True, slots=True)
class LiveTunnelKey:
    """A key that pushes may be signed with, opened; `text` is as it was typed, dashes and case kept."""

    id: int
    key_id: str
    text: SecretText
    plug_uuid: str | None = None
    """Of a shared secret of KPN Things: the destination that it is of, where that is known."""


@dataclass(frozen=True, slots=True)
class TunnelKeyStatus:
    """One key of a connection as an operator sees it; the key itself is not in it."""

    key_id: str
    key_check_value: str
    created_at: datetime
    retired_at: datetime | None
    hits: int
    last_used_at: datetime | None
    recent_hits: int
    """Reports it signed among the last of its connection, at most `RECENT_REPORTS`."""
    safe_to_retire: bool
    judgement: str
    plug_uuid: str | None = None


def new_tunnel_key() -> str:
    """Give a new key: 32 lower-case hex digits, whose digits are even enough for any network to take it."""
    while True:
        key = secrets.token_hex(KEY_DIGITS // 2)
        if bits_per_digit(key) >= NEW_KEY_BITS_PER_DIGIT:
            return key


def parse_tunnel_key(text: str) -> str:
    """Give the key as typed, without white space around it.

    Dashes and case are kept, because networks differ in which of them they sign with.

    Raises:
        IdentifierError: it is not 32 hex digits once dashes are left out. The message never holds the key.
    """
    typed = text.strip()
    digits = typed.replace("-", "")
    if not _HEX_DIGITS.match(digits):
        fault = "some characters are not hexadecimal" if len(digits) == KEY_DIGITS else f"it has {len(digits)}"
        raise IdentifierError(f"A tunnel key must be {KEY_DIGITS} hexadecimal digits, dashes left out; {fault}.")
    return typed


def warn_of_low_entropy(key: str) -> str | None:
    """Give a sentence if the digits of `key` are so uneven that a network may refuse it, else None."""
    bits = bits_per_digit(key.strip().replace("-", "").lower())
    if bits >= LOW_BITS_PER_DIGIT:
        return None
    return (
        f"This tunnel key is easier to guess than a random one ({bits:.2f} bits for each digit; random keys"
        " have about 3.7 of 4). The network may refuse it. `--new-tunnel-key` makes a good one."
    )


def bits_per_digit(digits: str) -> float:
    """Give the Shannon entropy of the digits in `digits`: 0 if all are alike, at most 4 for hex."""
    shares = [count / len(digits) for count in Counter(digits).values()]
    return sum(-share * math.log2(share) for share in shares)


def check_value_of(key: SecretText) -> str:
    """Give the key check value of a tunnel key, whatever its dashes and case; of a shared secret, of a digest."""
    digits = key.reveal().replace("-", "")
    if not _HEX_DIGITS.match(digits):
        return hashlib.sha256(f"shared secret:{key.reveal()}".encode()).hexdigest()[:6].upper()
    return key_check_value(AesKey(bytes.fromhex(digits)))


def add_tunnel_key(engine: sa.Engine, keyring: Keyring, now: datetime, name: str, key_text: str) -> str:
    """Add a live key to a connection and give its id: `k1`, `k2`, …, never used twice.

    Raises:
        NotFoundError: there is no such connection.
        SettingsError: it is one of KPN Things, which has shared secrets.
        IdentifierError: the key is not 32 hex digits.
        ConflictError: the connection has this key already, and it is live.
    """
    text = parse_tunnel_key(key_text)
    with write(engine) as tx:
        connection = stored.get_connection(tx, name)
        if connection.platform == "kpn-things":
            raise SettingsError(
                f"{name} is a connection of KPN Things, whose pushes are signed with a shared secret: give it one with"
                f" `receiver connection add-secret {name}`."
            )
        stored.lock_connection(tx, connection.id)
        keys = stored.list_tunnel_keys(tx, connection.id)
        for key in keys:
            if key.retired_at is None and open_tunnel_key(keyring, key).reveal() == text:
                raise ConflictError(f"{name} has this key already, as {key.key_id}.")
        key_id = f"k{1 + max((int(key.key_id[1:]) for key in keys), default=0)}"
        sealed = seal_tunnel_key(keyring, connection.id, key_id, text)
        stored.insert_tunnel_key(tx, connection_id=connection.id, key_id=key_id, sealed_key=sealed, created_at=now)
    return key_id


def list_tunnel_keys(engine: sa.Engine, keyring: Keyring, now: datetime, name: str) -> list[TunnelKeyStatus]:
    """Give the keys of a connection, oldest first, with their uses and whether each is safe to retire.

    Raises:
        NotFoundError: there is no such connection.
    """
    with read(engine) as tx:
        connection = stored.get_connection(tx, name)
        keys = stored.list_tunnel_keys(tx, connection.id)
        uses = stored.get_tunnel_key_uses(tx, connection.id)
        recent = stored.count_recent_by_tunnel_key(tx, connection.id, RECENT_REPORTS)
    recent_total = sum(recent.values())
    unused = stored.TunnelKeyUse(0, None)
    last_uses = {key.id: uses.get(key.id, unused).last_used_at for key in keys}
    statuses = []
    for key in keys:
        newer = [other for other in keys if other.id > key.id and other.retired_at is None]
        safe, judgement = judge_retirement(
            key,
            last_used_at=last_uses[key.id],
            newer=[(other.key_id, last_uses[other.id]) for other in newer],
            only_live=all(other.id == key.id or other.retired_at is not None for other in keys),
            recent_hits=recent.get(key.id, 0),
            recent_total=recent_total,
            now=now,
        )
        use = uses.get(key.id, unused)
        statuses.append(
            TunnelKeyStatus(
                key_id=key.key_id,
                key_check_value=check_value_of(open_tunnel_key(keyring, key)),
                created_at=key.created_at,
                retired_at=key.retired_at,
                hits=use.hits,
                last_used_at=use.last_used_at,
                recent_hits=recent.get(key.id, 0),
                safe_to_retire=safe,
                judgement=judgement,
                plug_uuid=key.plug_uuid,
            )
        )
    return statuses


def retire_tunnel_key(engine: sa.Engine, now: datetime, name: str, key_id: str, *, force: bool = False) -> None:
    """Retire a key: pushes signed with it are answered 401 from now on. It stays listed with its uses.

    Raises:
        NotFoundError: there is no such connection or key.
        ConflictError: it is retired already; or it is the last live key and `force` is not given.
    """
    with write(engine) as tx:
        connection = stored.get_connection(tx, name)
        stored.lock_connection(tx, connection.id)
        keys = {key.key_id: key for key in stored.list_tunnel_keys(tx, connection.id)}
        key = keys.get(key_id)
        if key is None:
            known = f"it has {', '.join(keys)}" if keys else "it has none"
            noun = "secret" if connection.platform == "kpn-things" else "tunnel key"
            raise NotFoundError(f"{name} has no {noun} {shorten(key_id)!r}; {known}.")
        if key.retired_at is not None:
            raise ConflictError(f"{key_id} of {name} was retired already, on {key.retired_at:%Y-%m-%d}.")
        if not force and sum(other.retired_at is None for other in keys.values()) == 1:
            noun = "secret" if connection.platform == "kpn-things" else "key"
            raise ConflictError(
                f"{key_id} is the last live {noun} of {name}: without it every push is refused. Add the new one"
                f" first with `receiver connection add-{noun} {name}`, or give --force to refuse all pushes."
            )
        stored.set_tunnel_key_retired(tx, key.id, now)


def judge_retirement(
    key: StoredTunnelKey,
    *,
    last_used_at: datetime | None,
    newer: Sequence[tuple[str, datetime | None]],
    only_live: bool,
    recent_hits: int,
    recent_total: int,
    now: datetime,
) -> tuple[bool, str]:
    """Say whether `key` is safe to retire, and why. `newer` are the later live keys with their last uses."""
    if key.retired_at is not None:
        return False, f"retired on {key.retired_at:%Y-%m-%d}; pushes signed with it are refused"
    if only_live:
        return False, "needed: the only live key"
    share = f"{recent_hits} of the last {recent_total} reports"
    if not newer:
        used = f"last used {_ago(now - last_used_at)}" if last_used_at else "not used yet"
        return False, f"keep: the newest key; {used}; {share}"
    moved_to = max(((used_at, key_id) for key_id, used_at in newer if used_at is not None), default=(None, ""))
    if moved_to[0] is None:
        return False, f"keep: the network does not sign with a newer key ({newer[-1][0]}) yet; {share}"
    idle = now - last_used_at if last_used_at else None
    idle_for = "never used" if idle is None else f"not used for {_span(idle)}"
    if recent_hits == 0 and (idle is None or idle >= SAFE_AFTER):
        return True, f"safe to retire: {idle_for}; {share}; {moved_to[1]} is in use"
    if idle is not None and idle < SAFE_AFTER:
        return False, f"keep for now: last used {_ago(idle)}; {share}"
    return False, f"keep for now: {idle_for}; {share}"


def seal_tunnel_key(keyring: Keyring, connection_id: int, key_id: str, text: str) -> bytes:
    """Give the key sealed for its row."""
    return keyring.seal(text.encode(), f"tunnel_key:{connection_id}:{key_id}")


def open_tunnel_key(keyring: Keyring, key: StoredTunnelKey) -> SecretText:
    """Give the key of a row as it was typed.

    Raises:
        KeyringError: it was sealed with another key-encryption key, or was changed.
    """
    sealed = keyring.open(key.sealed_key, f"tunnel_key:{key.connection_id}:{key.key_id}")
    return SecretText(sealed.decode())


def _ago(span: timedelta) -> str:
    return f"{_span(span)} ago"


def _span(span: timedelta) -> str:
    seconds = max(0, int(span.total_seconds()))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
