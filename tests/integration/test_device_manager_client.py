"""Sessions of the Device Manager API over real HTTP: logging in, being lost and found again, XML, logging out."""

from __future__ import annotations

import asyncio
import json

import pytest

from receiver.errors import ConflictError, LoginRefusedError, NoAnswerError, NotFoundError, PlatformRefusedError
from receiver.platforms.calls import PlatformCall
from receiver.platforms.device_manager import MOST_RENEWALS, RENEWALS_WITHIN_S
from receiver.platforms.device_manager_refusals import RejectedLoginError
from receiver.platforms.thingpark import ThingParkClient
from receiver.platforms.thingpark_routing_profiles import RoutingProfileWish, write_routing_profile
from receiver.simulator.loopback_server import HttpReply
from receiver.simulator.management_device_manager_login import LOGIN_PAGE_PATH
from receiver.simulator.management_http import CUT, LOST, ManagementFault, answered
from tests.integration.device_manager_use import (
    DEV_EUI,
    FORMS,
    LOGIN,
    OTHER_EUI,
    PASSWORD,
    device_manager_site,
    device_names,
)

EVERY_FORM = pytest.mark.parametrize("form", FORMS)
BOTH_ANSWERS = pytest.mark.parametrize("answers", ["json", "xml"])
NAMES = ["Pump 1", "Pump 2"]


@pytest.fixture
def site():
    with device_manager_site() as site:
        yield site


# --- logging in


@EVERY_FORM
@BOTH_ANSWERS
def test_each_form_of_the_login_leads_to_the_devices(site, form, answers):
    assert site.run(device_names, form=form, answers=answers) == NAMES
    assert site.manager.login.attempts == 1


@pytest.mark.parametrize("body", ["form", "json"])
def test_the_fields_of_the_page_are_what_the_account_says(body):
    with device_manager_site(page_fields=("e-mail", "pass word")) as site:
        changed = {"login_field": "e-mail", "password_field": "pass word", "login_body": body}
        assert site.run(device_names, **changed) == NAMES
        assert site.manager.asked[0].path == LOGIN_PAGE_PATH


def test_an_address_that_the_page_has_escaped_is_read():
    with device_manager_site(has_escaped_address=True) as site:
        assert site.run(device_names) == NAMES


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_a_digest_is_answered_in_both_algorithms_and_has_no_password_in_it(algorithm):
    with device_manager_site(digest_algorithm=algorithm) as site:
        assert site.run(device_names, form="digest") == NAMES
        assert all(
            PASSWORD not in str(asked.headers) and PASSWORD.encode() not in asked.body for asked in site.manager.asked
        )


def test_a_stale_nonce_is_no_refusal(site):
    site.manager.login.stale_answers = 1
    assert site.run(device_names, form="digest") == NAMES
    assert site.paths().count(("GET", "/admins/id")) == 3


def test_a_login_that_wants_no_digest_is_sent_none(site):
    site.manager.faults.order(answered(401), path="/admins/id")
    with pytest.raises(LoginRefusedError, match="check the account's login_form"):
        asyncio.run(site.session("digest").start())
    assert site.manager.login.attempts == 0


def test_the_start_of_a_session_tells_what_it_is_of(site):
    async def use(_client, session):
        return await session.start()

    started = site.run(use)
    assert (started.subscription, started.granted_permissions) == ("32", ("x", "a"))
    assert (started.first_name, started.last_name, started.bad_passwords) == ("Ada", "Vermeer", 0)
    assert started.session_token is not None
    assert started.session_token not in repr(started)
    start = next(asked for asked in site.manager.asked if asked.path.endswith("/customers"))
    assert start.query["type"] == "SUBSCRIBER"
    assert "userAccessCode" in start.query


def test_the_access_code_of_the_back_office_starts_the_session_as_an_admins(site):
    async def use(_client, session):
        return await session.start()

    assert site.run(use, form="json").first_name is None
    code, start = list(site.manager.asked)[1:]
    assert json.loads(code.body) == {"subscriberID": "100000001", "moduleID": "TPW_SUBS"}
    assert "sessionToken" in code.query
    assert "adminAccessCode" in start.query


@EVERY_FORM
def test_a_session_without_a_token_is_its_cookie_alone(form):
    with device_manager_site(with_session_token=False) as site:
        assert site.run(device_names, form=form) == NAMES
        data = site.manager.asked[-1]
        assert "sessionToken" not in data.query
        assert "JSESSIONID=" in data.headers["cookie"]
        assert "GLOBALTWA=0" in data.headers["cookie"]


