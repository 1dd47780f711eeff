"""Bodies: three content types end as the same names and texts, and two readers never see two values."""

from __future__ import annotations

import json
from contextlib import suppress
from time import process_time

import pytest

from receiver.errors import PushRejected, Reason
from receiver.thingpark.body import MAX_JSON_VALUES, MAX_NUMBER_DIGITS, MAX_XML_ELEMENTS, UPLINK, parse_body

TYPED = b'{"DevEUI_uplink": {"FPort": 13, "LrrSNR": 9.750000, "Late": 0, "CustomerID": "0100", "DevAddr": "14C4CC04"}}'
UNTYPED = TYPED.replace(b": 13", b': "13"').replace(b": 9.750000", b': "9.750000"').replace(b": 0,", b': "0",')
XML = (
    b'<?xml version="1.0" encoding="UTF-8"?><DevEUI_uplink xmlns="http://uri.actility.com/lora"><FPort>13</FPort>'
    b"<LrrSNR>9.750000</LrrSNR><Late>0</Late><CustomerID>0100</CustomerID><DevAddr>14C4CC04</DevAddr></DevEUI_uplink>"
)
MEMBERS = {"FPort": "13", "LrrSNR": "9.750000", "Late": "0", "CustomerID": "0100", "DevAddr": "14C4CC04"}


def members(inner: bytes) -> dict[str, object]:
    """Give the members of an uplink in JSON with `inner` as their text."""
    return dict(parse_body(b'{"DevEUI_uplink": {' + inner + b"}}").members)


def xml_members(inner: bytes) -> dict[str, object]:
    return dict(parse_body(b"<DevEUI_uplink>" + inner + b"</DevEUI_uplink>").members)


def fault_of(raw: bytes) -> str:
    """Give the sentence with which a body is refused as malformed."""
    with pytest.raises(PushRejected) as caught:
        parse_body(raw)
    assert caught.value.reason is Reason.MALFORMED_BODY
    return caught.value.detail


# --- the same from all three


@pytest.mark.parametrize("raw", [TYPED, UNTYPED, XML], ids=["typed JSON", "untyped JSON", "XML"])
def test_each_content_type_gives_the_same_names_and_texts(raw):
    body = parse_body(raw)

    assert (body.kind, dict(body.members)) == ("DevEUI_uplink", MEMBERS)


@pytest.mark.parametrize(("raw", "content_type"), [(TYPED, "json"), (UNTYPED, "json"), (XML, "xml")])
def test_the_content_type_is_sniffed(raw, content_type):
    assert parse_body(raw).content_type == content_type


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b" \r\n\t", b"\xef\xbb\xbf\n"])
@pytest.mark.parametrize("raw", [TYPED, XML], ids=["JSON", "XML"])
def test_white_space_and_a_byte_order_mark_before_a_body_do_not_matter(before, raw):
    assert dict(parse_body(before + raw).members) == MEMBERS


@pytest.mark.parametrize(
    "spelling", ["13", "13.0", "1e1", "-0", "0", "-110.000000", "1E+2", "0.10", "123456789012345678"]
)
def test_a_number_stays_as_it_is_spelled(spelling):
    assert members(b'"a": ' + spelling.encode()) == {"a": spelling}


def test_literals_of_json_stay_what_they_are():
    assert members(b'"a": true, "b": false, "c": null') == {"a": True, "b": False, "c": None}


def test_arrays_and_objects_keep_their_texts():
    assert members(b'"Lrrs": {"Lrr": [{"Chain": 0}, {"Chain": "1"}]}') == {
        "Lrrs": {"Lrr": [{"Chain": "0"}, {"Chain": "1"}]}
    }


def test_a_flat_body_without_an_envelope_is_an_uplink():
    body = parse_body(b'{"DevEUI": "0059AC0000181EB6", "FPort": 1, "CustomerID": 100006356}')

    assert (body.kind, body.members["FPort"], body.members["CustomerID"]) == (UPLINK, "1", "100006356")


def test_members_beside_the_report_are_left_out():
    body = parse_body(b'{"meta": {"a": 1}, "DevEUI_uplink": {"DevEUI": "1"}, "version": 2}')

    assert (body.kind, dict(body.members)) == ("DevEUI_uplink", {"DevEUI": "1"})


