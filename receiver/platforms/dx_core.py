"""The client of DX Core: the connections of ThingPark X IoT Flow, which no other API can make.

A secret of a connection comes back as `*****`. It is never sent back so: who changes a configuration that has one must
say it anew. Sources: the tutorial of docs.thingpark.com; documentation of TPX IoT Flow.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from receiver.errors import ConflictError, NotFoundError, PlatformRefusedError, SettingsError
from receiver.lorawan.identifiers import shorten
from receiver.platforms.calls import WITHHELD, PlatformCall, withhold
from receiver.platforms.thingpark_calls import ThingParkCalls
from receiver.platforms.thingpark_refusals import is_absent
from receiver.platforms.thingpark_subscription import uid_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from datetime import datetime

    from receiver.platforms.calls import PlatformAnswer
    from receiver.platforms.members import Members

MQTT, HTTP = "actility-mqtt-iot", "actility-http-iot"
"""The connectors that this project's forwarders and pushes would meet; there are some thirty."""

PAGE = 100
"""Entries on a page of a list, by what clients have seen; a shorter page is the last."""

MOST_PAGES = 100
"""A subscription has at most a few connections, and there are some thirty connectors."""

_HIDDEN = "*****"


@dataclass(frozen=True, slots=True)
class ConnectionWish:
    """A connection of IoT Flow to be made; what `configuration` holds depends on the connector."""

    connector_id: str
    name: str
    configuration: Mapping[str, object] = field(repr=False)
    active: bool | None = None
    """None: as DX Core has it, which is active."""


@dataclass(frozen=True, slots=True)
class DxConnection:
    """A connection of IoT Flow. A new one is CLOSED or OPENING for a while."""

    id: str | None
    name: str | None
    connector_id: str | None
    state: str | None
    """OPENED, CLOSED, OPENING, CLOSING, AUTHENTICATING, AUTHENTICATION_FAILED, UNREACHABLE or DEACTIVATED."""
    is_active: bool | None
    started_at: datetime | None
    configuration: Mapping[str, object] = field(repr=False)
    """As it came: secrets are `*****`."""
    raw: Mapping[str, object] = field(repr=False)


@dataclass(frozen=True, slots=True)
class DxConnector:
    """A kind of connection."""

    id: str | None
    version: str | None
    description: str | None
    raw: Mapping[str, object] = field(repr=False)