def test_the_token_goes_with_every_request_of_the_session(site):
    async def use(client, session):
        await client.get_device(DEV_EUI)
        await client.delete_device(OTHER_EUI)
        return (await session.start()).session_token

    token = site.run(use)
    data = [asked for asked in site.manager.asked if "/subscriptions/" in asked.path]
    assert len(data) == 2
    assert {asked.query["sessionToken"] for asked in data} == {token}


def test_the_subscription_of_the_session_stands_in_the_paths_unless_the_account_names_one(site):
    site.run(device_names)
    assert site.paths()[-1] == ("GET", "/subscriptions/32/devices")
    site.run(device_names, subscription="mine")
    assert site.paths()[-1] == ("GET", "/subscriptions/mine/devices")


@pytest.mark.parametrize("href", ["/thingpark/wireless/rest/subscriptions/32", "subscriptions/32"])
def test_the_address_of_the_subscription_may_have_other_forms(site, href):
    site.manager.subscription_href = href
    assert site.run(device_names) == NAMES


def test_an_address_that_names_no_subscription_is_told_with_what_to_set(site):
    site.manager.subscription_href = "/partners/7"
    with pytest.raises(LoginRefusedError, match="set the account's subscription"):
        site.run(device_names)


def test_of_many_who_ask_at_a_time_one_logs_in(site):
    async def main():
        session = site.session()
        caller = site.caller(session)
        await asyncio.gather(*(caller.call(PlatformCall("GET", "/subscriptions/32/devices")) for _ in range(8)))

    asyncio.run(main())
    assert site.manager.login.attempts == 1


# --- a refused login


@pytest.mark.parametrize(
    ("form", "told"),
    [("html", "error 108"), ("json", "error 108"), ("xml", "error 108"), ("digest", "status 401")],
)
def test_a_wrong_password_is_told_and_never_sent_again(site, form, told):
    said = []
    session = site.session(form, "Wrong#1password", on_rejected=said.append)
    for _ in range(3):
        with pytest.raises(RejectedLoginError, match=told) as refused:
            asyncio.run(session.start())
        assert "Wrong#1password" not in str(refused.value)
    assert site.manager.login.attempts == 1
    assert said == [str(refused.value)]


def test_a_refusal_that_is_remembered_is_told_without_asking(site):
    session = site.session(rejection="The Device Manager does not take this.")
    with pytest.raises(RejectedLoginError, match="does not take this"):
        asyncio.run(session.start())
    assert not site.manager.asked


@pytest.mark.parametrize("form", ["html", "json"])
def test_a_network_that_repeats_the_password_does_not_have_it_shown(site, form):
    said = {"code": 7, "message": f"No {PASSWORD}"} if form == "json" else None
    page = f"<span id='errorCode'>7</span><span id='info1'>No {PASSWORD.replace('&', '&amp;')}</span>".encode()
    reply = answered(400, said) if said else ManagementFault(is_done=False, reply=HttpReply(200, page, "text/html"))
    site.manager.faults.order(reply, method="POST")
    with pytest.raises(RejectedLoginError, match="It says: No …") as refused:
        asyncio.run(site.session(form).start())
    assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize("form", ["html", "json", "xml"])
def test_a_locked_account_and_one_that_is_not_associated_are_told_apart(site, form):
    site.manager.login.is_associated = False
    with pytest.raises(RejectedLoginError, match=r"not associated .*124"):
        asyncio.run(site.session(form).start())
    site.manager.login.bad_passwords = 5
    with pytest.raises(RejectedLoginError, match=r"locked this account .*121"):
        asyncio.run(site.session(form).start())


def test_a_password_that_became_wrong_is_sent_once_in_place_of_a_lost_session(site):
    async def use(client, _session):
        await device_names(client)
        site.manager.login.password = "Another#1password"
        site.manager.end_sessions()
        for _ in range(3):
            with pytest.raises(RejectedLoginError):
                await device_names(client)

    site.run(use)
    assert site.manager.login.attempts == 2


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"form": "html", "login_url": "{origin}/other"}, "login_url, login_field, password_field and login_body"),
        ({"form": "json", "smp_url": "{origin}/other"}, "status 404: check the account's smp_url"),
        ({"form": "json", "subscriber_id": "2"}, "check the account's subscriber_id and module_id"),
        ({"form": "html", "start_parameter": "adminAccessCode"}, "check the account's start_path, start_parameter"),
        ({"form": "html", "start_path": "/partners"}, "starts no session"),
    ],
)
def test_a_wrong_setting_is_told_by_its_name(site, changed, told):
    given = {name: value.replace("{origin}", site.server.origin) for name, value in changed.items()}
    with pytest.raises(LoginRefusedError, match=told) as refused:
        asyncio.run(site.session(**given).start())
    assert not isinstance(refused.value, RejectedLoginError)


