"""`GET /openapi.json` and `GET /docs`: what the API is, for machines and for people. Neither needs a key."""

from __future__ import annotations

import hashlib
import json
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

from receiver.web.docs_page import CONTENT_SECURITY_POLICY, write_docs_page
from receiver.web.openapi import describe_api

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from receiver.web.operations import Operation

_MAX_AGE_S = 300
"""It changes with the version of the receiver only; after an upgrade nobody has the old one for long."""


def description_routes(operations: Mapping[str, Mapping[str, Operation]]) -> list[Route]:
    """Give the two routes. Both are made once."""
    document = describe_api(operations)
    as_json = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    as_page = write_docs_page(document).encode()
    guard = {
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return [
        _fixed("/openapi.json", as_json, "application/json", {}),
        _fixed("/docs", as_page, "text/html; charset=utf-8", guard),
    ]


def _fixed(path: str, content: bytes, media_type: str, headers: Mapping[str, str]) -> Route:
    """Give a route that has the same bytes for everybody, and only says so to those who have them already."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"Cache-Control": f"public, max-age={_MAX_AGE_S}", "ETag": tag, **headers}

    async def answer(request: Request) -> Response:
        known = {one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")}
        if known & {tag, "*"}:
            return Response(None, HTTPStatus.NOT_MODIFIED, headers)
        return Response(content, HTTPStatus.OK, headers, media_type)

    return Route(path, answer)
