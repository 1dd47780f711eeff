"""Reports as values: every documented form is read, and an odd field is noted and never loses the report."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from receiver.errors import ReportUnreadableError
from receiver.thingpark.body import parse_body
from receiver.thingpark.customer_data import CustomerData
from receiver.thingpark.downlink_reports import DownlinkSentReport
from receiver.thingpark.reports import (
    MAX_RECEPTIONS,
    LocationReport,
    NotificationReport,
    OtherReport,
    Reception,
    UplinkReport,
    read_report,
)

DEV_EUI = "20635F0000000001"


def read(kind: str, **members: object):
    """Read a report of that kind in typed JSON; give it with the sentence about what could not be read."""
    report, notes = read_report(parse_body(json.dumps({kind: {"DevEUI": DEV_EUI} | members}).encode()))
    return report, notes.sentence()


def uplink(**members: object) -> UplinkReport:
    report, fault = read("DevEUI_uplink", **members)
    assert isinstance(report, UplinkReport)
    assert fault is None
    return report


def odd_uplink(**members: object) -> tuple[UplinkReport, str]:
    """Read an uplink with a fault; give it with the names of the faulty fields."""
    report, fault = read("DevEUI_uplink", FCntUp=13, payload_hex="aa27", **members)
    assert isinstance(report, UplinkReport)
    assert (report.f_cnt_up, report.payload) == (13, b"\xaa\x27")
    assert fault is not None
    return report, fault.removeprefix("Not readable, kept in the body only: ").removesuffix(".")


# --- uplinks


@pytest.mark.parametrize(("counter", "is_lorawan_1_1"), [("FCntDn", False), ("AFCntDn", True)])
def test_the_counter_of_applications_is_that_of_lorawan_1_1(counter, is_lorawan_1_1):
    report = uplink(FCntUp=1, payload_hex="aa", **{"NFCntDn": 99, counter: 7})

    assert (report.f_cnt_down, report.is_lorawan_1_1) == (7, is_lorawan_1_1)


TYPED = {
    "Time": "2026-11-20T12:00:00.49+01:00",
    "DevEUI": DEV_EUI,
    "FPort": 13,
    "FCntUp": 70_000,
    "ADRbit": 1,
    "ACKbit": 1,
    "MType": 4,
    "FCntDn": 7,
    "payload_hex": "AA27",
    "mic_hex": "5C00AD47",
    "LrrRSSI": -110.0,
    "LrrSNR": -15.25,
    "LrrESP": -125.135208,
    "SpFact": 12,
    "SubBand": "G1",
    "Channel": "LC1",
    "DevLrrCnt": 2,
    "Lrrid": "FF01045A",
    "Late": 1,
    "LrrLAT": 51.906963,
    "LrrLON": 4.383102,
    "Lrrs": {
        "Lrr": [
            {"Lrrid": "FF01045A", "Chain": 0, "LrrRSSI": -110.0, "LrrSNR": -15.25, "LrrESP": -125.135208},
            {"Lrrid": "FF0101C2", "Chain": 1, "LrrRSSI": -114.0, "LrrSNR": -16.0, "LrrESP": -130.107742},
        ]
    },
    "CustomerID": "100006211",
    "CustomerData": {"name": "Door", "alr": {"pro": "LORA/Generic", "ver": "1"}},
    "AppSKey": "D27A7D90C00362FD1628796F9E339EF0",
    "DevAddr": "14c4cc04",
    "Frequency": 868.1,
    "InstantPER": 0.25,
    "MeanPER": 0.125,
    "TxPower": 14.0,
    "NbTrans": 1,
    "DynamicClass": "A",
    "BatteryLevel": 254,
    "BatteryTime": "2026-11-20T10:00:00Z",
    "Margin": -3,
    "LostUplinksAS": -2,
    "PayloadEncryption": 1,
}  # fmt: skip


def spelled_as_text(value: object) -> object:
    """Give untyped JSON: every leaf a text."""
    if isinstance(value, dict):
        return {name: spelled_as_text(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [spelled_as_text(inner) for inner in value]
    return str(value)


def test_an_uplink_is_read_whole():
    report = uplink(**TYPED)

    assert report.heading.dev_eui == DEV_EUI
    assert report.heading.dev_addr == "14C4CC04"
    assert report.heading.at == datetime(2026, 11, 20, 11, 0, 0, 490_000, tzinfo=UTC)
    assert report.heading.customer_id == "100006211"
    assert report.heading.customer_data == CustomerData("Door", "LORA/Generic", "1")
    assert (report.f_port, report.f_cnt_up, report.f_cnt_down, report.payload) == (13, 70_000, 7, b"\xaa\x27")
    assert (report.mic, report.app_s_key_field) == ("5c00ad47", "d27a7d90c00362fd1628796f9e339ef0")
    assert (report.late, report.adr, report.ack, report.m_type) == (True, True, True, 4)
    assert report.payload_encryption is True
    assert (report.spreading_factor, report.frequency_mhz, report.sub_band, report.channel) == (12, 868.1, "G1", "LC1")
    assert (report.rssi_dbm, report.snr_db, report.esp_dbm) == (-110.0, -15.25, -125.135208)
    assert (report.lrr_id, report.gateway_count, report.lost_uplinks) == ("FF01045A", 2, -2)
    assert (report.instant_per, report.mean_per, report.tx_power_dbm, report.nb_trans) == (0.25, 0.125, 14.0, 1)
    assert (report.device_class, report.battery_level, report.margin_db) == ("A", 254, -3.0)
    assert report.battery_at == datetime(2026, 11, 20, 10, tzinfo=UTC)


def test_untyped_json_is_read_as_typed_json_is():
    assert uplink(**spelled_as_text(TYPED)) == uplink(**TYPED)


def test_an_uplink_of_nothing_but_its_device_is_read():
    report = uplink()

    assert (report.f_port, report.f_cnt_up, report.payload, report.receptions, report.fix) == (
        None,
        None,
        b"",
        (),
        None,
    )
    assert (report.late, report.adr, report.ack, report.payload_encryption) == (False, False, False, None)


def test_empty_texts_are_absent():
    names = [name for name in TYPED if name not in {"DevEUI", "Lrrs", "CustomerData"}]

    assert uplink(**dict.fromkeys(names, "")) == uplink()


def test_nulls_are_absent():
    assert uplink(**dict.fromkeys([name for name in TYPED if name != "DevEUI"])) == uplink()


def test_a_join_request_has_its_own_spelling_of_the_spreading_factor():
    report = uplink(rawJoinRequest="00ab", Spfact="9", airtime="0.2", MType="0")

    assert (report.spreading_factor, report.m_type, report.f_cnt_up) == (9, 0, None)


def test_a_time_in_milliseconds_since_1970_is_read():
    assert uplink(Time=1473419836813).heading.at == datetime(2016, 9, 9, 11, 17, 16, 813_000, tzinfo=UTC)


def test_a_whole_number_may_be_printed_as_a_float():
    assert uplink(SpFact=7.0).spreading_factor == 7


@pytest.mark.parametrize(
    ("value", "flag"), [(1, True), (0, False), ("1", True), ("true", True), (True, True), (False, False)]
)
def test_payload_encryption_is_a_flag_in_any_spelling(value, flag):
    assert uplink(PayloadEncryption=value).payload_encryption is flag


def test_a_text_for_a_column_is_cut():
    assert uplink(Channel="x" * 1000).channel == "x" * 256


def test_a_long_payload_is_not_cut():
    assert len(uplink(payload_hex="ab" * 1000).payload) == 1000


def test_no_repr_shows_a_payload_or_key():
    shown = repr(uplink(**TYPED))

    assert "aa27" not in shown.lower()
    assert "d27a7d90" not in shown.lower()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("LrrRSSI", "high"), ("LrrSNR", "1e999"), ("LrrESP", "-"), ("Frequency", "868,1"), ("TxPower", True)),
        *(("SpFact", 13), ("SpFact", 7.5), ("FPort", 256), ("MType", -1), ("NbTrans", "0x1"), ("BatteryLevel", 256)),
        *(("Time", "yesterday"), ("Time", "99999"), ("BatteryTime", {}), ("DevAddr", "14C4"), ("DevAddr", "XXXXXXXX")),
        *(("Late", 2), ("Late", "maybe"), ("ADRbit", []), ("PayloadEncryption", "yes"), ("AppSKey", "abcd")),
        *(("AppSKey", "z" * 32), ("Channel", {"a": "b"}), ("Lrrs", "text"), ("Lrrs", [1]), ("Margin", "\uff13")),
        *(("CustomerID", {}), ("mic_hex", ["5c"]), ("DevLrrCnt", "1 000"), ("FCntDn", 2**32), ("MeanPER", "nan")),
    ],
)  # fmt: skip
def test_an_odd_field_is_noted_by_its_name_and_the_uplink_is_read(name, value):
    _, faulty = odd_uplink(**{name: value})

    assert faulty == name


def test_several_odd_fields_are_noted_once_each():
    _, faulty = odd_uplink(LrrRSSI="?", SpFact="?", Lrrs={"Lrr": ["?", "?", {"Lrrid": "1", "LrrRSSI": "?"}]})

    assert sorted(faulty.split(", ")) == ["LrrRSSI", "Lrrs", "SpFact"]


@pytest.mark.parametrize("value", ["aa2", "zz", {}, True])
def test_a_payload_that_is_no_hex_is_noted_and_empty(value):
    report, fault = read("DevEUI_uplink", payload_hex=value)

    assert isinstance(report, UplinkReport)
    assert report.payload == b""
    assert fault == "Not readable, kept in the body only: payload_hex."


def test_the_sentence_about_many_odd_fields_stays_short():
    names = [name for name in TYPED if name not in {"DevEUI", "FCntUp", "payload_hex"}]
    _, faulty = odd_uplink(**dict.fromkeys(names, "?"), **{f"Dev{name}": "?" for name in names})

    assert len(faulty) <= 400


# --- gateways


def receptions(lrrs: object, **members: object) -> tuple[Reception, ...]:
    return uplink(Lrrs=lrrs, **members).receptions


def test_each_gateway_is_a_reception_in_the_order_of_the_network():
    first, second = uplink(**TYPED).receptions

    assert first == Reception("FF01045A", 0, -110.0, -15.25, -125.135208, 51.906963, 4.383102)
    assert second == Reception("FF0101C2", 1, -114.0, -16.0, -130.107742)


def test_a_single_gateway_may_come_as_an_object():
    assert receptions({"Lrr": {"Lrrid": "FF01045A", "LrrRSSI": -1}}) == (Reception("FF01045A", None, -1.0, None, None),)


@pytest.mark.parametrize("lrrs", [{}, {"Lrr": []}, {"Lrr": None}, {"Lrr": ""}, None, ""])
def test_no_gateways_are_no_receptions(lrrs):
    assert receptions(lrrs) == ()


def test_a_gateway_without_an_id_is_noted_and_left_out():
    report, faulty = odd_uplink(Lrrs={"Lrr": [{"LrrRSSI": -1}, {"Lrrid": "FF01045A"}]})

    assert faulty == "Lrrs"
    assert [reception.lrr_id for reception in report.receptions] == ["FF01045A"]


def test_more_gateways_than_any_report_has_are_left_out():
    assert len(receptions({"Lrr": [{"Lrrid": str(number)} for number in range(500)]})) == MAX_RECEPTIONS


@pytest.mark.parametrize(("latitude", "longitude"), [(0.0, 0.0), (None, 4.3), (51.9, None), ("", "")])
def test_a_position_that_is_not_known_is_none(latitude, longitude):
    [reception] = receptions({"Lrr": {"Lrrid": "A"}}, Lrrid="A", LrrLAT=latitude, LrrLON=longitude)

    assert (reception.latitude, reception.longitude) == (None, None)


def test_a_position_that_is_nowhere_is_noted():
    _, faulty = odd_uplink(Lrrid="A", Lrrs={"Lrr": {"Lrrid": "A"}}, LrrLAT=91, LrrLON=4)

    assert faulty == "LrrLAT"


# --- CustomerData


@pytest.mark.parametrize(
    "value",
    [
        {"name": "Door", "alr": {"pro": "P", "ver": "1"}},
        '{"name": "Door", "alr": {"pro": "P", "ver": "1"}}',
        "{'name': 'Door', 'alr': {'pro': 'P', 'ver': '1'}}",
        '{"name": "Door", "alr": {"pro": "P", "ver": 1}, "loc": null, "tags": ["a"], "doms": [{"n": "x", "g": "y"}]}',
    ],
)
def test_customer_data_is_read_in_each_of_its_forms(value):
    assert uplink(CustomerData=value).heading.customer_data == CustomerData("Door", "P", "1")


@pytest.mark.parametrize(
    "value",
    [
        *(
            None,
            "",
            "text",
            "{",
            "{'a': }",
            "[]",
            "13",
            "null",
            "NaN",
            [],
            ["a"],
            13,
            True,
            {},
            {"alr": None},
            {"alr": "x"},
        ),
        *({"name": {}}, {"name": ["a"], "alr": {"pro": {}}}, "[" * 10_000, '{"a":' * 10_000, "{'name': 'it's'}"),
    ],
)
def test_customer_data_of_another_form_is_never_a_fault(value):
    assert uplink(CustomerData=value).heading.customer_data == CustomerData()


@pytest.mark.parametrize("escape", [r"\u0000", r"\ud83d", r"\udc00\ud800"])
def test_a_name_that_no_database_can_hold_is_read_without_what_cannot_be_held(escape):
    """JSON inside a text is read after the body was checked, and spells its own escapes."""
    name = uplink(CustomerData=f'{{"name": "a{escape}b"}}').heading.customer_data.name

    assert name is not None
    assert "\0" not in name
    assert name.encode("utf-8").startswith(b"a")


def test_customer_data_in_xml_is_read():
    raw = f'<DevEUI_uplink><DevEUI>{DEV_EUI}</DevEUI><CustomerData>{{"name":"Door"}}</CustomerData></DevEUI_uplink>'
    report, _ = read_report(parse_body(raw.encode()))

    assert isinstance(report, UplinkReport)
    assert report.heading.customer_data.name == "Door"


# --- locations

FIX = {
    "Time": "2026-11-20T12:00:00Z",
    "DevLocTime": "2026-10-01T08:00:00.000+02:00",
    "DevLAT": 52.09,
    "DevLON": 5.12,
    "DevAlt": 3.5,
    "DevLocRadius": 120.0,
    "DevAltRadius": 10,
    "DevAcc": 80,
    "NwGeolocAlgo": 2,
    "NwGeolocAlgoUsed": 0,
    "DevUlFCntUpUsed": 12,
    "DevNorthVel": 0.5,
    "DevEastVel": -0.25,
}


def test_a_location_is_read_with_the_time_of_its_fix():
    report, fault = read("DevEUI_location", **FIX)

    assert isinstance(report, LocationReport)
    assert fault is None
    assert report.fix is not None
    assert report.fix.at == datetime(2026, 10, 1, 6, tzinfo=UTC)
    assert (report.fix.latitude, report.fix.longitude, report.fix.altitude_m) == (52.09, 5.12, 3.5)
    assert (report.fix.radius_m, report.fix.altitude_radius_m, report.fix.accuracy_m) == (120.0, 10.0, 80.0)
    assert (report.fix.algorithm, report.fix.f_cnt_up_used) == ("tdoa", 12)
    assert (report.fix.velocity_north_m_s, report.fix.velocity_east_m_s) == (0.5, -0.25)


def test_an_uplink_may_carry_a_fix():
    assert uplink(**FIX).fix is not None


@pytest.mark.parametrize(
    ("used", "asked", "name"), [(1, 2, "rssi"), (None, 2, "both"), (None, None, None), (9, 1, None)]
)
def test_the_algorithm_that_was_used_goes_before_the_one_that_was_asked_for(used, asked, name):
    fix = uplink(**FIX | {"NwGeolocAlgoUsed": used, "NwGeolocAlgo": asked}).fix

    assert fix is not None
    assert fix.algorithm == name


@pytest.mark.parametrize("changed", [{"DevLAT": 0, "DevLON": 0}, {"DevLAT": ""}, {"DevLON": None}])
def test_a_location_without_a_position_has_no_fix(changed):
    report, fault = read("DevEUI_location", **FIX | changed)

    assert isinstance(report, LocationReport)
    assert (report.fix, fault) == (None, None)


# --- notifications


def notification(**members: object) -> NotificationReport:
    report, fault = read("DevEUI_notification", **members)
    assert isinstance(report, NotificationReport)
    assert fault is None
    return report


def test_a_join_brings_the_wrapped_app_s_key():
    report = notification(Type="join", DevAddr="14C4CC04", Var1="D27A7D90C00362FD1628796F9E339EF0")

    assert (report.type, report.app_s_key_field) == ("join", "d27a7d90c00362fd1628796f9e339ef0")
    assert report.detail is None
    assert "d27a7d90" not in repr(report)


def test_a_join_without_a_key_is_a_join():
    assert notification(Type="join", Var1="").app_s_key_field is None


def test_a_join_with_something_else_for_a_key_is_noted():
    report, fault = read("DevEUI_notification", Type="join", Var1="nonsense")

    assert isinstance(report, NotificationReport)
    assert report.app_s_key_field is None
    assert fault == "Not readable, kept in the body only: Var1."


def test_a_reset_has_its_detail():
    assert notification(Type="reset", Var1="admin_reset").detail == "admin_reset"


@pytest.mark.parametrize(("battery", "margin"), [(254, -7), ("254", "-7")])
def test_a_device_status_has_battery_and_margin(battery, margin):
    report = notification(Type="devstatusans", Var1=battery, Var2=margin)

    assert (report.battery_level, report.margin_db, report.detail) == (254, -7.0, None)


def test_a_notification_of_another_type_is_kept_with_its_type():
    report = notification(Type="rejoin", Var1="x")

    assert (report.type, report.detail, report.app_s_key_field) == ("rejoin", "x", None)


# --- all other kinds


@pytest.mark.parametrize("kind", ["DevEUI_alarm", "DevEUI_new"])
def test_another_kind_is_kept_with_its_device(kind):
    report, fault = read(kind, FPort="?", Time="2026-11-20T12:00:00Z")

    assert isinstance(report, OtherReport)
    assert report.heading is not None
    assert (report.heading.dev_eui, fault) == (DEV_EUI, None)


@pytest.mark.parametrize("members", [{}, {"DevEUI": ""}, {"ID": 4}])
def test_a_report_of_no_device_is_kept_without_one(members):
    report, _ = read_report(parse_body(json.dumps({"BS_alarm": members}).encode()))

    assert report == OtherReport(None)


@pytest.mark.parametrize("kind", ["DevEUI_uplink", "DevEUI_location", "DevEUI_notification"])
@pytest.mark.parametrize("dev_eui", ["", None, {}, ["20635F0000000001"], True])
def test_a_kind_that_is_read_and_names_no_device_is_unreadable(kind, dev_eui):
    with pytest.raises(ReportUnreadableError, match="names no DevEUI"):
        read(kind, DevEUI=dev_eui)


def test_a_device_under_another_form_of_name_is_kept_under_it_and_noted():
    report, fault = read("DevEUI_uplink", DevEUI="imei-356938035643809")

    assert isinstance(report, UplinkReport)
    assert report.heading.dev_eui == "IMEI-356938035643809"
    assert fault == "Not readable, kept in the body only: DevEUI."


def test_a_dev_eui_in_lower_case_is_the_same_device():
    assert uplink(DevEUI=DEV_EUI.lower()).heading.dev_eui == DEV_EUI


# --- real ones

EXPECTED = {
    "001": DownlinkSentReport,
    "003": UplinkReport,
    "007": UplinkReport,
    "095": NotificationReport,
    "141": LocationReport,
}
PLACEHOLDERS = {"037", "039", "051", "089", "093"}
"""Real reports whose owners replaced an identifier or a time in them; the first four have no real DevEUI."""


@pytest.mark.shared
def test_every_real_report_that_is_well_formed_is_read(shared):
    seen = 0
    for path in sorted((shared / "examples" / "reports").glob("*_*.*")):
        number = path.name[:3]
        if number in {"013", "035", "041", "097"}:  # not well-formed
            continue
        report, notes = read_report(parse_body(path.read_bytes()))
        assert isinstance(report, EXPECTED.get(number, object)), path.name
        assert (notes.sentence() is None) is (number not in PLACEHOLDERS), path.name
        if isinstance(report, UplinkReport):
            assert report.f_cnt_up is not None or report.m_type == 0, path.name
        seen += 1

    assert seen == 76
