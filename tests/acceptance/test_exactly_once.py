"""One frame is one uplink over retries, fail-over, blast, two connections, two receivers, and a crash midway."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections import Counter

import pytest
from sqlalchemy import select

from receiver.simulator.network import SimulatedNetwork
from receiver.simulator.push_client import PushClient, Strategy
from receiver.storage.engine import read
from receiver.storage.tables import reports, uplinks
from tests.acceptance.running_receiver import AS_ID, KEY, Installation, utc_now, wait_until

OTHER_KEY = "c6f5e3b263092120b8766b9aed9c41b4"


def network(key=KEY):
    return SimulatedNetwork(key=key, as_id=AS_ID, clock=utc_now, seed=1)


@pytest.fixture
def second(installation, tmp_path, database_url):
    """Another receiver on the same database, with the same key-encryption key and certificate."""
    directory = tmp_path / "second"
    directory.mkdir()
    other = Installation(directory, database_url)
    other.environment["RECEIVER_KEK_FILE"] = str(installation.directory / "data" / "kek")
    other.certificate = installation.certificate
    other.trusted = installation.trusted
    yield other
    other.engine.dispose()


def deliver(urls, pushes, trusted, strategy):
    """Deliver pushes by a route of two URLs, all at once; give the statuses of each."""

    async def main():
        async with PushClient(urls, ca_file=trusted, strategy=strategy) as client:
            deliveries = await asyncio.gather(*(client.deliver(push) for push in pushes))
            return [[answer.status for answer in delivery.answers] for delivery in deliveries]

    return asyncio.run(main())


def delivery_counts(installation):
    """Give how many reports were delivered how often."""
    with read(installation.engine) as connection:
        return Counter(connection.scalars(select(reports.c.deliveries)))


def shown(installation):
    """Give all uplinks as `receiver uplinks show` tells them, oldest first."""
    listed = json.loads(installation.run("uplinks", "list", "--json"))
    return [json.loads(installation.run("uplinks", "show", str(row["id"]), "--json")) for row in reversed(listed)]


def test_a_push_that_is_sent_again_and_again_is_always_answered_200(installation):
    installation.add_connection("field")
    net = network()
    push = net.uplink(net.add_device())
    with installation.serve() as served:
        statuses = [served.push("field", [push] * 5), served.push("field", [net.again_in_a_new_delivery(push)] * 5)]
        installation.wait_for_payloads([push])

    assert statuses == [[200] * 5] * 2
    [uplink] = shown(installation)
    assert (uplink["delivery_count"], [row["times"] for row in uplink["deliveries"]]) == (10, [5, 5])


def test_a_blast_to_two_receivers_is_one_uplink_each(installation, second):
    installation.add_connection("field")
    net = network()
    pushes = [net.uplink(net.add_device()) for _ in range(40)]

    with installation.serve() as one, second.serve() as two:
        statuses = deliver([one.url("field"), two.url("field")], pushes, installation.trusted, Strategy.BLAST)
        installation.wait_for_payloads(pushes)

    assert statuses == [[200, 200]] * 40
    assert delivery_counts(installation) == {2: 40}


def test_a_fail_over_to_a_second_receiver_is_one_uplink(installation, second):
    installation.add_connection("field")
    net = network()
    pushes = [net.uplink(net.add_device()) for _ in range(10)]
    with installation.serve() as one, second.serve("--without-worker") as two:
        urls = [one.url("field"), two.url("field")]
        assert deliver(urls, pushes, installation.trusted, Strategy.SEQUENTIAL) == [[200]] * 10
        one.kill_all()
        again = [net.again_in_a_new_delivery(push) for push in pushes]
        assert deliver(urls, again, installation.trusted, Strategy.SEQUENTIAL) == [[None, 200]] * 10

    with installation.serve():
        installation.wait_for_payloads(pushes)
    assert delivery_counts(installation) == {2: 10}


def test_a_frame_over_two_connections_is_one_uplink_and_shows_both_deliveries(installation):
    installation.add_connection("first")
    options = ("--platform", "kpn-lora", "--as-id", AS_ID, "--tunnel-key", OTHER_KEY)
    installation.run("connection", "add", "second", *options)
    installation.run("connection", "add-key", "second", "--tunnel-key", KEY)
    net, other = network(), network(key=OTHER_KEY)
    push = net.uplink(net.add_device(), gateways=3)

    with installation.serve() as served:
        assert served.push("first", [push]) == [200]
        assert served.push("second", [other.again_in_a_new_delivery(push)]) == [200]
        assert served.push("second", [net.again_in_a_new_delivery(push)]) == [200]
        installation.wait_for_payloads([push])

    [uplink] = shown(installation)
    assert [(row["connection"], row["key_id"], row["times"]) for row in uplink["deliveries"]] == [
        ("first", "k1", 1),
        ("second", "k1", 1),
        ("second", "k2", 1),
    ]
    assert len(uplink["receptions"]) == 3
    for_people = installation.run("uplinks", "show", str(uplink["id"]))
    assert re.search(rf"^frm_payload +{push.clear_payload.hex()}$", for_people, re.MULTILINE)
    assert len(re.findall(r" second +k[12]", for_people)) == 2


def test_an_uplink_that_is_not_there_is_told_in_one_sentence(installation):
    assert installation.run("uplinks", "show", "7", code=1) == (
        "receiver: There is no uplink 7. `receiver uplinks list` shows the ids.\n"
    )


def send_without_waiting(served, push):
    """Send a whole push and do not wait for its answer; give the open connection."""
    connection = served.context().wrap_socket(
        socket.create_connection(("127.0.0.1", served.port), timeout=20), server_hostname="127.0.0.1"
    )
    head = f"POST /push/field?{push.query} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(push.body)}\r\n\r\n"
    connection.sendall(head.encode() + push.body)
    return connection


@pytest.mark.parametrize("new_delivery", [False, True])
def test_a_receiver_killed_between_commit_and_answer_takes_the_push_again_as_a_duplicate(installation, new_delivery):
    installation.add_connection("field")
    net = network()
    push = net.uplink(net.add_device())
    with installation.serve("--without-worker") as served:
        connection = send_without_waiting(served, push)
        wait_until(lambda: installation.count_reports() == 1)
        served.kill_all()
        connection.close()

    again = net.again_in_a_new_delivery(push) if new_delivery else push
    with installation.serve() as served:
        assert served.push("field", [again]) == [200]
        installation.wait_for_payloads([push])
    [uplink] = shown(installation)
    assert uplink["delivery_count"] == 2


def test_conflicting_frames_are_both_kept_and_flagged(installation):
    installation.add_connection("field")
    net = network()
    device = net.add_device()
    pushes = [net.uplink(device, f_port=5, payload=payload, f_cnt_up=4) for payload in (b"one", b"two")]
    with installation.serve() as served:
        assert served.push("field", pushes) == [200, 200]
        wait_until(lambda: installation.report_states() == {"read"})

    both = shown(installation)
    assert {(uplink["frm_payload"], uplink["conflicting"]) for uplink in both} == {
        (b"one".hex(), True),
        (b"two".hex(), True),
    }
    assert len({uplink["session_id"] for uplink in both}) == 1


def sessions_of(installation):
    """Give device, session and counter of each uplink."""
    with read(installation.engine) as connection:
        return connection.execute(select(uplinks.c.dev_eui, uplinks.c.session_id, uplinks.c.f_cnt_up)).all()


def test_counters_that_begin_anew_by_join_or_by_reset_are_new_sessions(installation):
    installation.add_connection("field")
    net = network()
    joining, resetting = net.add_device(), net.add_device(activation="abp")
    pushes = [net.uplink(device) for _ in range(3) for device in (joining, resetting)]
    with installation.serve() as served:
        served.push("field", pushes, at_once=1)
        wait_until(lambda: installation.report_states() == {"read"})
        served.push("field", [net.join(joining), net.reset(resetting)], at_once=1)
        more = [net.uplink(device) for _ in range(3) for device in (joining, resetting)]
        assert served.push("field", more, at_once=1) == [200] * 6
        wait_until(lambda: len(sessions_of(installation)) == 12)

    found = sessions_of(installation)
    assert len(set(found)) == 12, "a counter stands twice in one session"
    assert len({(dev_eui, session_id) for dev_eui, session_id, _ in found}) == 4