def test_a_kind_that_nobody_has_seen_is_taken():
    assert parse_body(b'{"Cellular_session_2031": {}}').kind == "Cellular_session_2031"


# --- XML as the network writes it


def test_elements_that_repeat_inside_are_an_array():
    lrrs = xml_members(b"<Lrrs><Lrr><a>1</a></Lrr><Lrr><a>2</a></Lrr><Lrr><a>3</a></Lrr></Lrrs>")["Lrrs"]

    assert lrrs == {"Lrr": [{"a": "1"}, {"a": "2"}, {"a": "3"}]}


def test_a_single_element_inside_is_no_array():
    assert xml_members(b"<Lrrs><Lrr><a>1</a></Lrr></Lrrs>") == {"Lrrs": {"Lrr": {"a": "1"}}}


def test_white_space_around_the_text_of_an_element_is_left_out():
    assert xml_members(b"<FPort>\n  13 </FPort>") == {"FPort": "13"}


def test_attributes_and_prefixes_are_left_out():
    inner = b'<l:FPort xmlns:l="http://uri.actility.com/lora" unit="none">13</l:FPort>'

    assert xml_members(inner) == {"FPort": "13"}


def test_an_empty_element_is_an_empty_text():
    assert xml_members(b"<a/><b></b>") == {"a": "", "b": ""}


@pytest.mark.parametrize("inner", [b"&#49;3", b"<![CDATA[13]]>", b"1<![CDATA[3]]>", b"1<?pi 7?>3"])
def test_other_ways_to_write_a_text_give_the_text(inner):
    assert xml_members(b"<FPort>" + inner + b"</FPort>") == {"FPort": "13"}


def test_json_text_in_an_element_stays_text():
    assert xml_members(b'<CustomerData>{"alr":{"pro":"a"}}</CustomerData>') == {"CustomerData": '{"alr":{"pro":"a"}}'}


@pytest.mark.parametrize("encoding", ["iso-8859-1", "windows-1252", "UTF-8"])
def test_the_usual_encodings_of_xml_are_read(encoding):
    text = f'<?xml version="1.0" encoding="{encoding}"?><DevEUI_uplink><name>Stra\u00dfe</name></DevEUI_uplink>'

    assert parse_body(text.encode(encoding)).members["name"] == "Stra\u00dfe"


# --- one body, one value


@pytest.mark.parametrize(
    "raw",
    [
        b'{"DevEUI_uplink": {"FCntUp": 1, "FCntUp": 2}}',
        b'{"DevEUI_uplink": {"FCntUp": 1, "FCntUp": 1}}',
        b'{"DevEUI_uplink": {"FCntUp": 1, "FCnt\\u0055p": 2}}',
        b'{"DevEUI_uplink": {"FCntUp": 1}, "DevEUI_uplink": {"FCntUp": 2}}',
        b'{"DevEUI_uplink": {"a": {"b": [{"c": {"FCntUp": 1, "FCntUp": 2}}]}}}',
        b'{"x": {"FCntUp": 1, "FCntUp": 2}, "DevEUI_uplink": {"DevEUI": "1"}}',
    ],
)
def test_a_member_that_stands_twice_is_refused_at_any_depth(raw):
    assert "stands twice in one object" in fault_of(raw)


@pytest.mark.parametrize(
    "inner",
    [
        b"<FCntUp>1</FCntUp><FCntUp>2</FCntUp>",
        b'<FCntUp>1</FCntUp><x:FCntUp xmlns:x="urn:x">2</x:FCntUp>',
        b"<Lrrs/><FCntUp>1</FCntUp><a/><FCntUp>1</FCntUp>",
    ],
)
def test_an_element_that_stands_twice_at_the_top_is_refused(inner):
    assert "stands twice" in fault_of(b"<DevEUI_uplink>" + inner + b"</DevEUI_uplink>")


def test_names_that_differ_by_case_are_two_names():
    assert members(b'"FCntUp": 1, "fcntup": 2, "FCNTUP": 3') == {"FCntUp": "1", "fcntup": "2", "FCNTUP": "3"}


