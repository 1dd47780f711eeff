"""The ledger of downlinks: what is taken, what is refused and why, and what becomes of what was taken."""

from __future__ import annotations

import json
import threading
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from receiver.codecs.values import Signature
from receiver.errors import ConflictError, NotFoundError
from receiver.services.connections import remove_connection
from receiver.services.devices import set_device_name
from receiver.services.downlink_checks import DownlinkRefusedError, DownlinkWish
from receiver.services.downlink_encoding import ObjectEncoder
from receiver.services.downlink_views import get_downlink, list_downlinks
from receiver.services.downlinks import MOST_QUEUED, cancel, expire_due
from receiver.services.event_contents import EventFilter
from receiver.services.event_pages import read_event_page
from receiver.storage.downlink_events import DownlinkState
from receiver.storage.downlink_tables import downlink_keys, downlinks
from receiver.storage.downlinks import DownlinkFilter, count_downlinks_by_state
from receiver.storage.engine import read, write
from receiver.storage.events import EventKind
from tests.integration.api_use import DEVICE, OTHER_DEVICE
from tests.integration.downlink_ledger_use import Ledger


@pytest.fixture
def encoder():
    with ObjectEncoder() as encoder:
        yield encoder


@pytest.fixture
def ledger(field, encoder):
    return Ledger(field, encoder)


@pytest.fixture
def refused(ledger):
    """Give a function that asks for something, and gives the field and the sentence that it is refused with."""

    def ask(**members):
        with pytest.raises(DownlinkRefusedError) as caught:
            ledger.put(**members)
        assert str(caught.value).endswith(".")
        assert ledger.states() == []
        return caught.value.field, str(caught.value)

    return ask


# --- what is taken


def test_a_downlink_is_queued_by_the_connection_that_heard_the_device_last(ledger):
    downlink = ledger.put(payload=b"\x01\x02", f_port=10, reference="valve 7").downlink

    assert (downlink.dev_eui, downlink.connection, downlink.f_port) == (DEVICE, "field", 10)
    assert (downlink.payload_hex, downlink.reference, downlink.created_by) == ("0102", "valve 7", "api-key one")
    assert (downlink.state, downlink.attempts, downlink.due_at) == ("queued", 0, ledger.now)
    assert [event.state for event in downlink.events] == ["queued"]
    assert downlink.warnings == []
    assert get_downlink(ledger.engine, downlink.id) == downlink


def test_a_correlation_id_is_written_with_sixteen_digits(ledger):
    assert ledger.put(correlation_id=0xABC).downlink.correlation_id == "0000000000000ABC"
    assert ledger.put(correlation_id=2**64 - 1).downlink.correlation_id == "F" * 16


def test_a_downlink_is_not_due_before_it_may_be_sent(ledger):
    later = ledger.now + timedelta(hours=2)

    assert ledger.put(not_before=later).downlink.due_at == later
    assert ledger.put(not_before=timedelta(hours=2)).downlink.due_at == later
    assert ledger.put(not_before=ledger.now - timedelta(hours=2)).downlink.due_at == ledger.now


def test_a_flush_alone_has_neither_payload_nor_port(ledger):
    downlink = ledger.put(flush=True).downlink

    assert (downlink.payload_hex, downlink.f_port, downlink.flush) == (None, None, True)


def test_a_named_connection_carries_also_what_another_heard(ledger):
    ledger.add_connection("other")

    assert ledger.put(connection="other").downlink.connection == "other"


def test_a_device_that_was_not_heard_gets_it_by_a_named_connection_and_with_a_warning(ledger):
    downlink = ledger.put(dev_eui=OTHER_DEVICE, connection="field", confirmed=True).downlink

    assert downlink.dev_eui == OTHER_DEVICE
    assert ["multicast" in warning.lower() for warning in downlink.warnings] == [True, True]
    assert downlink.events[0].detail == "\n".join(downlink.warnings)


