"""The API of alarms and traffic: filters, pages, formats; and an acknowledgement that goes to the network first."""

from __future__ import annotations

import csv
import io
from datetime import timedelta

import pytest

from receiver.services.platform_accounts import set_account_secret
from receiver.simulator.management_http import CUT, LOST, answered
from receiver.storage.alarms import AlarmState, mark_gone
from receiver.storage.engine import write
from receiver.storage.traffic import SeenTraffic, upsert_traffic
from tests.integration.alarm_networks import NETWORKS, network_with_devices
from tests.integration.alarm_use import DEVICE, ONLY_ALARMS, OTHER_DEVICE, Clock, run_polls, the_alarm
from tests.integration.api_use import assert_refused, client_of, walk

HOUR = timedelta(hours=1)
ACK = "/alarms/1/ack"


@pytest.fixture
def clock(now):
    return Clock(now)


@pytest.fixture(params=sorted(NETWORKS))
def network(request, clock, engine, keyring):
    with network_with_devices(request.param, clock, engine, keyring) as network:
        yield network


@pytest.fixture
def one_network(clock, engine, keyring):
    with network_with_devices("thingpark", clock, engine, keyring) as network:
        yield network


@pytest.fixture
def poll(engine, keyring, clock):
    return lambda: run_polls(engine, keyring, clock, ONLY_ALARMS)


@pytest.fixture
def client(engine, keyring, now):
    return client_of(engine, keyring, now)


@pytest.fixture
def acting(engine, keyring, now):
    return client_of(engine, keyring, now, "downlink")


def ids(answer):
    assert answer.status_code == 200, answer.text
    return [alarm["id"] for alarm in answer.json()["alarms"]]


# --- lists


@pytest.fixture
def four_alarms(one_network, poll, clock):
    """Alarms 1 to 4: of two devices, three types, four states, one acknowledged; the last came an hour later."""
    one_network.raise_alarm(DEVICE, 1, "WARNING")
    poll()
    for dev_eui, type_id, state in ((DEVICE, 4, "CRITICAL"), (OTHER_DEVICE, 4, "MINOR")):
        clock.wait(minutes=6)
        alarm = one_network.raise_alarm(dev_eui, type_id, state)
        if state == "MINOR":
            one_network.acknowledge(alarm)
        poll()
    clock.wait(hours=1)
    one_network.raise_alarm(OTHER_DEVICE, 17, "CLEARED")
    poll()


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, [4, 3, 2, 1]),
        ({"device": DEVICE.lower()}, [2, 1]),
        ({"account": "thingpark"}, [4, 3, 2, 1]),
        ({"account": "another"}, []),
        ({"type": 4}, [3, 2]),
        ({"state": "WARNING"}, [3, 2, 1]),
        ({"state": "MINOR"}, [3, 2]),
        ({"state": "CRITICAL"}, [2]),
        ({"state": "CLEARED"}, [4, 3, 2, 1]),
        ({"acked": "true"}, [3]),
        ({"acked": "false"}, [4, 2, 1]),
        ({"since": "2026-11-20T13:00:00Z"}, [4]),
        ({"until": "2026-11-20T12:06:00Z"}, [1]),
        ({"state": "MINOR", "acked": "false", "device": DEVICE}, [2]),
    ],
)
def test_alarms_are_found_by_what_is_asked_for(client, four_alarms, wanted, found):
    assert ids(client.get("/alarms", wanted)) == found


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("state", "WORSE"),
        ("state", "warning"),
        ("acked", "perhaps"),
        ("type", "-1"),
        ("type", str(2**31)),
        ("device", "77"),
        ("since", "yesterday"),
        ("cursor", "bm90aGluZw"),
        ("colour", "red"),
    ],
)
def test_what_is_wrong_in_a_call_is_named(client, name, value):
    assert_refused(client.get("/alarms", {name: value}), name)


def test_a_list_is_walked_page_by_page_without_gap_or_double(client, one_network, poll):
    for number in range(25):
        one_network.raise_alarm(DEVICE, 1 + number)
    poll()

    rows = walk(client, "/alarms", "alarms", 7)

    assert [row["id"] for row in rows] == list(range(25, 0, -1))


