"""The simulated network's side of downlinks: each refusal, both versions, the queue, the air, the reports."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from receiver.errors import SettingsError
from receiver.lorawan.frm_payload import encrypt_frm_payload
from receiver.lorawan.identifiers import parse_dev_eui
from receiver.lorawan.keys import AesKey
from receiver.simulator.loopback_server import HttpRequest
from receiver.simulator.lrc import V1_PATH, V2_PATH, SimulatedLrc
from receiver.simulator.lrc_faults import LrcFault, LrcFaults
from receiver.simulator.lrc_request import LrcSecurity, compute_token, judge_security, read_query
from receiver.simulator.network import SimulatedNetwork
from receiver.thingpark.body import parse_body
from receiver.thingpark.downlink import DownlinkRequest, downlink_time, sign_downlink
from receiver.thingpark.downlink_reports import DownlinkRejectedReport, DownlinkSentReport, MulticastSummaryReport
from receiver.thingpark.reports import UplinkReport, read_report

KEY = "17d107fd47387b714d9e5aacce614233"
AS_ID = "TWA_100000001.1.AS"
NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
QUEUED = b"<html><body>Request queued by LRC</body></html>"
CORRELATION = "00000000000000AB"


class Side:
    """A network with its downlink side, and an application server that asks it, signing by itself."""

    def __init__(self, **options):
        self.now = NOW
        self.network = SimulatedNetwork(
            key=KEY, as_id=AS_ID, clock=lambda: self.now, seed=1, as_transport_key=AesKey(bytes(16))
        )
        self.lrc = SimulatedLrc(self.network, **options)
        self.clear = self.network.add_device(payloads="clear")
        self.encrypted = self.network.add_device(payloads="encrypted")
        self.class_c = self.network.add_device(payloads="clear", device_class="C")
        for device in (self.clear, self.encrypted, self.class_c):
            self.lrc.plan(device, rx2_share=0)

    def parameters(self, device=None, **changed):
        """Give those of a request that is in order, but for what is changed; None leaves one out."""
        values = {
            "DevEUI": (device or self.clear).dev_eui,
            "FPort": "10",
            "Payload": "0102",
            "AS_ID": AS_ID,
            "Time": self.now.isoformat(timespec="milliseconds"),
        }
        return {name: value for name, value in (values | changed).items() if value is not None}

    def ask(self, device=None, *, path=V1_PATH, key=KEY, token=None, **changed):
        values = self.parameters(device, **changed)
        raw = "&".join(f"{name}={value}" for name, value in values.items())
        token = hashlib.sha256((raw + key).encode()).hexdigest() if token is None else token
        wire = "&".join(f"{name}={quote(value, safe='')}" for name, value in values.items())
        return self.lrc.answer(HttpRequest("POST", path, f"{wire}&Token={token}" if token else wire, {}, b""))

    def ask_encrypted(self, payload, f_cnt_down, **changed):
        device = self.encrypted
        frame = encrypt_frm_payload(device.app_s_key, device.dev_addr, f_cnt_down, payload)
        return self.ask(device, Payload=frame.hex().upper(), FCntDn=str(f_cnt_down), **changed)

    def uplink(self, device=None, **options):
        self.now += timedelta(seconds=1)  # gateways hear it some moments before it is pushed
        push = self.network.uplink(device or self.clear, **options)
        return push, [typed(report) for report in self.lrc.after(push)]


def typed(push):
    report, _ = read_report(parse_body(push.body))
    return report


def text_of(reply):
    return reply.body.decode().removeprefix("<html><body>").removesuffix("</body></html>")


@pytest.fixture
def side():
    return Side()


@pytest.fixture
def lossy():
    return Side(faults=LrcFaults(lost=0.5), seed=3)


# --- what is taken, in both versions


def test_version_1_answers_200_with_a_sentence_in_html(side):
    reply = side.ask()
    assert (reply.status, reply.body, reply.content_type) == (200, QUEUED, "text/html")


def test_version_2_answers_202_without_a_body(side):
    reply = side.ask(path=V2_PATH)
    assert (reply.status, reply.body) == (202, b"")


def test_our_own_requests_are_taken(side):
    request = DownlinkRequest(
        side.clear.dev_eui, 10, b"\x01", confirmed=True, validity=NOW + timedelta(hours=1), correlation_id=171
    )
    for with_offset in (True, False):
        time_text = downlink_time(NOW, with_offset=with_offset)
        signed = sign_downlink(request, AS_ID, time_text, AesKey(bytes.fromhex(KEY)))
        assert side.lrc.answer(HttpRequest("POST", V2_PATH, signed.query, {}, b"")).status == 202


def test_another_path_is_not_found(side):
    assert side.ask(path="/thingpark/lrc/rest/v3/downlink").status == 404


# --- each refusal

REFUSALS = {
    "a DevEUI that is not known": (100, "Invalid DevEUI", {"DevEUI": "0200000000000099"}),
    "a DevEUI in lower case": (100, "Invalid DevEUI", {"DevEUI": "02000000000000ab"}),
    "no DevEUI": (100, "Invalid DevEUI", {"DevEUI": None}),
    "no FPort": (104, "Invalid LoRa port", {"FPort": None}),
    "FPort 0": (104, "Invalid LoRa port", {"FPort": "0"}),
    "FPort 225": (104, "Invalid LoRa port", {"FPort": "225"}),
    "no AS_ID": (105, "Security Check. AS_ID is mandatory", {"AS_ID": None}),
    "no Time": (106, "Security Check. missing timestamp", {"Time": None}),
    "another AS_ID": (107, "Security Check. bad AS_ID", {"AS_ID": "TWA_1.1.AS"}),
    "no Token": (108, "Security Check. Server Decrypt Error", {"token": ""}),
    "half a Token": (108, "Security Check. Server Decrypt Error", {"token": "ab" * 16}),
    "a Time that is none": (109, "Security Check. malformed ISO8601 time", {"Time": "20.11.2026 12:00"}),
    "a Time that no calendar has": (109, "Security Check. malformed ISO8601 time", {"Time": "2026-13-40T12:00:00Z"}),
    "a Time from too long ago": (
        110,
        "Security Check. Invalid downlink frame timestamp",
        {"Time": "2026-11-20T11:58:59.000+00:00"},
    ),
    "a Time that is yet to come": (
        110,
        "Security Check. Invalid downlink frame timestamp",
        {"Time": "2026-11-20T12:01:01.000+00:00"},
    ),
    "a Token of another key": (111, "Security Check. bad token", {"key": "00" * 16}),
    "a validity that is over": (112, "ValidityTime expired or invalid", {"ValidityTime": "2026-11-20T11:59:59Z"}),
    "a validity that is none": (112, "ValidityTime expired or invalid", {"ValidityTime": "soon"}),
    "half a byte": (113, "Payload too big or invalid size", {"Payload": "012"}),
    "no hexadecimal digits": (113, "Payload too big or invalid size", {"Payload": "GG"}),
    "more than any data rate carries": (113, "Payload too big or invalid size", {"Payload": "00" * 251}),
    "more than this data rate carries": (
        116,
        "Invalid payload size according to currents DR",
        {"Payload": "00" * 223},
    ),
    "a CorrelationID of other digits": (
        117,
        "Invalid Correlation ID. Must be a 64 bits hexadecimal value encoded as string",
        {"CorrelationID": "ab"},
    ),
    "an empty payload": (118, "Invalid payload. Must not be empty", {"Payload": ""}),
    "no payload and no flush": (118, "Invalid payload. Must not be empty", {"Payload": None, "FPort": None}),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_version_1_refuses_with_status_350_and_a_text(side, case):
    code, text, changed = REFUSALS[case]
    reply = side.ask(**changed)
    assert (reply.status, text_of(reply)) == (350, text)
    assert side.lrc.asked[-1].outcome.code == code
    assert side.lrc.queued(side.clear) == 0


@pytest.mark.parametrize("case", REFUSALS)
def test_version_2_refuses_with_409_and_a_code(side, case):
    code, _, changed = REFUSALS[case]
    reply = side.ask(path=V2_PATH, **changed)
    assert (reply.status, json.loads(reply.body)["code"]) == (409, code)


@pytest.mark.parametrize(
    ("plan", "code", "status"),
    [
        ({"may_confirm": False}, 103, 350),
        ({"is_enabled": False}, 114, 350),
        ({"has_gateway": False}, 115, 404),
        ({"bucket": 0}, 121, 350),
    ],
)
def test_what_a_plan_does_not_allow_is_refused(side, plan, code, status):
    side.lrc.plan(side.clear, **plan)
    assert side.ask(Confirmed="1").status == status
    assert side.lrc.asked[-1].outcome.code == code


def test_a_slow_data_rate_says_how_much_fits(side):
    side.lrc.plan(side.clear, data_rate=0)
    reply = side.ask(path=V2_PATH, Payload="00" * 52)
    assert json.loads(reply.body) == {
        "code": 116,
        "message": "Invalid payload size according to currents DR",
        "maxSize": 51,
        "rx2DR": 0,
    }


def test_a_token_bucket_fills_again(side):
    side.lrc.plan(side.clear, bucket=1, refill_per_s=0.1)
    assert [side.ask().status for _ in range(2)] == [200, 350]
    side.now += timedelta(seconds=10)
    assert side.ask().status == 200


def test_a_plus_sign_that_is_not_encoded_breaks_the_time(side):
    values = side.parameters()
    raw = "&".join(f"{name}={value}" for name, value in values.items())
    token = hashlib.sha256((raw + KEY).encode()).hexdigest()
    reply = side.lrc.answer(HttpRequest("POST", V1_PATH, f"{raw}&Token={token}", {}, b""))
    assert text_of(reply) == "Security Check. malformed ISO8601 time"


def test_a_time_without_an_offset_can_be_refused():
    security = LrcSecurity(AS_ID, KEY, takes_bare_time=False)
    assert text_of(Side(security=security).ask(Time="2026-11-20T12:00:00")) == "Security Check. malformed ISO8601 time"


@pytest.mark.parametrize("query", ["", "&&&", "Token", "=&=", "DevEUI=%ff%fe", "x=" + "%" * 200, "DevEUI=\x00"])
def test_whatever_is_asked_is_answered(side, query):
    assert side.lrc.answer(HttpRequest("POST", V1_PATH, query, {}, b"")).status == 350


# --- tokens that others have made


def test_the_token_of_kpns_instruction_is_computed():
    # KPN's downlink instruction, as the example of a public generator (TWTG) repeats it.
    query = (
        "DevEUI=000000000F1D8693&FPort=1&Payload=00&AS_ID=app1.sample.com&Time=2016-01-11T14%3A28%3A00.333%2B02%3A00"
    )
    token = "63a4ec6532937c9bcba109a75f731d6dc192c9df662dee56757634a8a6dc3f4c"
    assert compute_token(read_query(query), "46ab678cd45df4a4e4b375eacd096acc") == token


def test_the_token_of_actilitys_example_takes_its_key_as_printed():
    # Actility, OpenAPI of the tunnel interface 7.3, examples of Token and Time.
    query = (
        "DevEUI=000000000F1D8693&FPort=1&Payload=00&AS_ID=app1.sample.com&Time=2016-01-11T14%3A28%3A00.333%2B02%3A00"
    )
    token = "ea8f31d2299cbece8e180a3012766c4df15fe3cf2e142d9fdf4035b5894ec886"
    security = LrcSecurity("app1.sample.com", "46ab678cd45df4a4e4b375Eacd096acc", max_deviation=None)
    assert judge_security(read_query(f"{query}&Token={token}"), security, NOW) is None


@pytest.mark.shared
def test_published_tokens_are_computed(shared):
    vectors = json.loads((shared / "vectors" / "kpn.json").read_text())["vectors"]
    tokens = [vector for vector in vectors if vector["kind"] == "downlink_token"]
    assert len(tokens) >= 2
    for vector in tokens:
        key = vector["as_key"].lower() if vector["key_lowercased"] else vector["as_key"]
        computed = compute_token(read_query(vector["query_unescaped"].replace("+", "%2B")), key)
        assert (computed == vector["expected_token"]) == (vector["expect"] == "match"), vector["name"]


# --- counters


def test_a_device_whose_key_the_network_has_not_needs_a_counter(side):
    assert text_of(side.ask(side.encrypted)) == ("Payload must be provided encrypted with the downlink counter value")


def test_a_counter_that_was_used_is_told_the_next_one(side):
    side.ask_encrypted(b"one", 7)
    assert text_of(side.ask_encrypted(b"two", 7)) == "Downlink counter value already used. Expected=8"


def test_a_counter_too_far_ahead_is_told_the_next_one(side):
    reply = side.ask_encrypted(b"one", 16_384, path=V2_PATH)
    assert json.loads(reply.body) == {
        "code": 102,
        "message": "Downlink counter value increment too large",
        "expected": 0,
    }


def test_uplinks_tell_the_counter_after_the_highest_queued_one(side):
    side.ask_encrypted(b"one", 7)
    push = side.network.uplink(side.encrypted)
    assert typed(push).f_cnt_down == 8


# --- the queue and the air


def test_a_class_a_device_gets_one_frame_after_each_of_its_uplinks(side):
    side.ask(Payload="01", CorrelationID="00000000000000A1")
    side.ask(Payload="02", CorrelationID="00000000000000A2")
    assert side.lrc.collect() == []
    assert not side.clear.heard
    (first,) = side.uplink()[1]
    (second,) = side.uplink()[1]
    assert [downlink.payload for downlink in side.clear.heard] == [b"\x01", b"\x02"]
    assert [report.correlation_id for report in (first, second)] == ["00000000000000A1", "00000000000000A2"]
    assert [report.f_cnt_down for report in (first, second)] == [0, 1]


def test_the_uplink_of_another_device_brings_nothing(side):
    side.ask()
    assert side.uplink(side.encrypted)[1] == []
    assert side.lrc.queued(side.clear) == 1


def test_a_late_uplink_opens_no_window(side):
    side.ask()
    side.network.hold(side.clear)
    assert side.lrc.after(side.network.late_uplink(side.clear)) == []


def test_a_class_c_device_gets_it_at_once(side):
    side.ask(side.class_c, CorrelationID=CORRELATION)
    (push,) = side.lrc.collect()
    assert [downlink.payload for downlink in side.class_c.heard] == [b"\x01\x02"]
    assert typed(push).slot == 2


def test_a_report_says_that_it_was_sent_in_the_first_window(side):
    side.ask(CorrelationID=CORRELATION)
    (report,) = side.uplink()[1]
    assert isinstance(report, DownlinkSentReport)
    assert (report.is_sent, report.slot, report.causes[:3]) == (True, 1, ("00", "00", "00"))
    assert (report.f_port, report.correlation_id) == (10, CORRELATION)


def test_a_report_says_that_the_second_window_was_chosen(side):
    side.lrc.plan(side.clear, rx2_share=1)
    side.ask()
    (report,) = side.uplink()[1]
    assert (report.is_sent, report.slot, report.causes[0]) == (True, 2, "C0")


def test_a_report_says_that_no_gateway_could_send_it(side):
    side.lrc.plan(side.clear, failing_share=1)
    side.ask()
    (report,) = side.uplink()[1]
    assert (report.is_sent, report.slot, report.causes[:2]) == (False, 0, ("D0", "DA"))
    assert not side.clear.heard


def test_the_device_decrypts_what_was_encrypted_end_to_end(side):
    side.ask_encrypted(b"open", 5)
    (report,) = side.uplink(side.encrypted)[1]
    (downlink,) = side.encrypted.heard
    assert (downlink.payload, downlink.f_cnt_down, downlink.f_port) == (b"open", 5, 10)
    assert report.f_cnt_down == 5


def test_a_device_drops_a_counter_that_it_has_seen(side):
    device = side.encrypted
    frame = encrypt_frm_payload(device.app_s_key, device.dev_addr, 3, b"once")
    assert device.hear(10, frame, 3, at=NOW) is not None
    assert device.hear(10, frame, 3, at=NOW) is None
    assert device.hear(10, frame, 2, at=NOW) is None
    assert len(device.heard) == 1


def test_a_confirmed_one_is_acknowledged_by_the_next_uplink_alone(side):
    side.ask(Confirmed="1")
    before, _ = side.uplink()
    after, _ = side.uplink()
    later, _ = side.uplink()
    assert [b'"ACKbit":1' in push.body for push in (before, after, later)] == [False, True, False]
    assert isinstance(typed(after), UplinkReport)


def test_a_flush_empties_the_queue_and_then_puts_its_own_in(side):
    side.ask(Payload="01")
    side.ask(Payload="02", FlushDownlinkQueue="1")
    side.uplink()
    assert side.lrc.queued(side.clear) == 0
    assert [downlink.payload for downlink in side.clear.heard] == [b"\x02"]


def test_a_flush_alone_leaves_the_queue_empty(side):
    side.ask()
    assert side.ask(FPort=None, Payload=None, FlushDownlinkQueue="1").status == 200
    assert side.lrc.queued(side.clear) == 0


def test_a_join_drops_what_was_queued(side):
    side.ask_encrypted(b"old", 1)
    (push,) = side.lrc.after(side.network.join(side.encrypted))
    assert (typed(push).is_sent, typed(push).causes[0]) == (False, "E4")
    side.ask_encrypted(b"new", 0)
    side.uplink(side.encrypted)
    assert [downlink.payload for downlink in side.encrypted.heard] == [b"new"]


def test_what_waited_too_long_is_dropped(side):
    side.ask(ValidityTime="30")
    side.now += timedelta(seconds=31)
    (report,) = side.uplink()[1]
    assert (report.is_sent, report.causes[0]) == (False, "E3")


def test_what_a_full_queue_does_not_take_is_reported(side):
    side.lrc.plan(side.clear, queue_size=1)
    side.ask()
    assert side.ask().status == 200
    (push,) = side.lrc.collect()
    assert (typed(push).is_sent, typed(push).causes[0]) == (False, "E1")


def test_what_was_taken_and_may_not_go_any_more_is_rejected(side):
    side.ask(CorrelationID=CORRELATION)
    side.lrc.plan(side.clear, is_enabled=False)
    (report,) = side.uplink()[1]
    assert isinstance(report, DownlinkRejectedReport)
    assert (report.status, report.cause, report.correlation_id) == (350, "Downlink transmission disabled", CORRELATION)


def test_reports_are_signed_as_all_others_are(side):
    side.ask()
    (push,) = side.lrc.after(side.network.uplink(side.clear))
    assert push.should_be_accepted
    assert "Token=" in push.query


# --- multicast


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        ({}, [("SUCCESS", 10, 0)]),
        ({"failing_gateways": 3}, [("PARTIAL", 7, 3), ("SUCCESS", 10, 0)]),
        ({"failing_gateways": 3, "gateways_recover": False}, [("PARTIAL", 7, 3), ("ABORTED", 7, 3)]),
    ],
)
def test_a_multicast_goes_at_once_and_is_summed_up(side, plan, told):
    side.lrc.plan(side.class_c, is_group=True, **plan)
    side.ask(side.class_c, CorrelationID=CORRELATION)
    reports = [typed(push) for push in side.lrc.collect()]
    assert all(isinstance(report, MulticastSummaryReport) for report in reports)
    assert [(report.status, report.succeeded, report.failed) for report in reports] == told
    assert {report.correlation_id for report in reports} == {CORRELATION}
    assert len(side.class_c.heard) == 1


def test_a_multicast_is_never_confirmed(side):
    side.lrc.plan(side.class_c, is_group=True)
    side.ask(side.class_c, Confirmed="1")
    assert side.lrc.asked[-1].outcome.code == 103


# --- faults


def test_a_lost_answer_leaves_the_downlink_in_the_queue(side):
    side.lrc.faults.ordered.append(LrcFault.LOST)
    assert side.ask(CorrelationID=CORRELATION).is_lost
    assert side.lrc.queued(side.clear) == 1


def test_asked_again_for_the_same_nothing_is_queued_again(side):
    side.lrc.faults.ordered.append(LrcFault.LOST)
    side.ask(CorrelationID=CORRELATION)
    assert side.ask(CorrelationID=CORRELATION).status == 200
    assert side.lrc.queued(side.clear) == 1
    assert side.lrc.asked[-1].is_repeat


def test_a_network_may_queue_a_repeat_again():
    side = Side(drops_repeats=False)
    assert [side.ask(CorrelationID=CORRELATION).status for _ in range(2)] == [200, 200]
    assert side.lrc.queued(side.clear) == 2


@pytest.mark.parametrize(
    ("fault", "status", "is_lost"),
    [(LrcFault.CUT, 503, True), (LrcFault.BUSY, 503, False), (LrcFault.BUCKET, 350, False)],
)
def test_these_faults_leave_nothing_in_the_queue(side, fault, status, is_lost):
    side.lrc.faults.ordered.append(fault)
    reply = side.ask()
    assert (reply.status, reply.is_lost, side.lrc.queued(side.clear)) == (status, is_lost, 0)


def test_a_slow_answer_says_what_a_quick_one_does(side):
    side.lrc.faults.ordered.append(LrcFault.SLOW)
    reply = side.ask()
    assert (reply.status, reply.delay_s > 0) == (200, True)


def test_faults_are_the_same_whatever_the_order_of_devices(lossy):
    other = Side(faults=LrcFaults(lost=0.5), seed=3)
    ours = [lossy.ask(device).is_lost for device in (lossy.clear, lossy.class_c) for _ in range(20)]
    theirs = [other.ask(device).is_lost for _ in range(20) for device in (other.clear, other.class_c)]
    assert ours == theirs[::2] + theirs[1::2]
    assert 5 < sum(ours) < 35


def test_shares_of_faults_are_at_most_one():
    with pytest.raises(SettingsError, match="1 at most together"):
        LrcFaults(lost=0.6, busy=0.6)


def test_nothing_secret_is_shown(side):
    side.ask(Payload="C0FFEE")
    shown = f"{side.lrc!r} {side.lrc.security!r} {side.lrc.asked[-1]!r} {side.network!r}".lower()
    assert KEY not in shown
    assert "c0ffee" not in shown
    assert parse_dev_eui(side.clear.dev_eui).lower() in shown


def test_an_uplink_from_before_a_downlink_does_not_acknowledge_it(side):
    side.ask(Confirmed="1")
    side.uplink()
    early = side.network.uplink(side.clear)  # heard by gateways before the downlink went out
    after, _ = side.uplink()
    assert [b'"ACKbit":1' in push.body for push in (early, after)] == [False, True]
