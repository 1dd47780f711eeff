"""Messages of KPN Things, read: frames, positions and decoded values, in both layouts."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import IdentifierError, ReportUnreadableError
from receiver.kpn_things.records import ThingsFix, read_message
from receiver.lorawan.identifiers import parse_device
from receiver.services.parsed_reports import parse_report
from receiver.storage.reports import UnreadReport
from tests.conftest import NOW

DEVICE = "0059AC00001B3461"
BASE = {"bn": f"urn:dev:DEVEUI:{DEVICE}:", "bt": 1765739955.219}
AT = datetime(2025, 12, 14, 19, 19, 15, 219000, tzinfo=UTC)
UUID = "737b588b-547e-45d3-96d0-f79723291bf1"

# The record names of the decoder LoRa extended v2. Source: docs.kpnthings.com, decoders.
EXTENDED = [
    {"n": "payload", "vs": "763D0028"},
    {"n": "port", "v": 2.0},
    {"n": "FCntUp", "v": 70000.0},
    {"n": "FCntDn", "v": 3},
    {"n": "LrrRSSI", "v": -107.0},
    {"n": "LrrSNR", "v": 3.25},
    {"n": "LrrESP", "v": -108.764351},
    {"n": "DevLrrCnt", "v": 2.0},
    {"n": "SpFact", "v": 8.0},
    {"n": "SubBand", "vs": "G1"},
    {"n": "Channel", "vs": "LC3"},
    {"n": "ADRbit", "v": 1.0},
    {"n": "timeOrigin", "vs": "NETWORK"},
]
FIX = [
    {"n": "locOrigin", "vs": "KPNLORA"},
    {"n": "latitude", "u": "lat", "v": 52.25},
    {"n": "longitude", "u": "lon", "v": 4.5},
    {"n": "radius", "u": "m", "v": 356.5},
    {"n": "locMethod", "vs": "TDOA"},
    {"n": "locAccuracy", "u": "%", "v": 9999.0},
    {"n": "locPrecision", "u": "%", "v": 9999.0},
    {"n": "locTime", "u": "s", "v": 1765700000.5},
]


def merged(records, base=BASE):
    """Give the layout of after December 2022: base values in the first record."""
    return json.dumps([{**base, **records[0]}, *records[1:]]).encode()


def separate(records, base=BASE):
    """Give the layout of before: base values in a record of their own."""
    return json.dumps([base, *records]).encode()


def read(records, base=BASE):
    return read_message(merged(records, base), NOW)


def values(message):
    return {one.name: (one.value, one.unit) for one in message.values}


def reading(records, **without):
    return [record for record in records if record["n"] not in without.get("without", ())]


def replaced(records, name, **members):
    return [{"n": name, **members} if record["n"] == name else record for record in records]


@pytest.mark.parametrize("layout", [merged, separate])
def test_an_extended_frame_has_counter_radio_and_payload(layout):
    message = read_message(layout(EXTENDED), NOW)

    assert (message.device, message.at, message.payload) == (DEVICE, AT, bytes.fromhex("763d0028"))
    assert (message.f_port, message.f_cnt_up, message.f_cnt_down) == (2, 70000, 3)
    assert (message.rssi_dbm, message.snr_db, message.esp_dbm) == (-107.0, 3.25, -108.764351)
    assert (message.gateway_count, message.spreading_factor) == (2, 8)
    assert (message.sub_band, message.channel, message.adr) == ("G1", "LC3", True)
    assert (message.fix, message.values, message.notes, message.is_uplink) == (None, (), None, True)


@pytest.mark.parametrize("origin", ["timeOrigin", "TIME_ORIGIN"])
def test_a_raw_frame_has_payload_and_port_only(origin):
    message = read([*EXTENDED[:2], {"n": origin, "vs": "THINGSENGINE"}])

    assert (message.payload, message.f_port, message.f_cnt_up) == (bytes.fromhex("763d0028"), 2, None)
    assert (message.rssi_dbm, message.adr, message.values, message.notes) == (None, False, (), None)


@pytest.mark.parametrize("layout", [merged, separate])
def test_a_position_alone_is_no_uplink(layout):
    message = read_message(layout(FIX), NOW)

    at = datetime(2025, 12, 14, 8, 13, 20, 500000, tzinfo=UTC)
    assert message.fix == ThingsFix(52.25, 4.5, at, None, 356.5, "tdoa")
    assert (message.is_uplink, message.values, message.notes) == (False, (), None)


@pytest.mark.parametrize("told", [{"vs": "1765700000500"}, {"v": 1765700000500.0}, {"vs": "1765700000.5"}])
def test_the_time_of_a_fix_may_be_text_or_milliseconds(told):
    fix = read(replaced(FIX, "locTime", **told)).fix

    assert fix.at == datetime(2025, 12, 14, 8, 13, 20, 500000, tzinfo=UTC)


@pytest.mark.parametrize("told", [{"v": 0}, {"v": -5}, {"v": 1e300}, {"vs": "yesterday"}])
def test_a_time_of_a_fix_that_is_none_is_left_out_and_told(told):
    message = read(replaced(FIX, "locTime", **told))

    assert (message.fix.at, message.notes) == (None, "Could not be read: locTime.")


def test_a_radius_that_is_not_known_is_none():
    assert read(replaced(FIX, "radius", v=9999)).fix.radius_m is None


@pytest.mark.parametrize(("name", "degrees"), [("latitude", 90.1), ("longitude", -180.5)])
def test_a_position_outside_the_globe_is_left_out_and_told(name, degrees):
    message = read(replaced(FIX, name, v=degrees))

    assert (message.fix, message.notes) == (None, f"Could not be read: {name}.")


def test_a_position_of_zero_and_zero_is_none():
    assert read(replaced(replaced(FIX, "latitude", v=0), "longitude", v=0)).fix is None


def test_a_position_that_the_device_measured_is_a_value():
    message = read([{"n": "latitude", "u": "lat", "v": 51.9}, {"n": "longitude", "u": "lon", "v": 4.5}])

    assert message.fix is None
    assert values(message) == {"latitude": (51.9, "lat"), "longitude": (4.5, "lon")}


def test_numbers_with_a_unit_are_numbers_however_they_are_written():
    message = read(
        [
            {"n": "battery", "u": "%", "vs": "32.0"},
            {"n": "temperature", "u": "Cel", "v": 0},
            {"n": "humidity", "u": "%RH", "v": "41.5"},
            {"n": "firmware", "vs": "1.0"},
            {"n": "open", "vb": False},
            {"n": "wet", "v": True},
        ]
    )

    assert values(message) == {
        "battery": (32.0, "%"),
        "temperature": (0.0, "Cel"),
        "humidity": (41.5, "%RH"),
        "firmware": ("1.0", None),
        "open": (False, None),
        "wet": (True, None),
    }
    assert message.is_uplink


def test_values_have_their_own_times():
    message = read([{"n": "level", "v": 1}, {"n": "level", "t": -60, "v": 2}])

    assert [one.at for one in message.values] == [AT, AT - timedelta(seconds=60)]


def test_one_message_may_have_all_of_it():
    message = read([*EXTENDED, *FIX, {"n": "temperature", "u": "Cel", "v": 21.5}])

    assert (message.f_cnt_up, message.fix.latitude, values(message)) == (70000, 52.25, {"temperature": (21.5, "Cel")})


def test_an_index_of_thingsml_is_a_name():
    assert values(read([{"i_": -24, "v": 21.5}])) == {"temperature": (21.5, "Cel")}


@pytest.mark.parametrize(
    ("name", "device"),
    [
        (f"urn:dev:DEVEUI:{DEVICE.lower()}:", DEVICE),
        (f"urn:dev:deveui:{DEVICE}:", DEVICE),
        (f"urn:dev:DVNUUID:{UUID.upper()}:", f"DVNUUID:{UUID}"),
        ("urn:dev:IMEI:490154203237518:", "IMEI:490154203237518"),
    ],
)
def test_a_device_is_known_by_its_dev_eui_uuid_or_imei(name, device):
    assert read(EXTENDED, {**BASE, "bn": name}).device == device


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("urn:dev:DEVEUI:0059AC000000000:", "which is not 16 hexadecimal digits"),
        ("urn:dev:DVNUUID:x:", "which is not a UUID"),
        ("urn:dev:IMEI:12:", "which is not 15 digits"),
        ("urn:dev:mac:0024befffe804ff1:", "DEVEUI, DVNUUID or IMEI"),
        ("0059AC00001B3461", "no urn:dev:"),
    ],
)
def test_a_device_that_cannot_be_known_again_makes_it_unreadable(name, told):
    with pytest.raises(ReportUnreadableError, match=told):
        read(EXTENDED, {**BASE, "bn": name})


@pytest.mark.parametrize(
    ("text", "device"),
    [
        (f" dvnuuid:{UUID.upper()} ", f"DVNUUID:{UUID}"),
        ("imei:490154203237518", "IMEI:490154203237518"),
        ("00-59-ac-00-00-1b-34-61", DEVICE),
    ],
)
def test_a_device_may_be_asked_for_by_what_it_stands_under(text, device):
    assert parse_device(text) == device


@pytest.mark.parametrize("text", ["", "DVNUUID:", f"DVNUUID:{UUID}0", f"UUID:{UUID}", "IMEI:1", "IMEI:49015420323751٨"])
def test_what_no_device_stands_under_is_refused(text):
    with pytest.raises(IdentifierError, match="is not a DevEUI"):
        parse_device(text)


def test_records_of_a_second_device_are_left_out_and_told():
    other = {"bn": "urn:dev:DEVEUI:0059AC0000000002:", "n": "temperature", "v": 5}
    message = read([*EXTENDED[:2], other])

    assert (message.device, message.values) == (DEVICE, ())
    assert message.notes == "Left out: 1 records of another device than the first."


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("payload", {"vs": "7g"}),
        ("payload", {"vs": "763"}),
        ("payload", {"v": 763}),
        ("payload", {"vs": "00" * 300}),
        ("port", {"v": 256}),
        ("port", {"v": 1.5}),
        ("FCntUp", {"v": -1}),
        ("FCntUp", {"v": 2**32}),
        ("LrrRSSI", {"vs": "strong"}),
        ("SpFact", {"v": 99}),
        ("SubBand", {"vs": "G" * 21}),
        ("Channel", {"vs": "L\x00"}),
        ("SubBand", {"vs": 5}),
        ("LrrSNR", {"v": [1]}),
    ],
)
def test_one_odd_record_is_left_out_and_told_and_the_rest_is_read(name, members):
    message = read(replaced(EXTENDED, name, **members))

    assert message.notes == f"Could not be read: {name}."
    assert (message.esp_dbm, message.device) == (-108.764351, DEVICE)


def test_a_record_that_breaks_a_rule_is_left_out_and_told_and_the_rest_is_read():
    for layout in (merged, separate):
        message = read_message(layout([*EXTENDED, {"n": "a", "v": 1, "vs": "x"}, {"n": "b", "v": 2, "t": -1}]), NOW)

        assert (message.f_cnt_up, message.notes) == (70000, "Could not be read: a.")
        assert [(one.name, one.value, one.at) for one in message.values] == [("b", 2, AT - timedelta(seconds=1))]


def test_what_no_name_may_have_becomes_an_underscore():
    assert values(read([{"n": "soil moisture", "u": "%", "v": 32}])) == {"soil_moisture": (32.0, "%")}


def test_a_record_without_any_value_is_left_out_and_told():
    message = read([*EXTENDED, {"n": "humidity", "v": None}])

    assert (message.f_cnt_up, message.notes) == (70000, "Could not be read: humidity.")


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"[1]", b"\xff", b'[{"bn":"urn:dev:DEVEUI:0059AC00001B3461:"}]'])
def test_what_is_no_pack_with_a_value_is_unreadable(body):
    with pytest.raises(ReportUnreadableError):
        read_message(body, NOW)


def test_the_mark_of_a_frame_with_a_counter_is_its_time():
    assert read(EXTENDED).mark == "1765739955219"
    assert read(replaced(EXTENDED, "payload", vs="00")).mark == read(EXTENDED).mark


@pytest.mark.parametrize(
    "other",
    [
        ({**BASE, "bt": 1765739956}, EXTENDED[:2]),
        ({**BASE, "bn": "urn:dev:DEVEUI:0059AC00001B3462:"}, EXTENDED[:2]),
        (BASE, [EXTENDED[0], {"n": "port", "v": 3}]),
        (BASE, [{"n": "payload", "vs": "00"}, EXTENDED[1]]),
    ],
)
def test_the_mark_of_a_frame_without_one_is_of_device_time_payload_and_port(other):
    raw = EXTENDED[:2]
    base, records = other

    assert read_message(separate(raw), NOW).mark == read([*raw, {"n": "timeOrigin", "vs": "NETWORK"}]).mark
    assert read(records, base).mark != read(raw).mark


def test_the_mark_of_values_is_of_the_values():
    one = [{"n": "temperature", "v": 1}]

    assert read(one).mark == read_message(separate(one), NOW).mark
    assert read(one).mark != read([{"n": "temperature", "v": 2}]).mark


NAMES = st.sampled_from([record["n"] for record in [*EXTENDED, *FIX]]) | st.text(max_size=10)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["32.0", "1e400", "-", "00", "\x00", "9" * 400, f"urn:dev:DEVEUI:{DEVICE}:"])
    | st.text(max_size=30)
)
LABELS = st.sampled_from(
    ["n", "u", "v", "vs", "vb", "vd", "s", "t", "ut", "bt", "bn", "bu", "bv", "bs", "bver", "i_", "x"]
)
RECORDS = st.fixed_dictionaries({"n": NAMES}, optional={"v": LEAVES, "vs": LEAVES, "t": LEAVES, "u": LEAVES}) | (
    st.dictionaries(LABELS, LEAVES, max_size=6)
)


@given(st.lists(RECORDS, max_size=6), st.booleans())
def test_no_pack_makes_an_exception_in_reading(records, with_base):
    body = json.dumps([BASE, *records] if with_base else records).encode()
    parsed = parse_report(UnreadReport(1, 1, 1, "SenML", NOW, NOW, body, "clear", "wrapped"))

    assert (parsed.report is None) <= bool(parsed.notes)


@given(st.binary(max_size=200))
def test_no_body_makes_an_exception_in_reading(body):
    assert parse_report(UnreadReport(1, 1, 1, "SenML", NOW, NOW, body, "clear", "wrapped")).report is None
