"""Each request and reply that KPN publishes of the Beta API of KPN Things, as sent and as read, over real HTTP."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from receiver.errors import LoginRefusedError, PlatformRefusedError
from receiver.http_client import HttpClient
from receiver.kpn_things.downlink import DownlinkForm, ThingsRequest, build_downlink_request
from receiver.platforms.grip import GripAccount
from receiver.platforms.kpn_things import build_context_switch_call, build_devices_call, open_kpn_things
from receiver.services.things_accounts import API_URL, AUDIENCE
from receiver.simulator.loopback_server import HttpReply, LoopbackServer

pytestmark = pytest.mark.shared

TOKEN = json.dumps({"access_token": "t1", "token_type": "Bearer", "expires_in": 3600}).encode()


@pytest.fixture
def seed(shared):
    return (shared / "seeds" / "003_27cc8d9acbcd47c9.txt").read_text()


@pytest.fixture
def ask():
    """Give what a client makes of an answer of the API; the requests that came are in `ask.came`."""
    reply, came = HttpReply(200), []

    def answer(request):
        if "token" in request.path:
            return HttpReply(200, TOKEN, "application/json")
        came.append(request)
        return reply

    server = LoopbackServer()
    server.start(answer)

    def run(given, use, *headers):
        nonlocal reply
        reply = given

        async def main():
            with HttpClient() as http:
                login = GripAccount(f"{server.origin}/api/v3/idp/oidc/token", "tenant", AUDIENCE, "key", "secret")
                return await use(open_kpn_things(http, login, server.origin, headers))

        return asyncio.run(main())

    run.came = came
    yield run
    server.stop()


def example_page(seed):
    text = seed[seed.index('{\n"content"') : seed.index("\nResponse codes")]
    return json.loads(re.sub(r",\s*\.\.\.", "", text))


def test_the_page_of_devices_is_read(seed, ask):
    given = example_page(seed)
    page = ask(HttpReply(200, json.dumps(given).encode(), "application/json"), lambda client: client.get_page())
    [device] = page.devices
    [content] = given["content"]
    assert (device.uuid, device.name, device.description) == ("xxxxxx", "My first own device", "")
    assert (device.metadata, device.barcode) == (None, None)
    assert device.device_specification_uuid == content["deviceSpecificationUUID"]
    assert device.raw == content
    assert (page.number, page.size, page.total_pages, page.total_devices, page.is_last) == (0, 20, 1, 2, True)


def test_devices_are_asked_for_with_the_document_s_parameters_and_defaults(seed, ask):
    ask(HttpReply(200, b"{}", "application/json"), lambda client: client.get_page(search="x"))
    table = seed[seed.index("Query Parameters") : seed.index("Headers")]
    names = re.findall(r"^(currentPage|pageSize|search|sortBy|sortOrder)$", table, re.MULTILINE)
    [came] = ask.came
    sent = dict(part.split("=") for part in came.query.split("&"))
    assert list(sent) == names
    defaults = dict(
        re.findall(r"^(currentPage|pageSize|sortBy|sortOrder)\n(?:number|string)\n(\S+)$", table, re.MULTILINE)
    )
    assert {name: sent[name] for name in defaults} == defaults
    assert f"\n{API_URL}{came.path}\n" in seed
    assert came.headers["authorization"] == "Bearer t1"
    assert f"\nAccept\nstring\n{came.headers['accept']}\n" in seed
    assert build_devices_call(0, search="", sort_by="name", sort_order="ASC", size=20).query == (
        *(("currentPage", "0"), ("pageSize", "20")),
        *(("sortBy", "name"), ("sortOrder", "ASC")),
    )


@pytest.mark.parametrize(
    ("status", "error", "told"),
    [
        (302, LoginRefusedError, "check that the key is good and has access to KPN Things"),
        (400, PlatformRefusedError, "status 400"),
        (403, PlatformRefusedError, "does not allow it that"),
    ],
)
def test_each_response_code_is_read_as_the_document_says(seed, ask, status, error, told):
    assert re.search(rf"{status} \w+", seed)
    with pytest.raises(error, match=told):
        ask(HttpReply(status, headers=(("Location", "/login"),)), lambda client: client.get_page())


@pytest.mark.parametrize("status", [200, 201, 204])
def test_each_good_response_code_is_good(seed, ask, status):
    assert re.search(rf"{status} \w+", seed)
    answer = ask(HttpReply(status), lambda client: client.switch_context("c1"))
    assert answer.status == status


def test_a_downlink_is_sent_as_the_document_has_it(seed):
    request = build_downlink_request(DownlinkForm(), ThingsRequest("0059AC0000000001", 15, b"\xc0\xff\xee", "R7"))
    template = re.search(r"^Body: (.+)$", seed, re.MULTILINE)[1]
    filled = template.replace("{devEUI}", "0059AC0000000001").replace("{payload}", "c0ffee")
    assert json.loads(request.body.decode().replace("C0FFEE", "c0ffee")) == json.loads(filled)
    path, _, query = request.path.partition("?")
    assert f"\n{API_URL}{path}\n" in seed
    assert {part.partition("=")[0] for part in query.split("&")} == {"externalReference", "port"}
    assert request.headers["Accept"] in seed
    assert request.headers["Content-Type"] == "application/json"


def test_access_to_a_sub_customer_is_asked_for_and_used_as_the_document_has_it(seed, ask):
    call = build_context_switch_call(":clientId")
    assert f"GET\n{API_URL}{call.path.replace('%3A', ':')}\n" in seed
    ask(HttpReply(200), lambda client: client.switch_context("c1"))
    ask(HttpReply(200, b"{}"), lambda client: client.get_page(), ("x-client-id", "c1"))
    switched, listed = ask.came
    assert (switched.headers["content-type"], switched.headers["accept"]) == ("application/json",) * 2
    assert listed.headers["x-client-id"] == "c1"
    assert "x-client-id: {{customerID}}" in seed
    assert "KPN-Things-Security-Context" in seed


def test_the_environment_of_the_document_is_the_account_s_default(seed):
    assert f"\nbaseUrl\n{API_URL}\n" in seed
    assert f"\napplicationId\n{AUDIENCE}\n" in seed