class DxCoreClient(ThingParkCalls):
    """Asks DX Core; errors are those of `ThingParkClient`."""

    url_setting = "dx_core_url"

    async def list_connectors(self) -> list[DxConnector]:
        """Give the kinds of connections that there are."""
        return [
            DxConnector(_text_of(one, "id", "connectorId"), one.text("version"), one.text("description"), one.as_dict)
            async for one in self._pages("/connectors")
        ]

    async def list_connections(self) -> list[DxConnection]:
        """Give all connections."""
        return [_read(one) async for one in self._pages("/connections")]

    async def find_connection(self, name: str) -> DxConnection | None:
        """Give the one of exactly that name; None: there is none.

        Raises:
            ConflictError: there are several.
        """
        found = [one for one in await self.list_connections() if one.name == name]
        if len(found) > 1:
            raise ConflictError(f"DX Core has {len(found)} connections named {shorten(name)!r}.")
        return found[0] if found else None

    async def get_connection(self, connection_id: str) -> DxConnection:
        """Give one.

        Raises:
            NotFoundError: there is none.
        """
        try:
            answer = await self.send(PlatformCall("GET", _path(connection_id)))
        except PlatformRefusedError as exc:
            if is_absent(exc):
                raise NotFoundError(f"DX Core has no connection {shorten(connection_id)}.") from exc
            raise
        if "id" not in answer.members:
            raise self.unreadable("it is no connection")
        return _read(answer.members)

    def build_create_connection_call(self, wish: ConnectionWish) -> PlatformCall:
        """Give the request that makes one.

        Raises:
            SettingsError: a secret stands as `*****`, as it is read back.
        """
        return PlatformCall("POST", "/connections", body=_write(wish))

    async def create_connection(self, wish: ConnectionWish) -> DxConnection:
        """Make one; never two, as it is looked for by its name before, and after an answer that was lost.

        Raises:
            ConflictError: there is one of that name already.
        """
        call = self.build_create_connection_call(wish)
        there = await self.find_connection(wish.name)
        if there is not None:
            raise ConflictError(
                f"DX Core has a connection named {shorten(wish.name)!r} already ({there.id}): choose another name."
            )
        return await self.make(call, _read_made, lambda: self.find_connection(wish.name))

    def build_update_connection_call(self, connection_id: str, wish: ConnectionWish) -> PlatformCall:
        """Give the request that sets a connection's whole configuration.

        Raises:
            SettingsError: a secret stands as `*****`, as it is read back.
        """
        return PlatformCall("PUT", _path(connection_id), body=_write(wish))

    async def update_connection(self, connection_id: str, wish: ConnectionWish) -> DxConnection:
        """Set a connection's whole configuration: what is left out of it is taken away."""
        return _read((await self.send(self.build_update_connection_call(connection_id, wish))).members)

    def build_delete_connection_call(self, connection_id: str) -> PlatformCall:
        """Give the request that deletes one."""
        return PlatformCall("DELETE", _path(connection_id))

    async def delete_connection(self, connection_id: str) -> bool:
        """Delete one; False: there was none."""
        return await self.remove(self.build_delete_connection_call(connection_id))

    async def _pages(self, path: str) -> AsyncIterator[Members]:
        """Give the entries of all pages: bare arrays, counted from 1; a short page, or the same again, is the end."""
        before: list[object] = []
        for number in range(1, MOST_PAGES + 1):
            query = (("pageIndex", str(number)),) if number > 1 else ()
            answer = await self.send(PlatformCall("GET", path, query))
            if not isinstance(answer.value, list) and "list" not in answer.members:
                raise self.unreadable("it is no list")
            entries = answer.objects or answer.members.objects("list")
            ids = [one.as_dict.get("id") for one in entries]
            if ids == before:
                return
            for one in entries:
                yield one
            if len(entries) < PAGE:
                return
            before = ids


def hidden_members(configuration: Mapping[str, object]) -> list[str]:
    """Give the names in a configuration whose values are secrets that were not given back, such as `headers.X-Key`."""
    found: list[str] = []
    for name, value in configuration.items():
        if value == _HIDDEN:
            found.append(name)
        elif isinstance(value, dict):
            found += [f"{name}.{inner}" for inner in hidden_members(value)]
    return found


def _read_made(answer: PlatformAnswer) -> DxConnection:
    connection = _read(answer.members)
    return replace(connection, id=connection.id or uid_of(answer.headers.get("location", "")))


def _write(wish: ConnectionWish) -> dict[str, object]:
    hidden = hidden_members(wish.configuration)
    if hidden:
        raise SettingsError(
            f"The configuration has {_HIDDEN} for {' and '.join(hidden)}, which is how DX Core hides it: say it anew."
        )
    body: dict[str, object] = {"connectorId": wish.connector_id, "name": wish.name}
    if wish.active is not None:
        body["active"] = wish.active
    return {**body, "configuration": dict(wish.configuration)}


def _read(members: Members) -> DxConnection:
    return DxConnection(
        members.text("id"),
        members.text("name"),
        members.text("connectorId"),
        members.text("state"),
        members.flag("active"),
        members.time("startupTime"),
        members.object("configuration").as_dict,
        _shown_raw(members),
    )


def _shown_raw(members: Members) -> dict[str, object]:
    """Give a connection as it came, with `…` for secrets and for the values of HTTP headers, which may be some."""
    configuration = members.object("configuration")
    if not configuration.as_dict:
        return members.as_dict
    shown = withhold(configuration.as_dict)
    if isinstance(shown, dict) and configuration.object("headers").as_dict:
        shown["headers"] = dict.fromkeys(configuration.object("headers").as_dict, WITHHELD)
    return {**members.as_dict, "configuration": shown}


def _path(connection_id: str) -> str:
    return f"/connections/{quote(connection_id, safe='')}"


def _text_of(members: Members, *names: str) -> str | None:
    return next((text for name in names if (text := members.text(name))), None)
