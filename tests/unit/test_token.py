"""The token: published pushes verify, and nothing else does; each odd spelling is refused or means the same."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import PushRejected, Reason
from receiver.thingpark.body import Body, parse_body
from receiver.thingpark.signed_query import parse_signed_query, parse_time
from receiver.thingpark.token import (
    body_element_texts,
    key_spellings,
    read_token_elements,
    sign_push,
    verify_query_agrees,
    verify_token,
)

VECTORS = sorted((Path(__file__).parents[1] / "vectors").glob("push_*.json"))
KEY = "17d107c7e4ae7ad8ea64ea25ee6a6b52"
DEV_EUI = "20635F0000000001"
UPLINK = {"DevEUI": DEV_EUI, "FPort": "1", "FCntUp": "13", "payload_hex": "aa27", "CustomerID": "100000001"}
QUERY = {
    "LrnDevEui": DEV_EUI,
    "LrnFPort": "1",
    "LrnInfos": "TWA_100000001.1.AS-1-1",
    "AS_ID": "TWA_100000001.1.AS",
    "Time": "2026-11-20T12:00:00.000+01:00",
}


def query_text(query: dict[str, str]) -> str:
    return "&".join(f"{name}={value}" for name, value in query.items())


def signed(body_elements: str, *, key: str = KEY, **changed: str) -> bytes:
    """Give the raw query of a push whose token is over those body elements."""
    elements = query_text(QUERY | changed)
    return f"{elements}&Token={sign_push(body_elements, query_elements=elements, key=key)}".encode()


def verify(raw_query: bytes, body: Body, *keys: str):
    """Do what the push moment does with query and body."""
    query, elements = parse_signed_query(raw_query), read_token_elements(body)
    verify_query_agrees(query, elements)
    return verify_token(query, elements, [key_spellings(key) for key in keys or (KEY,)])


def report(kind: str = "DevEUI_uplink", **changed: object) -> Body:
    return parse_body(json.dumps({kind: UPLINK | changed}).encode())


def without(*names: str, kind: str = "DevEUI_uplink") -> Body:
    return parse_body(json.dumps({kind: {name: UPLINK[name] for name in UPLINK if name not in names}}).encode())


def reason_of(raw_query: bytes, body: Body, *keys: str) -> Reason:
    with pytest.raises(PushRejected) as caught:
        verify(raw_query, body, *keys)
    return caught.value.reason


# --- published pushes


def bodies_of(vector: dict[str, dict[str, str]]) -> dict[str, bytes]:
    """Give the report of a vector in each content type."""
    kind, members = vector["report"], vector["members"]
    numbers = {"FPort", "FCntUp", "FCntDn"}
    typed = {name: int(value) if name in numbers else value for name, value in members.items()}
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in members.items())
    return {
        "untyped": json.dumps({kind: members}).encode(),
        "typed": json.dumps({kind: typed}).encode(),
        "xml": f'<?xml version="1.0" encoding="UTF-8"?><{kind} xmlns="http://uri.actility.com/lora">{inner}</{kind}>'.encode(),
    }


@pytest.mark.parametrize("content_type", ["untyped", "typed", "xml"])
@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_a_published_push_verifies_in_each_content_type(path, content_type):
    vector = json.loads(path.read_text())
    raw_query = f"{query_text(vector['query'])}&Token={vector['token']}".encode()

    match = verify(raw_query, parse_body(bodies_of(vector)[content_type]), vector["tunnel_key"])

    assert match.signed_text == vector["signed_text"].encode()


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_a_published_push_with_another_value_in_its_query_does_not_verify(path):
    vector = json.loads(path.read_text())
    for name in ("LrnInfos", "AS_ID"):
        query = vector["query"] | {name: vector["query"][name] + "0"}
        raw_query = f"{query_text(query)}&Token={vector['token']}".encode()
        body = parse_body(bodies_of(vector)["untyped"])
        assert reason_of(raw_query, body, vector["tunnel_key"]) is Reason.TOKEN_MISMATCH


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_every_vector_says_where_it_is_from_and_who_confirmed_it(path):
    vector = json.loads(path.read_text())

    assert vector["source"]
    assert vector["second_opinion"]


@pytest.mark.shared
def test_every_published_push_verifies(shared):
    vectors = [json.loads(path.read_text()) for path in sorted((shared / "vectors").glob("*.json"))]
    pushes = [vector for vector in vectors if vector.get("kind") == "push_token"]
    assert len(pushes) > 7

    for vector in pushes:
        match = verify(vector["query_string"].encode(), parse_body(vector["body"].encode()), vector["tunnel_key"])
        assert match.signed_text.decode() == vector["hash_input"][: len(match.signed_text)], vector["source"]


@pytest.mark.shared
def test_every_push_token_of_kpn_verifies(shared):
    vectors = json.loads((shared / "vectors" / "kpn.json").read_text())["vectors"]
    pushes = [vector for vector in vectors if vector["kind"] == "push_token"]
    assert len(pushes) > 7

    for vector in pushes:
        raw_query = f"{vector['query_without_token']}&Token={vector['expected_token']}".encode()
        body = parse_body(json.dumps({vector["report"]: vector["body_elements"]}).encode())
        assert verify(raw_query, body, vector["as_key"]).key_index == 0, vector["name"]


# --- the query


def test_the_parameters_are_found_in_any_order():
    pairs = signed("").split(b"&")

    assert parse_signed_query(b"&".join(pairs[::-1])).signed_elements == parse_signed_query(signed("")).signed_elements


def test_the_signed_elements_stand_in_the_order_of_the_hash():
    assert parse_signed_query(signed("")).signed_elements == query_text(QUERY)


def test_percent_encoding_is_decoded():
    raw = signed("").replace(b":", b"%3A").replace(b"+", b"%2b").replace(b"AS_ID", b"%41S_ID")

    assert parse_signed_query(raw).signed_elements == query_text(QUERY)


def test_a_plus_stays_a_plus():
    assert parse_signed_query(signed("", LrnInfos="a+b")).lrn_infos == "a+b"


def test_a_percent_sign_that_encodes_nothing_stays():
    assert parse_signed_query(signed("", LrnInfos="100%zz%")).lrn_infos == "100%zz%"


def test_percent_encoding_is_decoded_once():
    assert parse_signed_query(signed("", LrnInfos="%2541")).lrn_infos == "%41"


@pytest.mark.parametrize("infos", ["", "a=b", "a;b", "Stra%C3%9Fe", "null", "%26Token%3D"])
def test_a_value_may_hold_anything_printable(infos):
    assert parse_signed_query(signed("", LrnInfos=infos)).lrn_infos is not None


@pytest.mark.parametrize("more", [b"color=green", b"token=1", b"x", b"=", b"", b"as_id=other", b"%00=%FF"])
def test_a_parameter_of_another_name_is_kept_and_not_signed(more):
    query = parse_signed_query(more + b"&" + signed(""))

    assert query.signed_elements == query_text(QUERY)
    assert query.without_token == f"{more.decode()}&{query_text(QUERY)}"


@pytest.mark.parametrize("name", [*QUERY, "Token"])
def test_a_missing_parameter_is_named(name):
    raw = b"&".join(pair for pair in signed("").split(b"&") if not pair.startswith(name.encode()))

    with pytest.raises(PushRejected, match=f"^{name} missing") as caught:
        parse_signed_query(raw)
    assert caught.value.reason is Reason.MALFORMED_QUERY


@pytest.mark.parametrize("name", [*QUERY, "Token"])
@pytest.mark.parametrize("encoded", [False, True])
def test_a_doubled_parameter_is_refused_however_it_is_spelled(name, encoded):
    spelled = f"%{ord(name[0]):02X}{name[1:]}" if encoded else name

    with pytest.raises(PushRejected, match=f"^{name} stands twice"):
        parse_signed_query(signed("") + f"&{spelled}=x".encode())


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"&", b"a", b"\xff", b"LrnInfos=\xff", signed("", LrnInfos="%FF"), signed("", LrnInfos="%00")),
        *(
            signed("", AS_ID="%7F"),
            signed("", LrnInfos="%0A"),
            signed("") + b"&x=\0",
            signed("") + b"&x=" + b"x" * 4096,
        ),
        *(signed("")[:-1], signed("") + b"0", signed("")[:-1] + b"g", signed("")[:-2] + b"%20", signed("") + b"\xc3"),
    ],
)
def test_a_query_that_is_none_is_refused_with_a_sentence(raw):
    with pytest.raises(PushRejected) as caught:
        parse_signed_query(raw)

    assert caught.value.reason is Reason.MALFORMED_QUERY
    assert caught.value.detail.endswith(".")


def test_no_message_and_no_repr_holds_the_token():
    raw = signed("")
    token = raw.rpartition(b"=")[2].decode()
    query = parse_signed_query(raw)
    with pytest.raises(PushRejected) as caught:
        parse_signed_query(raw + b"0")

    assert token[:16] not in repr(query)
    assert token[:16] not in query.without_token
    assert token[:16] not in str(caught.value)


# --- Time


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20T12:00:00.000+01:00", datetime(2026, 11, 20, 11, tzinfo=UTC)),
        ("2026-11-20T12:00:00+0100", datetime(2026, 11, 20, 11, tzinfo=UTC)),
        ("2026-11-20T12:00:00Z", datetime(2026, 11, 20, 12, tzinfo=UTC)),
        ("2026-11-20T12:00:00", datetime(2026, 11, 20, 12, tzinfo=UTC)),
        ("2026-11-20T12:00:00.5-00:30", datetime(2026, 11, 20, 12, 30, 0, 500_000, tzinfo=UTC)),
        ("2026-11-20T12:00:00.49Z", datetime(2026, 11, 20, 12, 0, 0, 490_000, tzinfo=UTC)),
        ("2026-11-20T12:00:00.123456789Z", datetime(2026, 11, 20, 12, 0, 0, 123_456, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_in_utc(text, expected):
    assert parse_time(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "2026-11-20",
            "2026-11-20 12:00:00Z",
            "2026-11-20T12:00:00 01:00",
            "2026-11-20T12:00Z",
            "20261120T120000Z",
        ),
        *("2026-13-20T12:00:00Z", "2026-02-30T12:00:00Z", "2026-11-20T25:00:00Z", "2026-11-20T12:60:00Z", "now"),
        *("2026-11-20T12:00:00+24:00", "2026-11-20T12:00:00+01", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+01:00"),
        *("9999-12-31T23:59:59-01:00", "2026-11-20T12:00:00.Z", "2026-11-20T12:00:00.1234567890Z", "1473419836813"),
        *("2026-11-20T12:00:00Z\n", " 2026-11-20T12:00:00Z", "\uff12026-11-20T12:00:00Z", "2026-W47-5T12:00:00Z"),
    ],
)
def test_another_time_is_none(text):
    assert parse_time(text) is None


# --- the values of the body


@pytest.mark.parametrize("name", ["FPort", "FCntUp"])
@pytest.mark.parametrize(
    "spelling",
    [
        *(
            '"013"',
            '"+13"',
            '" 13"',
            '"13 "',
            '"13.0"',
            "13.0",
            "1e1",
            "13e0",
            "-0",
            "-13",
            '"0x0d"',
            '"1_3"',
            '"\\uff11\\uff13"',
        ),
        *("4294967296", "99999999999", "true", "{}", "[13]", '["13"]', '"NaN"', '"13\\n"', "1.3e1", '"\\u0661\\u0663"'),
    ],
)
def test_a_signed_number_in_another_spelling_is_refused(name, spelling):
    raw = json.dumps({"DevEUI_uplink": UPLINK}).replace(f'"{name}": "{UPLINK[name]}"', f'"{name}": {spelling}')

    with pytest.raises(PushRejected, match=f"^{name} is") as caught:
        read_token_elements(parse_body(raw.encode()))
    assert caught.value.reason is Reason.MALFORMED_BODY


@pytest.mark.parametrize(
    ("name", "value"), [("FPort", "255"), ("FPort", "0"), ("FCntUp", "4294967295"), ("FCntUp", "0")]
)
def test_the_bounds_of_a_number_are_taken(name, value):
    assert value in body_element_texts(read_token_elements(report(**{name: value})))[0]


@pytest.mark.parametrize("payload", ["a", "aa2", "zz", "aa 27", "0xaa", "aa27\n", "aa\uff12\uff17", "\u00e9\u00e9"])
def test_a_payload_that_is_not_whole_bytes_of_hex_is_refused(payload):
    with pytest.raises(PushRejected, match="whole bytes of hexadecimal"):
        read_token_elements(report(payload_hex=payload))


@pytest.mark.parametrize("value", ["", "ABC DEF", "a\u00e9", "x" * 65, {"a": "b"}, ["20635F0000000001"], True])
def test_a_dev_eui_that_is_no_identifier_is_refused(value):
    with pytest.raises(PushRejected, match="DevEUI"):
        read_token_elements(report(DevEUI=value))


@pytest.mark.parametrize("value", ["1 2", "a&b", "x" * 65, {"a": "b"}, "1\n"])
def test_a_customer_id_that_is_none_is_refused(value):
    with pytest.raises(PushRejected, match="CustomerID"):
        read_token_elements(report(CustomerID=value))


def test_an_uplink_with_a_payload_and_without_a_counter_is_refused():
    with pytest.raises(PushRejected, match="FCntUp is missing"):
        read_token_elements(without("FCntUp"))


@pytest.mark.parametrize("name", ["fcntup", "FCNTUP", "FCntup", "fCntUp"])
def test_a_counter_under_a_name_in_another_case_is_no_counter(name):
    body = report(**{name: "14"})

    assert read_token_elements(body) == read_token_elements(report())


@pytest.mark.parametrize(("name", "value"), [("FCntDn", "-1"), ("FCntDn", 13.5), ("AFCntDn", {}), ("FCntDn", 2**32)])
def test_an_odd_value_that_the_token_of_an_uplink_does_not_cover_is_no_reason_to_refuse_it(name, value):
    assert read_token_elements(report(**{name: value})) == read_token_elements(report())


@pytest.mark.parametrize("kind", ["DevEUI_location", "DevEUI_notification"])
def test_numbers_that_the_token_of_a_kind_does_not_cover_are_not_looked_at(kind):
    elements = read_token_elements(report(kind, FPort="?", FCntUp=[], payload_hex="zz"))

    assert (elements.f_port, elements.f_cnt_up, elements.payload_hex) == (None, None, "")


def test_odd_numbers_of_a_kind_that_nobody_knows_are_left_out_of_what_is_tried():
    elements = read_token_elements(report("DevEUI_new", FPort="*", FCntUp=1.5, FCntDn={}, payload_hex=3))

    assert f"100000001{DEV_EUI}" in body_element_texts(elements)
    assert not any("*" in text or "1.5" in text for text in body_element_texts(elements))


def test_a_report_that_is_of_no_device_needs_no_dev_eui():
    elements = read_token_elements(parse_body(b'{"BS_alarm": {"ID": 4, "CustomerID": "100000001"}}'))

    assert body_element_texts(elements)[0] == "100000001"


# --- the text of each kind


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (report(), f"100000001{DEV_EUI}113aa27"),
        (report(DevEUI=DEV_EUI.lower()), f"100000001{DEV_EUI.lower()}113aa27"),
        (report(payload_hex="AA27"), f"100000001{DEV_EUI}113AA27"),
        (report(payload_hex=""), f"100000001{DEV_EUI}113"),
        (without("payload_hex"), f"100000001{DEV_EUI}113"),
        (without("FPort", "payload_hex"), f"100000001{DEV_EUI}013"),
        (without("CustomerID"), f"{DEV_EUI}113aa27"),
        (report("DevEUI_downlink_Sent", FCntDn=7), f"100000001{DEV_EUI}17"),
        (report("DevEUI_downlink_Sent", AFCntDn=7), f"100000001{DEV_EUI}17"),
        (report("DevEUI_location"), f"100000001{DEV_EUI.lower()}"),
        (report("DevEUI_notification"), f"100000001{DEV_EUI}"),
        (report("DevEUI_multicast_summary"), f"100000001{DEV_EUI}"),
        (report("DevEUI_new"), f"100000001{DEV_EUI}"),
    ],
)
def test_the_first_reading_of_a_kind_is_the_documented_one(body, text):
    assert body_element_texts(read_token_elements(body))[0] == text


@pytest.mark.parametrize("kind", ["DevEUI_downlink_Rejected", "DevEUI_multicast_summary", "DevEUI_alarm", "DevEUI_new"])
@pytest.mark.parametrize("spelling", [str.upper, str.lower])
@pytest.mark.parametrize("rest", ["", "1", "17", "113aa27"])
def test_every_reading_of_an_unsure_kind_verifies(kind, spelling, rest):
    body = report(kind, FCntDn=7)

    assert verify(signed(f"100000001{spelling(DEV_EUI)}{rest}"), body).key_index == 0


@pytest.mark.parametrize("rest", ["", "0", "00"])
def test_every_reading_of_a_join_request_verifies(rest):
    body = without("FPort", "FCntUp", "payload_hex")

    assert verify(signed(f"100000001{DEV_EUI}{rest}", LrnFPort="0"), body).key_index == 0


@pytest.mark.parametrize("f_port", ["0", ""])
@pytest.mark.parametrize("rest", ["013", "13"])
def test_an_uplink_without_f_port_verifies_with_and_without_a_zero(f_port, rest):
    assert verify(signed(f"100000001{DEV_EUI}{rest}", LrnFPort=f_port), without("FPort", "payload_hex")).key_index == 0


def test_a_location_verifies_over_the_lower_case_only():
    assert reason_of(signed(f"100000001{DEV_EUI}"), report("DevEUI_location")) is Reason.TOKEN_MISMATCH


# --- query and body must agree


@pytest.mark.parametrize("dev_eui", ["20635F0000000002", "", "20635F000000000", "20635F00000000011"])
def test_another_device_in_the_query_is_a_mismatch(dev_eui):
    assert reason_of(signed(f"100000001{DEV_EUI}113aa27", LrnDevEui=dev_eui), report()) is Reason.QUERY_BODY_MISMATCH


def test_the_case_of_a_dev_eui_in_the_query_does_not_matter():
    assert verify(signed(f"100000001{DEV_EUI}113aa27", LrnDevEui=DEV_EUI.lower()), report()).key_index == 0


@pytest.mark.parametrize("f_port", ["2", "01", "", "0", "1.0", " 1", "11", "\uff11"])
def test_another_f_port_in_the_query_is_a_mismatch(f_port):
    assert reason_of(signed(f"100000001{DEV_EUI}113aa27", LrnFPort=f_port), report()) is Reason.QUERY_BODY_MISMATCH


@pytest.mark.parametrize("f_port", ["1", "00", "255"])
def test_an_uplink_without_f_port_goes_with_no_f_port_in_the_query(f_port):
    raw_query = signed(f"100000001{DEV_EUI}013", LrnFPort=f_port)

    assert reason_of(raw_query, without("FPort", "payload_hex")) is Reason.QUERY_BODY_MISMATCH


# --- moving digits


MOVABLE = signed(f"100000001{DEV_EUI}1130105")
"""FCntUp 13 with payload 0105. No separator stands between the two."""


def test_digits_moved_between_counter_and_payload_verify_as_the_same_delivery_only():
    original = verify(MOVABLE, report(FCntUp="13", payload_hex="0105"))
    moved = verify(MOVABLE, report(FCntUp="1301", payload_hex="05"))

    assert moved.delivery_id == original.delivery_id


@pytest.mark.parametrize(
    ("f_port", "f_cnt_up", "payload_hex", "reason"),
    [
        ("11", "3", "0105", Reason.QUERY_BODY_MISMATCH),
        ("113", "0", "0105", Reason.QUERY_BODY_MISMATCH),
        ("1", "1", "30105", Reason.MALFORMED_BODY),
        ("1", "130", "105", Reason.MALFORMED_BODY),
        ("1", "013", "0105", Reason.MALFORMED_BODY),
        ("1", "14", "0105", Reason.TOKEN_MISMATCH),
        ("1", "13", "0106", Reason.TOKEN_MISMATCH),
        ("1", "13", "010500", Reason.TOKEN_MISMATCH),
    ],
)
def test_digits_moved_otherwise_are_refused(f_port, f_cnt_up, payload_hex, reason):
    assert reason_of(MOVABLE, report(FPort=f_port, FCntUp=f_cnt_up, payload_hex=payload_hex)) is reason


@pytest.mark.parametrize("f_cnt_up", ["01", "013", "00"])
def test_a_digit_moved_in_front_of_the_counter_is_refused(f_cnt_up):
    assert reason_of(signed(f"100000001{DEV_EUI}1{f_cnt_up}"), report(FCntUp=f_cnt_up)) is Reason.MALFORMED_BODY


@pytest.mark.parametrize("kind", ["DevEUI_downlink_Sent", "DevEUI_new"])
def test_another_kind_around_the_same_values_is_the_same_delivery_only(kind):
    raw_query = signed(f"100000001{DEV_EUI}113")
    original = verify(raw_query, report(payload_hex=""))
    disguised = verify(raw_query, report(kind, FCntDn="13", payload_hex=""))

    assert disguised.delivery_id == original.delivery_id


@pytest.mark.parametrize("kind", ["DevEUI_location", "DevEUI_notification"])
def test_a_kind_that_is_signed_over_less_does_not_verify_with_the_token_of_an_uplink(kind):
    assert reason_of(signed(f"100000001{DEV_EUI}113aa27"), report(kind)) is Reason.TOKEN_MISMATCH


def test_a_customer_id_that_reaches_into_the_dev_eui_is_refused():
    body = report(CustomerID=f"100000001{DEV_EUI[:4]}", DevEUI=DEV_EUI[4:])

    assert reason_of(signed(f"100000001{DEV_EUI}113aa27"), body) is Reason.QUERY_BODY_MISMATCH


def test_parameters_hidden_in_another_value_are_another_text():
    hidden = signed(f"100000001{DEV_EUI}113aa27", LrnInfos="a%26AS_ID%3Dother")
    plain = signed(f"100000001{DEV_EUI}113aa27", LrnInfos="a")

    assert parse_signed_query(hidden).signed_elements != parse_signed_query(plain).signed_elements
    assert parse_signed_query(hidden).as_id == QUERY["AS_ID"]


@given(
    st.tuples(st.integers(0, 255), st.integers(0, 2**32 - 1), st.binary(max_size=4)),
    st.tuples(st.integers(0, 255), st.integers(0, 2**32 - 1), st.binary(max_size=4)),
)
def test_two_uplinks_with_one_f_port_and_one_signed_text_are_one_delivery(first, second):
    matches = []
    for f_port, f_cnt_up, payload in (first, second):
        body = report(FPort=f_port, FCntUp=f_cnt_up, payload_hex=payload.hex())
        raw_query = signed(f"100000001{DEV_EUI}{f_port}{f_cnt_up}{payload.hex()}", LrnFPort=str(f_port))
        matches.append(verify(raw_query, body))

    same_text = matches[0].signed_text == matches[1].signed_text
    assert (matches[0].delivery_id == matches[1].delivery_id) is same_text


# --- keys

DASHED = "17d107c7-e4ae-7ad8-ea64-ea25ee6a6b52"


@pytest.mark.parametrize("configured", [KEY, KEY.upper(), DASHED, DASHED.upper()])
@pytest.mark.parametrize("hashed", [KEY])
def test_a_key_signs_in_lower_case_without_dashes_however_it_is_configured(configured, hashed):
    assert verify(signed(f"100000001{DEV_EUI}113aa27", key=hashed), report(), configured).key_index == 0


@pytest.mark.parametrize("typed", [KEY, KEY.upper(), DASHED, DASHED.upper(), KEY[:16] + KEY[16:].upper()])
def test_a_key_signs_as_it_is_typed(typed):
    assert verify(signed(f"100000001{DEV_EUI}113aa27", key=typed), report(), typed).key_index == 0


def test_a_key_in_lower_case_does_not_verify_what_was_signed_in_upper_case():
    assert reason_of(signed(f"100000001{DEV_EUI}113aa27", key=KEY.upper()), report(), KEY) is Reason.TOKEN_MISMATCH


def test_lower_case_without_dashes_is_tried_first():
    assert key_spellings(DASHED.upper())[0] == KEY.encode()


def test_no_spelling_is_tried_twice():
    assert key_spellings(KEY) == (KEY.encode(),)


OTHERS = ("00112233445566778899aabbccddeeff", "f3203a20a2e8dfaf6686b621f56d05e3")


@pytest.mark.parametrize("position", [0, 1, 2])
def test_any_of_several_keys_verifies_and_is_named(position):
    keys = [*OTHERS[:position], KEY, *OTHERS[position:]]

    assert verify(signed(f"100000001{DEV_EUI}113aa27"), report(), *keys).key_index == position


def test_none_of_several_keys_is_a_token_mismatch_that_names_no_key():
    with pytest.raises(PushRejected, match="none of the 2 live keys") as caught:
        verify(signed(f"100000001{DEV_EUI}113aa27"), report(), *OTHERS)

    assert not any(key[:8] in caught.value.detail for key in OTHERS)


def test_no_key_at_all_is_a_token_mismatch():
    query, elements = parse_signed_query(signed(f"100000001{DEV_EUI}113aa27")), read_token_elements(report())

    with pytest.raises(PushRejected, match="none of the 0 live keys"):
        verify_token(query, elements, [])


def test_a_token_in_upper_case_is_the_same_token():
    head, _, token = signed(f"100000001{DEV_EUI}113aa27").rpartition(b"=")

    assert verify(head + b"=" + token.upper(), report()).key_index == 0


def test_a_token_that_was_made_without_the_key_does_not_verify():
    elements = query_text(QUERY)
    token = hashlib.sha256(f"100000001{DEV_EUI}113aa27{elements}".encode()).hexdigest()

    assert reason_of(f"{elements}&Token={token}".encode(), report()) is Reason.TOKEN_MISMATCH


def test_a_signature_is_64_lower_case_hex_digits():
    token = sign_push("a", query_elements="b", key="c")

    assert token == hashlib.sha256(b"abc").hexdigest()


def test_a_delivery_is_identified_by_16_bytes_of_its_signed_text():
    match = verify(signed(f"100000001{DEV_EUI}113aa27"), report())

    assert match.delivery_id == hashlib.sha256(match.signed_text).digest()[:16]
