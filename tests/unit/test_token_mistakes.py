"""Each known mistake is made to a push that a network has signed, and is named; nothing else is."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from itertools import combinations
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import PushRejected
from receiver.simulator.network import SimulatedNetwork
from receiver.simulator.push import TimeEncoding
from receiver.thingpark.body import Body, parse_body
from receiver.thingpark.loose_push import read_loosely, repaired_queries
from receiver.thingpark.signed_query import parse_signed_query
from receiver.thingpark.token import key_spellings, read_token_elements, sign_push, verify_query_agrees, verify_token
from receiver.thingpark.token_mistakes import KEY_MISTAKES, LOST_PARAMETER, MISTAKES
from receiver.thingpark.token_search import MAX_HASHES, CandidateKey, search

KEY = "17d107c7e4ae7ad8ea64ea25ee6a6b52"
OTHER_KEY = "c6f5e3b263092120b8766b9aed9c41b4"
AS_ID = "TWA_100000001.1.AS"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MEMBERS = {
    "DevEUI": "20635F00000000AB",
    "FPort": 5,
    "FCntUp": 13,
    "payload_hex": "00aa27fe",
    "CustomerID": "100000001",
}
QUERY = {
    "LrnDevEui": MEMBERS["DevEUI"],
    "LrnFPort": "5",
    "LrnInfos": f"{AS_ID}-1-7",
    "AS_ID": AS_ID,
    "Time": "2026-11-20T13:00:00.250+01:00",
}


def push_of_the_network(kind="uplink", encoding=TimeEncoding.PERCENT, **options):
    """Give query and members of a push as the simulated network signs it."""
    network = SimulatedNetwork(key=KEY, clock=lambda: NOW, seed=3, as_id=AS_ID, time_encoding=encoding)
    device = network.add_device(kind="meter")
    push = getattr(network, kind)(device, content_type="jsontyped", **options)
    ((name, members),) = json.loads(push.body).items()
    return push.query, name, members


def signed_by_hand(body_text, *, key=KEY, query=QUERY, order=tuple(QUERY), signed=None):
    """Give the query of a sender that hashes what it likes: `signed` in place of some values of the query."""
    values = {**query, **(signed or {})}
    token = sign_push(body_text, query_elements="&".join(f"{name}={values[name]}" for name in order), key=key)
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in {**query, "Token": token}.items())


def codes(query, body, *, expected=(KEY,), others=(), as_ids=()):
    """Give what is found: the mistakes by their codes, and `unexpected` for a key that is."""
    found = outcome(query, body, expected=expected, others=others, as_ids=as_ids).found
    if found is None:
        return None
    return [*([] if found.key.is_expected else ["unexpected"]), *(mistake.code for mistake in found.mistakes)]


def outcome(query, body, *, expected=(KEY,), others=(), as_ids=()):
    keys = [CandidateKey("own", key, is_expected=True) for key in expected]
    keys += [CandidateKey("other", key, is_expected=False) for key in others]
    if not isinstance(body, Body):
        body = parse_body(json.dumps(body).encode())
    return search(read_loosely(query, body, as_ids), keys)


def body(**changed):
    members = {**MEMBERS, **changed}
    return {"DevEUI_uplink": {name: value for name, value in members.items() if value is not None}}


DOCUMENTED = "10000000120635F00000000AB51300aa27fe"


def wire_text(query):
    return query.partition("&Token=")[0].split("&")


# --- what happens on the way: a push of the simulated network, damaged


def damage_plus(query, members):
    return query.replace("%2B", "%20").replace("+", " "), members


def damage_encoding(query, members):
    pairs = (pair.partition("=") for pair in query.split("&"))
    return "&".join(f"{name}={quote(value, safe='')}" for name, _, value in pairs), members


def damage_body_case(query, members):
    return query, {**members, "DevEUI": members["DevEUI"].lower()}


def damage_query_case(query, members):
    return query.replace(members["DevEUI"].upper(), members["DevEUI"].lower()), members


def damage_body_port(query, members):
    return query, {name: value for name, value in members.items() if name != "FPort"}


def damage_query_port(query, members):
    return query.replace(f"LrnFPort={members.get('FPort', '')}", "LrnFPort=0"), members


def damage_numbers(query, members):
    return query, {**members, "FCntUp": float(members["FCntUp"])}


def damage_payload(query, members):
    return query, {**members, "payload_hex": members["payload_hex"].upper()}


def damage_customer(query, members):
    return query, {name: value for name, value in members.items() if name != "CustomerID"}


def damage_as_id(query, members):
    return query.replace(f"AS_ID={AS_ID}", "AS_ID=meters"), members


DAMAGES = {
    "plus-became-space": damage_plus,
    "query-encoded-twice": damage_encoding,
    "body-dev-eui-case": damage_body_case,
    "query-dev-eui-case": damage_query_case,
    "body-f-port": damage_body_port,
    "query-f-port": damage_query_port,
    "numbers-rewritten": damage_numbers,
    "payload-rewritten": damage_payload,
    "customer-id": damage_customer,
    "as-id": damage_as_id,
}


@pytest.mark.parametrize("code", DAMAGES)
def test_what_was_done_to_a_push_on_its_way_is_named(code):
    query, kind, members = push_of_the_network(payload=bytes.fromhex("00aa27fe"))

    query, members = DAMAGES[code](query, members)

    assert codes(query, {kind: members}) == [code]


PORT_IS_NOWHERE = ("body-f-port", "query-f-port")


@pytest.mark.parametrize("pair", [pair for pair in combinations(DAMAGES, 2) if pair != PORT_IS_NOWHERE], ids="+".join)
def test_two_things_that_were_done_to_a_push_are_both_named(pair):
    query, kind, members = push_of_the_network(payload=bytes.fromhex("00aa27fe"))
    for code in pair:
        query, members = DAMAGES[code](query, members)

    assert set(codes(query, {kind: members})) == set(pair)


def test_a_plus_that_came_raw_and_became_a_space_is_named():
    query, kind, members = push_of_the_network(encoding=TimeEncoding.RAW)

    assert codes(query.replace("+", " "), {kind: members}) == ["plus-became-space"]


def test_a_downlink_sent_with_a_rewritten_counter_is_explained():
    query, kind, members = push_of_the_network("downlink_sent")

    assert codes(query, {kind: {**members, "FCntDn": float(members["FCntDn"])}}) == ["numbers-rewritten"]


# --- what a sender does wrong


@pytest.mark.parametrize(
    ("code", "query", "members"),
    [
        ("space-signed-for-plus", signed_by_hand(DOCUMENTED, signed={"Time": QUERY["Time"].replace("+", " ")}), {}),
        ("query-signed-encoded", signed_by_hand(DOCUMENTED, signed={"Time": quote(QUERY["Time"], safe="")}), {}),
        (
            "query-signed-encoded",
            signed_by_hand(DOCUMENTED, signed={"Time": "2026-11-20T13%3a00%3a00.250%2b01%3a00"}),
            {},
        ),
        ("body-dev-eui-case", signed_by_hand(DOCUMENTED.replace(MEMBERS["DevEUI"], MEMBERS["DevEUI"].lower())), {}),
        ("query-dev-eui-case", signed_by_hand(DOCUMENTED, signed={"LrnDevEui": "20635f00000000ab"}), {}),
        ("body-f-port", signed_by_hand(DOCUMENTED.replace("AB513", "AB013")), {}),
        ("body-f-port", signed_by_hand(DOCUMENTED.replace("AB513", "AB13")), {}),
        ("body-f-port", signed_by_hand(DOCUMENTED), {"FPort": None}),
        ("query-f-port", signed_by_hand(DOCUMENTED, signed={"LrnFPort": ""}), {}),
        ("payload-rewritten", signed_by_hand(DOCUMENTED), {"payload_hex": "00-AA-27-FE"}),
        ("payload-rewritten", signed_by_hand(DOCUMENTED), {"payload_hex": "0x00aa27fe"}),
        ("payload-lost-zeros", signed_by_hand("10000000120635F00000000AB5130012"), {"payload_hex": 12}),
        ("payload-lost-zeros", signed_by_hand("10000000120635F00000000AB513120000"), {"payload_hex": "12"}),
        ("customer-id", signed_by_hand(DOCUMENTED.removeprefix("100000001")), {}),
        ("customer-id", signed_by_hand(DOCUMENTED), {"CustomerID": None}),
        ("numbers-rewritten", signed_by_hand(DOCUMENTED), {"CustomerID": 100000001.0}),
        ("numbers-rewritten", signed_by_hand(DOCUMENTED), {"FPort": "05", "FCntUp": "1.3e1"}),
        ("as-id", signed_by_hand(DOCUMENTED, query={**QUERY, "AS_ID": "x"}, signed={"AS_ID": AS_ID}), {}),
        ("order-of-the-wire", signed_by_hand(DOCUMENTED, order=sorted(QUERY)), {}),
        ("other-formula", signed_by_hand("20635F00000000AB1300aa27fe"), {}),
        ("other-formula", signed_by_hand("10000000120635F00000000AB5"), {}),
    ],
)
def test_what_a_sender_signs_otherwise_is_named(code, query, members):
    assert codes(query, body(**members)) == [code]


def test_a_location_signed_over_its_upper_case_is_named():
    query = signed_by_hand("10000000120635F00000000AB")

    assert codes(query, {"DevEUI_location": MEMBERS}) == ["body-dev-eui-case"]


def test_an_as_id_of_a_connection_is_tried():
    query = signed_by_hand(DOCUMENTED, query={**QUERY, "AS_ID": "x", "LrnInfos": "null"}, signed={"AS_ID": "meters"})

    assert codes(query, body()) is None
    assert codes(query, body(), as_ids=["meters"]) == ["as-id"]


@pytest.mark.parametrize("name", ["LrnDevEui", "LrnFPort", "AS_ID"])
def test_a_parameter_that_was_lost_is_put_back(name):
    query = "&".join(pair for pair in signed_by_hand(DOCUMENTED).split("&") if not pair.startswith(f"{name}="))

    assert codes(query, body()) == [LOST_PARAMETER.code]


@pytest.mark.parametrize(
    ("code", "signed_with"),
    [
        ("key-upper-case", KEY.upper()),
        ("key-with-dashes", "17d107c7-e4ae-7ad8-ea64-ea25ee6a6b52"),
        ("key-with-dashes", "17D107C7-E4AE-7AD8-EA64-EA25EE6A6B52"),
        ("key-with-dashes", "-".join(KEY[i : i + 2] for i in range(0, 32, 2)).upper()),
        ("key-with-line-end", f"{KEY}\n"),
    ],
)
def test_a_key_that_is_spelled_otherwise_is_named(code, signed_with):
    assert codes(signed_by_hand(DOCUMENTED, key=signed_with), body()) == [code]


def test_a_key_that_was_hashed_as_bytes_is_named():
    elements = "&".join(f"{name}={value}" for name, value in QUERY.items())
    token = hashlib.sha256(f"{DOCUMENTED}{elements}".encode() + bytes.fromhex(KEY)).hexdigest()

    assert codes(f"{elements.replace('+', '%2B')}&Token={token}", body()) == ["key-as-bytes"]


def test_a_spelling_that_is_accepted_is_no_mistake():
    assert codes(signed_by_hand(DOCUMENTED, key=KEY.upper()), body(), expected=(KEY.upper(),)) == []


def test_a_key_of_another_place_is_told_from_the_own_one():
    query = signed_by_hand(DOCUMENTED, key=OTHER_KEY)

    assert codes(query, body(), others=(OTHER_KEY,)) == ["unexpected"]
    assert codes(query, body(), expected=(KEY, OTHER_KEY)) == []


def test_another_key_and_a_damaged_query_are_found_together():
    query, members = damage_plus(signed_by_hand(DOCUMENTED, key=OTHER_KEY), MEMBERS)

    assert codes(query, {"DevEUI_uplink": members}, others=(OTHER_KEY,)) == ["unexpected", "plus-became-space"]


def test_another_key_in_upper_case_is_found():
    query = signed_by_hand(DOCUMENTED, key=OTHER_KEY.upper())

    assert codes(query, body(), others=(OTHER_KEY,)) == ["unexpected", "key-upper-case"]


# --- and nothing else


@pytest.mark.parametrize("kind", ["uplink", "empty_uplink", "downlink_sent", "location", "device_status", "alarm"])
def test_a_push_that_is_right_has_no_mistake(kind):
    query, name, members = push_of_the_network(kind)

    assert codes(query, {name: members}) == []


def test_a_token_of_nobody_is_not_explained_and_all_was_tried():
    result = outcome(f"{signed_by_hand(DOCUMENTED)[:-64]}{'0' * 64}", body(), others=(OTHER_KEY,))

    assert result.found is None
    assert result.is_complete
    assert result.hashes > 500


def test_three_mistakes_are_not_guessed():
    query, kind, members = push_of_the_network(payload=bytes.fromhex("00aa27fe"))
    for damage in (damage_plus, damage_numbers, damage_payload):
        query, members = damage(query, members)

    assert codes(query, {kind: members}) is None


def test_another_payload_is_not_explained():
    assert codes(signed_by_hand(DOCUMENTED), body(payload_hex="00aa27ff")) is None


@pytest.mark.parametrize("token", ["", "abc", "g" * 64, "0" * 63])
def test_without_a_token_nothing_is_tried(token):
    result = outcome(f"{signed_by_hand(DOCUMENTED)[:-64]}{token}", body())

    assert (result.found, result.is_complete, result.hashes) == (None, False, 0)


def test_the_work_has_an_end_however_many_keys_there_are():
    many = [hashlib.sha256(b"%d" % number).hexdigest()[:32] for number in range(10_000)]
    result = outcome(f"{signed_by_hand(DOCUMENTED)[:-64]}{'0' * 64}", body(), others=many)

    assert not result.is_complete
    assert result.hashes <= MAX_HASHES


def test_the_work_has_an_end_however_long_the_values_are():
    result = outcome(f"{signed_by_hand(DOCUMENTED)[:-64]}{'0' * 64}", body(payload_hex="1" * 250_000))

    assert not result.is_complete
    assert result.hashes < 2000


@pytest.mark.parametrize("number", ["1e999999999", "9" * 64, "1e-400", "-0", "1_3", "NaN", "\u0661"])
def test_no_number_is_too_odd(number):
    assert codes(signed_by_hand(DOCUMENTED), body(FCntUp=number, FPort=number, payload_hex=number)) is None


@given(
    query=st.text(alphabet="LrnDevEuiFPortAS_IDTimeToken=&%2B +0123456789abcdef", max_size=200),
    members=st.dictionaries(
        st.sampled_from(["DevEUI", "FPort", "FCntUp", "FCntDn", "payload_hex", "CustomerID"]),
        st.one_of(st.text(max_size=20), st.none(), st.booleans(), st.lists(st.text(max_size=3), max_size=2)),
    ),
    kind=st.sampled_from(["DevEUI_uplink", "DevEUI_location", "DevEUI_downlink_Sent", "DevEUI_new"]),
)
def test_whatever_a_push_holds_it_can_be_searched(query, members, kind):
    push = read_loosely(f"{query}&Token={'0' * 64}", Body(kind, "json", members))

    result = search(push, [CandidateKey("own", KEY, is_expected=True)], max_hashes=3000)

    assert result.found is None


def test_no_repr_shows_a_key_or_a_token():
    query = signed_by_hand(DOCUMENTED, key=KEY.upper())
    push = read_loosely(query, parse_body(json.dumps(body()).encode()))
    result = search(push, [CandidateKey("own", KEY, is_expected=True)])

    shown = repr((push, result, CandidateKey("own", KEY, is_expected=True))).lower()
    assert KEY[:8] not in shown
    assert query[-64:][:8] not in shown


def test_every_mistake_says_what_is_wrong_and_what_to_do():
    for mistake in (*MISTAKES, *KEY_MISTAKES, LOST_PARAMETER):
        assert mistake.sentence.endswith(".")
        assert mistake.advice.endswith(".")
    all_codes = [mistake.code for mistake in (*MISTAKES, *KEY_MISTAKES, LOST_PARAMETER)]
    assert len(set(all_codes)) == len(all_codes)


# --- queries put back to what they were


@pytest.mark.parametrize(
    ("damage", "encoding"),
    [(damage_plus, TimeEncoding.RAW), (damage_plus, TimeEncoding.PERCENT), (damage_encoding, TimeEncoding.PERCENT)],
)
def test_a_damaged_query_is_put_back_to_one_that_verifies(damage, encoding):
    query, kind, members = push_of_the_network(encoding=encoding)
    raw = json.dumps({kind: members}).encode()
    damaged, _ = damage(query, members)

    assert any(_verifies(repaired, raw) for repaired in repaired_queries(damaged))


def test_a_query_with_nothing_to_repair_has_no_other_reading():
    assert repaired_queries(push_of_the_network()[0]) == ()


def test_a_parameter_of_the_url_itself_is_left_alone_by_a_repair():
    assert all("color=dark%20blue" in repaired for repaired in repaired_queries("color=dark%20blue&Time=a%20b"))


def _verifies(query, raw):
    try:
        parsed, elements = parse_signed_query(query.encode()), read_token_elements(parse_body(raw))
        verify_query_agrees(parsed, elements)
        verify_token(parsed, elements, [key_spellings(KEY)])
    except PushRejected:
        return False
    return True
