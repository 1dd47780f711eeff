"""Any data call of the Device Manager API as a person writes it: a method, a path, and a body in JSON or XML."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from receiver.errors import SettingsError
from receiver.lorawan.identifiers import shorten
from receiver.platforms.calls import WITHHELD, PlatformCall, is_secret_name, withhold
from receiver.platforms.device_manager_xml import is_xml, withhold_in_xml
from receiver.platforms.thingpark_subscription import path_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from receiver.platforms.calls import PlatformAnswer

METHODS = ("GET", "POST", "PUT", "DELETE")
"""Source: ThingPark Device Manager contract 7.3, which has no other."""

LARGEST_BODY_BYTES = 8 * 1024 * 1024

_OWN = re.compile(r"/subscriptions/mine(?=/|\Z)")
_PRINTABLE = re.compile(r"[\x21-\x7e]+\Z")


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    """An answer for people, secrets withheld. `value`: what it says as JSON has it; `text`: as it is to be printed."""

    status: int
    location: str | None
    value: object = field(repr=False)
    text: str = field(repr=False)


def build_data_call(method: str, path: str, body: bytes, subscription: str) -> PlatformCall:
    """Give the request. `path` continues the API's base URL, or repeats its path; `mine` becomes the session's own.

    A body that begins with `<` is sent as XML, any other must be JSON.

    Raises:
        SettingsError: the method, the path or the body is not of its form.
    """
    method = method.upper()
    if method not in METHODS:
        raise SettingsError(f"{shorten(method)!r} is no method of this API: choose {', '.join(METHODS)}.")
    parts = urlsplit(path) if _PRINTABLE.match(path) and not path.startswith("//") else None
    if parts is None or parts.scheme or parts.netloc or parts.fragment or ".." in unquote(parts.path).split("/"):
        raise SettingsError(
            f"{shorten(path, 80)!r} is no path of this API: it must be like /subscriptions/mine/devices?pageIndex=2."
        )
    below = _OWN.sub(lambda _: f"/subscriptions/{subscription}", path_of(parts.path), count=1)
    query = tuple(parse_qsl(parts.query, keep_blank_values=True))
    text = _as_text(body)
    if not text:
        return PlatformCall(method, below, query)
    if text.startswith("<"):
        return PlatformCall(method, below, query, text, content_type="application/xml")
    try:
        return PlatformCall(method, below, query, json.loads(text))
    except (ValueError, RecursionError) as exc:
        raise SettingsError("The body is neither JSON nor XML.") from exc


def show_answer(answer: PlatformAnswer) -> ShownAnswer:
    """Give an answer for people, in the form it came in."""
    headers: Mapping[str, str] = answer.headers
    value = withhold(answer.value)
    if is_xml(headers):
        text = withhold_in_xml(answer.body, is_secret_name, WITHHELD)
    elif value is not None:
        text = json.dumps(value, ensure_ascii=False, indent=2)
    else:
        text = answer.body.decode("utf-8", "replace").strip()
    return ShownAnswer(answer.status, headers.get("location"), value, text)


def _as_text(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig").strip()
    except UnicodeDecodeError as exc:
        raise SettingsError("The body is not UTF-8 text.") from exc