@pytest.mark.parametrize(
    "inner",
    [b"<FPort>1<!-- x -->3</FPort>", b"<!-- x --><FPort>13</FPort>", b"<a><!-- x --></a>"],
)
def test_a_comment_inside_a_report_is_refused(inner):
    assert "has a comment" in fault_of(b"<DevEUI_uplink>" + inner + b"</DevEUI_uplink>")


def test_an_element_with_text_and_elements_is_no_text():
    assert xml_members(b"<FPort>1<a/>3</FPort>") == {"FPort": {"a": ""}}


# --- what is no report


@pytest.mark.parametrize("raw", [b"", b" ", b"\n", b"\xef\xbb\xbf", b"\t\r\n "])
def test_nothing_is_an_empty_body(raw):
    with pytest.raises(PushRejected) as caught:
        parse_body(raw)

    assert caught.value.reason is Reason.EMPTY_BODY


@pytest.mark.parametrize(
    "raw",
    [
        *(b"hello", b"null", b"13", b'"a"', b"[]", b"[{}]", b"\0", b"\xff\xfe{\0}\0", b"%7B%7D"),
        *(b"{", b"{}}", b"{} ", b"{'DevEUI_uplink': {}}", b'{"DevEUI_uplink": {},}', b'{"DevEUI_uplink": 13}'),
        *(b'{"DevEUI_uplink": {"DevEUI": "1"}, "DevEUI_location": {"DevEUI": "1"}}', b'{"a": 1, "b": 2}'),
        *(b'{"": {}}', b'{"a b": {}}', b'{"__class__": {}}', b'{"9": {}}', b'{"\\u00e9": {}}'),
        *(b"<", b"<a", b"<a>13</a>", b"<a/>", b"<a-b><c/></a-b>", b"<\xc3\xa9><c/></\xc3\xa9>"),
    ],
)  # fmt: skip
def test_what_is_no_report_is_refused_with_a_sentence(raw):
    assert fault_of(raw).endswith(".")


def test_a_name_of_65_characters_is_no_kind():
    assert "not the name of a report" in fault_of(json.dumps({"k" * 65: {}}).encode())


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_in_json_is_refused(name):
    assert fault_of(b'{"DevEUI_uplink": {"a": ' + name.encode() + b"}}") == f"{name} is not a JSON number."


def test_a_number_of_more_digits_than_any_field_has_is_refused():
    longest = b"1" * MAX_NUMBER_DIGITS

    assert members(b'"a": ' + longest) == {"a": longest.decode()}
    assert "65 digits" in fault_of(b'{"DevEUI_uplink": {"a": 1' + longest + b"}}")


@pytest.mark.parametrize("text", [rb'"\u0000"', rb'"a\u0000b"', rb'{"\u0000": 1}', rb'[["\u0000"]]'])
def test_an_escaped_nul_is_refused_wherever_it_stands(text):
    assert "NUL" in fault_of(b'{"DevEUI_uplink": {"a": ' + text + b"}}")


@pytest.mark.parametrize("text", [rb'"\ud83d"', rb'"\ude00\ud83d"', rb'{"\udc00": 1}'])
def test_half_of_a_surrogate_pair_is_refused(text):
    assert "surrogate pair" in fault_of(b'{"DevEUI_uplink": {"a": ' + text + b"}}")


def test_a_whole_surrogate_pair_is_its_character():
    assert members(rb'"a": "\ud83d\ude00"') == {"a": "\U0001f600"}


@pytest.mark.parametrize(
    "raw", [b'{"DevEUI_uplink": {"a": "\0"}}', b'{"DevEUI_uplink": {"a": "\x1f"}}', b'{"a": {}}\0']
)
def test_a_raw_control_character_is_refused(raw):
    assert "not JSON" in fault_of(raw)


