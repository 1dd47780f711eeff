"""Causes of delivery in words, and the reports of downlinks, typed."""

from __future__ import annotations

import json

import pytest

from receiver.errors import ReportUnreadableError
from receiver.thingpark.body import parse_body
from receiver.thingpark.delivery_causes import (
    describe_cause,
    describe_distribution,
    describe_failure,
    describe_sent,
    gist_of_causes,
)
from receiver.thingpark.downlink_reports import DownlinkRejectedReport, DownlinkSentReport, MulticastSummaryReport
from receiver.thingpark.reports import read_raw_report

DEV_EUI = "20635F0000000001"
CODES = [*(f"A{digit}" for digit in range(7)), "B0", "C0", "D0", *(f"D{letter}" for letter in "ABCDEF")]
CODES += [f"E{digit}" for digit in range(5)]


def read(kind, **members):
    report, notes = read_raw_report(json.dumps({kind: {"DevEUI": DEV_EUI} | members}).encode())
    return report, notes.sentence()


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_words(code):
    words = describe_cause(code.lower())

    assert words.endswith(f" ({code})")
    assert len(words) > 15


def test_a_new_code_is_told_by_its_family_and_a_strange_one_as_it_is():
    assert describe_cause("D7") == "duty cycle or the gateway forbade it (D7)"
    assert describe_cause("77") == "cause 77"
    assert describe_cause("<script>") == "an unreadable cause"


def test_a_failure_names_each_slot_that_failed():
    text = describe_failure(("A3", "DA", "00", None))

    assert "first receive window, the gateway's radio was busy (A3)" in text
    assert "second receive window, the duty cycle" in text
    assert "ping slot" not in text


@pytest.mark.parametrize("causes", [(), (None, None), ("00", "00", "00")])
def test_a_failure_without_causes_says_so(causes):
    assert describe_failure(causes) == "The network could not transmit it, and did not say why."
    assert gist_of_causes(causes) == "failed"


def test_the_gist_is_a_word_for_machines():
    assert gist_of_causes(("c0", "DA", "00", None)) == "failed-C0-DA"


@pytest.mark.parametrize(
    ("slot", "words"),
    [
        (1, "A gateway transmitted it in the first receive window."),
        (2, "A gateway transmitted it in the second receive window."),
        (3, "A gateway transmitted it in the ping slot."),
        (4, "A gateway transmitted it in the relay's window."),
        (0, "A gateway transmitted it."),
        (None, "A gateway transmitted it."),
    ],
)
def test_the_slot_is_told(slot, words):
    assert describe_sent(slot) == words


def test_a_distribution_is_told_gateway_by_gateway():
    words = describe_distribution("A3=2, D0=7,DC=3,DD=0,?,=,A1=x")

    assert words is not None
    assert words.count("×") == 3
    assert words.startswith("2 × the gateway's radio was busy (A3), 7 × ")
    assert describe_distribution("") is None
    assert describe_distribution(",".join(["A3=1"] * 5000)).count("×") == 40


# --- the reports


@pytest.mark.parametrize("spell", [lambda number: number, str])
def test_a_sent_report_is_typed(spell):
    report, fault = read(
        "DevEUI_downlink_Sent",
        Time="2026-09-06T10:18:55.268+02:00",
        FPort=spell(3),
        FCntDn=spell(5),
        CorrelationID="6cf1bf9a3dbd4821",
        DeliveryStatus=spell(1),
        TransmissionSlot=spell(2),
        DeliveryFailedCause1="C0",
        DeliveryFailedCause2="00",
        DeliveryFailedCause3="00",
    )

    assert isinstance(report, DownlinkSentReport)
    assert report.heading.dev_eui == DEV_EUI
    assert report[1:] == (3, 5, "6CF1BF9A3DBD4821", True, 2, ("C0", "00", "00", None))
    assert fault is None


def test_a_cause_of_zero_may_be_a_number():
    report, fault = read("DevEUI_downlink_Sent", DeliveryStatus=0, DeliveryFailedCause1="A3", DeliveryFailedCause2=0)

    assert (report.causes[:2], report.is_sent, fault) == (("A3", "00"), False, None)


def test_the_counter_of_lorawan_1_1_is_taken_too():
    assert read("DevEUI_downlink_Sent", AFCntDn=7)[0].f_cnt_down == 7


def test_odd_values_of_a_sent_report_are_noted():
    report, fault = read(
        "DevEUI_downlink_Sent", FPort="?", FCntDn=-1, CorrelationID="xyz", DeliveryStatus=7, DeliveryFailedCause1="!!"
    )

    assert report[1:] == (None, None, None, None, None, (None, None, None, None))
    for name in ("FPort", "FCntDn", "CorrelationID", "DeliveryStatus", "DeliveryFailedCause1"):
        assert name in fault


def test_a_rejected_report_is_typed():
    report, fault = read(
        "DevEUI_downlink_Rejected",
        FPort=1,
        DeliveryStatus=350,
        DownlinkRejectionCause="Downlink counter value already used. Expected=1238",
    )

    assert isinstance(report, DownlinkRejectedReport)
    assert report[1:] == (1, None, 350, "Downlink counter value already used. Expected=1238")
    assert fault is None


def test_a_multicast_summary_is_typed():
    report, fault = read(
        "DevEUI_multicast_summary",
        FPort=2,
        FCntDn=11,
        TransmissionStatus="Aborted",
        LrrCnt=93,
        LrrSuccessCnt=86,
        LrrFailedCnt=7,
        LrrFailedDistribution="A3=2,D0=5",
        CorrelationID="4434704901C7450B",
    )

    assert isinstance(report, MulticastSummaryReport)
    assert report[1:] == (2, 11, "4434704901C7450B", "ABORTED", 93, 86, 7, "A3=2,D0=5")
    assert fault is None


@pytest.mark.parametrize("kind", ["DevEUI_downlink_Sent", "DevEUI_downlink_Rejected", "DevEUI_multicast_summary"])
def test_one_that_names_no_device_is_unreadable(kind):
    with pytest.raises(ReportUnreadableError):
        read_raw_report(json.dumps({kind: {"FPort": 1}}).encode())


@pytest.mark.shared
def test_the_published_ones_are_read(shared):
    kinds = set()
    for path in sorted((shared / "examples" / "reports").glob("*downlink*")):
        report, _ = read_raw_report(path.read_bytes())
        assert parse_body(path.read_bytes()).kind == report.heading.kind
        kinds.add(type(report))

    assert DownlinkSentReport in kinds
