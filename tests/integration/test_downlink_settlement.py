"""What the network and the device report of a downlink settles it, whenever and however often it comes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import update

from receiver.http_client import HttpBounds, HttpClient
from receiver.services.downlink_dispatch import UNDER_WAY
from receiver.storage.engine import write
from receiver.storage.tables import connections, devices, reports
from tests.integration.dispatch_use import Desk
from tests.integration.lrc_server import Lrc
from tests.integration.reading_field import changed


@pytest.fixture
def lrc():
    lrc = Lrc().start()
    yield lrc
    lrc.stop()


@pytest.fixture
def desk(field, engine, keyring, now, lrc):
    with HttpClient(bounds=HttpBounds(connect_s=2.0, whole_s=10.0, at_once=UNDER_WAY)) as http:
        desk = Desk(engine, keyring, now, http, lrc)
        yield desk
        lrc.unblock()
        desk.close()


@pytest.fixture
def network(field, lrc):
    network = field.connect()
    with write(field.engine) as connection:
        connection.execute(update(connections).values(downlink_url=lrc.url))
    return network


@pytest.fixture
def device(field, network):
    device = network.add_device()
    field.take_and_read(network.uplink(device))
    return device


@pytest.fixture
def put_in(desk, device):
    """Put one in for the device and let it be accepted; give its id."""

    def put_in(**columns):
        downlink_id = desk.put_in(1, dev_eui=device.dev_eui, **columns)
        desk.settle()
        return downlink_id

    return put_in


@pytest.fixture
def sent(desk, network, device):
    """Give the report that a downlink was sent."""

    def sent(downlink_id, *, slot=1, without=(), **members):
        row = desk.row(downlink_id)
        push = network.downlink_sent(device, f_port=row.f_port, slot=slot, correlation_id=row.correlation_id)
        return changed(network, push, without, **members)

    return sent


# --- sent or not


def test_a_sent_one_is_settled_with_the_slot_in_words(field, desk, put_in, sent):
    downlink_id = put_in()

    field.take_and_read(sent(downlink_id, slot=2, Time="2026-11-20T13:00:07.500+01:00", FCntDn=9))

    row = desk.row(downlink_id)
    assert (row.state, row.cause, row.due_at, row.f_cnt_down) == ("sent", None, None, 9)
    assert row.detail == "A gateway transmitted it in the second receive window."
    assert row.sent_at.isoformat() == "2026-11-20T12:00:07.500000+00:00"
    assert desk.events(downlink_id)[-1].report_id == field.rows(reports)[-1].id


def test_one_that_could_not_be_sent_has_failed_and_says_why(field, desk, put_in, sent):
    downlink_id = put_in()

    field.take_and_read(sent(downlink_id, slot=0, DeliveryFailedCause1="A3", DeliveryFailedCause2="DA"))

    row = desk.row(downlink_id)
    assert (row.state, row.cause) == ("failed", "failed-A3-DA")
    assert "radio was busy (A3)" in row.detail
    assert "duty cycle" in row.detail


def test_a_rejected_one_is_refused_and_says_why(field, desk, network, device, put_in):
    downlink_id = put_in()
    correlation_id = desk.row(downlink_id).correlation_id

    field.take_and_read(
        network.downlink_rejected(device, f_port=10, cause="Invalid LoRa port", correlation_id=correlation_id)
    )

    assert (desk.state(downlink_id), desk.row(downlink_id).cause) == ("refused", "invalid-f-port")


def test_a_rejection_in_unknown_words_keeps_the_words(field, desk, network, device, put_in):
    downlink_id = put_in()

    field.take_and_read(network.downlink_rejected(device, f_port=10, cause="Moon in Pisces"))

    assert desk.row(downlink_id).cause == "rejected"
    assert "Moon in Pisces" in desk.row(downlink_id).detail


def test_the_report_and_the_device_stay_as_they_were(field, put_in, sent, device):
    field.take_and_read(sent(put_in()))

    row = field.rows(reports)[-1]
    assert (row.state, row.note, row.dev_eui) == ("read", None, device.dev_eui)
    assert field.count(devices) == 1


def test_a_report_of_nobodys_downlink_is_read(field, network, device):
    field.take_and_read(network.downlink_sent(device, correlation_id="F" * 16))

    assert field.rows(reports)[-1].state == "read"


def test_a_report_of_another_device_settles_nothing(field, desk, network, put_in):
    downlink_id = put_in()
    stranger = network.add_device()

    field.take_and_read(network.downlink_sent(stranger, correlation_id=desk.row(downlink_id).correlation_id))

    assert desk.state(downlink_id) == "accepted"


def test_a_report_that_does_not_say_whether_it_was_sent_settles_nothing(field, desk, put_in, sent):
    downlink_id = put_in()

    field.take_and_read(sent(downlink_id, DeliveryStatus="?"))

    assert desk.state(downlink_id) == "accepted"
    assert "DeliveryStatus" in field.rows(reports)[-1].note


# --- without CorrelationID


def test_without_an_id_the_port_and_the_counter_tell(field, desk, put_in, sent):
    first, second = put_in(), put_in()
    for downlink_id, counter in ((first, 40), (second, 41)):
        desk.set(downlink_id, f_cnt_down=counter)

    field.take_and_read(sent(second, without=["CorrelationID"], FCntDn=41))

    assert (desk.state(first), desk.state(second)) == ("accepted", "sent")


def test_without_an_id_and_a_counter_of_ours_the_oldest_with_its_port_is_meant(field, desk, put_in, sent):
    other_port, first, second = put_in(f_port=11), put_in(), put_in()

    field.take_and_read(sent(second, without=["CorrelationID"]))

    assert [desk.state(each) for each in (other_port, first, second)] == ["accepted", "sent", "accepted"]
    assert "no CorrelationID" in desk.row(first).detail


def test_a_rejection_without_an_id_is_of_the_oldest_with_its_port_whoever_chose_the_counter(
    field, desk, network, device, put_in
):
    other_port, first, second = put_in(f_port=11), put_in(), put_in()
    desk.set(first, f_cnt_down=40)

    field.take_and_read(network.downlink_rejected(device, f_port=10))

    assert [desk.state(each) for each in (other_port, first, second)] == ["accepted", "refused", "accepted"]
    assert desk.row(first).cause == "counter-used"


# --- when and how often it comes


def test_a_report_that_comes_twice_changes_nothing(field, desk, put_in, sent):
    downlink_id = put_in()
    report = sent(downlink_id)

    field.take_and_read(report)
    field.wait(seconds=2)
    field.take_and_read(sent(downlink_id))

    assert desk.steps(downlink_id) == ["queued", "sending", "accepted", "sent"]


def test_a_report_that_is_read_again_changes_nothing(field, desk, put_in, sent):
    downlink_id = put_in()
    field.take_and_read(sent(downlink_id, slot=0))
    with write(field.engine) as connection:
        connection.execute(update(reports).values(state="unread"))

    field.read()

    assert desk.steps(downlink_id)[-2:] == ["accepted", "failed"]


def test_a_report_that_comes_before_the_answer_settles_and_the_answer_is_noted(field, desk, device, lrc, sent):
    lrc.block()
    downlink_id = desk.put_in(1, dev_eui=device.dev_eui)
    desk.work(lambda: len(lrc.asked) == 1)

    field.take_and_read(sent(downlink_id))
    assert desk.state(downlink_id) == "sent"

    lrc.unblock()
    desk.settle()
    assert desk.state(downlink_id) == "sent"
    assert [event.cause for event in desk.events(downlink_id)] == [None, None, None, "late-answer"]
    assert desk.row(downlink_id).lease is None


def test_a_report_settles_one_whose_answer_was_lost(field, desk, put_in, sent):
    downlink_id = put_in()
    desk.set(downlink_id, state="unknown", due_at=field.now)

    field.take_and_read(sent(downlink_id))
    desk.settle()

    assert desk.state(downlink_id) == "sent"


def test_a_late_report_settles_what_was_unconfirmed(field, desk, put_in, sent):
    downlink_id = put_in()
    desk.wait(hours=25)
    desk.work(lambda: desk.state(downlink_id) == "unconfirmed")
    field.wait(hours=25)

    field.take_and_read(sent(downlink_id))

    assert desk.state(downlink_id) == "sent"


def test_another_report_after_the_end_is_told_and_changes_nothing(field, desk, put_in, sent):
    downlink_id = put_in()
    field.take_and_read(sent(downlink_id, slot=0))

    field.take_and_read(sent(downlink_id))

    assert desk.state(downlink_id) == "failed"
    last = desk.events(downlink_id)[-1]
    assert (last.state, last.cause) == ("failed", "late-report")
    assert "A gateway transmitted it" in last.detail


# --- acknowledged


def acknowledging(field, network, device, **members):
    return changed(network, network.empty_uplink(device), ACKbit=1, **members)


def test_an_uplink_with_ack_acknowledges_the_confirmed_one_before_it(field, desk, network, device, put_in, sent):
    downlink_id = put_in(confirmed=True)
    field.take_and_read(sent(downlink_id))
    field.wait(minutes=1)

    field.take_and_read(acknowledging(field, network, device))

    assert desk.state(downlink_id) == "acknowledged"
    assert desk.events(downlink_id)[-1].report_id == field.rows(reports)[-1].id


def test_an_uplink_without_ack_acknowledges_nothing(field, desk, network, device, put_in, sent):
    downlink_id = put_in(confirmed=True)
    field.take_and_read(sent(downlink_id))
    field.wait(minutes=1)

    field.take_and_read(network.uplink(device))

    assert desk.state(downlink_id) == "sent"


def test_an_unconfirmed_one_is_not_acknowledged(field, desk, network, device, put_in, sent):
    downlink_id = put_in()
    field.take_and_read(sent(downlink_id))
    field.wait(minutes=1)

    field.take_and_read(acknowledging(field, network, device))

    assert desk.state(downlink_id) == "sent"


def test_only_the_last_one_before_the_uplink_is_acknowledged(field, desk, network, device, put_in, sent):
    first, second, third = put_in(confirmed=True), put_in(confirmed=True), put_in(confirmed=True)
    for downlink_id in (first, second):
        field.take_and_read(sent(downlink_id))
        field.wait(minutes=1)
    ack = acknowledging(field, network, device)
    field.wait(minutes=1)

    field.take_and_read(ack)
    field.take_and_read(sent(third))

    assert [desk.state(each) for each in (first, second, third)] == ["sent", "acknowledged", "sent"]


def test_an_ack_that_is_read_before_the_sent_report_counts_too(field, desk, network, device, put_in, sent):
    downlink_id = put_in(confirmed=True)
    report = sent(downlink_id)
    field.wait(minutes=1)
    field.take_and_read(acknowledging(field, network, device))
    assert desk.state(downlink_id) == "accepted"

    field.wait(minutes=-1)
    field.take_and_read(report)

    assert desk.steps(downlink_id)[-2:] == ["sent", "acknowledged"]


def test_the_ack_of_another_device_acknowledges_nothing(field, desk, network, put_in, sent):
    downlink_id = put_in(confirmed=True)
    field.take_and_read(sent(downlink_id))
    field.wait(minutes=1)

    field.take_and_read(acknowledging(field, network, network.add_device()))

    assert desk.state(downlink_id) == "sent"


# --- multicast


def summary(desk, network, device, downlink_id, status, **members):
    push = network.multicast_summary(device, f_port=10, correlation_id=desk.row(downlink_id).correlation_id)
    return changed(network, push, TransmissionStatus=status, **members)


def test_a_multicast_may_go_on_for_a_while_and_then_succeed(field, desk, network, device, put_in):
    downlink_id = put_in()
    for succeeded in (3, 7):
        field.wait(seconds=30)
        field.take_and_read(
            summary(
                desk,
                network,
                device,
                downlink_id,
                "PARTIAL",
                LrrCnt=9,
                LrrSuccessCnt=succeeded,
                LrrFailedCnt=9 - succeeded,
                LrrFailedDistribution="A3=2",
            )
        )
        assert desk.state(downlink_id) == "accepted"
        assert f"{succeeded} of 9 gateways" in desk.row(downlink_id).detail
        assert "2 × the gateway's radio was busy (A3)" in desk.row(downlink_id).detail
        assert desk.row(downlink_id).due_at == field.now + timedelta(hours=24)

    field.take_and_read(
        summary(desk, network, device, downlink_id, "SUCCESS", LrrCnt=9, LrrSuccessCnt=9, LrrFailedDistribution="")
    )
    assert desk.steps(downlink_id)[-3:] == ["accepted", "accepted", "sent"]
    assert desk.row(downlink_id).detail == "All is transmitted: by 9 of 9 gateways."


@pytest.mark.parametrize(("succeeded", "cause"), [(86, "multicast-incomplete"), (0, "multicast-failed")])
def test_an_aborted_multicast_has_failed_and_says_how_far_it_came(
    field, desk, network, device, put_in, succeeded, cause
):
    downlink_id = put_in()

    field.take_and_read(
        summary(
            desk,
            network,
            device,
            downlink_id,
            "ABORTED",
            LrrCnt=93,
            LrrSuccessCnt=succeeded,
            LrrFailedCnt=93 - succeeded,
            LrrFailedDistribution="A3=2,DC=3",
        )
    )

    row = desk.row(downlink_id)
    assert (row.state, row.cause) == ("failed", cause)
    assert f"{succeeded} of 93 gateways" in row.detail
    assert "3 × no gateway was synchronised by GPS (DC)" in row.detail
