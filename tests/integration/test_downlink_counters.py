"""End-to-end encrypted downlinks: each under a counter of its own, stored before it is sent, and never used again."""

from __future__ import annotations

import threading
from random import Random

import pytest
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from receiver.errors import SettingsError
from receiver.http_client import HttpBounds, HttpClient
from receiver.lorawan.frm_payload import Direction, decrypt_frm_payload
from receiver.lorawan.identifiers import parse_dev_addr
from receiver.lorawan.keys import AesKey
from receiver.services.devices import set_lorawan_version
from receiver.services.downlink_claiming import LEASE
from receiver.services.downlink_counters import FrameKey, encrypt_downlink, lane_of
from receiver.services.downlink_dispatch import UNDER_WAY, Dispatcher
from receiver.storage.downlink_counters import find_free_counter, lock_lane, use_counter
from receiver.storage.downlink_tables import downlink_counter_uses, downlink_counters
from receiver.storage.engine import bump_revision, read, write
from receiver.storage.tables import connections, session_keys
from tests.integration.dispatch_use import Desk
from tests.integration.lrc_server import ACCEPTED, LOST, Lrc, Reply, refusal

CLEAR = b"open the valve"
KEY = AesKey(bytes(range(16)))
ADDRESS = parse_dev_addr("04AB12CD")


@pytest.fixture
def lrc():
    lrc = Lrc().start()
    yield lrc
    lrc.stop()


@pytest.fixture
def desk(field, engine, keyring, now, lrc):
    with HttpClient(bounds=HttpBounds(connect_s=2.0, whole_s=5.0, at_once=UNDER_WAY)) as http:
        desk = Desk(engine, keyring, now, http, lrc)
        yield desk
        lrc.unblock()
        desk.close()


@pytest.fixture
def network(field, lrc):
    network = field.connect(encrypted=True)
    with write(field.engine) as connection:
        connection.execute(update(connections).values(downlink_url=lrc.url))
        bump_revision(connection, "connections")
    field.import_as_transport_key()
    return network


@pytest.fixture
def device(field, network):
    """A device that was heard, with FCntDn 40."""
    device = network.add_device()
    device.f_cnt_down = 40
    field.take_and_read(network.uplink(device))
    return device


def counter_of(asked):
    return int(asked.parameters["FCntDn"])


def opened(asked, device):
    """Give what a device makes of a request's payload."""
    payload = bytes.fromhex(asked.parameters["Payload"])
    return decrypt_frm_payload(device.app_s_key, device.dev_addr, counter_of(asked), payload, Direction.DOWN)


def uses(engine):
    with read(engine) as connection:
        query = select(downlink_counter_uses.c.f_cnt_down).order_by(downlink_counter_uses.c.f_cnt_down)
        return list(connection.scalars(query))


# --- who encrypts


def test_where_uplinks_come_encrypted_downlinks_go_encrypted(desk, device, lrc):
    downlink_id = desk.put_in(1, dev_eui=device.dev_eui, payload=CLEAR)

    desk.settle()

    assert opened(lrc.asked[0], device) == CLEAR
    assert counter_of(lrc.asked[0]) == 40
    row = desk.row(downlink_id)
    assert (row.state, row.f_cnt_down, row.payload) == ("accepted", 40, CLEAR)
    assert bytes(row.frm_payload) != CLEAR


def test_a_device_of_lorawan_1_1_gets_the_counter_of_applications(field, desk, device, lrc):
    set_lorawan_version(field.engine, device.dev_eui, "1.1")
    desk.put_in(1, dev_eui=device.dev_eui, payload=CLEAR)

    desk.settle()

    asked = lrc.asked[0].parameters
    assert (asked["AFCntDn"], "FCntDn" in asked) == ("40", False)


def test_a_version_of_lorawan_that_is_none_is_refused(field, device):
    with pytest.raises(SettingsError, match=r"1\.0 or 1\.1"):
        set_lorawan_version(field.engine, device.dev_eui, "2")