def test_an_alarm_has_the_name_of_its_type_and_all_that_is_known(client, one_network, poll, now):
    one_network.raise_alarm(DEVICE, 6, "MAJOR", ["SF12", "", "13.0"])
    poll()

    (listed,) = client.get("/alarms").json()["alarms"]
    shown = client.get("/alarms/1").json()

    at = now.isoformat().replace("+00:00", "Z")
    expected = {"id": 1, "account": "thingpark", "dev_eui": DEVICE, "device": None, "type": 6, "state": "MAJOR"}
    expected |= {"alarm": "lower data rate than expected", "occurrence": 1, "info": "SF12; ; 13.0"}
    expected |= {"acked": False, "acked_by": None, "acked_at": None, "gone_at": None}
    expected |= dict.fromkeys(["created_at", "updated_at", "first_seen_at", "changed_at", "polled_at"], at)
    assert listed == expected
    assert shown == {**listed, "infos": ["SF12", "", "13.0"], "remote_id": the_uid(one_network)}


def test_a_type_without_a_name_is_told_by_its_number(client, one_network, poll):
    one_network.raise_alarm(DEVICE, 17)
    poll()

    assert client.get("/alarms/1").json()["alarm"] == "alarm 17"


def test_a_list_comes_as_csv_whose_cells_run_nothing(client, one_network, poll):
    one_network.raise_alarm(DEVICE, 1, info=["=1+1"])
    poll()

    answer = client.get("/alarms", {"format": "csv"})

    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert (row["dev_eui"], row["state"], row["acked"], row["info"]) == (DEVICE, "WARNING", "false", "'=1+1")


@pytest.mark.parametrize("alarm_id", ["7", "x", "9" * 30, "-1"])
def test_an_alarm_that_is_not_there_is_404(client, alarm_id):
    assert client.get(f"/alarms/{alarm_id}").status_code == 404


# --- acknowledging


def test_an_acknowledgement_goes_to_the_network_and_is_kept(engine, network, poll, acting, now):
    alarm = network.raise_alarm(DEVICE, 4)
    poll()

    answer = acting.post(ACK)

    assert answer.status_code == 200, answer.text
    assert network.is_acked(alarm)
    shown = answer.json()
    assert (shown["acked"], shown["acked_by"]) == (True, "api-key key-downlink")
    assert the_alarm(engine).acked_at == now


def test_to_acknowledge_again_asks_nothing(network, poll, acting):
    network.raise_alarm(DEVICE, 4)
    poll()
    acting.post(ACK)
    asked = len(network.emulator.asked)

    again = acting.post(ACK)

    assert (again.status_code, again.json()["acked"]) == (200, True)
    assert len(network.emulator.asked) == asked


def test_reading_keys_may_not_acknowledge(client, network, poll):
    alarm = network.raise_alarm(DEVICE, 4)
    poll()

    answer = client.post(ACK)

    assert (answer.status_code, answer.json()["scope"]) == (403, "downlink")
    assert not network.is_acked(alarm)


@pytest.mark.parametrize("fault", [LOST, CUT])
def test_a_lost_answer_is_harmless(engine, network, poll, acting, fault):
    alarm = network.raise_alarm(DEVICE, 4)
    poll()
    network.emulator.faults.order(fault, path=network.ack_path)

    answer = acting.post(ACK)

    assert answer.status_code == 200
    assert network.is_acked(alarm)
    assert the_alarm(engine).acked


def test_a_network_that_is_away_is_503_and_nothing_is_acknowledged_here(engine, network, poll, acting):
    network.raise_alarm(DEVICE, 4)
    poll()
    network.emulator.faults.order(answered(503, retry_after_s=100), path=network.ack_path)

    answer = acting.post(ACK)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert not the_alarm(engine).acked


def test_an_account_that_is_refused_is_502_and_is_not_tried_again(engine, keyring, network, poll, acting, clock):
    network.raise_alarm(DEVICE, 4)
    poll()
    set_account_secret(engine, keyring, network.name, "wrong")

    first = acting.post(ACK)
    clock.wait(minutes=6)
    poll()
    tokens = len(network.emulator.asked)
    second = acting.post(ACK)

    assert (first.status_code, second.status_code) == (502, 502)
    assert "not tried again" in second.json()["detail"]
    assert len(network.emulator.asked) == tokens


def test_what_the_network_does_not_know_any_more_is_409(engine, network, poll, acting, now):
    network.raise_alarm(DEVICE, 4)
    poll()
    with write(engine) as tx:
        mark_gone(tx, now, [1])

    assert acting.post(ACK).status_code == 409
    assert the_alarm(engine).state is AlarmState.CLEARED


def test_an_acknowledgement_that_the_network_refuses_is_told_with_its_words(network, poll, acting):
    network.raise_alarm(DEVICE, 4)
    poll()
    network.emulator.faults.order(answered(403, {"code": 9, "message": "Read only role"}), path=network.ack_path)

    answer = acting.post(ACK)

    assert answer.status_code == 502
    assert "Read only role" in answer.json()["detail"]