@pytest.mark.parametrize(
    ("spreading_factor", "size", "told"),
    [
        (12, 51, None),
        (12, 52, "SF12"),
        (10, 52, "SF10"),
        (9, 115, "faster uplink only"),
        (9, 116, "SF9"),
        (7, 51, None),
        (7, 52, "faster uplink only"),
        (7, 222, "faster uplink only"),
        (7, 223, "no data rate"),
        (None, 52, "faster uplink only"),
        (None, 250, "no data rate"),
    ],
)
def test_a_size_that_the_last_data_rate_does_not_carry_is_warned_of_and_not_refused(
    ledger, spreading_factor, size, told
):
    ledger.hear_at(spreading_factor)

    downlink = ledger.put(payload=bytes(size), f_port=1).downlink

    assert len(downlink.warnings) == (0 if told is None else 1)
    assert told is None or told in downlink.warnings[0]
    assert get_downlink(ledger.engine, downlink.id).warnings == downlink.warnings


# --- what is refused


@pytest.mark.parametrize(
    ("wrong", "members"),
    [
        ("f_port", {"f_port": 0}),
        ("f_port", {"f_port": 224}),
        ("f_port", {"f_port": -1}),
        ("f_port", {"payload": b"\x01", "f_port": None}),
        ("f_port", {"flush": True, "f_port": 4}),
        ("confirmed", {"flush": True, "confirmed": True}),
        ("payload_hex", {"payload": b""}),
        ("payload_hex", {"payload": bytes(251)}),
        ("payload_hex", {"flush": False}),
        ("object", {"payload": b"\x01", "object": {}}),
        ("priority", {"priority": 101}),
        ("priority", {"priority": -101}),
        ("reference", {"reference": ""}),
        ("reference", {"reference": "x" * 129}),
        ("reference", {"reference": "two\nlines"}),
        ("expires_at", {"expires_at": timedelta(0)}),
        ("not_before", {"not_before": timedelta(hours=2), "expires_at": timedelta(hours=1)}),
        ("expires_at", {"expires_at": timedelta(days=3_000_000)}),
        ("dev_eui", {"dev_eui": OTHER_DEVICE}),
        ("connection", {"connection": "nowhere"}),
        ("Idempotency-Key", {"key": ""}),
        ("Idempotency-Key", {"key": "k" * 129}),
        ("Idempotency-Key", {"key": "schlüssel"}),
    ],
    ids=str,
)
def test_what_cannot_be_sent_is_refused_by_the_name_of_the_field(refused, wrong, members):
    assert refused(**members)[0] == wrong


def test_a_time_that_is_over_is_refused(ledger, refused):
    field, sentence = refused(expires_at=ledger.now - timedelta(seconds=1))

    assert field == "expires_at"
    assert "2026-11-20T11:59:59Z" in sentence


def test_a_connection_without_a_downlink_url_is_refused_with_what_to_do(ledger, refused):
    ledger.set_url("field", None)

    field, sentence = refused()

    assert field == "connection"
    assert "receiver connection downlinks field --url" in sentence


def test_a_device_whose_connection_was_removed_needs_one_named(ledger, refused):
    ledger.add_connection("other")
    remove_connection(ledger.engine, "field")

    assert refused()[0] == "connection"
    assert ledger.put(connection="other").is_new


def test_a_connection_that_is_removed_meanwhile_is_told_of(ledger, encoder, refused):
    class Remover:
        """Encodes as ever; while it does, the connection is removed."""

        def encode(self, *arguments):
            remove_connection(ledger.engine, "field")
            return encoder.encode(*arguments)

    ledger.assign()
    ledger.encoder = Remover()

    assert refused(object={"open": True}) == ("connection", "Connection field was removed just now; give another.")


def test_a_device_has_so_many_queued_and_no_more(ledger):
    first = ledger.put_id()
    with write(ledger.engine) as tx:
        row = tx.execute(select(downlinks).where(downlinks.c.id == first)).one()._asdict()
        del row["id"]
        rows = [{**row, "correlation_id": f"copy {number}"} for number in range(MOST_QUEUED - 1)]
        tx.execute(downlinks.insert(), rows)

    with pytest.raises(DownlinkRefusedError, match=f"{MOST_QUEUED} downlinks are queued") as caught:
        ledger.put()

    assert caught.value.by_state
    assert ledger.put(dev_eui=OTHER_DEVICE, connection="field").is_new


# --- objects


def test_an_object_is_encoded_by_the_codec_which_chooses_the_port(ledger):
    ledger.assign()

    downlink = ledger.put(object={"open": True, "slow": True}).downlink

    assert (downlink.payload_hex, downlink.f_port) == ("01", 15)
    assert (downlink.object, downlink.codec.partition("@")[0]) == ({"open": True, "slow": True}, "valve")
    assert downlink.warnings == ["it takes a minute."]