def test_where_uplinks_come_in_clear_the_network_encrypts(field, desk, lrc):
    network = field.connect()
    with write(field.engine) as connection:
        connection.execute(update(connections).values(downlink_url=lrc.url))
    device = network.add_device()
    field.take_and_read(network.uplink(device))
    downlink_id = desk.put_in(1, dev_eui=device.dev_eui, payload=CLEAR)

    desk.settle()

    assert lrc.frames[0]["Payload"] == CLEAR.hex().upper()
    assert "FCntDn" not in lrc.frames[0]
    assert desk.row(downlink_id).f_cnt_down is None


@pytest.mark.parametrize(("payloads", "goes"), [("clear", True), ("auto", True), ("encrypted", False)])
def test_of_a_device_that_was_never_heard_the_setting_decides(desk, lrc, payloads, goes):
    desk.put_in(desk.connect(payloads=payloads))

    desk.settle()

    assert bool(lrc.asked) is goes


def test_a_downlink_waits_for_the_key_of_the_session_and_keeps_its_place(field, desk, lrc):
    network = field.connect(encrypted=True)
    with write(field.engine) as connection:
        connection.execute(update(connections).values(downlink_url=lrc.url))
    device = network.add_device()
    field.take_and_read(network.uplink(device))
    first = desk.put_in(1, dev_eui=device.dev_eui, payload=b"first")
    desk.put_in(1, dev_eui=device.dev_eui, payload=b"second")

    desk.settle()
    desk.wait(seconds=31)
    desk.settle()
    assert (lrc.asked, desk.row(first).cause) == ([], "no-key")
    assert desk.steps(first) == ["queued", "queued"]

    field.import_as_transport_key()
    desk.wait(seconds=31)
    desk.settle()
    assert [opened(asked, device) for asked in lrc.asked] == [b"first", b"second"]


# --- counters


def test_each_downlink_has_the_next_counter(desk, device, lrc):
    for payload in (b"a", b"b", b"c"):
        desk.put_in(1, dev_eui=device.dev_eui, payload=payload)

    desk.settle()

    assert [counter_of(asked) for asked in lrc.asked] == [40, 41, 42]
    assert [opened(asked, device) for asked in lrc.asked] == [b"a", b"b", b"c"]


def test_what_the_network_counted_meanwhile_is_heeded(field, desk, network, device, lrc):
    desk.put_in(1, dev_eui=device.dev_eui)
    desk.settle()
    field.wait(minutes=5)
    desk.now = field.now
    device.f_cnt_down = 60
    field.take_and_read(network.uplink(device))

    desk.put_in(1, dev_eui=device.dev_eui)
    desk.settle()

    assert [counter_of(asked) for asked in lrc.asked] == [40, 60]


def test_what_the_network_said_before_the_last_downlink_is_not(field, desk, network, device, lrc):
    """It may not have known of that downlink."""
    for _ in range(2):
        desk.put_in(1, dev_eui=device.dev_eui)
    desk.settle()
    field.wait(minutes=5)
    desk.now = field.now
    device.f_cnt_down = 41
    field.take_and_read(network.uplink(device))

    desk.put_in(1, dev_eui=device.dev_eui)
    desk.settle()

    assert [counter_of(asked) for asked in lrc.asked] == [40, 41, 42]


def test_a_new_session_counts_from_its_own_beginning(field, desk, network, device, lrc):
    desk.put_in(1, dev_eui=device.dev_eui)
    desk.settle()
    field.wait(minutes=5)
    desk.now = field.now
    field.take_and_read(network.join(device))

    desk.put_in(1, dev_eui=device.dev_eui, payload=CLEAR)
    desk.settle()

    assert counter_of(lrc.asked[1]) == 0
    assert opened(lrc.asked[1], device) == CLEAR


def test_an_abp_device_that_starts_anew_gets_no_counter_again(field, desk, network, lrc):
    device = network.add_device(activation="abp", app_s_key_form="wrapped")
    field.take_and_read(network.uplink(device))
    desk.put_in(1, dev_eui=device.dev_eui)
    desk.settle()
    field.wait(minutes=5)
    desk.now = field.now
    field.take_and_read(network.reset(device), network.uplink(device))

    desk.put_in(1, dev_eui=device.dev_eui)
    desk.settle()

    assert [counter_of(asked) for asked in lrc.asked] == [0, 1]


# --- the network's own word