def test_a_login_that_failed_otherwise_is_tried_again_after_a_while(site):
    session = site.session()
    site.manager.faults.order(answered(200, {}), path=LOGIN_PAGE_PATH)
    for _ in range(2):
        with pytest.raises(LoginRefusedError, match="neither an error code nor an access code"):
            asyncio.run(session.start())
    assert len(site.manager.asked) == 1
    site.later(60)
    assert asyncio.run(session.start()).subscription == "32"


@pytest.mark.parametrize(
    ("fault", "told"),
    [(answered(503), "status 503"), (answered(429, retry_after_s=1), "status 429"), (CUT, "was lost")],
)
def test_a_login_that_is_away_says_so_and_is_sent_once(site, fault, told):
    site.manager.faults.order(fault)
    with pytest.raises(NoAnswerError, match=told):
        asyncio.run(site.session().start())
    assert len(site.manager.asked) == 1


def test_a_login_that_nobody_listens_to_says_so(site):
    site.server.stop()
    with pytest.raises(NoAnswerError, match=r"login of the Device Manager at 127\.0\.0\.1: .*: connection refused"):
        asyncio.run(site.session().start())


# --- a lost session


@EVERY_FORM
def test_a_session_that_ended_is_begun_anew_and_the_request_made_once_more(site, form):
    async def use(client, _session):
        await device_names(client)
        site.later(3600)
        return await device_names(client)

    assert site.run(use, form=form) == NAMES
    assert site.manager.login.attempts == 2
    assert [path for path in site.paths() if path[1].endswith("/devices")] == [("GET", "/subscriptions/32/devices")] * 3


def test_a_session_that_never_was_good_is_not_begun_anew(site):
    site.manager.faults.order(answered(401), path="/devices", times=9)
    with pytest.raises(LoginRefusedError, match="status 401"):
        site.run(device_names)
    assert site.manager.login.attempts == 1


def test_a_refusal_that_stays_is_given_after_one_new_login(site):
    async def use(client, _session):
        await client.get_device(DEV_EUI)
        site.manager.faults.order(answered(403, {"code": 403, "message": "Forbidden"}), path="/devices", times=9)
        with pytest.raises(PlatformRefusedError, match="status 403: Forbidden") as refused:
            await device_names(client)
        assert refused.value.status == 403

    site.run(use)
    assert site.manager.login.attempts == 2


def test_refusals_do_not_become_an_attack_on_the_login(site):
    async def use(client, _session):
        site.manager.faults.order(answered(403), path="/devices", times=10_000)
        for _ in range(20):
            await client.get_device(DEV_EUI)
            with pytest.raises(PlatformRefusedError):
                await device_names(client)
        attempts = site.manager.login.attempts
        site.later(RENEWALS_WITHIN_S)
        await client.get_device(DEV_EUI)
        with pytest.raises(PlatformRefusedError):
            await device_names(client)
        return attempts

    assert site.run(use) == 1 + MOST_RENEWALS
    assert site.manager.login.attempts > 1 + MOST_RENEWALS


def test_of_many_whose_session_ended_one_logs_in_again(site):
    async def use(client, _session):
        await device_names(client)
        site.manager.end_sessions()
        return await asyncio.gather(*(device_names(client) for _ in range(6)))

    assert site.run(use) == [NAMES] * 6
    assert site.manager.login.attempts == 2


def test_a_lost_answer_of_a_delete_is_asked_for_again(site):
    async def use(client, _session):
        site.manager.faults.order(LOST, method="DELETE")
        return await client.delete_device(DEV_EUI)

    assert site.run(use) is False  # the second time it was not there any more
    assert site.euis() == [OTHER_EUI]


def test_a_request_that_is_asked_to_wait_waits(site):
    async def use(client, _session):
        site.manager.faults.order(answered(429, retry_after_s=7), path="/devices")
        return await device_names(client)

    assert site.run(use) == NAMES
    assert site.pauses == [7.0]


# --- data


@BOTH_ANSWERS
def test_a_device_is_found_in_json_and_xml_alike(site, answers):
    async def use(client, _session):
        return await client.get_device(DEV_EUI), await client.find_device("0059AC00000000FF")

    device, none = site.run(use, answers=answers)
    assert (device.eui, device.name, device.health_state, none) == (DEV_EUI, "Pump 1", "INIT", None)
    assert site.manager.asked[-1].headers["accept"] == f"application/{answers}"


