"""What the API answers when it cannot do what was asked: `application/problem+json`, RFC 9457."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

RETRY_AFTER_S = 5
"""With a 503: as long as a restart of a database takes."""

UNAUTHORISED_DETAIL = "Send an API key as `Authorization: Bearer …`."


class ProblemError(Exception):
    """Something in a request is wrong; `members` go into the answer beside the sentence (`parameter`, …)."""

    def __init__(self, status: HTTPStatus, detail: str, **members: object) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.members = members


def wrong_parameter(name: str, detail: str) -> ProblemError:
    """Give the error of a parameter: `detail` says what it is and what would be right."""
    return ProblemError(HTTPStatus.BAD_REQUEST, detail, parameter=name)


def problem(status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None, **members: object) -> Response:
    """Give the answer. Its type is `about:blank`: the title is that of the status, and `detail` says the rest."""
    content = {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": detail, **members}
    return Response(json.dumps(content), int(status), headers, "application/problem+json")


def answer_http_error(request: Request, exc: Exception) -> Response:
    """Give the answer to a request that no route takes, or none with this method; Starlette raises for it."""
    assert isinstance(exc, HTTPException)  # noqa: S101 - it is registered for these
    status = HTTPStatus(exc.status_code)
    detail = "There is no such route; /docs lists those of the API."
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"{request.method[:16]} is not possible here; {(exc.headers or {}).get('Allow', 'GET')} is."
    return problem(status, detail, exc.headers)


def unauthorised() -> Response:
    """Give the one answer to no key, an unknown key and a revoked key."""
    return problem(HTTPStatus.UNAUTHORIZED, UNAUTHORISED_DETAIL, {"WWW-Authenticate": "Bearer"})


def forbidden(scope: str) -> Response:
    """Give the answer to a key whose scope is too small."""
    challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
    detail = f"This key's scope is too small: an API key with scope {scope} is needed."
    return problem(HTTPStatus.FORBIDDEN, detail, {"WWW-Authenticate": challenge}, scope=scope)


def too_many(detail: str, wait_s: int, limit: str) -> Response:
    """Give the answer to a call beyond a limit, which may be made again after `wait_s`."""
    headers = {"Retry-After": str(wait_s)}
    return problem(HTTPStatus.TOO_MANY_REQUESTS, f"{detail} Come again in {wait_s} s.", headers, limit=limit)


def unavailable(detail: str) -> Response:
    """Give the answer to a call that may succeed later."""
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": str(RETRY_AFTER_S)})