@pytest.mark.parametrize("said", ["already used", "increment too large"])
def test_the_counter_that_the_network_expects_is_taken(desk, device, lrc, said):
    lrc.replies = [refusal(f"Downlink counter value {said}. Expected=77")]
    downlink_id = desk.put_in(1, dev_eui=device.dev_eui, payload=CLEAR)

    desk.settle()

    assert [counter_of(asked) for asked in lrc.asked] == [40, 77]
    assert [opened(asked, device) for asked in lrc.asked] == [CLEAR, CLEAR]
    assert len({asked.parameters["CorrelationID"] for asked in lrc.asked}) == 1
    assert desk.steps(downlink_id) == ["queued", "sending", "queued", "sending", "accepted"]
    assert desk.row(downlink_id).f_cnt_down == 77


def test_counting_goes_on_from_there(desk, device, lrc):
    lrc.replies = [refusal("Downlink counter value increment too large. Expected=3")]
    for _ in range(2):
        desk.put_in(1, dev_eui=device.dev_eui)

    desk.settle()

    assert [counter_of(asked) for asked in lrc.asked] == [40, 3, 4]


def test_where_the_expected_counter_is_used_the_next_free_one_is_taken(desk, device, lrc):
    for _ in range(3):
        desk.put_in(1, dev_eui=device.dev_eui)
    desk.settle()
    with write(desk.engine) as connection:  # as after a restored backup of that row
        connection.execute(update(downlink_counters).values(next=30))
    lrc.replies = [refusal("Downlink counter value already used. Expected=41")]

    desk.put_in(1, dev_eui=device.dev_eui, payload=CLEAR)
    desk.settle()

    assert [counter_of(asked) for asked in lrc.asked] == [40, 41, 42, 30, 43]


def test_where_the_network_insists_on_a_used_counter_the_device_must_join_again(desk, device, lrc):
    desk.put_in(1, dev_eui=device.dev_eui)
    desk.settle()
    lrc.answer = lambda _asked: refusal("Downlink counter value increment too large. Expected=40")

    downlink_id = desk.put_in(1, dev_eui=device.dev_eui)
    desk.settle()

    assert desk.state(downlink_id) == "refused"
    assert "join again" in desk.row(downlink_id).detail


def test_a_network_that_never_agrees_is_asked_four_times(desk, device, lrc):
    def wants_the_next_one(asked):
        return refusal(f"Downlink counter value already used. Expected={counter_of(asked) + 1}")

    lrc.answer = wants_the_next_one
    downlink_id = desk.put_in(1, dev_eui=device.dev_eui)

    desk.settle()

    assert [counter_of(asked) for asked in lrc.asked] == [40, 41, 42, 43]
    assert desk.state(downlink_id) == "refused"


def test_a_used_counter_after_a_lost_answer_means_that_it_had_come_through(desk, device, lrc):
    lrc.replies = [LOST, refusal("Downlink counter value already used. Expected=41")]
    downlink_id = desk.put_in(1, dev_eui=device.dev_eui)

    desk.settle()
    desk.wait(seconds=5)
    desk.settle()

    assert [counter_of(asked) for asked in lrc.asked] == [40, 40]
    assert desk.state(downlink_id) == "accepted"


def test_the_same_bytes_are_sent_again_and_no_counter_is_burnt(desk, device, lrc):
    lrc.replies = [LOST]
    for _ in range(2):
        desk.put_in(1, dev_eui=device.dev_eui)

    desk.settle()
    desk.wait(seconds=5)
    desk.settle()

    assert lrc.frames[0] == lrc.frames[1]
    assert [counter_of(asked) for asked in lrc.asked] == [40, 40, 41]


def test_after_a_join_one_that_is_unknown_is_not_sent_again(field, desk, network, device, lrc):
    lrc.replies = [LOST]
    downlink_id = desk.put_in(1, dev_eui=device.dev_eui)
    desk.settle()
    field.wait(minutes=5)
    desk.now = field.now
    field.take_and_read(network.join(device))

    desk.settle()

    assert len(lrc.asked) == 1
    assert (desk.state(downlink_id), desk.row(downlink_id).cause) == ("unconfirmed", "rejoined")


