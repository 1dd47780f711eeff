"""The client of KPN Things over real HTTP: its pages, its tokens, sub-customers, and what it says when refused."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from receiver.errors import LoginRefusedError, NoAnswerError, PlatformRefusedError, SettingsError
from receiver.http_client import HttpClient
from receiver.platforms.calls import PlatformCall
from receiver.platforms.grip import GripAccount
from receiver.platforms.kpn_things import (
    DEVICES_MEDIA_TYPE,
    build_context_switch_call,
    build_devices_call,
    open_kpn_things,
)
from receiver.simulator.loopback_server import HttpReply, LoopbackServer
from receiver.simulator.things import OWN_LORA_SPECIFICATION, SimulatedThings

SECRET = "Key-Secret-that-nobody-may-see"


async def no_pause(_seconds):
    pass


class Side:
    """KPN Things on a port of this machine; `answer` may be put in its place. `came` are the requests to the API."""

    def __init__(self, http):
        self.now = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
        self.things = SimulatedThings(shared_secret="S" * 40, clock=lambda: self.now, seed=1, key_secret=SECRET)
        self.answer = self.things.answer
        self.came = []
        self.server = LoopbackServer()
        self.server.start(self._answer)
        self.http = http

    def _answer(self, request):
        if "token" not in request.path:
            self.came.append(request)
        return self.answer(request)

    def client(self, *headers, secret=SECRET):
        login = GripAccount(f"{self.server.origin}/api/v3/idp/oidc/token", "tenant", "application", "key", secret)
        return open_kpn_things(self.http, login, self.server.origin, headers, no_pause)

    def names(self, *headers, **options):
        async def run():
            return [device.name async for device in self.client(*headers).list_devices(**options)]

        return asyncio.run(run())


@pytest.fixture
def side():
    with HttpClient() as http:
        side = Side(http)
        yield side
        side.server.stop()


def add(side, count, customer=None):
    for number in range(count):
        side.things.add_device(customer, name=f"Device {number:03}")


# --- devices


@pytest.mark.parametrize("size", [1, 2, 5, 7, 100])
def test_all_devices_come_whatever_the_size_of_the_pages(side, size):
    add(side, 5)
    assert side.names(page_size=size) == [f"Device {number:03}" for number in range(5)]
    assert len(side.came) == -(-5 // size)
    assert [dict(part.split("=") for part in came.query.split("&"))["currentPage"] for came in side.came] == [
        str(number) for number in range(len(side.came))
    ]


def test_no_devices_are_no_devices(side):
    assert side.names() == []
    assert len(side.came) == 1


def test_all_parameters_are_said_and_the_media_type_is_the_api_s_own(side):
    add(side, 3)
    assert side.names(search="1", sort_by="name", sort_order="DESC", page_size=50) == ["Device 001"]
    [came] = side.came
    assert came.query == "currentPage=0&pageSize=50&search=1&sortBy=name&sortOrder=DESC"
    assert came.headers["accept"] == DEVICES_MEDIA_TYPE


def test_a_search_tells_upper_and_lower_case_apart(side):
    add(side, 1)
    assert (side.names(search="Device"), side.names(search="device")) == (["Device 000"], [])


def test_a_device_is_read_with_all_it_has(side):
    add(side, 1)
    page = asyncio.run(side.client().get_page())
    [device] = page.devices
    assert (device.name, device.device_specification_uuid) == ("Device 000", OWN_LORA_SPECIFICATION)
    assert device.uuid in side.things.uuids.values()
    assert (page.number, page.size, page.total_pages, page.total_devices, page.is_last) == (0, 20, 1, 1, True)


def test_a_list_that_says_neither_how_long_it_is_ends_with_a_short_page(side):
    pages = [b'{"content":[{"name":"a"},{"name":"b"}]}', b'{"content":[{"name":"c"}]}']
    usual = side.answer
    side.answer = lambda request: (
        usual(request) if "token" in request.path else HttpReply(200, pages.pop(0), DEVICES_MEDIA_TYPE)
    )
    assert side.names(page_size=2) == ["a", "b", "c"]


@pytest.mark.parametrize("page", [{"number": -1}, {"size": 0}, {"size": 1001}, {"sort_order": "UP"}])
def test_a_page_that_there_cannot_be_is_not_asked_for(page):
    given = {"number": 0, "search": "", "sort_by": "name", "sort_order": "ASC", "size": 20} | page
    with pytest.raises(SettingsError):
        build_devices_call(given.pop("number"), **given)


# --- the token


def test_a_token_that_was_taken_back_is_renewed_once(side):
    add(side, 1)

    async def run():
        client = side.client()
        await client.get_page()
        side.things.revoke_tokens()
        return await client.get_page()

    assert len(asyncio.run(run()).devices) == 1
    assert side.things.logins == 2


def test_of_many_whose_token_was_taken_back_one_logs_in(side):
    async def run():
        client = side.client()
        await client.get_page()
        side.things.revoke_tokens()
        await asyncio.gather(*(client.get_page() for _ in range(6)))

    asyncio.run(run())
    assert side.things.logins == 2


@pytest.mark.parametrize("status", [302, 401])
def test_a_new_token_that_is_not_taken_is_told_with_what_to_do(side, status):
    side.things.statuses.extend([status] * 5)
    with pytest.raises(LoginRefusedError, match=rf"status {status}\), though it is new: in GRIP"):
        side.names()
    assert side.things.logins == 1


def test_a_token_that_is_refused_even_when_renewed_is_told(side):
    async def run():
        client = side.client()
        await client.get_page()
        side.things.statuses.extend([302] * 5)
        await client.get_page()

    with pytest.raises(LoginRefusedError, match="though it is new"):
        asyncio.run(run())
    assert side.things.logins == 2


def test_a_key_that_grip_refuses_is_told_without_the_key(side):
    with pytest.raises(LoginRefusedError, match="401") as refused:
        asyncio.run(side.client(secret="Another-Secret").get_page())
    assert "Another-Secret" not in str(refused.value)
    assert not side.came


def test_a_key_without_the_right_is_told_which_one_it_needs(side):
    side.things.statuses.append(403)
    with pytest.raises(PlatformRefusedError, match=r"widen its rights in GRIP.*context-switch"):
        side.names()


def test_a_bad_request_is_told_in_the_api_s_words(side):
    with pytest.raises(PlatformRefusedError, match="KPN Things refused with status 400: Bad Request"):
        side.names(sort_by="colour")


def test_an_api_that_is_away_is_told(side):
    side.server.stop()
    with pytest.raises(NoAnswerError):
        side.names()


def test_a_token_lives_an_hour(side):
    async def run():
        client = side.client()
        await client.get_page()
        side.now += timedelta(hours=2)
        await client.get_page()

    asyncio.run(run())
    assert side.things.logins == 2


# --- sub-customers


def test_a_sub_customer_s_devices_are_had_after_asking_for_access(side):
    add(side, 2, "customer-7")
    named = ("x-client-id", "customer-7")
    with pytest.raises(PlatformRefusedError, match="status 403"):
        side.names(named)
    assert asyncio.run(side.client().switch_context("customer-7")).status == 200
    assert side.names(named) == ["Device 000", "Device 001"]
    assert side.names() == []
    assert side.came[-2].headers["x-client-id"] == "customer-7"


def test_the_newer_header_needs_no_asking(side):
    add(side, 1, "customer-7")
    assert side.names(("KPN-Things-Security-Context", "customer-7")) == ["Device 000"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_access_is_asked_for_by_get_and_where_that_is_not_allowed_by_post(side, method):
    add(side, 1, "customer-7")
    side.things.customers.method = method
    asyncio.run(side.client().switch_context("customer-7"))
    assert side.things.customers.with_access == {"customer-7"}
    assert [came.method for came in side.came] == ["GET", "POST"][: 1 if method == "GET" else 2]
    assert all(came.headers["content-type"] == "application/json" for came in side.came)


def test_a_customer_that_is_not_ours_is_refused(side):
    with pytest.raises(PlatformRefusedError, match="403"):
        asyncio.run(side.client().switch_context("customer-8"))


def test_a_customer_id_stays_within_its_place_in_the_path():
    assert build_context_switch_call("a/../b?c").path == "/api/v1/lifecycle/clients/a%2F..%2Fb%3Fc/context-switch"


@pytest.mark.parametrize("client_id", ["", "  ", "a\nb", "x" * 501])
def test_what_is_no_customer_id_is_refused(client_id):
    with pytest.raises(SettingsError, match="customer id"):
        build_context_switch_call(client_id)


def test_nothing_secret_is_shown(side):
    client = side.client()
    asyncio.run(client.get_page())
    call = PlatformCall("GET", "/x", headers=(("Authorization", "Bearer t0ken"),))
    assert SECRET not in f"{client!r} {client._caller!r}"
    assert "t0ken" not in f"{call!r} {call.shown('https://h')}"
