"""What provisioning keeps here: the connection, its keys and the journal, each stored before the network is asked.

Each step is one transaction or a few, and may be done again: it adds what is missing and changes nothing else.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from receiver.errors import ConflictError, NotFoundError
from receiver.services.as_transport_keys import import_wrapped, new_key_pair
from receiver.services.as_transport_keys import show as show_as_transport_keys
from receiver.services.connections import add_connection
from receiver.services.provisioning_network import GivenKeys
from receiver.services.tunnel_keys import add_tunnel_key, new_tunnel_key, open_tunnel_key
from receiver.storage import connections as stored_connections
from receiver.storage import provisionings as stored
from receiver.storage.engine import read, write
from receiver.storage.held_names import hold_name
from receiver.thingpark.rsa_key import describe_public_key, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from typing import Unpack

    import sqlalchemy as sa

    from receiver.keyring import Keyring
    from receiver.services.as_transport_keys import AsTransportKeyStatus, ImportResult
    from receiver.services.provisioning_network import Wish
    from receiver.storage.connections import Connection
    from receiver.storage.provisionings import Changes, Provisioning


class MadeByCommand(NamedTuple):
    """What a command made for a connection at its network, and how far it came: a state of the journal."""

    remote_id: str | None
    state: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What is here of a connection; all of it may be missing. Live keys are oldest first, pairs newest first."""

    connection: Connection | None = None
    journal: Provisioning | None = None
    live_key_ids: tuple[str, ...] = ()
    newest_key_is_proven: bool = False
    """Whether pushes came that were signed with the newest live tunnel key: so the network has it."""
    as_transport_keys: tuple[AsTransportKeyStatus, ...] = ()

    @property
    def state(self) -> str | None:
        """How far it came; None: nothing was ever asked for by command."""
        return None if self.journal is None else self.journal.state

    @property
    def newest_key_id(self) -> str | None:
        """The live tunnel key that the network is to sign with."""
        return self.live_key_ids[-1] if self.live_key_ids else None

    @property
    def active_check_value(self) -> str | None:
        """The key check value of the AS transport key that is in use, if there is one."""
        return next((key.key_check_value for key in self.as_transport_keys if key.state == "active"), None)

    @property
    def awaits_answer(self) -> bool:
        """Whether the RSA key that the network was given last still awaits the key under it."""
        journal = self.journal
        if journal is None or journal.public_key_fingerprint is None or journal.wrapped_key is not None:
            return False
        pairs = [key for key in self.as_transport_keys if key.public_key_fingerprint == journal.public_key_fingerprint]
        return not any(key.key_check_value for key in pairs)


