"""Logging in to the Device Manager API, as far as it only computes: pages, digests, cookies, XML, sentences."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import LoginRefusedError, SettingsError
from receiver.platforms.calls import WITHHELD, is_secret_name
from receiver.platforms.cookie_jar import MOST_COOKIES, CookieJar
from receiver.platforms.device_manager import find_subscription
from receiver.platforms.device_manager_account import LoginForm, read_account
from receiver.platforms.device_manager_login import build_login_body
from receiver.platforms.device_manager_login_page import read_access_code, read_login_page
from receiver.platforms.device_manager_refusals import rejection_of
from receiver.platforms.device_manager_xml import read_any, read_xml, withhold_in_xml
from receiver.platforms.digest import answer_challenge, parse_challenge, read_parameters
from receiver.platforms.members import Members
from receiver.services.platform_accounts import SETTINGS

ORIGIN = "https://manager.example"
PASSWORD = "Pass&word=1 é"


def account_settings(**changed):
    usual = {name: value or "" for name, value in SETTINGS["device-manager"].items()}
    usual = {name: value.replace("{host}", "manager.example") for name, value in usual.items()}
    return usual | {"login": "ada@example.com", "login_url": f"{ORIGIN}/login"} | changed


# --- the page


def page(error="", address="https://manager.example/deviceManager/?userAccessCode=a%2Fb%3D&gmaps=", quote="'", tail=""):
    return (
        f"<!DOCTYPE html><html><body><div><span id={quote}errorCode{quote}>{error}</span>"
        f'<span id="info1">one</span><span id="info2"></span>'
        f"<span class='x' id={quote}redirectURI{quote}>{address}</span></div>{tail}</body></html>"
    ).encode()


@pytest.mark.parametrize("quote", ["'", '"', ""], ids=["single", "double", "none"])
def test_a_page_gives_its_access_code_however_its_attributes_are_quoted(quote):
    found = read_login_page(page(quote=quote))
    assert (found.error_code, found.access_code, found.infos) == ("", "a/b=", ("one",))


def test_an_address_that_is_written_as_html_wants_it_is_read_too():
    escaped = "https://manager.example/?a=1&amp;userAccessCode=CODE&amp;gmaps="
    assert read_login_page(page(address=escaped)).access_code == "CODE"


def test_a_page_with_an_error_code_has_that():
    assert read_login_page(page(error=" 121 ", address="")).error_code == "121"


def test_what_is_commented_out_is_not_on_the_page():
    hidden = page(error="", address="").replace(b"<div>", b"<div><!-- <span id='errorCode'>121</span> -->")
    assert read_login_page(hidden).error_code == ""


@pytest.mark.parametrize("body", [b"", b"\0\0", b"{}", b"<html>", b"\xff\xfe<", b"<span id='info1'>x</span>"])
def test_what_is_no_login_page_gives_nothing(body):
    assert read_login_page(body) is None


@pytest.mark.parametrize(
    "address", ["", "https://h/", "https://h/?userAccessCode=", "http://[", "CODE&gmaps=", "/?userAccessCode=%0a"]
)
def test_an_address_without_a_usable_code_gives_none(address):
    assert read_access_code(address) is None


def test_an_access_code_is_not_shown():
    assert "a/b=" not in repr(read_login_page(page()))


# --- what is sent


def test_a_form_has_the_two_fields_of_the_settings_escaped():
    account = read_account(account_settings(login_field="email", password_field="pass"), PASSWORD)
    assert build_login_body(account) == (
        "application/x-www-form-urlencoded",
        b"email=ada%40example.com&pass=Pass%26word%3D1+%C3%A9",
    )


def test_a_page_may_want_json():
    account = read_account(account_settings(login_body="json"), "secret")
    assert build_login_body(account) == ("application/json", b'{"login": "ada@example.com", "password": "secret"}')


def test_the_back_office_wants_login_and_password_whatever_the_page_calls_them():
    given_settings = account_settings(login_form="json", login_field="email", subscriber_id="100000001")
    account = read_account(given_settings, "secret")
    assert build_login_body(account)[1] == b'{"login": "ada@example.com", "password": "secret"}'


def test_a_password_is_escaped_in_xml():
    account = read_account(account_settings(login_form="xml", subscriber_id="100000001"), "<a&b>")
    content_type, body = build_login_body(account)
    assert content_type == "application/xml"
    assert b"<password>&lt;a&amp;b&gt;</password>" in body
    assert b'<ns:login xmlns:ns="http://www.actility.com/smp/ws/admin">' in body


def test_a_password_that_xml_cannot_have_is_refused_without_showing_it():
    account = read_account(account_settings(login_form="xml", subscriber_id="100000001"), "a\0b")
    with pytest.raises(SettingsError, match="cannot stand in XML") as refused:
        build_login_body(account)
    assert "a\0b" not in str(refused.value)


def test_a_digest_has_no_body():
    account = read_account(account_settings(login_form="digest", subscriber_id="100000001"), "secret")
    assert build_login_body(account) == ("", b"")


# --- settings


def test_the_access_code_of_a_page_is_a_users_and_that_of_the_back_office_an_admins():
    assert read_account(account_settings(), "x").start_parameter == "userAccessCode"
    office = account_settings(login_form="json", subscriber_id="1")
    assert read_account(office, "x").start_parameter == "adminAccessCode"
    assert read_account(account_settings(start_parameter="code"), "x").start_parameter == "code"


@pytest.mark.parametrize(
    ("form", "path"), [("json", "admins/login"), ("xml", "admins/login"), ("digest", "admins/id")], ids=str
)
def test_the_back_office_is_where_it_usually_is(form, path):
    account = read_account(account_settings(login_form=form, login_url="", subscriber_id="1"), "x")
    assert account.login_url == f"https://manager.example/thingpark/smp/rest/{path}"
    assert account.login_form is LoginForm(form)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"login_url": ""}, "needs login_url"),
        ({"login_form": "json"}, "needs subscriber_id"),
        ({"login_form": "basic"}, "'basic' is no login_form: choose html, json, xml, digest"),
        ({"login_body": "xml"}, "'xml' is no login_body"),
        ({"answers": "yaml"}, "'yaml' is no answers"),
        ({"start_path": "customers"}, "begins with a slash"),
        ({"logout_path": ""}, "begins with a slash"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_with_its_name(changed, told):
    with pytest.raises(SettingsError, match=told):
        read_account(account_settings(**changed), "x")


def test_a_password_is_not_shown():
    assert "secret" not in repr(read_account(account_settings(), "secret"))


# --- sentences


@pytest.mark.parametrize(
    ("code", "told"),
    [
        *((code, f"does not take this login and password (error {code})") for code in ("50", "108", "109", "123")),
        ("121", "has locked this account (error 121)"),
        ("124", "not associated with the Device Manager (error 124)"),
        ("7", "refused the login with error 7, which is not documented"),
        ("<b>\n", "an error without a number"),
    ],
)
def test_each_error_code_has_its_sentence_and_what_to_do(code, told):
    said = str(rejection_of(code, ["Try\x1b later"]))
    assert told in said
    assert "login-test --again" in said
    assert "\x1b" not in said


# --- HTTP Digest

CHALLENGE = (
    'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm},'
    ' nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_examples_of_rfc_7616_section_3_9_1_are_made(algorithm, response):
    challenge = parse_challenge(CHALLENGE.format(algorithm=algorithm))
    given = answer_challenge(challenge, "GET", "/dir/index.html", "Mufasa", "Circle of Life", CNONCE)
    named = read_parameters(given)
    assert named["response"] == response
    assert (named["qop"], named["nc"], named["opaque"]) == ("auth", "00000001", challenge.opaque)


def test_the_example_of_rfc_2617_section_3_5_is_made():
    challenge = parse_challenge(
        'Digest realm="testrealm@host.com", qop="auth", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"'
    )
    given = answer_challenge(challenge, "GET", "/dir/index.html", "Mufasa", "Circle Of Life", "0a4f113b")
    assert read_parameters(given)["response"] == "6629fae49393a05397450978507c4ef1"


def test_a_challenge_without_qop_is_answered_as_rfc_2069_has_it():
    challenge = parse_challenge('Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"')
    named = read_parameters(answer_challenge(challenge, "GET", "/dir/index.html", "Mufasa", "Circle Of Life"))
    assert named["response"] == "670fd8c2df070c60b045671b8b24ff02"
    assert not {"qop", "nc", "cnonce"} & named.keys()


def test_of_several_challenges_the_strongest_that_is_known_is_answered():
    header = ", ".join(
        ['Basic realm="x"', *(CHALLENGE.format(algorithm=one) for one in ("MD5", "SHA-512-256", "SHA-256"))]
    )
    assert parse_challenge(header).algorithm == "SHA-256"


@pytest.mark.parametrize("header", ["", 'Basic realm="x"', "Bearer", "Digest", ",,,"])
def test_where_there_is_no_digest_there_is_no_challenge(header):
    assert parse_challenge(header) is None


@pytest.mark.parametrize(
    "header", ['Digest realm="x", nonce="n", algorithm=SHA-512-256', 'Digest realm="x", nonce="n", qop="auth-int"']
)
def test_a_challenge_that_cannot_be_answered_is_told(header):
    with pytest.raises(LoginRefusedError, match="not known here"):
        parse_challenge(header)


def test_a_session_form_and_a_hashed_user_are_answered():
    challenge = parse_challenge('Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256-sess, userhash=true')
    named = read_parameters(answer_challenge(challenge, "GET", "/", 'a"b', "p", "c"))
    assert named["userhash"] == "true"
    assert len(named["username"]) == 64


# --- cookies


def test_cookies_go_back_to_the_origin_that_set_them_and_nowhere_else():
    jar = CookieJar()
    jar.take(f"{ORIGIN}/login", "JSESSIONID=1.twa; Path=/; HttpOnly; Domain=example, GLOBALTWA=0; Path=/")
    assert jar.header(f"{ORIGIN}/rest/x?y") == "JSESSIONID=1.twa; GLOBALTWA=0"
    for other in (
        "https://other.example/",
        "http://manager.example/",
        f"{ORIGIN}:8443/",
        "https://manager.example.evil/",
    ):
        assert jar.header(other) == ""


def test_a_date_in_a_cookie_is_not_the_next_cookie():
    jar = CookieJar()
    jar.take(ORIGIN, "A=1; Expires=Fri, 31 Dec 2100 23:59:59 GMT; Path=/, B=2")
    assert jar.header(f"{ORIGIN}/") == "A=1; B=2"


@pytest.mark.parametrize(
    "how", ["Max-Age=0", "Max-Age=-1", "Expires=Thu, 01 Jan 1970 00:00:00 GMT", "expires=Thu, 01-Jan-1970 00:00:00 GMT"]
)
def test_a_server_can_take_a_cookie_back(how):
    jar = CookieJar()
    jar.take(ORIGIN, "A=1, B=2")
    jar.take(ORIGIN, f"A=; Path=/; {how}")
    assert jar.header(f"{ORIGIN}/") == "B=2"


def test_a_newer_cookie_takes_the_place_of_the_older():
    jar = CookieJar()
    jar.take(ORIGIN, "A=1")
    jar.take(ORIGIN, "A=2")
    assert jar.header(f"{ORIGIN}/") == "A=2"


def test_cookies_of_a_path_are_for_that_path():
    jar = CookieJar()
    jar.take(ORIGIN, "S=office; Path=/thingpark/smp, S=rest; Path=/thingpark/wireless, S=all; Path=/")
    assert jar.header(f"{ORIGIN}/thingpark/wireless/rest") == "S=rest; S=all"
    assert jar.header(f"{ORIGIN}/thingpark/wirelessly") == "S=all"


@pytest.mark.parametrize("bad", ["=x", "a b=c", "A=\x7f", "A=b c", f"A={'x' * 5000}", "no pair"])
def test_what_is_no_cookie_is_not_kept(bad):
    jar = CookieJar()
    jar.take(ORIGIN, bad)
    assert jar.header(f"{ORIGIN}/") == ""


def test_a_server_cannot_fill_the_jar():
    jar = CookieJar()
    jar.take(ORIGIN, ", ".join(f"C{number}=1" for number in range(500)))
    assert jar.header(f"{ORIGIN}/").count("=") == MOST_COOKIES
    assert "1" not in repr(jar).replace("C", "").split("(")[0]


# --- subscriptions


@pytest.mark.parametrize(
    "href",
    [
        "/subscriptions/100",
        "subscriptions/100",
        "/subscriptions/100/",
        "/thingpark/wireless/rest/subscriptions/100",
        "https://manager.example/thingpark/wireless/rest/subscriptions/100?x=1",
    ],
)
def test_a_subscription_is_found_in_each_form_of_its_address(href):
    assert find_subscription(href) == "100"


@pytest.mark.parametrize("href", ["", "/partners/1", "/subscriptions/", "/subscriptions/a%2F..", "http://["])
def test_another_address_names_no_subscription(href):
    assert find_subscription(href) is None


# --- XML


def test_xml_is_read_into_the_shape_of_json():
    body = b"""<?xml version="1.0"?><ns:devices xmlns:ns="urn:x" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
      <!-- two --><briefs><EUI>000000000522D8EB</EUI><nwAddress>04000001</nwAddress></briefs>
      <briefs><EUI>2</EUI><name xsi:nil="true"/><tags><tag>a</tag><tag>b</tag></tags></briefs>
      <more>false</more><occContext><version>3</version><lastUpdate>1577836800000</lastUpdate><who>7</who></occContext>
    </ns:devices>"""
    assert read_xml(body) == {
        "briefs": [
            {"EUI": "000000000522D8EB", "nwAddress": "04000001"},
            {"EUI": "2", "name": None, "tags": ["a", "b"]},
        ],
        "more": "false",
        "occContext": {"version": 3, "lastUpdate": 1577836800000, "who": "7"},
    }


@pytest.mark.parametrize(
    ("inner", "value"),
    [
        ("<briefs><EUI>1</EUI></briefs>", [{"EUI": "1"}]),
        ("<briefs/>", []),
        ("<briefs><brief><EUI>1</EUI></brief></briefs>", [{"EUI": "1"}]),
        ("<briefs><brief><EUI>1</EUI></brief><brief><EUI>2</EUI></brief></briefs>", [{"EUI": "1"}, {"EUI": "2"}]),
    ],
    ids=["one", "none", "one wrapped", "two wrapped"],
)
def test_a_list_is_a_list_even_of_one_or_none(inner, value):
    assert read_xml(f"<devices>{inner}<more>false</more></devices>".encode())["briefs"] == value


def test_members_read_the_texts_of_xml_as_what_they_are():
    members = Members(read_xml(b"<a><more>true</more><count>7</count><now>1577836800000</now></a>"))
    assert (members.flag("more"), members.integer("count"), members.time("now").year) == (True, 7, 2020)


def test_attributes_are_members_too():
    assert read_xml(b'<a><t s="x" l="3"/><u k="1">text</u></a>') == {
        "t": {"s": "x", "l": "3"},
        "u": {"k": "1", "value": "text"},
    }


HOSTILE = {
    "an entity": b'<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>',
    "a file": b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>',
    "a bomb": b'<!DOCTYPE a [<!ENTITY b "xxxxxxxxxx"><!ENTITY c "&b;&b;&b;&b;">]><a>&c;&c;</a>',
    "no XML": b"<a>",
    "nothing": b"",
    "a great depth": b"<a>" * 5000 + b"</a>" * 5000,
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_xml_gives_nothing(case):
    assert read_xml(HOSTILE[case]) is None


def test_what_lies_too_deep_is_left_out():
    read = read_xml(b"<a>" * 100 + b"x" + b"</a>" * 100)
    assert "x" not in str(read)


@pytest.mark.parametrize(("body", "value"), [(b' {"a":1}', {"a": 1}), (b"<a><b>1</b></a>", {"b": "1"}), (b"?", None)])
def test_a_body_is_read_as_what_it_is(body, value):
    assert read_any(body) == value


def test_secrets_are_withheld_in_xml():
    body = b'<device><EUI>1</EUI><appKey>00112233445566778899AABBCCDDEEFF</appKey><x accessToken="t"/></device>'
    shown = withhold_in_xml(body, is_secret_name, WITHHELD)
    assert "00112233" not in shown
    assert f"<appKey>{WITHHELD}</appKey>" in shown
    assert 'accessToken="t"' not in shown
    assert withhold_in_xml(b"<", is_secret_name, WITHHELD) == ""


# --- whatever comes

PIECES = st.sampled_from(
    [
        "<span id='errorCode'>",
        "</span>",
        "<",
        "&amp;",
        "&#x0;",
        "<![CDATA[",
        "<!--",
        "userAccessCode=",
        "<!DOCTYPE a [",
        "\0",
    ]
)


@given(st.lists(PIECES | st.text(max_size=10), max_size=20).map("".join))
def test_no_page_and_no_xml_makes_an_error(text):
    body = text.encode("utf-8", "surrogatepass")
    read_login_page(body)
    read_any(body)
    json.dumps(read_xml(body))
    withhold_in_xml(body, is_secret_name, WITHHELD)


@given(st.text(max_size=200))
def test_no_cookie_makes_an_error_or_a_header_that_there_cannot_be(text):
    jar = CookieJar()
    jar.take(ORIGIN, text)
    header = jar.header(f"{ORIGIN}/")
    assert header.isascii()
    assert header.isprintable()


@given(
    st.lists(
        st.sampled_from(["Digest ", "realm=", '"', "nonce=", ",", "qop=", "auth", "\\", "MD5"]) | st.text(max_size=5)
    ).map("".join)
)
def test_no_challenge_makes_another_error_than_a_refused_login(text):
    try:
        challenge = parse_challenge(text)
    except LoginRefusedError:
        return
    if challenge is not None:
        assert answer_challenge(challenge, "GET", "/", "ada", "secret").startswith("Digest ")
