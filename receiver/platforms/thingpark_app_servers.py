"""ThingPark's application servers, which its pages call connections: Basic HTTPS, and IoT Flow ones to be looked at.

Sources: Device Manager contract 7.3, `AppServer`, `SecurityAppServer`; the tutorial of docs.thingpark.com.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from receiver.errors import ConflictError
from receiver.lorawan.identifiers import shorten
from receiver.platforms.calls import PlatformCall
from receiver.platforms.thingpark_records import read_app_server, read_app_server_security
from receiver.platforms.thingpark_subscription import SubscriptionCalls, app_server_uid, refuse_forbidden, uid_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from receiver.platforms.calls import PlatformAnswer
    from receiver.platforms.members import Members
    from receiver.platforms.thingpark_records import AppServer, AppServerSecurity

SIGNED, UNSIGNED = "DOWNLINK_AS_KEY", "NONE"

USUAL_DEVIATION_S = 10
"""What the tutorial's example allows a clock to be off."""

APP_SERVER_FIXED = frozenset(
    {
        *("ID", "type", "href", "occContext", "tpxIotFlow", "scope"),
        *("deviceCount", "baseStationCount", "multicastGroupCount", "healthState", "validationState"),
    }
)
"""What no update may carry. `downlinkSecurity` has a call of its own, by which its key can be changed as well."""


@dataclass(frozen=True, slots=True)
class AppServerWish:
    """A Basic HTTPS connection to be made; ThingPark Enterprise takes exactly one address of it."""

    name: str
    url: str
    tunnel_key: str | None = field(repr=False)
    """32 hex digits, sent as they are spelled; None: neither uplinks nor downlinks are signed."""
    content_type: str = "jsontyped"
    """`jsontyped`, `json` (all numbers are texts) or `xml`."""
    as_id: str | None = None
    """None: it becomes the ID that ThingPark gives."""
    max_timestamp_deviation_s: int = USUAL_DEVIATION_S
    """0: no bound."""
    description: str | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """HTTP headers that each push carries: five at most."""