def test_an_object_is_encoded_by_the_codec_of_the_port_that_is_asked_for(ledger):
    ledger.assign(f_port=15)

    assert ledger.put(object={"open": False}, f_port=15).downlink.payload_hex == "00"


@pytest.mark.parametrize(
    ("wrong", "told", "members"),
    [
        ("object", "open must be true or false", {"object": {"open": "wide"}}),
        ("f_port", "puts this on FPort 15", {"object": {"open": True}, "f_port": 16}),
        ("f_port", "224", {"object": {"open": True, "port": 224}}),
        ("object", "plain JSON", {"object": {"open": float("nan")}}),
    ],
)
def test_an_object_that_the_codec_makes_nothing_of_is_refused_in_its_words(ledger, refused, wrong, told, members):
    ledger.assign()

    found, sentence = refused(**members)

    assert found == wrong
    assert told in sentence


@pytest.mark.parametrize(
    ("script", "signature", "wrong"),
    [
        ("function decodeUplink() { return {data: {}} }", Signature.LORA_ALLIANCE, "object"),
        ("function encodeDownlink() { return {bytes: [], fPort: 1} }", Signature.LORA_ALLIANCE, "object"),
        ("function encodeDownlink() { for (;;) {} }", Signature.LORA_ALLIANCE, "object"),
        ("function Encoder(object, port) { return [1] }", Signature.TTN, "f_port"),
        ("", Signature.CAYENNE_LPP, "object"),
    ],
    ids=["no encoder", "no bytes", "no end", "no port", "built in"],
)
def test_a_codec_that_cannot_encode_is_told_of(ledger, refused, script, signature, wrong):
    ledger.assign(script, signature=signature)

    assert refused(object={"open": True})[0] == wrong


def test_an_object_for_a_device_without_a_codec_is_refused_with_what_to_do(refused):
    field, sentence = refused(object={"open": True})

    assert field == "object"
    assert "receiver codec assign" in sentence


# --- the same again


def test_the_same_again_with_the_same_key_is_the_first_downlink(ledger):
    first = ledger.put(key="k", reference="a")

    again = ledger.put(key="k", reference="a")

    assert (first.is_new, again.is_new) == (True, False)
    assert again.downlink == first.downlink
    assert ledger.states() == ["queued"]


def test_another_wish_with_the_same_key_is_a_conflict_that_names_the_first(ledger):
    first = ledger.put_id(key="k", priority=1)

    with pytest.raises(ConflictError, match=f"downlink {first}"):
        ledger.put(key="k", priority=2)

    assert ledger.states() == ["queued"]


def test_the_key_of_another_creator_is_another_key(ledger):
    ledger.put(key="k", creator="api-key one")

    assert ledger.put(key="k", creator="api-key two").is_new


def test_a_key_stands_for_the_first_downlink_also_when_that_could_not_be_asked_for_any_more(ledger):
    expires_at = ledger.now + timedelta(minutes=1)
    first = ledger.put_id(key="k", expires_at=expires_at)
    ledger.field.wait(hours=1)
    expire_due(ledger.engine, ledger.now)
    ledger.set_url("field", None)

    again = ledger.put(key="k", expires_at=expires_at)

    assert (again.downlink.id, again.downlink.state) == (first, "expired")


def test_a_refused_wish_leaves_its_key_free(ledger):
    with pytest.raises(DownlinkRefusedError):
        ledger.put(key="k", dev_eui=OTHER_DEVICE)

    assert ledger.put(key="k").is_new


def test_two_at_the_same_time_with_the_same_key_are_one_downlink(ledger):
    barrier, done = threading.Barrier(4), []

    def put():
        barrier.wait(10)
        done.append(ledger.put(key="k"))

    run_at_once(put, times=4)

    assert sorted(one.is_new for one in done) == [False, False, False, True]
    assert len({one.downlink.id for one in done}) == 1
    assert ledger.states() == ["queued"]


def run_at_once(*runs, times=1):
    threads = [threading.Thread(target=run) for run in runs * times]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


# --- taken back, replaced, expired


