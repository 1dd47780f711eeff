"""What the API says of itself: all of its routes and parameters, valid OpenAPI, and a page that loads nothing."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, fields, is_dataclass
from html.parser import HTMLParser
from http import HTTPStatus

import httpx
import openapi_spec_validator
import pytest
from msgspec import UNSET, Struct, UnsetType
from starlette.applications import Starlette

from receiver import __version__
from receiver.web.api import api_routes
from receiver.web.docs_page import write_docs_page
from receiver.web.openapi import describe_api, path_parameters
from receiver.web.openapi_schemas import Schemas
from receiver.web.operations import Answer, Operation, Parameter, json_answer
from tests.integration.api_use import client_of
from tests.integration.description_use import described, operations


@pytest.fixture(scope="module")
def document():
    return described()


@pytest.fixture(scope="module")
def table():
    return operations()


@pytest.fixture
def stranger(engine, keyring, now):
    """A caller without a key."""
    app = Starlette(routes=api_routes(engine, keyring, lambda: now))

    def get(path, **headers):
        async def call():
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://receiver") as client:
                return await client.get(path, headers=headers)

        return asyncio.run(call())

    return get


# --- the document


def test_the_description_is_valid_openapi_3_1(document):
    assert document["openapi"].startswith("3.1.")

    openapi_spec_validator.OpenAPIV31SpecValidator(document).validate()


def test_the_description_has_exactly_the_routes_of_the_application(engine, keyring, now, document):
    routes = {route.path for route in api_routes(engine, keyring, lambda: now) if route.path.startswith("/api/v1/")}

    assert routes | {"/healthz", "/readyz"} == set(document["paths"])


def test_each_method_of_each_route_is_told(document, table):
    for path, by_method in table.items():
        assert {method.lower() for method in by_method} == set(document["paths"][path])


def test_every_parameter_that_is_checked_is_told(document, table):
    for path, by_method in table.items():
        for method, operation in by_method.items():
            told = document["paths"][path][method.lower()].get("parameters", [])
            in_query = {one["name"] for one in told if one["in"] == "query"}
            in_path = [one["name"] for one in told if one["in"] == "path"]
            assert in_query == {one.name for one in operation.parameters}
            assert in_path == path_parameters(path)


def test_each_operation_has_an_id_of_its_own_that_clients_can_be_made_from(document):
    ids = [told["operationId"] for by_method in document["paths"].values() for told in by_method.values()]

    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z]+[A-Z][A-Za-z]+", name) for name in ids)
    assert {"listUplinks", "getUplink", "listTelemetry", "listLatestTelemetry", "replayRejection"} <= set(ids)


def test_each_operation_tells_its_scope_its_answers_and_its_problems(document, table):
    for path, by_method in table.items():
        for method, operation in by_method.items():
            told = document["paths"][path][method.lower()]
            assert told["security"] == [{"apiKey": [operation.scope]}]
            assert {"400", "401", "403", "429", "503"} <= set(told["responses"])
            assert ("404" in told["responses"]) == ("{" in path)
            good = [answer for status, answer in told["responses"].items() if status < "300"]
            assert good
            assert all(answer["content"] for answer in good)


def test_lists_are_told_in_all_their_formats(document):
    told = document["paths"]["/api/v1/telemetry"]["get"]["responses"]["200"]["content"]

    assert set(told) == {"application/json", "text/csv", "application/x-ndjson"}
    assert told["application/json"]["schema"] == {
        "oneOf": [{"$ref": "#/components/schemas/TelemetryValuePage"}, {"$ref": "#/components/schemas/BucketPage"}]
    }


def test_every_schema_that_is_referred_to_is_there_and_the_other_way_round(document):
    named = set(re.findall(r"#/components/schemas/(\w+)", str(document)))

    assert named == set(document["components"]["schemas"])


def test_what_is_served_is_the_description_and_needs_no_key(stranger, document):
    answer = stranger("/openapi.json")

    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == document
    assert answer.json()["info"]["version"] == __version__


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
def test_who_has_it_already_is_only_told_so(stranger, path):
    first = stranger(path)
    again = stranger(path, **{"If-None-Match": f'"other", W/{first.headers["etag"]}'})

    assert first.headers["cache-control"] == "public, max-age=300"
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert stranger(path, **{"If-None-Match": '"other"'}).status_code == 200


# --- operations that bring JSON


class Order(Struct, forbid_unknown_fields=True):
    """What is asked for."""

    amount: int
    note: str | None = None


@dataclass
class OrderView:
    """What was asked for."""

    id: int


@dataclass
class Receipt:
    """What was ordered."""

    id: int
    note: str | UnsetType = UNSET


def test_a_body_another_status_and_another_media_type_are_told():
    answers = (
        json_answer("It waits.", Receipt, HTTPStatus.ACCEPTED),
        Answer("As it comes.", {"text/event-stream": str}),
    )
    order = Operation("downlink", lambda _call: None, "Order it.", (), "createOrder", answers, body=Order)

    document = describe_api({"/api/v1/orders": {"POST": order}})
    told = document["paths"]["/api/v1/orders"]["post"]

    openapi_spec_validator.OpenAPIV31SpecValidator(document).validate()
    assert told["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Order"}
    assert document["components"]["schemas"]["Order"] == {
        "type": "object",
        "description": "What is asked for.",
        "properties": {"amount": {"type": "integer"}, "note": {"type": ["string", "null"]}},
        "required": ["amount"],
        "additionalProperties": False,
    }
    assert document["components"]["schemas"]["Receipt"]["required"] == ["id"]
    assert {"200", "202", "413", "415"} <= set(told["responses"])
    assert "-d @body.json" in write_docs_page(document)


def test_two_types_cannot_be_told_of_by_one_name():
    schemas = Schemas()
    schemas.of(Order)

    with pytest.raises(TypeError, match="both be told of as Order"):
        schemas.of(OrderView)


# --- the page


class Page(HTMLParser):
    """What a page would load, run or link to, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.ids, self.text = set(), [], set(), ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.add(tag)
        self.links += [value for name, value in attributes.items() if name in {"src", "href", "action", "data"}]
        self.ids.add(attributes.get("id"))
        assert not any(name.startswith("on") or name == "style" for name in attributes)

    def handle_data(self, data):
        self.text += data


