"""Reading numbers as numbers says what reading their spelling says, for any bytes at all."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import PushRejected, ReportUnreadableError
from receiver.thingpark.body import parse_body
from receiver.thingpark.plain_body import MAX_PLAIN_BYTES
from receiver.thingpark.reports import read_raw_report, read_report
from receiver.thingpark.typed_body import parse_typed_body
from tests.unit.json_texts import json_object, json_values

UPLINK = (
    '{"DevEUI_uplink": {"Time": "2026-11-21T08:30:00.000+01:00","DevEUI": "0059AC0000000001","FPort": 2,"FCntUp": 7,'
    '"ADRbit": 1,"MType": 2,"FCntDn": 804,"payload_hex": "0a1b","mic_hex": "5C00ad47","LrrRSSI": -110.000000,'
    '"LrrSNR": -1.250000,"SpFact": 9,"SubBand": "G1","Channel": "LC3","DevLrrCnt": 2,"Lrrid": "FF01045A","Late": 0,'
    '"LrrLAT": 52.106907,"LrrLON": 5.778477,"Lrrs": {"Lrr": [{"Lrrid": "FF01045A","Chain": 0,"LrrRSSI": -110.000000,'
    '"LrrSNR": -1.250000,"LrrESP": -111.774582},{"Lrrid": "FF0101C2","Chain": 0,"LrrRSSI": -113,"LrrSNR": 1e0}]},'
    '"CustomerID": 100006211,"CustomerData": {"alr": {"pro": "ACME/Meter","ver": 1},"name": "Zähler 📡"},'
    '"DevAddr": "14c4cc04","AppSKey": "D27A7D90C00362FD1628796F9E339EF0","Frequency": 867.1,"DevLAT": 52.1,'
    '"DevLON": 5.2,"DevLocTime": "2026-11-20T08:30:00Z","BatteryLevel": 254,"Margin": 7,"PayloadEncryption": 1}}'
)

MEMBERS = sorted(json.loads(UPLINK)["DevEUI_uplink"])
KINDS = ["DevEUI_uplink", "DevEUI_notification", "DevEUI_location", "DevEUI_downlink_Sent", "Kind 2"]

NAMES = st.sampled_from([*MEMBERS, "Lrr", "name", "alr", "Type", "Var1", "Var2", "Spfact", "x"])
LEAVES = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.integers(-2, 300).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["true", "false", "null", "1e1", "1e999", "1e-400", "01", "NaN", "7.0", "1.50", "1673419836813"]),
    st.sampled_from(['""', '"17"', '"1"', '"true"', '"a b"', '"\\u0041"', '"é"', '"a" ', '"0a1b"', '"join"']),
    st.sampled_from(['"0059ac0000000001"', '"2026-11-21T08:30:00Z"', '"devstatusans"', f'"{"ab" * 16}"']),
)

VALUES = json_values(NAMES, LEAVES)


def _strictly(raw: bytes):
    return read_report(parse_body(raw))


def _said(read, raw: bytes):
    try:
        report, notes = read(raw)
    except (PushRejected, ReportUnreadableError) as exc:
        return type(exc), str(exc)
    return type(report), repr(tuple(report)), notes.sentence()


@given(st.sampled_from(KINDS), st.lists(st.tuples(NAMES, VALUES), max_size=8), st.booleans(), st.booleans())
def test_any_object_is_read_as_the_strict_way_reads_it(kind, pairs, has_spaces, has_device):
    named = [("DevEUI", '"0059AC0000000001"')] if has_device else []
    text = json_object([(kind, json_object([*named, *pairs]))])
    raw = (text.replace(":", " : ") if has_spaces else text).encode()

    assert _said(read_raw_report, raw) == _said(_strictly, raw)


@given(st.sampled_from(MEMBERS), VALUES)
def test_an_uplink_with_any_value_of_a_member_is_read_as_the_strict_way_reads_it(name, value):
    members = {other: json.dumps(inner) for other, inner in json.loads(UPLINK)["DevEUI_uplink"].items()}
    raw = json_object([("DevEUI_uplink", json_object(list((members | {name: value}).items())))]).encode()

    assert _said(read_raw_report, raw) == _said(_strictly, raw)


@given(st.sampled_from(["Lrrid", "Chain", "LrrRSSI", "LrrSNR", "LrrESP"]), VALUES)
def test_a_gateway_with_any_value_of_a_member_is_read_as_the_strict_way_reads_it(name, value):
    gateway = {"Lrrid": '"FF01045A"', "LrrRSSI": "-110.5"} | {name: value}
    raw = UPLINK.replace('"Lrr": [', f'"Lrr": [{json_object(list(gateway.items()))},').encode()

    assert _said(read_raw_report, raw) == _said(_strictly, raw)


@given(st.data())
def test_a_real_body_with_a_byte_changed_is_read_as_the_strict_way_reads_it(data):
    raw = bytearray(UPLINK.encode())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] = data.draw(st.integers(0, 255))
    changed = bytes(raw)

    if re.search(rb"[eE]0\d\d\d|-0\b", changed) is None:
        assert _said(read_raw_report, changed) == _said(_strictly, changed)


def test_a_plain_uplink_is_read_without_its_spelling():
    typed = parse_typed_body(UPLINK.encode())

    assert typed is not None
    assert typed.members["FCntUp"] == 7


@pytest.mark.parametrize("name", ["FPort", "Late", "DevEUI", "Lrrid"])
def test_a_name_that_stands_twice_is_left_to_the_strict_way(name):
    for body in (
        f'{{"DevEUI_uplink":{{"DevEUI":"0059AC0000000001","{name}":1,"{name}":1}}}}',
        f'{{"DevEUI_uplink":{{"DevEUI":"0059AC0000000001","Lrrs":{{"Lrr":[{{"{name}":1,"{name}":2}}]}}}}}}',
    ):
        assert parse_typed_body(body.encode()) is None
        with pytest.raises(PushRejected, match="stands twice"):
            read_raw_report(body.encode())


def test_a_text_that_was_sent_as_a_number_keeps_its_spelling():
    raw = UPLINK.replace("100006211", "100006211.50").encode()
    report, _ = read_raw_report(raw)

    assert report.heading.customer_id == "100006211.50"


def test_a_large_body_is_left_to_the_strict_way():
    raw = json.dumps({"DevEUI_uplink": {"DevEUI": "0059AC0000000001", "x": [1] * MAX_PLAIN_BYTES}}).encode()

    assert parse_typed_body(raw) is None


@pytest.mark.shared
def test_all_real_bodies_are_read_as_the_strict_way_reads_them(shared):
    bodies = [path.read_bytes() for path in (shared / "examples" / "reports").iterdir() if path.name != "index.json"]

    assert len(bodies) >= 80
    for raw in bodies:
        assert _said(read_raw_report, raw) == _said(_strictly, raw)
