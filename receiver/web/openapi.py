"""The description of the API, OpenAPI 3.1, made from the operations that the routes are made from.

It says nothing of this receiver but its version, so everybody may read it.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from receiver import __version__
from receiver.services.api_keys import SCOPES
from receiver.web.answers import Alive, ReadinessView
from receiver.web.openapi_schemas import Schemas
from receiver.web.operations import Answer, Operation, Parameter, json_answer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Document = dict[str, Any]

API_KEY = "apiKey"

_ABOUT = """\
Uplinks, telemetry, devices and refused pushes of a LoRaWAN receiver.

Every call comes with an API key in `Authorization: Bearer …`; `receiver api-key create NAME --scope read` makes one.
Times are UTC in ISO 8601 unless said otherwise, DevEUIs are 16 upper-case hex digits, payloads are clear, in hex.
No text may have a NUL character. Answers may get new members; a client ignores those that it does not know.
A `500` is a fault of the receiver."""

_PROBLEM: Document = {
    "type": "object",
    "description": "What was wrong, and what would be right (RFC 9457).",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "A sentence for the person who reads it."},
        "parameter": {"type": "string", "description": "With 400 and 409: the name of what is wrong in the call."},
        "scope": {"type": "string", "enum": list(SCOPES), "description": "With 403: the scope that is needed."},
        "outcome": {"type": "string", "description": "With 409: what became of it."},
        "limit": {"type": "string", "description": "With 429: which limit is reached, like `calls-per-key`."},
    },
    "required": ["type", "title", "status", "detail"],
}

_PROBLEMS = {
    HTTPStatus.BAD_REQUEST: "Something in the call is wrong; `parameter` names it.",
    HTTPStatus.UNAUTHORIZED: "There is no key in it, or one that is unknown or was revoked.",
    HTTPStatus.FORBIDDEN: "The key's scope is too small; `scope` is what is needed.",
    HTTPStatus.NOT_FOUND: "There is no such thing.",
    HTTPStatus.CONFLICT: "It cannot be done as things stand.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body must be `application/json`.",
    HTTPStatus.TOO_MANY_REQUESTS: "The key called too often, or too many wrong keys came from the address.",
    HTTPStatus.BAD_GATEWAY: "The network refuses it, or does not let the account in.",
    HTTPStatus.SERVICE_UNAVAILABLE: "Too many calls are under way, or the database is away.",
}

_OF_EVERY_CALL = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_OF_CALLS_WITH_A_BODY = (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)

_RETRY_AFTER = {"Retry-After": "After how many seconds to come again."}
_HEADERS = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": "`Bearer`."},
    HTTPStatus.FORBIDDEN: {"WWW-Authenticate": "`Bearer` with the scope that is needed."},
    HTTPStatus.TOO_MANY_REQUESTS: _RETRY_AFTER,
    HTTPStatus.SERVICE_UNAVAILABLE: _RETRY_AFTER,
}

_HEALTH = {
    "/healthz": ("getHealth", "Whether the process answers.", (json_answer("It does.", Alive),)),
    "/readyz": (
        "getReadiness",
        "Whether pushes can be stored, and where.",
        (
            json_answer("In the database, or degraded: in the spool.", ReadinessView),
            json_answer("They cannot.", ReadinessView, HTTPStatus.SERVICE_UNAVAILABLE),
        ),
    ),
}


def describe_api(operations: Mapping[str, Mapping[str, Operation]]) -> Document:
    """Give the OpenAPI document of operations by path and method, and of the two routes that tell of health."""
    schemas = Schemas()
    paths: dict[str, Document] = {}
    for path, by_method in operations.items():
        tag = path.removeprefix("/api/v1/").partition("/")[0]
        paths[path] = {
            method.lower(): _describe_operation(tag, operation, schemas) for method, operation in by_method.items()
        }
    for path, (name, about, answers) in _HEALTH.items():
        responses = _describe_answers(answers, schemas)
        told = {"operationId": name, "summary": about, "tags": ["health"], "security": [], "responses": responses}
        paths[path] = {"get": told}
    tags = dict.fromkeys(told["tags"][0] for by_method in paths.values() for told in by_method.values())
    return {
        "openapi": "3.1.0",
        "info": {"title": "LoRaWAN receiver", "version": __version__, "description": _ABOUT},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in tags],
        "paths": paths,
        "components": {
            "securitySchemes": {API_KEY: {"type": "http", "scheme": "bearer", "description": _describe_scopes()}},
            "schemas": {"Problem": _PROBLEM, **dict(sorted(schemas.components.items()))},
        },
    }


def _describe_scopes() -> str:
    meanings = dict(zip(SCOPES, ("look", "send downlinks and acknowledge alarms", "change things"), strict=True))
    told = ", ".join(f"`{scope}` may {meaning}" for scope, meaning in meanings.items())
    return f"An API key. Each has a scope, and may do what those before it may: {told}."


def _describe_operation(tag: str, operation: Operation, schemas: Schemas) -> Document:
    problems = {*_OF_EVERY_CALL, *operation.problems}
    if operation.path:
        problems.add(HTTPStatus.NOT_FOUND)
    told: Document = {
        "operationId": operation.id,
        "summary": operation.summary,
        "description": f"The key needs scope `{operation.scope}`.",
        "tags": [tag],
        "security": [{API_KEY: [operation.scope]}],
    }
    parameters = [_describe_parameter(one, "path") for one in operation.path]
    parameters += [_describe_parameter(one, "query") for one in operation.parameters]
    parameters += [_describe_parameter(one, "header") for one in operation.headers]
    if parameters:
        told["parameters"] = parameters
    if operation.body is not None:
        problems.update(_OF_CALLS_WITH_A_BODY)
        content = {"application/json": {"schema": schemas.of(operation.told_body or operation.body)}}
        told["requestBody"] = {"required": True, "content": content}
    responses = _describe_answers(operation.answers, schemas)
    told["responses"] = {**responses, **{str(int(status)): _describe_problem(status) for status in sorted(problems)}}
    return told


def _describe_parameter(parameter: Parameter, place: str) -> Document:
    schema = dict(parameter.schema)
    if parameter.is_repeatable:
        schema = {"type": "array", "items": schema, "maxItems": parameter.most}
    told: Document = {"name": parameter.name, "in": place, "description": parameter.about, "schema": schema}
    if place == "path":
        told["required"] = True
    return told


def _describe_answers(answers: Sequence[Answer], schemas: Schemas) -> Document:
    told: Document = {}
    for answer in answers:
        one: Document = {"description": answer.about}
        if answer.content:
            one["content"] = {name: {"schema": schemas.of(kind)} for name, kind in answer.content.items()}
        if answer.headers:
            one["headers"] = _describe_headers(answer.headers)
        told[str(int(answer.status))] = one
    return told


def _describe_problem(status: HTTPStatus) -> Document:
    schema = {"$ref": "#/components/schemas/Problem"}
    told: Document = {"description": _PROBLEMS[status], "content": {"application/problem+json": {"schema": schema}}}
    if status in _HEADERS:
        told["headers"] = _describe_headers(_HEADERS[status])
    return told


def _describe_headers(headers: Mapping[str, str]) -> Document:
    return {name: {"description": about, "schema": {"type": "string"}} for name, about in headers.items()}


def path_parameters(path: str) -> list[str]:
    """Give the names in the braces of a route's path."""
    return re.findall(r"{(\w+)}", path)
