"""What a running receiver knows of its connections, while other processes change them."""

from __future__ import annotations

import asyncio
import threading

import pytest
from sqlalchemy import event

from receiver.errors import PushRejected, Reason
from receiver.services.connection_directory import ASKED_AGAIN_S, ConnectionDirectory
from receiver.services.connections import add_connection, add_tunnel_key, remove_connection, retire_tunnel_key
from receiver.services.ingest import Ingest
from receiver.simulator.network import SimulatedNetwork
from receiver.storage.inbox import make_inbox
from receiver.storage.inbox_rows import Outcome
from receiver.storage.rejections import RejectionLimits

KEY = "17d107c7e4ae7ad8ea64ea25ee6a6b52"
NEXT_KEY = "9f86d081884c7d659a2feaa0c55ad015"
AS_ID = "TWA_100000001.1.AS"


class Running:
    """A receiver that has started; its monotonic clock stands still unless the test moves it."""

    def __init__(self, engine, keyring, now):
        self.elapsed_s = 0.0
        self.engine, self.keyring, self.now = engine, keyring, now
        self.directory = ConnectionDirectory(engine, keyring, lambda: self.elapsed_s)
        self.directory.load()

    def add(self, name="field", key=KEY):
        add_connection(
            self.engine, self.keyring, self.now, name=name, platform="thingpark", as_id=AS_ID, tunnel_key=key
        )

    def uplinks(self, count=1, key=KEY):
        network = SimulatedNetwork(key=key, as_id=AS_ID, clock=lambda: self.now, seed=3)
        device = network.add_device()
        return [network.uplink(device) for _ in range(count)]

    def take(self, *pushes, name="field"):
        """Give for each push, all at once, its outcome or the reason of its refusal."""

        async def one(ingest, push):
            try:
                return await ingest.take(name, push.query.encode(), push.body, [])
            except PushRejected as exc:
                return exc.reason

        async def main():
            inbox = make_inbox(self.engine, RejectionLimits(100, 10**6, 100))
            inbox.start()
            ingest = Ingest(self.directory, inbox, lambda: self.now)
            try:
                return await asyncio.gather(*(one(ingest, push) for push in pushes))
            finally:
                await inbox.stop()

        return asyncio.run(main())


@pytest.fixture
def running(engine, keyring, now):
    return Running(engine, keyring, now)


def test_the_first_push_to_a_connection_that_was_just_added_is_taken(running):
    running.add()

    assert running.take(*running.uplinks()) == [Outcome.STORED]


def test_each_of_many_first_pushes_at_once_is_taken(running):
    """Only one of them asks the database; the others wait for it and look again as well."""
    running.add()

    assert running.take(*running.uplinks(30)) == [Outcome.STORED] * 30


def test_the_first_push_signed_with_a_key_that_was_just_added_is_taken(running):
    running.add()
    running.directory.load()
    add_tunnel_key(running.engine, running.keyring, running.now, "field", NEXT_KEY)

    assert running.take(*running.uplinks(3, NEXT_KEY)) == [Outcome.STORED] * 3


def test_strangers_make_the_receiver_look_no_more_often_than_it_says(running):
    reasons = running.take(*running.uplinks(2))
    running.add()
    reasons += running.take(*running.uplinks())
    running.elapsed_s += ASKED_AGAIN_S
    reasons += running.take(*running.uplinks())

    assert reasons == [Reason.UNKNOWN_CONNECTION] * 3 + [Outcome.STORED]


def test_a_retired_key_is_refused_once_the_receiver_has_looked(running):
    running.add()
    add_tunnel_key(running.engine, running.keyring, running.now, "field", NEXT_KEY)
    running.directory.load()
    retire_tunnel_key(running.engine, running.now, "field", "k1")
    running.directory.load()

    assert running.take(*running.uplinks()) == [Reason.TOKEN_MISMATCH]


def test_a_removed_connection_is_unknown_once_the_receiver_has_looked(running):
    running.add()
    running.directory.load()
    remove_connection(running.engine, "field")
    running.directory.load()

    assert running.take(*running.uplinks()) == [Reason.UNKNOWN_CONNECTION]


def test_what_was_known_stays_in_force_while_the_database_is_away(running, database_is_away):
    running.add()
    running.directory.load()
    [push] = running.uplinks()
    with database_is_away():
        running.elapsed_s += ASKED_AGAIN_S
        [refused] = running.take(*running.uplinks(), name="other")

    assert refused is Reason.UNKNOWN_CONNECTION
    assert running.take(push) == [Outcome.STORED]


def test_a_database_that_is_away_is_asked_once_for_all_pushes_that_wait(running, database_is_away):
    tries = []

    def note_try(*_):
        if threading.current_thread().name != "inbox":  # whose writer asks as well, once for each batch of rejections
            tries.append(1)

    event.listen(running.engine, "do_connect", note_try)
    pushes = running.uplinks(20)
    with database_is_away():
        running.take(*pushes[:1])
        alone = len(tries)
        running.elapsed_s += ASKED_AGAIN_S
        reasons = running.take(*pushes)

    assert set(reasons) == {Reason.UNKNOWN_CONNECTION}
    assert len(tries) == 2 * alone > 0
