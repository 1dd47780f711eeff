"""ThingsML, SenML with numbered names, in JSON and CBOR; and what becomes of records as measurements."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.codecs.thingsml import decode_senml, parse_thingsml, senml_measurements
from receiver.codecs.values import Measurement, Payload
from receiver.errors import SenmlError
from receiver.kpn_things.thingsml_names import NAMES

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
READ = datetime(2023, 6, 10, 20, 34, 11, tzinfo=UTC)  # date -u -d @1686429251

# The vectors of techfab-iot/thingsml, thingsml_test.go, which its Go code (fxamacker/cbor) reads the same way.
PREFIX = "2175" + b"urn:dev:mac:abcd1234:".hex() + "221a6484de42"
TEMPERATURE, HUMIDITY = "02fb4037c28f5c28f5c3", "02fb4047a00000000000"
CBOR_SENML = bytes.fromhex(
    f"82a6{PREFIX}006b{b'temperature'.hex()}016343656c{TEMPERATURE}0601"
    f"a40068{b'humidity'.hex()}0163255248{HUMIDITY}0601"
)
CBOR_THINGSML = bytes.fromhex(f"82a5{PREFIX}{TEMPERATURE}06011737a3{HUMIDITY}06011736")
JSON_THINGSML = (
    b"""[{"bn": "urn:dev:mac:abcd1234:", "bt": 1686429251, "i_": -24, "v": 23.76}, {"i_": -23, "v": 47.25}]"""
)


def payload(body):
    return Payload(body if isinstance(body, bytes) else json.dumps(body).encode(), 1, NOW)


def measured(*records, at=NOW):
    return senml_measurements(decode_senml(Payload(json.dumps(records).encode(), 1, at)).data, at)


@pytest.mark.parametrize(
    "body", [CBOR_SENML, CBOR_THINGSML, JSON_THINGSML], ids=["CBOR", "CBOR, indexes", "JSON, indexes"]
)
def test_the_published_packs_are_one_pack(body):
    records = parse_thingsml(body, NOW)

    assert [(record.name, record.at, record.unit, record.number) for record in records] == [
        ("urn:dev:mac:abcd1234:temperature", READ, "Cel", 23.76),
        ("urn:dev:mac:abcd1234:humidity", READ, "%RH", 47.25),
    ]


@pytest.mark.parametrize("index", [-25, 15, 1.5, "a", True, None])
def test_an_index_that_is_in_no_table_is_refused(index):
    with pytest.raises(SenmlError, match="Record 1: i_ is no index"):
        parse_thingsml(json.dumps([{"i_": index, "v": 1}]).encode(), NOW)


def test_a_number_where_a_name_stands_is_an_index():
    (in_json,) = parse_thingsml(b'[{"n": -24, "v": 1}]', NOW)
    (in_cbor,) = parse_thingsml(bytes.fromhex("81a200370201"), NOW)  # {0: -24, 2: 1}

    assert in_json == in_cbor
    assert (in_json.name, in_json.unit) == ("temperature", "Cel")


def test_a_name_beside_an_index_is_refused():
    with pytest.raises(SenmlError, match="a record has one name"):
        parse_thingsml(b'[{"n": "a", "i_": -24, "v": 1}]', NOW)


def test_the_pack_s_unit_goes_before_the_table_s():
    records = parse_thingsml(
        b'[{"i_": -24, "u": "K", "v": 1}, {"i_": -24, "v": 2}, {"bu": "K", "i_": -24, "v": 3}]', NOW
    )

    assert [record.unit for record in records] == ["K", "Cel", "K"]


def test_the_table_is_kpn_s():
    assert sorted(NAMES) == list(range(-24, 15))
    assert [NAMES[index][0] for index in (-19, -8, 0, 6, 12, 14)] == [
        *("power", "velocity", "heading", "batteryVoltage", "readSwitch", "counter")
    ]


def test_the_base_sum_of_kpn_s_library_is_read():
    (record,) = parse_thingsml(bytes.fromhex("81a42f0a0061610505" + "0201"), NOW)  # {-16: 10, 0: "a", 5: 5, 2: 1}

    assert record.sum == 15


def test_a_payload_becomes_resolved_objects():
    decoding = decode_senml(
        payload(
            [
                {"bn": "x:", "i_": -24, "v": 1.5},
                {"n": "b", "vb": True},
                {"n": "c", "vs": "x"},
                {"n": "d", "vd": "aGk", "ut": 9},
            ]
        )
    )

    assert decoding.data == [
        {"n": "x:temperature", "t": NOW.timestamp(), "u": "Cel", "v": 1.5},
        {"n": "x:b", "t": NOW.timestamp(), "vb": True},
        {"n": "x:c", "t": NOW.timestamp(), "vs": "x"},
        {"n": "x:d", "t": NOW.timestamp(), "vd": "aGk", "ut": 9.0},
    ]


def test_a_space_before_the_json_is_nothing():
    assert decode_senml(payload(b'\n [{"n": "a", "v": 1}]')).data


@pytest.mark.parametrize("body", [b"", b"\x01\x02", b"[]", b"\x80", b'[{"n": "a"}]', b'[{"v": 1}]'])
def test_what_is_no_pack_fails_with_a_sentence(body):
    decoding = decode_senml(payload(body))

    assert decoding.failed
    assert decoding.data is None
    assert decoding.errors[0].endswith(".")


@given(st.binary(max_size=50) | st.binary(max_size=20).map(lambda tail: CBOR_THINGSML[:50] + tail))
def test_any_payload_is_decoded_or_failed(body):
    decoding = decode_senml(payload(body))

    assert decoding.failed == (decoding.data is None)
    senml_measurements(decoding.data, NOW)


def test_records_become_measurements_with_their_times_and_units():
    rows = measured({"bt": -60, "i_": -24, "v": 1.5}, {"n": "door", "t": 60, "vb": True}, {"n": "state", "vs": "ok"})

    before = NOW - timedelta(minutes=1)
    assert rows.measurements == [
        Measurement("temperature", before, 1.5, "Cel"),
        Measurement("door", NOW, True),
        Measurement("state", before, "ok"),
    ]


def test_the_urn_of_the_device_is_left_out_where_all_have_it():
    urn = "urn:dev:DEVEUI:0059AC00001B3461:"

    assert [row.name for row in measured({"bn": urn, "n": "a", "v": 1}, {"n": "b", "v": 1}).measurements] == ["a", "b"]
    assert [row.name for row in measured({"n": f"{urn}a", "v": 1}, {"n": "b", "v": 1}).measurements] == [f"{urn}a", "b"]


def test_a_name_that_is_only_the_urn_stays():
    assert [row.name for row in measured({"n": "urn:dev:ow:10e2073a01080063:", "v": 1}).measurements] == [
        "urn:dev:ow:10e2073a01080063:"
    ]


def test_one_name_has_several_times():
    rows = measured(*({"n": "a", "t": -step, "v": step} for step in range(3)))

    assert [(row.at, row.value) for row in rows.measurements] == [(NOW - timedelta(seconds=s), s) for s in range(3)]


def test_a_sum_is_a_measurement_of_its_own():
    assert measured({"n": "flow", "u": "l/s", "v": 2, "s": 90}).measurements == [
        Measurement("flow", NOW, 2.0, "l/s"),
        Measurement("flow.sum", NOW, 90.0),
    ]


def test_a_time_that_is_not_plausible_gives_way_to_the_frame_s():
    rows = measured({"n": "a", "t": 2**28, "v": 1})

    assert rows.measurements == [Measurement("a", NOW, 1.0)]
    assert rows.warnings == ("Kept with the frame's time, as their own is not plausible: a.",)
