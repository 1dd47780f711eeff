"""The client of ThingPark: login, connections, paging, locked updates, refusals, answers that get lost."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from receiver.errors import ConflictError, IdentifierError, LoginRefusedError, NoAnswerError, PlatformRefusedError
from receiver.platforms.calls import WITHHELD
from receiver.platforms.members import Members
from receiver.platforms.thingpark_records import read_app_server, read_device
from receiver.platforms.thingpark_subscription import app_server_uid, device_ref, path_of, uid_of
from receiver.simulator.management_http import CUT, LOST, answered
from tests.integration.thingpark_use import (
    DEV_EUI,
    MINE,
    OTHER_KEY,
    TUNNEL_KEY,
    URL,
    ByHeart,
    app_server_wish,
    collected,
    device_wish,
    site_on_a_port,
)


@pytest.fixture
def site():
    with site_on_a_port() as site:
        yield site


@pytest.fixture
def by_heart():
    with ByHeart() as server:
        yield server


# --- the login


def test_one_login_serves_many_requests(site):
    async def use(client):
        return [await client.get_subscription() for _ in range(3)]

    assert [one.subscriber_id for one in site.run(use)] == ["199983788"] * 3
    assert site.thingpark.logins == 1


def test_a_token_is_renewed_before_its_five_minutes_are_over(site):
    async def use(client):
        await client.get_subscription()
        await site.sleep(271)
        await client.get_subscription()

    site.run(use)

    assert site.thingpark.logins == 2
    assert {one.status for one in site.thingpark.asked} == {200}


def test_a_token_that_was_taken_back_is_asked_for_once_more(site):
    async def use(client):
        await client.get_subscription()
        site.thingpark.revoke_tokens()
        return await client.get_subscription()

    assert site.run(use).handling_mode == "BASIC"
    assert [one.status for one in site.thingpark.asked] == [200, 401, 200]


def test_a_wrong_secret_is_told_in_one_sentence_without_it(site):
    with pytest.raises(LoginRefusedError) as refused:
        site.run(lambda client: client.get_subscription(), secret="wrong-secret")

    assert "client id and secret" in str(refused.value)
    assert "wrong-secret" not in str(refused.value)


def test_a_session_asks_for_its_subscription_by_number(site):
    site.run(lambda client: client.get_subscription(), subscription="32")

    assert site.thingpark.asked[-1].path.endswith("/subscriptions/32")


def test_a_subscription_that_is_not_the_account_s_is_refused(site):
    with pytest.raises(PlatformRefusedError) as refused:
        site.run(lambda client: client.get_subscription(), subscription="33")

    assert refused.value.status == 403


# --- connections


def test_a_basic_https_connection_is_made_with_its_key(site):
    made = site.with_connection()

    assert (made.id, made.as_id, made.name) == (f"TWA_199983788.{made.uid}.AS", made.id, "field")
    assert made.destinations[0].addresses == (URL,)
    there = site.resources.app_server(made.id)
    assert (there.tunnel_key, there.max_timestamp_deviation_s) == (TUNNEL_KEY, 10)


def test_a_second_connection_of_the_same_name_is_refused_before_it_is_asked_for(site):
    site.with_connection()

    with pytest.raises(ConflictError, match="already"):
        site.with_connection()
    assert len(site.asked("POST")) == 1


def test_a_connection_is_found_by_its_exact_name_alone(site):
    site.with_connection("field-2")
    site.with_connection("field")

    assert site.run(lambda client: client.find_app_server("field")).name == "field"
    assert site.run(lambda client: client.find_app_server("fiel")) is None


def test_a_connection_that_is_found_is_given_whole(site):
    site.with_connection()

    found = site.run(lambda client: client.find_app_server("field"))

    assert (found.content_type, found.security_status) == ("jsontyped", "DOWNLINK_AS_KEY")


def test_two_connections_of_one_name_are_told_and_none_is_chosen(site):
    site.rules.unique_names = False
    for uid in (site.with_connection("one").uid, site.with_connection("two").uid):
        site.book.app_servers[int(uid)].members["name"] = "field"

    with pytest.raises(ConflictError, match="2 connections"):
        site.run(lambda client: client.find_app_server("field"))


def test_an_update_sends_what_changes_and_the_version_that_it_read(site):
    made = site.with_connection()
    changed = site.run(lambda client: client.update_app_server(made.uid, {"state": "DEACTIVATED"}))

    assert changed.state == "DEACTIVATED"
    assert set(site.last("PUT").json) == {"state", "occContext"}
    assert site.last("PUT").json["occContext"]["version"] == 0


def test_an_update_is_tried_once_more_where_another_came_first(site):
    made = site.with_connection()
    site.faults.order(answered(409, {"code": 25, "message": "OCC conflict"}), method="PUT")

    changed = site.run(lambda client: client.update_app_server(made.uid, {"description": "mine"}))

    assert changed.description == "mine"
    assert [one[0] for one in site.asked()[-4:]] == ["GET", "PUT", "GET", "PUT"]


@pytest.mark.parametrize("status", [400, 409, 412])
def test_a_conflict_may_be_answered_in_several_ways(site, status):
    made = site.with_connection()
    site.faults.order(answered(status, {"code": 7, "message": "The occContext is outdated"}), method="PUT")

    assert site.run(lambda client: client.update_app_server(made.uid, {"description": "x"})).description == "x"


def test_an_update_that_meets_two_others_is_given_up(site):
    made = site.with_connection()
    site.faults.order(answered(409, {"code": 25, "message": "OCC conflict"}), method="PUT", times=2)

    with pytest.raises(PlatformRefusedError, match="409"):
        site.run(lambda client: client.update_app_server(made.uid, {"description": "x"}))


def test_an_update_whose_answer_is_lost_is_done_once(site):
    made = site.with_connection()
    site.faults.order(LOST, method="PUT")

    assert site.run(lambda client: client.update_app_server(made.uid, {"description": "x"})).description == "x"
    assert site.book.app_servers[int(made.uid)].occ.version == 2


@pytest.mark.parametrize("name", ["type", "ID", "deviceCount", "occContext", "tpxIotFlow"])
def test_an_update_never_carries_what_cannot_be_changed(site, name):
    made = site.with_connection()

    with pytest.raises(ConflictError, match=name):
        site.run(lambda client: client.update_app_server(made.uid, {name: "x"}))
    assert not site.asked("PUT")


def test_an_update_of_nothing_is_refused(site):
    with pytest.raises(ConflictError, match="nothing to change"):
        site.run(lambda client: client.update_app_server("1", {}))


def test_a_key_is_changed_and_the_rest_of_the_security_is_kept(site):
    made = site.with_connection(as_id="my-as", max_timestamp_deviation_s=30)

    security = site.run(lambda client: client.set_app_server_security(made.id, OTHER_KEY.lower()))

    assert (security.as_id, security.max_timestamp_deviation_s) == ("my-as", 30)
    assert site.resources.app_server(made.id).tunnel_key == OTHER_KEY
    assert set(site.last("PUT").json) == {"downlinkSecurity", "occContext"}


def test_the_security_is_read_without_the_key(site):
    made = site.with_connection()

    security = site.run(lambda client: client.get_app_server_security(made.id))

    assert (security.status, security.as_id) == ("DOWNLINK_AS_KEY", made.id)
    assert TUNNEL_KEY not in str(security.raw)


def test_a_connection_without_a_key_signs_nothing(site):
    made = site.with_connection(tunnel_key=None)

    assert made.security_status == "NONE"
    assert site.last("POST").json["downlinkSecurity"] == {"status": "NONE"}


def test_a_connection_is_deleted_once(site):
    made = site.with_connection()

    assert site.run(lambda client: client.delete_app_server(made.id)) is True
    assert site.run(lambda client: client.delete_app_server(made.id)) is False


def test_headers_are_named_and_their_values_withheld(site):
    made = site.with_connection(headers=(("Authorization", "Bearer very-secret"),))

    assert made.header_names == ("Authorization",)
    assert "very-secret" not in f"{made!r}{made.raw}"
    assert site.last("POST").json["customHttpHeaders"] == [{"name": "Authorization", "value": "Bearer very-secret"}]


def test_what_would_be_sent_is_shown_without_the_key(site):
    async def use(client):
        return client.build_create_app_server_call(app_server_wish()).shown(client.base_url)

    shown = site.run(use)

    assert shown.startswith(f"POST {site.server.origin}{MINE}/appServers")
    assert TUNNEL_KEY not in shown
    assert WITHHELD in shown
    assert not site.thingpark.asked


def test_wishes_and_records_have_no_key_in_their_repr(site):
    shown = f"{app_server_wish()!r} {device_wish()!r} {site.with_connection()!r}"

    assert TUNNEL_KEY not in shown
    assert device_wish().app_key not in shown


# --- answers that get lost


@pytest.mark.parametrize("fault", [LOST, CUT])
def test_a_connection_whose_answer_is_lost_is_made_once(site, fault):
    site.faults.order(fault, method="POST", path="/appServers")

    made = site.with_connection()

    assert made.name == "field"
    assert len(site.book.app_servers) == 1


@pytest.mark.parametrize("fault", [LOST, CUT])
def test_a_device_whose_answer_is_lost_is_made_once(site, fault):
    site.faults.order(fault, method="POST", path="/devices")

    assert site.with_device().eui == DEV_EUI
    assert len(site.book.devices) == 1


def test_a_busy_server_is_asked_again_after_the_time_that_it_says(site):
    site.faults.order(answered(429, retry_after_s=17), times=2)

    assert site.run(lambda client: client.get_subscription()).state == "ACTIVE"
    assert site.slept == [17, 17]


def test_an_import_whose_answer_is_lost_is_not_repeated(site):
    site.faults.order(LOST, method="POST", path="/import")

    with pytest.raises(NoAnswerError) as lost:
        site.run(lambda client: client.import_devices(f"DELETE,{DEV_EUI}\n"))

    assert lost.value.was_sent
    assert len(site.asked("POST")) == 1


# --- refusals that say what to do


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("No more license available for the network subscription x", "no free licences"),
        ("An application server of this name already exists", "choose another one"),
        ("downlinkAsKey: the entropy of the key is too low", "16 random bytes"),
        ("Invalid destinations: https is required", "begins with https://"),
        ("Uplink and downlink security is required", "needs a tunnel key"),
        ("The certificate of the destination cannot be verified", "intermediates"),
        ("Max connection limit reached", "delete one"),
    ],
)
def test_a_refusal_that_is_known_by_its_words_says_what_to_do(site, said, advice):
    site.faults.order(answered(400, {"code": 25, "message": said}))

    with pytest.raises(PlatformRefusedError, match=advice) as refused:
        site.run(lambda client: client.get_subscription())

    assert said in str(refused.value)
    assert refused.value.oss_code == 25


@pytest.mark.parametrize(
    ("code", "advice"), [(111, "a device with this DevEUI"), (222, "device profiles"), (214, "network subscriptions")]
)
def test_a_refusal_that_is_known_by_its_number_says_what_to_do(site, code, advice):
    site.faults.order(answered(400, {"code": code, "message": "as it may be put"}))

    with pytest.raises(PlatformRefusedError, match=advice) as refused:
        site.run(lambda client: client.get_subscription())

    assert refused.value.oss_code == code


def test_any_other_refusal_is_told_in_thingpark_s_words(site):
    site.faults.order(answered(400, {"code": 4711, "message": "Something of its own"}))

    with pytest.raises(PlatformRefusedError, match=r"code 4711\): Something of its own"):
        site.run(lambda client: client.get_subscription())


def test_an_error_with_a_good_status_is_an_error(site):
    site.faults.order(answered(200, {"code": 25, "message": "unknown error"}))

    with pytest.raises(PlatformRefusedError, match="unknown error"):
        site.run(lambda client: client.get_subscription())


@pytest.mark.parametrize(
    ("wish", "advice"),
    [
        ({"url": "http://receiver.example.org/x"}, "https://"),
        ({"tunnel_key": "00000000000000000000000000000000"}, "random"),
    ],
)
def test_the_simulated_thingpark_refuses_as_the_sentences_expect(site, wish, advice):
    with pytest.raises(PlatformRefusedError, match=advice):
        site.with_connection(**wish)


@pytest.mark.parametrize("body", [b"<html>Log in</html>", b"", b"[]", b"null", b"{}"])
def test_a_page_that_is_no_list_is_not_taken_for_an_empty_one(by_heart, body):
    by_heart.prepare(body)

    with pytest.raises(PlatformRefusedError, match="check the account's api_url"):
        by_heart.run(lambda client: collected(client.list_devices()))


@pytest.mark.parametrize("body", [b"<html>Log in</html>", b"", b"[]"])
def test_an_answer_that_is_no_object_is_not_taken_for_a_device(by_heart, body):
    by_heart.prepare(body)

    with pytest.raises(PlatformRefusedError, match="cannot be read"):
        by_heart.run(lambda client: client.find_device(DEV_EUI))


# --- paging


def test_lists_by_number_are_read_to_their_end(site):
    site.rules.page_size = 2
    names = [f"field-{number}" for number in range(5)]
    for name in names:
        site.with_connection(name)
    before = len(site.thingpark.asked)

    found = site.run(lambda client: client.list_app_servers())

    assert [one.name for one in found] == names
    pages = [one.query.get("pageIndex") for one in list(site.thingpark.asked)[before:]]
    assert pages == [None, "2", "3"]


def test_devices_are_paged_by_cursor(site):
    site.rules.page_size = 2
    euis = [f"70B3D57ED0001A{number:02X}" for number in (5, 3, 1, 4, 2)]
    for eui in euis:
        site.with_device(eui)
    before = len(site.thingpark.asked)

    found = site.run(lambda client: collected(client.list_devices()))

    assert [one.eui for one in found] == sorted(euis)
    asked = list(site.thingpark.asked)[before:]
    assert [one.query["sort"] for one in asked] == ["EUI,asc"] * 3
    assert ["pageAfter" in one.query for one in asked] == [False, True, True]


def test_a_cursor_goes_back_as_it_came_whatever_it_holds(by_heart):
    by_heart.prepare({"briefs": [{"EUI": "A"}], "more": True, "count": 2, "cursors": {"last": "a+b/c=="}})
    by_heart.prepare({"briefs": [{"EUI": "B"}], "more": False, "count": None})

    found = by_heart.run(lambda client: collected(client.list_devices()))

    assert [one.eui for one in found] == ["A", "B"]
    assert by_heart.requests[0].query == "sort=EUI%2Casc"
    assert by_heart.requests[1].query == "sort=EUI%2Casc&pageAfter=a%2Bb%2Fc%3D%3D"


def test_a_cursor_that_comes_twice_ends_the_list_with_a_word(by_heart):
    for _ in range(2):
        by_heart.prepare({"briefs": [{"EUI": "A"}], "more": True, "cursors": {"last": "same"}})

    with pytest.raises(PlatformRefusedError, match="to its end"):
        by_heart.run(lambda client: collected(client.list_devices()))
    assert len(by_heart.requests) == 2


def test_a_page_that_comes_twice_ends_the_list_with_a_word(by_heart):
    for _ in range(2):
        by_heart.prepare({"briefs": [{"ID": "TWA_1.2.AS"}], "more": True})

    with pytest.raises(PlatformRefusedError, match="page 2 is page 1 again"):
        by_heart.run(lambda client: client.list_app_servers())


def test_an_empty_page_is_the_last_whatever_it_says(by_heart):
    by_heart.prepare({"briefs": [], "more": True})

    assert by_heart.run(lambda client: client.list_app_servers()) == []


def test_a_list_without_a_cursor_is_read_by_number(by_heart):
    first = {"briefs": [{"EUI": "A"}], "more": True}
    for page in (first, first, {"briefs": [{"EUI": "B"}], "more": False}):
        by_heart.prepare(page)

    found = by_heart.run(lambda client: collected(client.list_devices()))

    assert [one.eui for one in found] == ["A", "B"]
    assert by_heart.requests[2].query == "sort=EUI%2Casc&pageIndex=2"


# --- references, addresses, times


@pytest.mark.parametrize(
    "text", ["TWA_100000001.568.AS", "TWA_100000001.568", "568", "/x/subscriptions/1/appServers/568"]
)
def test_a_connection_is_asked_for_by_its_number(text):
    assert app_server_uid(text) == "568"


@pytest.mark.parametrize("text", ["", "field", "TWA_1.x.AS", "../1", "sites/12", "１"])  # noqa: RUF001 - a digit that is none here
def test_what_is_no_reference_of_a_connection_is_refused(text):
    with pytest.raises(IdentifierError):
        app_server_uid(text)


@pytest.mark.parametrize("text", ["70b3d57ed0001a2b", "70-B3-D5-7E-D0-00-1A-2B", " 70B3D57ED0001A2B "])
def test_a_device_is_asked_for_by_its_eui_in_upper_case(text):
    assert device_ref(text) == "e70B3D57ED0001A2B"


def test_an_imei_stands_for_a_cellular_device():
    assert device_ref("12345678901234") == "e12345678901234"


@pytest.mark.parametrize("text", ["", "70B3D57ED0001A", "70B3D57ED0001A2", "70B3D57ED0001A2B00", "ZZB3D57ED0001A2B"])
def test_what_is_no_eui_is_refused(text):
    with pytest.raises(IdentifierError):
        device_ref(text)


@pytest.mark.parametrize(
    "href",
    [
        "/thingpark/wireless/rest/subscriptions/32/devices/7",
        "thingpark/wireless/rest/subscriptions/32/devices/7",
        "/subscriptions/32/devices/7",
        "subscriptions/32/devices/7",
    ],
)
def test_addresses_are_joined_whatever_they_begin_with(href):
    assert path_of(href) == "/subscriptions/32/devices/7"
    assert uid_of(href) == "7"


def test_the_number_of_a_connection_is_taken_from_its_id_before_its_address():
    read = read_app_server(
        Members({"ID": "TWA_1.568.AS", "href": "/thingpark/wireless/rest/subscriptions/1/appServers/9"})
    )

    assert read.uid == "568"


@pytest.mark.parametrize(
    "value", [1_577_836_800_000, 1_577_836_800, "2020-01-01T00:00:00Z", "2020-01-01T01:00:00+01:00"]
)
def test_times_may_be_in_milliseconds_seconds_or_text(value):
    assert read_device(Members({"lastUpTimestamp": value})).last_up_at == datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("members", [{}, {"EUI": 5, "model": "x", "appServers": {"ID": "1"}, "href": []}])
def test_an_odd_object_is_read_as_far_as_it_goes(members):
    device, app_server = read_device(Members(members)), read_app_server(Members(members))

    assert (device.uid, device.app_server_ids, app_server.uid) == (None, (), None)


# --- the catalogue


def test_the_catalogue_has_what_a_new_device_needs(site):
    async def use(client):
        return (
            await client.list_device_profiles("LORAWAN"),
            await client.list_network_subscriptions("CELLULAR"),
            await client.list_cellular_network_contexts(),
            await client.get_network_subscription("98"),
        )

    profiles, plans, contexts, plan = site.run(use)

    assert {one.connectivity for one in profiles} == {"LORAWAN"}
    assert [(one.id, one.free) for one in plans] == [("acme-cs/cellular-cp", 100)]
    assert (contexts[0].id, contexts[0].source_port) == ("1AF3B", 45826)
    assert plan.id == plans[0].id


def test_a_thingpark_before_8_1_has_no_network_contexts(site):
    site.rules.has_network_contexts = False

    with pytest.raises(PlatformRefusedError, match="404"):
        site.run(lambda client: client.list_cellular_network_contexts())


def test_the_public_exchange_key_comes_as_pem(site):
    pem = site.run(lambda client: client.get_public_exchange_key())

    assert pem.startswith("-----BEGIN PUBLIC KEY-----")
    assert site.last("GET").headers["accept"] == "application/x-pem-file"


# --- the rest of the catalogue and of IoT Flow's application servers


def test_vendors_and_bands_are_listed(site):
    vendors = site.run(lambda client: client.list_device_vendors())

    assert vendors[0].text("ID") == "generic"
    assert [one.text("ID") for one in site.run(lambda client: client.list_ism_bands())] == ["eu868"]