@BOTH_ANSWERS
def test_a_list_of_one_and_of_none_is_a_list(site, answers):
    async def use(client, _session):
        await client.delete_device(DEV_EUI)
        one = await device_names(client)
        await client.delete_device(OTHER_EUI)
        return one, await device_names(client)

    assert site.run(use, answers=answers) == (["Pump 2"], [])


@BOTH_ANSWERS
def test_a_refusal_is_read_in_json_and_xml_alike(site, answers):
    async def use(_client, session):
        await site.caller(session).call(PlatformCall("GET", "/subscriptions/99/devices"))

    with pytest.raises(
        PlatformRefusedError, match="The Device Manager refused with status 400: Subscription not found"
    ):
        site.run(use, answers=answers)


def profiles(site, use, **options):
    async def run(_client, session):
        started = await session.start()
        return await use(ThingParkClient(site.caller(session), started.subscription))

    return site.run(run, **options)


@BOTH_ANSWERS
def test_routing_profiles_are_made_found_changed_and_deleted(site, answers):
    wish = RoutingProfileWish("Receiver", ("https://one.example/push", "https://two.example/push"))

    async def use(client):
        made = await client.create_routing_profile(write_routing_profile(wish))
        found = await client.find_routing_profile("Receiver")
        changed = await client.update_routing_profile(made.uid, {"name": "Other"})
        again = await client.get_routing_profile(made.uid)
        gone = [await client.delete_routing_profile(made.uid) for _ in range(2)]
        return made, found, changed, again, gone, await client.list_routing_profiles()

    made, found, changed, again, gone, left = profiles(site, use, answers=answers)
    assert (made.id, made.name, made.type) == (f"TWA_100000001.{made.uid}", "Receiver", "LORAWAN")
    [route] = made.routes
    assert route["destinations"] == [{"addresses": list(wish.addresses), "ports": "*", "strategy": "SEQUENTIAL"}]
    assert (found.uid, changed.name, again.name, gone, left) == (made.uid, "Other", "Other", [True, False], [])


def test_a_routing_profile_whose_answer_was_lost_is_not_made_twice(site):
    site.manager.faults.order(LOST, method="POST", path="/appServersRoutingProfiles")

    async def use(client):
        return await client.create_routing_profile(
            write_routing_profile(RoutingProfileWish("Receiver", ("https://one.example",), as_xml=True))
        )

    assert profiles(site, use).name == "Receiver"
    [(profile, _occ)] = site.resources.book.routing_profiles.values()
    assert profile["routes"][0]["destinations"] == (
        "<destinations><destination><address>https://one.example</address></destination></destinations>"
    )


def test_a_second_routing_profile_of_a_name_is_refused(site):
    members = write_routing_profile(RoutingProfileWish("Receiver", ("https://one.example",)))

    async def use(client):
        await client.create_routing_profile(members)
        await client.create_routing_profile(members)

    with pytest.raises(ConflictError, match="'Receiver' already"):
        profiles(site, use)


def test_a_routing_profile_that_is_not_there_is_told(site):
    async def use(client):
        await client.get_routing_profile("9")

    with pytest.raises(NotFoundError, match="no routing profile '9'"):
        profiles(site, use)


def test_a_network_without_routing_profiles_says_what_it_has_instead(site):
    site.manager.faults.order(answered(404, {"code": 1, "message": "Not found"}), path="/appServersRoutingProfiles")

    async def use(client):
        await client.list_routing_profiles()

    with pytest.raises(PlatformRefusedError, match="application servers instead"):
        profiles(site, use)


# --- the end


def test_logging_out_ends_the_session_at_the_network(site):
    async def use(client, session):
        await device_names(client)
        return await session.log_out(), await session.log_out()

    assert site.run(use) == (True, True)
    assert site.manager.sessions == 0
    assert site.paths().count(("GET", "/customers/logout")) == 1


def test_a_logout_that_fails_harms_nothing(site):
    async def use(client, session):
        site.manager.faults.order(CUT, path="/logout")
        return await session.log_out(), await device_names(client)

    assert site.run(use) == (False, NAMES)
    assert site.manager.login.attempts == 2


def test_nothing_secret_is_shown(site):
    session = site.session()

    async def main():
        await session.start()
        return await session.dress(PlatformCall("GET", "/subscriptions/32/devices"))

    dressed = asyncio.run(main())
    shown = f"{session!r} {session.account!r} {dressed.shown(session.account.api_url)}"
    token = dict(dressed.query)["sessionToken"]
    cookie = dict(dressed.headers)["Cookie"]
    assert LOGIN in shown
    for secret in (PASSWORD, token, cookie):
        assert secret not in shown
    assert cookie not in repr(dressed)
