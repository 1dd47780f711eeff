"""The JSON that a call brings, checked against its type before anything else is done with it."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import ClientDisconnect

from receiver.web.problems import ProblemError

if TYPE_CHECKING:
    from starlette.requests import Request

MAX_BODY_BYTES = 64 * 1024
"""The longest payload of LoRaWAN has 242 bytes; this leaves room for an object that a codec makes one of."""

_JSON = "application/json"


async def read_body(request: Request, kind: type) -> Any:  # noqa: ANN401 - a value of `kind`
    """Give the JSON of a request as a value of `kind`, within MAX_BODY_BYTES. The server ends a body that is slow.

    Raises:
        ProblemError: 415, it is not called JSON; 413, it is too large; 400, it is not whole, or not of the type.
    """
    said = request.headers.get("content-type", "").partition(";")[0].strip()
    if said.lower() != _JSON:
        detail = f"Content-Type is {said[:40]!r}; it must be {_JSON}."
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                detail = f"The body is larger than {MAX_BODY_BYTES} bytes, which is the most that is taken."
                raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
    except ClientDisconnect as exc:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "The body did not come whole; send it again.") from exc
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        fault = str(exc)[:200] or "it cannot be read"
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"The body must be JSON as /docs has it: {fault}.") from exc