@pytest.mark.parametrize("sequence", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc3"])
def test_invalid_utf_8_is_refused(sequence):
    assert "not UTF-8" in fault_of(b'{"DevEUI_uplink": {"a": "' + sequence + b'"}}')


@pytest.mark.parametrize(
    "head",
    [
        b"<!DOCTYPE DevEUI_uplink>",
        b'<!DOCTYPE a [<!ENTITY x "13">]>',
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd">',
        b'<!DOCTYPE a PUBLIC "p" "http://localhost/x.dtd">',
        b"<!DOCTYPE a [<!ATTLIST DevEUI_uplink FPort CDATA '13'>]>",
    ],
)
def test_a_document_type_is_refused(head):
    assert "document type" in fault_of(head + b"<DevEUI_uplink><a>&x;</a></DevEUI_uplink>")


def test_an_xinclude_stays_an_element():
    inner = b'<i:include xmlns:i="http://www.w3.org/2001/XInclude" href="file:///etc/passwd" parse="text"/>'

    assert xml_members(inner) == {"include": ""}


@pytest.mark.parametrize("encoding", ["UTF-7", "UTF-16", "UTF-32", "EBCDIC-CP-US", "x", "utf-8-sig", "cp037"])
def test_an_encoding_in_which_other_readers_may_see_another_text_is_refused(encoding):
    head = f'<?xml version="1.0" encoding="{encoding}"?>'.encode()

    assert fault_of(head + b"<DevEUI_uplink><a>+ADw-b+AD4-</a></DevEUI_uplink>")


# --- the time that one body can cost

CAP = 262_144
HUGE = {
    "members, the last one twice": b"{" + b",".join(b'"%x":1' % n for n in range(16_000)) + b',"3e7f":1}',
    "short members, the last one twice": b'{"a":{' + b",".join(b'"%x":1' % n for n in range(16_000)) + b',"3e7f":1}}',
    "objects": b'{"a": [' + b",".join([b"{}"] * 87_000) + b"]}",
    "numbers": b'{"a": [' + b",".join([b"1"] * 130_000) + b"]}",
    "escapes": b'{"a": [' + b",".join([rb'"\u0041"'] * 29_000) + b"]}",
    "depth": b'{"a":' * 40_000,
    "digits": b'{"a":' + b"1" * 260_000 + b"}",
    "elements": b"<a>" + b"<b/>" * 65_000 + b"</a>",
    "repeating elements": b"<a><b>" + b"<c/>" * (MAX_XML_ELEMENTS - 10) + b"</b></a>",
    "attributes": b"<a " + b" ".join(b'a%x=""' % n for n in range(25_000)) + b"><b/></a>",
    "comments": b"<a>" + b"<!---->" * 37_000 + b"</a>",
    "open elements": b"<a>" * 87_000,
    "character references": b"<a><b>" + b"&#65;" * 52_000 + b"</b></a>",
    "namespaces": b"<a " + b" ".join(b'xmlns:a%x="x"' % n for n in range(16_000)) + b"><b/></a>",
}


@pytest.mark.parametrize("raw", HUGE.values(), ids=HUGE)
def test_no_body_costs_long(raw):
    """Measured 10 ms at the very most; the bound only has to tell that from a cost that grows with the square."""
    assert len(raw) <= CAP
    started = process_time()
    with suppress(PushRejected):
        parse_body(raw)
    assert process_time() - started < 0.5


def test_a_body_of_more_values_than_any_report_has_is_refused():
    raw = b'{"DevEUI_uplink": {"a": [' + b",".join([b"1"] * MAX_JSON_VALUES) + b"]}}"

    assert "more than 16384 values" in fault_of(raw)


def test_commas_in_a_long_text_are_no_values_too_many():
    text = "a, b, c; " * 2000

    assert members(b'"CustomerData": ' + json.dumps(text).encode()) == {"CustomerData": text}


# --- real bodies


@pytest.mark.shared
def test_every_real_report_that_is_well_formed_is_read_and_no_other(shared):
    refused = set()
    kinds = set()
    for path in sorted((shared / "examples" / "reports").glob("*_*.*")):
        try:
            body = parse_body(path.read_bytes())
        except PushRejected:
            refused.add(path.name[:3])
        else:
            kinds.add(body.kind)
            assert path.name.partition(".")[0].endswith(body.kind) or path.name[:3] < "011"
            assert body.content_type == path.suffix[1:]

    # A file that was cut out of a program, two templates with placeholders and one with an ellipsis.
    assert refused == {"013", "035", "041", "097"}
    assert len(kinds) == 7
