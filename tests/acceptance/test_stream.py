"""The live stream of a running receiver: nothing lost, nothing twice, in order, whatever is killed or away."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from sqlalchemy import NullPool, create_engine

from receiver.simulator.network import SimulatedNetwork
from receiver.storage import schema
from receiver.storage.engine import read
from receiver.storage.events import list_events
from tests.acceptance.running_receiver import AS_ID, KEY, Installation, utc_now, wait_until
from tests.integration.stream_use import StreamReader
from tests.soak.running import OwnPostgresql

only_postgresql = pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)


@pytest.fixture
def on_stopped_postgresql(tmp_path):
    """An installation on a PostgreSQL server of its own, and that server."""
    server = OwnPostgresql()
    try:
        administration = create_engine(server.url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with administration.connect() as connection:
            connection.exec_driver_sql("CREATE DATABASE streams")
        url = administration.url.set(database="streams").render_as_string(hide_password=False)
        schema.upgrade(url, utc_now())
        installation = Installation(tmp_path, url)
        yield installation, server
        installation.engine.dispose()
    finally:
        server.close()


def prepare(installation):
    """Add the connection and give an API key."""
    installation.add_connection("field")
    return json.loads(installation.run("api-key", "create", "reader", "--scope", "read", "--json"))["key"]


@contextmanager
def simulated_network(installation, served, *, rate, for_s):
    """Run `receiver simulate network` against the receiver; it ends by itself, or with the block."""
    options = ["--url", served.url("field"), "--as-id", AS_ID, "--ca-file", str(served.trusted), "--devices", "4"]
    pace = ["--rate", str(rate), "--for", str(for_s), "--seed", "5", "--timeout", "5"]
    with subprocess.Popen(
        [sys.executable, "-m", "receiver", "simulate", "network", *options, *pace],
        cwd=installation.directory,
        env=installation.environment | {"RECEIVER_SIMULATE_KEY": KEY},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def told(installation):
    with read(installation.engine) as connection:
        return list_events(connection, 0, 1_000_000)


def settled(installation):
    """Say whether all that was pushed is read and told."""
    return installation.report_states() <= {"read"}


def must_have_seen_all(installation, *readers):
    wait_until(lambda: settled(installation))
    ids = [event.id for event in told(installation)]
    for reader in readers:
        wait_until(lambda: reader.ids()[-1:] == ids[-1:])  # noqa: B023 - it is asked within the loop
        assert reader.ids() == ids


def uplinks_of(count, seed=1):
    network = SimulatedNetwork(key=KEY, as_id=AS_ID, clock=utc_now, seed=seed)
    device = network.add_device()
    return [network.uplink(device) for _ in range(count)]


def test_a_reader_loses_nothing_and_sees_nothing_twice_while_the_receiver_is_killed_again_and_again(installation):
    key = prepare(installation)
    served = installation.start()
    try:
        served.wait_until_ready()
        reader = StreamReader(served.origin, key, verify=served.context()).open()
        with simulated_network(installation, served, rate=30, for_s=60):
            for _ in range(3):
                reader.wait_for(len(reader.events) + 15)
                served.kill_all()
                reader.wait_for_end()
                served = installation.start("--port", str(served.port))
                served.wait_until_ready()
                reader.resume()
                assert reader.is_open
            reader.wait_for(len(reader.events) + 15)
        must_have_seen_all(installation, reader)
        served.stop()
    finally:
        served.kill()


@only_postgresql
def test_readers_of_several_servers_see_what_several_workers_tell_in_one_order(installation):
    key = prepare(installation)
    with installation.serve("--workers", "2") as served:
        others = [
            subprocess.Popen(
                [sys.executable, "-m", "receiver", "worker"],
                cwd=installation.directory,
                env=installation.environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for _ in range(2)
        ]
        readers = [StreamReader(served.origin, key, verify=served.context()).open() for _ in range(6)]
        try:
            assert set(served.push("field", uplinks_of(300))) == {200}
            must_have_seen_all(installation, *readers)
            assert len(readers[0].events) == 300
        finally:
            for reader in readers:
                reader.close()
            for other in others:
                other.terminate()
                other.wait(20)


def test_a_stream_outlives_a_restart_of_postgresql_and_misses_nothing(on_stopped_postgresql):
    installation, server = on_stopped_postgresql
    key = prepare(installation)
    with installation.serve() as served, StreamReader(served.origin, key, verify=served.context()) as reader:
        pushes = uplinks_of(30)
        assert set(served.push("field", pushes[:10])) == {200}
        reader.wait_for(10)
        server.stop()
        try:
            assert set(served.push("field", pushes[10:20])) == {200}
        finally:
            server.start()
        assert set(served.push("field", pushes[20:])) == {200}
        reader.wait_for(30)
        assert reader.is_open
        must_have_seen_all(installation, reader)


def test_a_receiver_that_is_told_to_stop_ends_its_streams_at_once(installation):
    key = prepare(installation)
    with installation.serve() as served:
        readers = [StreamReader(served.origin, key, verify=served.context()).open() for _ in range(3)]
        began = time.monotonic()
        served.stop()
        assert time.monotonic() - began < 5
        for reader in readers:
            reader.wait_for_end()
