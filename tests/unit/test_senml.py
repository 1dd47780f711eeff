"""SenML packs are resolved as RFC 8428 says, in JSON and CBOR, and as KPN Things really sends them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import SenmlError
from receiver.kpn_things.senml import MAX_RECORDS, SenmlRecord, parse_senml_cbor, parse_senml_json

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)

# RFC 8428 section 5.1.3, and section 6 for the same pack in CBOR.
RFC_JSON = json.dumps(
    [
        {
            "bn": "urn:dev:ow:10e2073a0108006:",
            "bt": 1.276020076001e09,
            "bu": "A",
            "bver": 5,
            "n": "voltage",
            "u": "V",
            "v": 120.1,
        },
        *({"n": "current", "t": -5 + step, "v": (12 + step) / 10} for step in range(5)),
        {"n": "current", "v": 1.7},
    ]
).encode()
CURRENT = "a3006763757272656e74"
RFC_CBOR = bytes.fromhex(
    "87a721781b75726e3a6465763a6f773a313065323037336130313038303036"
    "3a22fb41d303a15b00106223614120050067766f6c7461676501615602fb405e066666666666"
    f"{CURRENT}062402fb3ff3333333333333"
    f"{CURRENT}062302fb3ff4cccccccccccd"
    f"{CURRENT}062202fb3ff6666666666666"
    f"{CURRENT}062102f93e00"
    f"{CURRENT}062002fb3ff999999999999a"
    f"{CURRENT}060002fb3ffb333333333333"
)


def resolve(*records):
    return parse_senml_json(json.dumps(records).encode(), NOW)


def resolve_one(**labels):
    (record,) = resolve({"n": "a"} | labels)
    return record


def test_the_rfc_s_example_of_several_data_points_is_resolved():
    records = parse_senml_json(RFC_JSON, NOW)

    at = datetime(2010, 6, 8, 18, 1, 16, 1000, tzinfo=UTC)  # as RFC 8428 section 5.1.4 resolves it: 1.276020076001e9
    assert records[0] == SenmlRecord("urn:dev:ow:10e2073a0108006:voltage", at, "V", 120.1)
    assert [record.number for record in records[1:]] == [1.2, 1.3, 1.4, 1.5, 1.6, 1.7]
    assert {(record.name, record.unit) for record in records[1:]} == {("urn:dev:ow:10e2073a0108006:current", "A")}
    assert [record.at - at for record in records[1:]] == [timedelta(seconds=seconds) for seconds in range(-5, 1)]


def test_the_rfc_s_example_in_cbor_is_the_one_in_json():
    assert parse_senml_cbor(RFC_CBOR, NOW) == parse_senml_json(RFC_JSON, NOW)


def test_every_kind_of_value_is_read():
    records = resolve(
        {"n": "label", "vs": "Machine Room"},
        {"n": "open", "vb": False},
        {"n": "nfc", "vd": "aGkgCg"},  # RFC 8428 section 5.1.5
        {"n": "energy", "s": 31.5, "ut": 60},
    )

    assert [(record.text, record.boolean, record.data, record.sum, record.update_time) for record in records] == [
        ("Machine Room", None, None, None, None),
        (None, False, None, None, None),
        (None, None, b"hi \n", None, None),
        (None, None, None, 31.5, 60),
    ]


def test_a_base_value_holds_until_it_is_replaced():
    records = resolve(
        {"bn": "x:", "bv": 20, "n": "a", "v": 1}, {"n": "b", "v": 2}, {"bn": "y:", "bv": 0, "n": "c", "v": 3}
    )

    assert [(record.name, record.number) for record in records] == [("x:a", 21), ("x:b", 22), ("y:c", 3)]


def test_the_missing_of_value_and_base_value_is_zero():
    assert resolve_one(bv=20).number == 20
    assert resolve_one(bs=5, v=1).sum == 5


def test_a_sum_of_decimals_is_a_decimal():
    assert resolve_one(bv=21.3, v=0.1).number == 21.4


def test_a_base_unit_gives_way_to_a_unit():
    assert [record.unit for record in resolve({"bu": "A", "n": "a", "v": 1}, {"n": "b", "u": "V", "v": 1})] == [
        "A",
        "V",
    ]


@pytest.mark.parametrize(
    ("seconds", "at"),
    [
        (0, NOW),
        (-60, NOW - timedelta(minutes=1)),
        (2**28 - 1, NOW + timedelta(seconds=2**28 - 1)),
        (2**28, datetime(1978, 7, 4, 21, 24, 16, tzinfo=UTC)),  # date -u -d @268435456
        (1718745022.862, datetime(2024, 6, 18, 21, 10, 22, 862000, tzinfo=UTC)),  # date -u -d @1718745022.862
    ],
)
def test_a_time_below_2_to_the_28_is_relative_to_now(seconds, at):
    assert resolve_one(v=1, t=seconds).at == at
    assert resolve_one(v=1, bt=seconds).at == at


def test_a_record_of_base_values_only_is_none_of_its_own():
    (record,) = resolve({"bn": "urn:dev:x:", "bt": 1654194188}, {"n": "port", "v": 1})

    assert (record.name, record.at) == ("urn:dev:x:port", datetime(2022, 6, 2, 18, 23, 8, tzinfo=UTC))


def test_an_unknown_label_is_left_out_unless_it_must_be_understood():
    assert resolve_one(v=1, extra={"deep": [1]}).number == 1
    with pytest.raises(SenmlError, match="Record 1: extra_ must be understood and is not known"):
        resolve_one(v=1, extra_=1)


@pytest.mark.parametrize("version", [5, 10, 26])
def test_versions_that_mean_the_same_here_are_read(version):
    assert resolve_one(v=1, bver=version).number == 1


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ({}, "Record 1: v is missing"),
        ({"v": 1, "vs": "x"}, "Record 1: vs stands beside v"),
        ({"v": "1"}, "Record 1: v is not a number"),
        ({"v": True}, "Record 1: v is not a number"),
        ({"v": None}, "Record 1: v is not a number"),
        ({"v": 10**400}, "not JSON|v is not a number"),
        ({"bv": 1.7e308, "v": 1.7e308}, "v is not a number that a double can hold"),
        ({"vs": 1}, "Record 1: vs is not text"),
        ({"vb": 1}, "Record 1: vb is neither true nor false"),
        ({"vd": "a+/="}, "Record 1: vd is not base64url"),
        ({"vd": "a"}, "Record 1: vd is not base64url"),
        ({"v": 1, "u": 5}, "Record 1: u is not text"),
        ({"v": 1, "t": "now"}, "Record 1: t is not a number"),
        ({"v": 1, "t": 1e300}, "Record 1: t gives a time that no calendar has"),
        ({"v": 1, "t": -1e15}, "Record 1: t gives a time that no calendar has"),
        ({"v": 1, "bver": 11}, "Record 1: bver is 11; SenML is read up to version 10"),
        ({"n": "", "v": 1}, "Record 1: n gives the name ''"),
        ({"n": "rotação", "v": 1}, "Record 1: n gives the name"),
        ({"n": ":a", "v": 1}, "Record 1: n gives the name"),
        ({"bn": "urn:dev:DEVEUI:{devEUI}:", "v": 1}, "Record 1: n gives the name"),
        ({"n": 5, "v": 1}, "Record 1: n is not text"),
    ],
)
def test_a_record_that_breaks_a_rule_is_named_with_the_label(labels, told):
    with pytest.raises(SenmlError, match=told):
        resolve_one(**labels)


def test_the_record_that_is_wrong_is_counted_from_one():
    with pytest.raises(SenmlError, match="Record 2: v is not a number"):
        resolve({"n": "a", "v": 1}, {"n": "b", "v": []})


@pytest.mark.parametrize("body", [b"", b"{", b"{}", b"[]", b"[1]", b"\xff", b"[" * 100_000, b'[{"n":"a","v":NaN}]'])
def test_what_is_no_pack_is_refused(body):
    with pytest.raises(SenmlError):
        parse_senml_json(body, NOW)


def test_the_number_of_records_is_bounded():
    record = {"n": "a", "v": 1}

    assert len(resolve(*[record] * MAX_RECORDS)) == MAX_RECORDS
    with pytest.raises(SenmlError, match="1,001 records"):
        resolve(*[record] * (MAX_RECORDS + 1))


def test_a_label_that_stands_twice_in_cbor_is_refused():
    with pytest.raises(SenmlError, match="Record 1: the label v stands twice"):
        parse_senml_cbor(bytes.fromhex("81a3006161020161" + "7602"), NOW)  # {0: "a", 2: 1, "v": 2}


def test_no_value_shows_in_the_text_of_a_record():
    assert "secret" not in repr(resolve_one(vs="secret"))


LABELS = st.sampled_from(["bn", "bt", "bu", "bv", "bs", "bver", "n", "u", "v", "vs", "vb", "vd", "s", "t", "ut", "x_"])
VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just([]), st.just({}))
PACKS = st.lists(st.dictionaries(LABELS, VALUES, max_size=6), max_size=4)


@given(PACKS.map(lambda pack: json.dumps(pack).encode()) | st.binary(max_size=40))
def test_any_bytes_are_resolved_or_refused_as_json(body):
    try:
        records = parse_senml_json(body, NOW)
    except SenmlError:
        return
    for record in records:
        values = (record.number, record.text, record.boolean, record.data)
        assert sum(value is not None for value in values) == 1 or record.sum is not None


@given(st.binary(max_size=40) | st.binary(max_size=20).map(lambda tail: RFC_CBOR[:120] + tail))
def test_any_bytes_are_resolved_or_refused_as_cbor(body):
    try:
        parse_senml_cbor(body, NOW)
    except SenmlError:
        return


# --- what KPN Things really sends


def kpn_pack(shared, name):
    return parse_senml_json((shared / "examples" / "kpn-things" / name).read_bytes(), NOW)


@pytest.mark.shared
def test_every_real_pack_of_kpn_things_is_resolved(shared):
    names = sorted(path.name for path in (shared / "examples" / "kpn-things").glob("0*.json"))

    counts = [len(kpn_pack(shared, name)) for name in names]

    assert counts == [8, 13, 3, 3, 2, 2, 7, 1, 6, 8, 4]  # 01 to 08; 05, 06 and 07 are two each


@pytest.mark.shared
@pytest.mark.parametrize(
    ("file", "name", "at", "unit", "value"),
    [  # the times: `date -u -d @bt`
        ("02_extended_v2_2025.json", "LrrESP", datetime(2025, 12, 14, 19, 19, 15, 219000, UTC), None, -108.764351),
        ("02_extended_v2_2025.json", "payload", datetime(2025, 12, 14, 19, 19, 15, 219000, UTC), None, "763d0028"),
        ("01_location_2025.json", "latitude", datetime(2025, 12, 14, 19, 19, 20, 260000, UTC), "lat", 52.266785),
        ("05a_legacy_2022_separate_base_record.json", "port", datetime(2022, 6, 2, 18, 23, 8, 0, UTC), None, 1),
        ("06b_decoded_2020.json", "temperature", datetime(2020, 11, 18, 9, 50, 25, 0, UTC), "Cel", 0),
        ("07a_dvnuuid_2024_tagoio.json", "battery", datetime(2024, 4, 15, 15, 7, 17, 0, UTC), "%", "32.0"),
        ("08_simulator_2023.json", "accelerationZ", datetime(2023, 9, 24, 20, 14, 4, 0, UTC), "m/s2", 9.7),
    ],
)
def test_values_of_real_packs_are_what_they_are(shared, file, name, at, unit, value):
    (record,) = [record for record in kpn_pack(shared, file) if record.name.endswith(f":{name}")]

    assert record.name.startswith("urn:dev:D")
    assert (record.at, record.unit) == (at, unit)
    assert value in {record.number, record.text}