# --- traffic


@pytest.fixture
def store_traffic(engine, keyring, now, one_network):
    """Give a function that stores hours of traffic, the first of them at midnight."""
    midnight = now.replace(hour=0)

    def store(counts, dev_eui=DEVICE, **more):
        spans = [
            SeenTraffic(midnight + number * HOUR, 3600, up_count=count, down_count=1, rssi_dbm=-100.0 + count, **more)
            for number, count in enumerate(counts)
        ]
        with write(engine) as tx:
            upsert_traffic(tx, 1, dev_eui, now, spans)

    return store


def test_traffic_comes_newest_first_or_oldest_first_page_by_page(client, store_traffic):
    store_traffic(range(1, 11))

    newest = walk(client, "/traffic", "traffic", 3, device=DEVICE)
    oldest = walk(client, "/traffic", "traffic", 3, device=DEVICE, order="oldest")

    assert [row["up_count"] for row in newest] == list(range(10, 0, -1))
    assert oldest == newest[::-1]
    assert newest[0]["account"] == "thingpark"
    assert (newest[0]["at"], newest[0]["step_s"]) == ("2026-11-20T09:00:00Z", 3600)


def test_traffic_of_all_devices_is_one_list(client, store_traffic):
    store_traffic([1, 2])
    store_traffic([3, 4], OTHER_DEVICE)

    rows = walk(client, "/traffic", "traffic", 3)

    assert [(row["at"][11:13], row["up_count"]) for row in rows] == [("01", 4), ("01", 2), ("00", 3), ("00", 1)]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"since": "2026-11-20T02:00:00Z"}, [4, 3]),
        ({"until": "2026-11-20T02:00:00Z"}, [2, 1]),
        ({"step": 3600}, [4, 3, 2, 1]),
        ({"step": 86400}, []),
        ({"account": "another"}, []),
    ],
)
def test_traffic_is_found_by_what_is_asked_for(client, store_traffic, wanted, found):
    store_traffic([1, 2, 3, 4])

    assert [row["up_count"] for row in client.get("/traffic", wanted).json()["traffic"]] == found


def test_buckets_have_sums_and_means_by_uplinks(client, store_traffic):
    store_traffic([1, 3, 5], mean_per=0.5, up_lost_count=2)

    (bucket,) = client.get("/traffic", {"device": DEVICE, "bucket": "1d"}).json()["buckets"]

    assert (bucket["start"], bucket["spans"]) == ("2026-11-20T00:00:00Z", 3)
    assert (bucket["up_count"], bucket["up_lost_count"], bucket["down_count"]) == (9, 6, 3)
    assert bucket["rssi_dbm"] == pytest.approx((-99 + 3 * -97 + 5 * -95) / 9)
    assert (bucket["mean_per"], bucket["esp_dbm"], bucket["flow_count"]) == (0.5, None, 0)


def test_buckets_follow_a_zone_and_are_walked_page_by_page(client, store_traffic):
    store_traffic([1] * 48)
    asked = {"device": DEVICE, "bucket": "6h", "tz": "Europe/Amsterdam"}

    newest = walk(client, "/traffic", "buckets", 2, **asked)
    oldest = walk(client, "/traffic", "buckets", 2, order="oldest", **asked)

    assert oldest == newest[::-1]
    assert newest[-1]["start"] == "2026-11-20T00:00:00+01:00"
    assert [row["up_count"] for row in oldest] == [5, 6, 6, 6, 6, 6, 6, 6, 1]


@pytest.mark.parametrize(
    ("asked", "parameter"),
    [
        ({"bucket": "1d"}, "device"),
        ({"bucket": "15m", "device": DEVICE}, "bucket"),
        ({"bucket": "5h", "device": DEVICE}, "bucket"),
        ({"bucket": "1d", "device": DEVICE, "tz": "Mars/Olympus"}, "tz"),
        ({"tz": "UTC"}, "tz"),
        ({"step": "0"}, "step"),
        ({"cursor": "bm90aGluZw"}, "cursor"),
    ],
)
def test_what_is_wrong_in_a_call_for_traffic_is_named(client, asked, parameter):
    assert_refused(client.get("/traffic", asked), parameter)


def test_traffic_comes_as_ndjson(client, store_traffic):
    store_traffic([1, 2])

    lines = client.get("/traffic", {"format": "ndjson"}).text.splitlines()

    assert len(lines) == 2


def the_uid(network):
    (uid,) = network.emulator.resources.book.alarms
    return uid
