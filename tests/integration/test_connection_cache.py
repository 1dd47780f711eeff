"""The copy of the connections that a receiver starts from while the database is away."""

from __future__ import annotations

import asyncio
import stat

import pytest
from sqlalchemy import text

from receiver.errors import StorageUnavailableError
from receiver.keyring import KEK_BYTES, Keyring
from receiver.services.connection_cache import ConnectionCache, read_snapshot
from receiver.services.connection_directory import ConnectionDirectory
from receiver.services.connections import add_connection, remove_connection
from receiver.services.ingest import verify_push
from receiver.simulator.network import SimulatedNetwork
from receiver.storage.engine import open_engine
from tests.acceptance.running_receiver import wait_until

KEY = "17d107c7e4ae7ad8ea64ea25ee6a6b52"
AS_ID = "TWA_100000001.1.AS"


@pytest.fixture
def cache(engine, keyring, tmp_path):
    return ConnectionCache(tmp_path / "data" / "connections.cache", engine, keyring)


@pytest.fixture
def add(engine, keyring, now):
    def add(name):
        add_connection(engine, keyring, now, name=name, platform="thingpark", as_id=AS_ID, tunnel_key=KEY)

    return add


def begin(engine, keyring, cache, within_s=3.0):
    """Give the directory of a receiver that has just started."""

    async def main():
        directory = ConnectionDirectory(engine, keyring, cache=cache)
        await directory.begin(within_s)
        return directory

    return asyncio.run(main())


def test_what_is_loaded_is_what_was_saved(engine, cache, add):
    add("field")
    snapshot = read_snapshot(engine)
    cache.save(snapshot)

    assert cache.load() == snapshot


def test_the_file_is_its_owner_s_and_shows_no_key_and_no_name(engine, cache, add):
    add("field")
    cache.save(read_snapshot(engine))
    content = cache.path.read_bytes()

    assert stat.S_IMODE(cache.path.stat().st_mode) == 0o600
    assert not any(word in content for word in (KEY.encode(), b"field", b"sealed_key"))
    assert [file.name for file in cache.path.parent.iterdir()] == ["connections.cache"]


def test_a_file_that_was_changed_is_not_used(engine, cache, add):
    add("field")
    cache.save(read_snapshot(engine))
    content = bytearray(cache.path.read_bytes())
    content[-20] ^= 1
    cache.path.write_bytes(content)

    with pytest.raises(StorageUnavailableError, match="was changed"):
        cache.load()


def test_a_file_of_another_key_encryption_key_is_not_used(engine, cache, add):
    add("field")
    cache.save(read_snapshot(engine))

    with pytest.raises(StorageUnavailableError, match="another key-encryption key"):
        ConnectionCache(cache.path, engine, Keyring(bytes(KEK_BYTES))).load()


def test_a_file_of_another_database_is_not_used(engine, keyring, cache, add):
    add("field")
    cache.save(read_snapshot(engine))
    other = open_engine("postgresql+psycopg://receiver@127.0.0.1:1/other")

    with pytest.raises(StorageUnavailableError, match="another database"):
        ConnectionCache(cache.path, other, keyring).load()


def test_a_receiver_starts_from_the_file_while_the_database_is_away(engine, keyring, cache, add, now, database_is_away):
    add("field")
    begin(engine, keyring, cache)
    network = SimulatedNetwork(key=KEY, as_id=AS_ID, clock=lambda: now, seed=3)
    push = network.uplink(network.add_device())
    with database_is_away():
        directory = begin(engine, keyring, cache)

    assert directory.is_known
    connection = directory.find("field")
    assert verify_push(connection, "field", push.query.encode(), push.body, now).dev_eui == push.dev_eui


def test_what_a_running_receiver_takes_over_is_in_the_file_at_once(engine, keyring, cache, add):
    add("field")
    directory = begin(engine, keyring, cache)
    add("second")
    assert directory.load()

    assert [connection.name for connection in cache.load().connections] == ["field", "second"]


def test_the_database_is_taken_over_when_it_is_back_though_its_revision_be_the_same(
    engine, keyring, cache, add, database_is_away
):
    """A database that was restored from a backup may have come to the same number another way."""
    add("field")
    begin(engine, keyring, cache)
    with database_is_away():
        directory = begin(engine, keyring, cache)
    remove_connection(engine, "field")
    with engine.begin() as connection:
        connection.execute(text("UPDATE revisions SET value = :value"), {"value": directory.revision})

    assert directory.load()
    assert directory.find("field") is None


def test_without_a_file_nothing_is_known_until_the_database_is_back(engine, keyring, cache, add, database_is_away):
    add("field")
    with database_is_away():
        directory = begin(engine, keyring, cache)
        assert not directory.is_known
    directory.load()

    assert directory.is_known
    assert directory.find("field") is not None


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_a_receiver_does_not_wait_long_for_a_database_that_hangs(engine, keyring, cache, add):
    add("field")
    begin(engine, keyring, cache)
    other = open_engine(engine.url.render_as_string(hide_password=False))
    with other.begin() as connection:
        connection.execute(text("LOCK TABLE revisions IN ACCESS EXCLUSIVE MODE"))
        directory = begin(engine, keyring, cache, within_s=0.2)
    other.dispose()
    wait_until(lambda: engine.pool.checkedout() == 0)  # it goes on, and ends when it gets its answer

    assert directory.find("field") is not None


def test_a_file_that_cannot_be_written_keeps_nobody_from_starting(engine, keyring, cache, add):
    add("field")
    cache.path.parent.mkdir()
    cache.path.mkdir()

    assert begin(engine, keyring, cache).find("field") is not None
    assert [file.name for file in cache.path.parent.iterdir()] == ["connections.cache"]