def test_what_is_queued_can_be_taken_back(ledger):
    downlink_id = ledger.put_id()

    cancelled = cancel(ledger.engine, ledger.now, downlink_id, by="api-key one")

    assert (cancelled.state, cancelled.cause, cancelled.due_at) == ("cancelled", "cancelled", None)
    assert "api-key one" in cancelled.detail
    assert ledger.steps(downlink_id) == ["queued", "cancelled"]


@pytest.mark.parametrize("state", [state for state in DownlinkState if state != "queued"])
def test_what_is_not_queued_any_more_cannot_be_taken_back_and_it_is_said_where_it_stands(ledger, state):
    downlink_id = ledger.put_id()
    ledger.bring(downlink_id, state)

    with pytest.raises(ConflictError, match=f"Downlink {downlink_id} cannot be cancelled: .+\\."):
        cancel(ledger.engine, ledger.now, downlink_id, by="me")

    assert ledger.states() == [state]


@pytest.mark.parametrize("downlink_id", [0, 99, -1, 2**63, 10**30])
def test_what_is_not_there_cannot_be_taken_back_or_shown(ledger, downlink_id):
    with pytest.raises(NotFoundError):
        cancel(ledger.engine, ledger.now, downlink_id, by="me")
    with pytest.raises(NotFoundError):
        get_downlink(ledger.engine, downlink_id)


def test_of_a_claim_and_a_cancel_at_the_same_time_one_wins(ledger):
    for _ in range(8):
        downlink_id = ledger.put_id()
        barrier, won = threading.Barrier(2), []

        def claim(downlink_id=downlink_id, barrier=barrier, won=won):
            barrier.wait(10)
            if ledger.claim(downlink_id):
                won.append("sending")

        def take_back(downlink_id=downlink_id, barrier=barrier, won=won):
            barrier.wait(10)
            try:
                cancel(ledger.engine, ledger.now, downlink_id, by="me")
            except ConflictError:
                return
            won.append("cancelled")

        run_at_once(claim, take_back)

        assert won == [get_downlink(ledger.engine, downlink_id).state]
        assert ledger.steps(downlink_id) == ["queued", *won]


def test_replace_cancels_what_is_queued_of_the_device_and_nothing_else(ledger):
    sending, waiting, tried = (ledger.put_id() for _ in range(3))
    other = ledger.put_id(dev_eui=OTHER_DEVICE, connection="field")
    ledger.bring(sending, "sending")
    ledger.bring(tried, "queued", attempts=2)

    done = ledger.put(replace=True)

    assert done.replaced_ids == (waiting, tried)
    assert ledger.states() == ["sending", "cancelled", "cancelled", "queued", "queued"]
    assert get_downlink(ledger.engine, waiting).cause == "replaced"
    assert str(done.downlink.id) in get_downlink(ledger.engine, waiting).detail
    assert get_downlink(ledger.engine, other).state == "queued"


def test_replace_cancels_nothing_if_the_new_one_cannot_be_put_in(ledger):
    ledger.put(correlation_id=7)

    with pytest.raises(IntegrityError):
        ledger.put(replace=True, correlation_id=7)

    assert ledger.states() == ["queued"]


def test_replace_with_the_same_key_again_cancels_nothing(ledger):
    ledger.put(replace=True, key="k")

    again = ledger.put(replace=True, key="k")

    assert (again.is_new, again.replaced_ids) == (False, ())
    assert ledger.states() == ["queued"]


def test_what_is_queued_expires_when_its_time_is_over(ledger):
    soon, later, never = (ledger.put_id(expires_at=when) for when in (timedelta(minutes=1), timedelta(hours=1), None))
    sent = ledger.put_id(expires_at=timedelta(minutes=1))
    ledger.bring(sent, "accepted")
    assert expire_due(ledger.engine, ledger.now) == 0
    ledger.field.wait(minutes=1)

    assert expire_due(ledger.engine, ledger.now) == 1

    assert ledger.states() == ["expired", "queued", "queued", "accepted"]
    expired = get_downlink(ledger.engine, soon)
    assert (expired.cause, expired.due_at, ledger.steps(soon)) == ("expired", None, ["queued", "expired"])
    assert ledger.steps(later) == ledger.steps(never) == ["queued"]