def test_after_a_join_one_that_was_put_back_is_encrypted_anew(field, desk, network, device, lrc):
    lrc.replies = [refusal("Token bucket limit reached")]
    desk.put_in(1, dev_eui=device.dev_eui, payload=CLEAR)
    desk.settle()
    field.wait(minutes=5)
    desk.now = field.now
    field.take_and_read(network.join(device))

    desk.settle()

    assert counter_of(lrc.asked[1]) == 0
    assert opened(lrc.asked[1], device) == CLEAR


def test_a_lost_session_key_holds_back_what_must_be_encrypted(field, desk, device, lrc):
    with write(field.engine) as connection:
        connection.execute(delete(session_keys))

    desk.put_in(1, dev_eui=device.dev_eui)
    desk.settle()

    assert lrc.asked == []


# --- never twice


class Never:
    """A transport that asks nothing, as long as the test lasts."""

    def __init__(self):
        self.end = threading.Event()

    def send(self, _downlink, _now):
        self.end.wait(60)
        raise RuntimeError("nobody waits for this any more")


def test_a_process_that_dies_between_storing_and_sending_sends_the_same_later(desk, device, lrc):
    """Its claim is committed, and no request was made: nothing else is ever sent under that counter."""
    downlink_id = desk.put_in(1, dev_eui=device.dev_eui, payload=CLEAR)
    never = Never()
    dead = Dispatcher(
        desk.engine, desk.keyring, lambda: desk.now, desk.http, makers={"thingpark": lambda _settings: never}
    )
    dead.step()
    stored = bytes(desk.row(downlink_id).frm_payload)
    assert (desk.state(downlink_id), lrc.asked) == ("sending", [])

    desk.now += LEASE
    desk.work(lambda: desk.state(downlink_id) == "accepted")

    assert bytes.fromhex(lrc.asked[0].parameters["Payload"]) == stored
    assert uses(desk.engine) == [40]
    never.end.set()


def test_the_database_refuses_a_counter_that_was_given_out(engine, now):
    with write(engine) as connection:
        lock_lane(connection, b"lane")
        use_counter(connection, b"lane", 7, 1, now)

    with pytest.raises(IntegrityError), write(engine) as connection:
        use_counter(connection, b"lane", 7, 2, now)


def test_what_is_rolled_back_was_not_given_out(engine, now):
    frame_key = FrameKey(1, ADDRESS, KEY, None, None)

    def give_and_fail():
        with write(engine) as connection:
            encrypt_downlink(connection, now, 1, CLEAR, frame_key)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        give_and_fail()

    with write(engine) as connection:
        assert encrypt_downlink(connection, now, 2, CLEAR, frame_key).f_cnt_down == 0


def test_a_key_stream_comes_to_its_end(engine, now):
    with write(engine) as connection:
        lane = lane_of(KEY, ADDRESS)
        lock_lane(connection, lane)
        use_counter(connection, lane, 2**32 - 1, 1, now)
        frame_key = FrameKey(1, ADDRESS, KEY, None, None)

        assert encrypt_downlink(connection, now, 2, CLEAR, frame_key) is None


def test_a_free_counter_is_found_behind_many_used_ones(engine, now):
    rows = [{"lane": b"lane", "f_cnt_down": number, "downlink_id": 1, "used_at": now} for number in range(1700)]
    with write(engine) as connection:
        connection.execute(insert(downlink_counter_uses), [row for row in rows if row["f_cnt_down"] != 1200])

    with read(engine) as connection:
        assert find_free_counter(connection, b"lane", 0) == 1200
        assert find_free_counter(connection, b"lane", 1201) == 1700
        assert find_free_counter(connection, b"lane", 5000) == 5000
        assert find_free_counter(connection, b"other", 0) == 0