class Local:
    """One connection's part here, by its name, which there need not be yet."""

    def __init__(self, engine: sa.Engine, keyring: Keyring, clock: Callable[[], datetime], name: str) -> None:
        self.engine = engine
        self.keyring = keyring
        self.clock = clock
        self.name = name

    def __repr__(self) -> str:
        return f"Local({self.name!r})"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other process off the provisioning of this connection until the block ends.

        Raises:
            ConflictError: another process is at it.
            StorageUnavailableError: the database is away.
        """
        with hold_name(self.engine, f"provisioning {self.name}") as is_held:
            if not is_held:
                raise ConflictError(
                    f"Another command is connecting, rotating or disconnecting {self.name} at this moment: wait until"
                    " it ends, then run this again."
                )
            yield

    def standing(self) -> Standing:
        """Give what is here."""
        with read(self.engine) as tx:
            connection = stored_connections.find_connection(tx, self.name)
            if connection is None:
                return Standing()
            journal = stored.find_provisioning(tx, connection.id)
            keys = stored_connections.list_tunnel_keys(tx, connection.id)
            uses = stored_connections.get_tunnel_key_uses(tx, connection.id)
        live = [key for key in keys if key.retired_at is None]
        is_proven = bool(live) and live[-1].id in uses
        as_keys = tuple(show_as_transport_keys(self.engine, self.name))
        return Standing(connection, journal, tuple(key.key_id for key in live), is_proven, as_keys)

    def connected(self, surface: str) -> Standing:
        """Give what is here of a connection that `connect` was run for.

        Raises:
            NotFoundError: there is no such connection, or it was never connected by command.
            ConflictError: it is of another platform.
        """
        with read(self.engine) as tx:
            stored_connections.get_connection(tx, self.name)
        standing = self.standing()
        refuse_other_platform(standing, surface)
        if standing.journal is None:
            raise NotFoundError(
                f"{self.name} was not connected by command, so where it stands at the network is not known:"
                f" `receiver {surface} connect {self.name} --public-url URL` finds it or makes it."
            )
        return standing

    def prepare(
        self,
        wish: Wish,
        *,
        surface: str,
        account_id: int,
        downlink_url: str | None,
        wanted: Mapping[str, object],
    ) -> Standing:
        """Store what is missing of connection, tunnel key and journal, and give what is here then."""
        standing = self.standing()
        now = self.clock()
        if standing.connection is None:
            add_connection(
                self.engine,
                self.keyring,
                now,
                name=self.name,
                platform=surface,
                as_id=wish.as_id,
                tunnel_key=new_tunnel_key(),
                max_deviation_s=wish.max_deviation_s,
                downlink_url=downlink_url,
            )
        elif standing.newest_key_id is None:
            self.add_key()
        with write(self.engine) as tx:
            connection = stored_connections.get_connection(tx, self.name)
            if connection.downlink_url is None and downlink_url is not None:
                stored_connections.set_downlink_url(tx, connection.id, downlink_url)
            stored.put_provisioning(
                tx, connection_id=connection.id, account_id=account_id, surface=surface, wanted=wanted, now=now
            )
        return self.standing()

    def add_key(self) -> str:
        """Add a new tunnel key and give its id."""
        return add_tunnel_key(self.engine, self.keyring, self.clock(), self.name, new_tunnel_key())

    def open_key(self, key_id: str) -> str:
        """Give a live tunnel key as hex, in lower case without dashes: the spelling that all networks sign with.

        Raises:
            NotFoundError: there is no such live key.
        """
        with read(self.engine) as tx:
            connection = stored_connections.get_connection(tx, self.name)
            keys = stored_connections.list_tunnel_keys(tx, connection.id)
        for key in keys:
            if key.key_id == key_id and key.retired_at is None:
                return open_tunnel_key(self.keyring, key).reveal().replace("-", "").lower()
        raise NotFoundError(f"{self.name} has no live tunnel key {key_id}.")

    def awaiting_pair(self, *, anew: bool = False) -> str:
        """Give the public half, as PEM, of an RSA pair that awaits an answer; one is made if there is none."""
        keys = () if anew else self.standing().as_transport_keys
        waiting = next((key.public_key_pem for key in keys if key.state == "awaiting" and key.public_key_pem), None)
        return waiting or new_key_pair(self.engine, self.keyring, self.clock(), self.name, replace=True)

    def note(self, **changes: Unpack[Changes]) -> None:
        """Write into the journal."""
        with write(self.engine) as tx:
            connection = stored_connections.get_connection(tx, self.name)
            stored.change_provisioning(tx, connection.id, self.clock(), **changes)

    def note_asking(self, key_id: str, public_key_pem: str | None) -> GivenKeys:
        """Write that the network may make it from now on, with these keys, and give them opened."""
        keys = GivenKeys(self.open_key(key_id), None if public_key_pem is None else one_line(public_key_pem))
        self.note(
            state="asked",
            key_id=key_id,
            public_key_fingerprint=fingerprint_of(public_key_pem),
            wrapped_key=None,
            remote_id=None,
            remote_ref=None,
        )
        return keys

    def import_answer(self) -> ImportResult | None:
        """Unwrap and store the AS transport key in the network's answer; None: there is none to import.

        A key that the network made for a key pair of this connection is its key, whatever older reports say: those
        are under the key before it. So it is kept even where they speak against it.

        Raises:
            AsTransportKeyError: it does not unwrap; the answer stays in the journal.
        """
        standing = self.standing()
        if standing.journal is None or standing.journal.wrapped_key is None:
            return None
        has_earlier = any(key.key_check_value for key in standing.as_transport_keys)
        result = import_wrapped(
            self.engine,
            self.keyring,
            self.clock(),
            self.name,
            standing.journal.wrapped_key,
            replace=True,
            force=not has_earlier,  # with earlier keys there is no refusal, and theirs is not to be forgotten
        )
        self.note(wrapped_key=None)
        return result

    def set_max_deviation(self, max_deviation_s: int) -> None:
        """Let pushes be so much off the clock from now on."""
        with write(self.engine) as tx:
            connection = stored_connections.get_connection(tx, self.name)
            stored.set_max_deviation(tx, connection.id, max_deviation_s)


def fingerprint_of(public_key_pem: str | None) -> str | None:
    """Give the fingerprint of an RSA public key, as `receiver as-key show` has it."""
    return None if public_key_pem is None else describe_public_key(public_key_pem)[1]


def refuse_other_platform(standing: Standing, surface: str) -> None:
    """Return unless the connection is of another platform.

    Raises:
        ConflictError: it is.
    """
    connection = standing.connection
    if connection is not None and connection.platform != surface:
        raise ConflictError(
            f"{connection.name} is a connection of {connection.platform}, and not of {surface}: choose another name."
        )


def find_made_by_command(engine: sa.Engine, name: str) -> MadeByCommand | None:
    """Give what a command made for a connection at its network; None: nothing, or it was deleted there.

    Raises:
        NotFoundError: there is no such connection.
    """
    with read(engine) as tx:
        found = stored.find_provisioning(tx, stored_connections.get_connection(tx, name).id)
    return None if found is None or found.state == "removed" else MadeByCommand(found.remote_id, found.state)