class AppServerCalls(SubscriptionCalls):
    """The calls of application servers. `reference` is an ID, its number or its address."""

    async def list_app_servers(
        self, *, name: str | None = None, types: tuple[str, ...] = (), iot_flow_connection_id: str | None = None
    ) -> list[AppServer]:
        """Give all, or those whose name begins with `name`, of some types, or behind a connection of DX Core."""
        query = [("name", name)] if name is not None else []
        query += [("type", one) for one in types]
        query += [("tpxIotFlowConnectionId", iot_flow_connection_id)] if iot_flow_connection_id is not None else []
        call = PlatformCall("GET", self.path("appServers"), tuple(query))
        return [read_app_server(one) async for one in self.pages_by_number(call, "ID")]

    async def find_app_server(self, name: str) -> AppServer | None:
        """Give the one of exactly that name, whole; None: there is none.

        Raises:
            ConflictError: there are several.
        """
        found = [one for one in await self.list_app_servers(name=name) if one.name == name]
        if len(found) > 1:
            known = ", ".join(one.id or "?" for one in found[:10])
            raise ConflictError(f"ThingPark has {len(found)} connections named {shorten(name)!r}: {known}.")
        return await self.get_app_server(found[0].uid or found[0].id or "") if found else None

    async def get_app_server(self, reference: str) -> AppServer:
        """Give one, whole."""
        there = read_app_server(await self.get_members(PlatformCall("GET", self._app_server_path(reference))))
        return there if there.uid else replace(there, uid=app_server_uid(reference))

    def build_create_app_server_call(self, wish: AppServerWish) -> PlatformCall:
        """Give the request that makes one."""
        return PlatformCall("POST", self.path("appServers"), body=_write_app_server(wish))

    async def create_app_server(self, wish: AppServerWish) -> AppServer:
        """Make one; never two, as it is looked for by its name before, and after an answer that was lost.

        Raises:
            ConflictError: there is one of that name already.
        """
        there = await self.find_app_server(wish.name)
        if there is not None:
            raise ConflictError(
                f"ThingPark has a connection named {shorten(wish.name)!r} already ({there.id}): choose another name."
            )
        return await self.make(
            self.build_create_app_server_call(wish), _read_made, lambda: self.find_app_server(wish.name)
        )

    def build_update_app_server_call(self, reference: str, changes: Mapping[str, object]) -> PlatformCall:
        """Give the request that changes one, still without its `occContext`.

        Raises:
            ConflictError: a member of `changes` cannot be changed.
        """
        refuse_forbidden(changes, APP_SERVER_FIXED, "a connection")
        return PlatformCall("PUT", self._app_server_path(reference), body=dict(changes))

    async def update_app_server(self, reference: str, changes: Mapping[str, object]) -> AppServer:
        """Change what `changes` has, by ThingPark's names; a list takes the place of the one before."""
        return read_app_server(await self.update(self.build_update_app_server_call(reference, changes)))

    def build_delete_app_server_call(self, reference: str) -> PlatformCall:
        """Give the request that deletes one."""
        return PlatformCall("DELETE", self._app_server_path(reference))

    async def delete_app_server(self, reference: str) -> bool:
        """Delete one; False: there was none."""
        return await self.remove(self.build_delete_app_server_call(reference))

    async def get_app_server_security(self, reference: str) -> AppServerSecurity:
        """Give how its messages are signed."""
        return read_app_server_security(
            await self.get_members(PlatformCall("GET", self._app_server_path(reference, "security")))
        )

    def build_set_app_server_security_call(
        self,
        reference: str,
        tunnel_key: str | None,
        *,
        as_id: str | None = None,
        max_timestamp_deviation_s: int | None = None,
    ) -> PlatformCall:
        """Give the request that sets another tunnel key, 32 hex digits, or none; still without its `occContext`."""
        security = _write_security(tunnel_key, as_id, max_timestamp_deviation_s)
        return PlatformCall("PUT", self._app_server_path(reference, "security"), body={"downlinkSecurity": security})

    async def set_app_server_security(
        self,
        reference: str,
        tunnel_key: str | None,
        *,
        as_id: str | None = None,
        max_timestamp_deviation_s: int | None = None,
    ) -> AppServerSecurity:
        """Set another tunnel key, 32 hex digits; None: sign nothing. What is not said of the rest stays as it is."""
        there = await self.get_app_server_security(reference)
        call = self.build_set_app_server_security_call(
            reference,
            tunnel_key,
            as_id=as_id or there.as_id,
            max_timestamp_deviation_s=there.max_timestamp_deviation_s
            if max_timestamp_deviation_s is None
            else max_timestamp_deviation_s,
        )
        return read_app_server_security(await self.update(call))

    async def get_iot_flow_metrics(self, reference: str) -> Members:
        """Give the counters of the IoT Flow connector behind it, over the last hour and day."""
        return await self.get_members(
            PlatformCall("GET", self._app_server_path(reference, "iotFlowConnector", "metrics"))
        )

    def _app_server_path(self, reference: str, *parts: str) -> str:
        return self.path("appServers", app_server_uid(reference), *parts)


def _read_made(answer: PlatformAnswer) -> AppServer:
    app_server = read_app_server(answer.members)
    return replace(app_server, uid=app_server.uid or uid_of(answer.headers.get("location", "")))


def _write_app_server(wish: AppServerWish) -> dict[str, object]:
    deviation = wish.max_timestamp_deviation_s if wish.tunnel_key is not None else None
    body: dict[str, object] = {
        "contentType": wish.content_type,
        "destinations": write_destinations(wish.url),
        "downlinkSecurity": _write_security(wish.tunnel_key, wish.as_id, deviation),
        "name": wish.name,
    }
    if wish.description is not None:
        body["description"] = wish.description
    if wish.headers:
        body["customHttpHeaders"] = [{"name": name, "value": value} for name, value in wish.headers]
    return body


def write_destinations(url: str) -> list[dict[str, object]]:
    """Give `destinations` with one address for all FPorts, which is all that ThingPark Enterprise takes."""
    return [{"addresses": [url], "ports": "*", "strategy": "SEQUENTIAL"}]


def _write_security(tunnel_key: str | None, as_id: str | None, deviation_s: int | None) -> dict[str, object]:
    if tunnel_key is None:
        return {"status": UNSIGNED}
    security: dict[str, object] = {"downlinkAsKey": tunnel_key}
    if deviation_s is not None:
        security["maxTimestampDeviation"] = deviation_s
    security["status"] = SIGNED
    if as_id is not None:
        security["asID"] = as_id
    return security