def test_many_at_once_are_never_given_the_same_counter(engine, now):
    frame_key = FrameKey(1, ADDRESS, KEY, 5, now)
    given, faults = [], []

    def take(worker):
        try:
            for number in range(25):
                with write(engine) as connection:
                    given.append(encrypt_downlink(connection, now, worker * 100 + number, CLEAR, frame_key).f_cnt_down)
        except Exception as exc:  # noqa: BLE001 - told by the test
            faults.append(exc)

    threads = [threading.Thread(target=take, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert not faults
    assert sorted(given) == list(range(5, 105))


def test_two_dispatchers_at_one_device_use_each_counter_once(desk, device, lrc):
    for number in range(20):
        desk.put_in(1, dev_eui=device.dev_eui, payload=bytes([number]))

    def run():
        dispatcher = Dispatcher(desk.engine, desk.keyring, lambda: desk.now, desk.http)
        desk.settle(dispatcher)
        dispatcher.finish()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    desk.settle()

    assert [opened(asked, device) for asked in lrc.asked] == [bytes([number]) for number in range(20)]
    assert [counter_of(asked) for asked in lrc.asked] == list(range(40, 60))
    with read(desk.engine) as connection:
        assert connection.scalar(select(func.count()).select_from(downlink_counter_uses)) == 20


def test_a_lane_is_of_the_key_and_the_address():
    other = parse_dev_addr("04AB12CE")

    assert len({lane_of(KEY, ADDRESS), lane_of(KEY, other), lane_of(AesKey(bytes(16)), ADDRESS)}) == 3
    assert len(lane_of(KEY, ADDRESS)) == 16


def test_nothing_secret_is_in_the_events(desk, device, lrc):
    lrc.replies = [ACCEPTED]
    downlink_id = desk.put_in(1, dev_eui=device.dev_eui, payload=CLEAR)

    desk.settle()

    told = " ".join(str(tuple(event)) for event in desk.events(downlink_id))
    assert CLEAR.hex() not in told.lower()
    assert device.app_s_key.reveal().hex() not in told.lower()


class CountingLrc:
    """Takes a frame whose counter comes next or a little later, as a network does, and loses some of its answers."""

    def __init__(self, seed, first, *, has_frames_of_its_own):
        self.has_frames_of_its_own = has_frames_of_its_own
        self.random = Random(seed)  # noqa: S311 - repeatable on purpose
        self.following = first
        self.taken = []

    def answer(self, asked):
        fate = self.random.random()
        if fate < 0.1:
            return Reply(503, b"")
        if fate < 0.15:
            return LOST  # before it looked
        counter, dev_eui = counter_of(asked), asked.parameters["DevEUI"]
        expected = self.following[dev_eui]
        if counter < expected:
            return refusal(f"Downlink counter value already used. Expected={expected}")
        if counter > expected + 5:
            return refusal(f"Downlink counter value increment too large. Expected={expected}")
        self.following[dev_eui] = counter + 1
        if self.has_frames_of_its_own and self.random.random() < 0.3:
            self.following[dev_eui] += self.random.choice((1, 9))
        self.taken.append(asked)
        return LOST if fate < 0.45 else ACCEPTED


@pytest.mark.parametrize(("seed", "has_frames_of_its_own"), [(1, False), (2, False), (3, True)])
def test_whatever_is_lost_each_is_taken_once_in_order_and_under_a_counter_of_its_own(
    field, desk, network, lrc, seed, has_frames_of_its_own
):
    """A network with frames of its own may have used a counter that was lost on the way: then none is sent twice."""
    sessions = {}
    for number in range(3):
        device = network.add_device()
        device.f_cnt_down = 10 * number
        field.take_and_read(network.uplink(device))
        sessions[device.dev_eui] = device
    first = {dev_eui: device.f_cnt_down for dev_eui, device in sessions.items()}
    model = CountingLrc(seed, first, has_frames_of_its_own=has_frames_of_its_own)
    lrc.answer = model.answer
    for number in range(10):
        for dev_eui in sessions:
            desk.put_in(1, dev_eui=dev_eui, payload=bytes([number] * 20))
    desk.dispatcher()

    def is_over():
        desk.wait(seconds=20)
        return set(desk.states()) == {"accepted"}

    desk.work(is_over)

    for dev_eui, device in sessions.items():
        heard = [opened(asked, device) for asked in model.taken if asked.parameters["DevEUI"] == dev_eui]
        assert heard == sorted(set(heard))
        assert has_frames_of_its_own or len(heard) == 10
    under = {}
    for asked in lrc.asked:
        stream = asked.parameters["DevEUI"], counter_of(asked)
        assert under.setdefault(stream, asked.parameters["Payload"]) == asked.parameters["Payload"]