def test_what_expires_is_moved_so_many_at_once(ledger):
    for _ in range(3):
        ledger.put(expires_at=timedelta(minutes=1))
    ledger.field.wait(hours=1)

    assert [expire_due(ledger.engine, ledger.now, 2) for _ in range(3)] == [2, 1, 0]


# --- lists


def test_a_list_has_what_is_asked_for_newest_first(ledger):
    ledger.add_connection("other")
    one = ledger.put_id(reference="a")
    ledger.field.wait(minutes=1)
    two = ledger.put_id(connection="other")
    ledger.field.wait(minutes=1)
    three = ledger.put_id(dev_eui=OTHER_DEVICE, connection="field", reference="a")
    ledger.bring(one, "sending")

    def ids(**wanted):
        return [row.id for row in list_downlinks(ledger.engine, DownlinkFilter(**wanted), limit=10)]

    assert ids() == [three, two, one]
    assert ids(dev_eui=DEVICE) == [two, one]
    assert ids(connection="field") == [three, one]
    assert ids(reference="a") == [three, one]
    assert ids(state=DownlinkState.QUEUED) == [three, two]
    assert ids(since=ledger.now) == [three]
    assert ids(until=ledger.now) == [two, one]
    assert ids(state=DownlinkState.QUEUED, connection="field") == [three]
    assert ids(reference="b") == []
    with read(ledger.engine) as tx:
        counts = count_downlinks_by_state(tx)
    assert {state.value: number for state, number in counts.items() if number} == {"queued": 2, "sending": 1}


def test_a_key_goes_with_its_downlink(ledger):
    ledger.put(key="k")
    with write(ledger.engine) as tx:
        tx.execute(downlinks.delete())

    with read(ledger.engine) as tx:
        assert tx.execute(select(downlink_keys)).all() == []


# --- what is told


def test_each_step_is_told_once_and_in_order_without_the_payload(ledger):
    set_device_name(ledger.engine, DEVICE, "Pump 3")
    downlink_id = ledger.put_id(payload=b"\xde\xad\xbe\xef", reference="r", confirmed=True)
    other = ledger.put_id(payload=b"\xde\xad\xbe\xef", replace=True)
    cancel(ledger.engine, ledger.now, other, by="me")

    page = read_event_page(ledger.engine, 0, EventFilter(kinds=frozenset({EventKind.DOWNLINK})))

    told = [json.loads(content.body) for content in page.contents]
    assert [(one["data"]["id"], one["data"]["state"]) for one in told] == [
        (downlink_id, "queued"),
        (downlink_id, "cancelled"),
        (other, "queued"),
        (other, "cancelled"),
    ]
    first = told[0]
    assert first["type"] == "downlink"
    assert first["data"] == {
        "id": downlink_id,
        "dev_eui": DEVICE,
        "device": "Pump 3",
        "connection": "field",
        "f_port": 10,
        "confirmed": True,
        "flush": False,
        "reference": "r",
        "state": "queued",
        "at": "2026-11-20T12:00:00Z",
        "cause": None,
        "detail": None,
    }
    assert all(b"deadbeef" not in content.body.lower() for content in page.contents)
    assert {content.connection for content in page.contents} == {"field"}


def test_a_step_can_be_filtered_by_port_and_device(ledger):
    ledger.put(f_port=10)
    ledger.put(f_port=11)

    page = read_event_page(
        ledger.engine, 0, EventFilter(kinds=frozenset({EventKind.DOWNLINK}), f_ports=frozenset({11}))
    )

    assert [content.f_port for content in page.contents] == [11]


def test_nothing_of_a_payload_is_in_what_is_printed_of_values(ledger):
    wish = DownlinkWish(DEVICE, f_port=1, payload=b"\xde\xad\xbe\xef")
    downlink = ledger.put(payload=wish.payload).downlink

    for printed in (repr(wish), str(wish), repr(downlink), str(downlink)):
        assert "deadbeef" not in printed
        assert "\\xde" not in printed


def test_a_multicast_group_takes_unconfirmed_downlinks_only(ledger, refused):
    group = ledger.network.add_device(dev_eui=OTHER_DEVICE)
    ledger.field.take_and_read(ledger.network.multicast_summary(group))

    field, sentence = refused(dev_eui=OTHER_DEVICE, confirmed=True)

    assert field == "confirmed"
    assert "multicast group" in sentence