def test_the_page_names_each_operation_each_parameter_and_each_member(document):
    page = Page(write_docs_page(document))

    for path, by_method in document["paths"].items():
        for method, told in by_method.items():
            assert f"{method.upper()} {path}" in page.text
            assert told["operationId"] in page.ids
            assert all(one["name"] in page.text for one in told.get("parameters", ()))
    for name, schema in document["components"]["schemas"].items():
        assert f"schema-{name}" in page.ids
        assert all(member in page.text for member in schema["properties"])


def test_the_page_loads_nothing_and_runs_nothing(stranger):
    answer = stranger("/docs")
    page = Page(answer.text)

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert page.tags & {"script", "link", "img", "iframe", "object", "form", "base"} == set()
    assert {link for link in page.links if not link.startswith("#")} == {"openapi.json"}
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.ids
    assert "url(" not in answer.text
    assert "@import" not in answer.text
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_whatever_stands_in_the_description_is_text_on_the_page():
    evil = "<script>alert('1')</script>\"&"
    parameter = Parameter(evil, evil, {"type": "string", "pattern": evil, "examples": [evil]})
    listed = Operation("read", lambda _call: None, evil, (parameter,), evil, (json_answer(evil, Receipt),))

    page = write_docs_page(describe_api({f"/api/v1/{evil}": {"GET": listed}}))

    assert "<script" not in page
    assert evil in Page(page).text


# --- answers


def test_the_members_of_an_answer_are_those_of_its_type(engine, keyring, now, field):
    """The conformance tests hold the other answers; this one holds what makes them hold: nothing is left out."""
    network = field.connect()
    field.take_and_read(network.uplink(network.add_device(), f_port=1, payload=b"\x01"))
    (answer,) = operations()["/api/v1/uplinks/{id}"]["GET"].answers

    shown = client_of(engine, keyring, now).get("/uplinks/1").json()

    kind = answer.content["application/json"]
    assert is_dataclass(kind)
    assert list(shown) == [member.name for member in fields(kind)]
