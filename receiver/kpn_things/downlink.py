"""The request that hands a downlink to KPN Things: the actuator's of the Beta API, or one that settings spell. Pure.

The Beta API is all whose request is published. Of the newer one the paths are known and the body is not, so its path
and body are templates that an operator fills in, and everything else is the same.
Source: docs.kpnthings.com, Beta API, "Send downlink to device"; the list of KPN Things' OpenAPI documents.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from receiver.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from receiver.lorawan.identifiers import DevEui

F_PORT_RANGE = range(1, 224)
"""Ports of applications. Source: LoRaWAN L2 1.0.4 section 4.3.2."""

_BETA_PATH = "/api/actuator/downlinks"
_BETA_ACCEPT = "application/vnd.kpnthings.actuator.v1.response+json"

_FILLS: Mapping[str, Callable[[ThingsRequest], str]] = {
    "{dev_eui}": lambda request: request.dev_eui,
    "{payload_hex}": lambda request: request.payload.hex(),
    "{f_port}": lambda request: str(request.f_port),
    "{reference}": lambda request: request.reference,
}
PLACEHOLDERS = tuple(_FILLS)
"""What a template of path or body may have in it."""

_PLACEHOLDER = re.compile(r"\{(?:dev_eui|payload_hex|f_port|reference)\}")
_QUOTED = re.compile(r"\{[A-Za-z_]*\}")


@dataclass(frozen=True, slots=True)
class ThingsRequest:
    """What is asked for: `payload` on `f_port` to the device; `reference` comes back nowhere, it is for people."""

    dev_eui: DevEui
    f_port: int
    payload: bytes = field(repr=False)
    reference: str


@dataclass(frozen=True, slots=True)
class DownlinkForm:
    """How a downlink is spelled: `path` with its query below the API's URL, and the body.

    Both may be None for the Beta API's own; a placeholder in them is replaced, in the path percent-encoded.
    """

    api: str = "beta"
    path: str | None = None
    body: str | None = None

    def check(self) -> None:
        """Return if requests can be made of it.

        Raises:
            SettingsError: the newer API has no path or no body, or one is not of its form.
        """
        if self.api != "beta" and (self.path is None or self.body is None):
            raise SettingsError(
                "The body of KPN Things' newer downlinks API is not published: give its path and its body as your"
                f" account's documentation has them, with {', '.join(PLACEHOLDERS)} in their places."
            )
        if self.path is not None and (not self.path.startswith("/") or self.path.startswith("//")):
            raise SettingsError("The path of a downlink begins with one slash: it stands below the API's URL.")
        unknown = (
            {found for text in (self.path, self.body) if text for found in _QUOTED.findall(text)}
            - set(PLACEHOLDERS)
            - {"{}"}
        )
        if unknown:
            raise SettingsError(f"{', '.join(sorted(unknown))} is no placeholder: there are {', '.join(PLACEHOLDERS)}.")
        if self.body is not None:
            try:
                json.loads(_PLACEHOLDER.sub("1", self.body))
            except (ValueError, RecursionError) as exc:
                raise SettingsError("The body of a downlink must be JSON, with placeholders in its strings.") from exc


@dataclass(frozen=True, slots=True)
class BuiltRequest:
    """A request without its authorisation: the path with its query, headers, and the body."""

    path: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


def build_downlink_request(form: DownlinkForm, request: ThingsRequest) -> BuiltRequest:
    """Give the request as it goes out. The Beta API's body is SenML with the payload under `payloadHex`."""
    body = _beta_body(request) if form.body is None else _fill(form.body, request, in_path=False)
    if form.path is None:
        query = urlencode({"port": request.f_port, "externalReference": request.reference})
        path = f"{_BETA_PATH}?{query}"
    else:
        path = _fill(form.path, request, in_path=True)
    accept = _BETA_ACCEPT if form.api == "beta" else "application/json"
    return BuiltRequest(path, {"Accept": accept, "Content-Type": "application/json"}, body.encode())


def _beta_body(request: ThingsRequest) -> str:
    record = {"bn": f"urn:dev:DEVEUI:{request.dev_eui}:", "n": "payloadHex", "vs": request.payload.hex()}
    return json.dumps([record], separators=(",", ":"))


def _fill(template: str, request: ThingsRequest, *, in_path: bool) -> str:
    def value(found: re.Match[str]) -> str:
        text = _FILLS[found.group()](request)
        return quote(text, safe="") if in_path else json.dumps(text)[1:-1]

    return _PLACEHOLDER.sub(value, template)
