"""AS routing profiles of ThingPark Wireless: where a device's messages go there, in place of application servers.

Their contract is not public. An older server, KPN's of about 2016, had the destinations of a route as an XML document
in a text; the contract's schemas have lists of them. So `as_xml` chooses, and a whole body can be given instead.
Sources: a public C# client and mock of KPN's ThingPark (`sourcePort`, `strategy`, `destinations`, `isDefault`);
ThingPark Device Manager contract 7.3, `AppServersRoutingProfileLorawan`, and `AppServer` for a destination's members.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lxml import etree

from receiver.errors import ConflictError, NotFoundError, PlatformRefusedError, SettingsError
from receiver.platforms.calls import PlatformCall
from receiver.platforms.members import Members
from receiver.platforms.thingpark_records import shown_raw
from receiver.platforms.thingpark_refusals import is_absent
from receiver.platforms.thingpark_subscription import SubscriptionCalls, refuse_forbidden, uid_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from receiver.platforms.calls import PlatformAnswer

RESOURCE = "appServersRoutingProfiles"

FIXED = frozenset({"ID", "href", "type", "occContext"})
"""What no update may carry. Source: contract, `x-updateForbidden`; `occContext` is put in by the update itself."""

STRATEGIES = ("SEQUENTIAL", "BLAST")
"""One address after the other until one takes it, or all of them. Source: contract, `AppServerStrategy`."""

TYPES = ("LORAWAN", "CELLULAR")
"""Source: contract, `AppServersRoutingProfileLorawan` and `…Cellular`."""


@dataclass(frozen=True, slots=True)
class RoutingProfileWish:
    """A profile with one route. `ports`: `*` for all, else as `1,2,10-20`. The addresses are tried in this order."""

    name: str
    addresses: tuple[str, ...]
    ports: str = "*"
    strategy: str = "SEQUENTIAL"
    type: str = "LORAWAN"
    as_xml: bool = False


@dataclass(frozen=True, slots=True)
class AsRoutingProfile:
    """A profile. `uid` names it in paths; `routes` are objects of `sourcePort`, `strategy` and `destinations`.

    `raw` is the object as it came, without secrets.
    """

    uid: str | None
    id: str | None
    name: str | None
    type: str | None
    is_default: bool | None
    routes: tuple[Mapping[str, object], ...] = field(repr=False)
    raw: Mapping[str, object] = field(repr=False)


class RoutingProfileCalls(SubscriptionCalls):
    """The calls of AS routing profiles; `uid` is the number that names one in paths."""

    async def list_routing_profiles(self, of_type: str | None = None) -> list[AsRoutingProfile]:
        """Give all of them, or those of one type: as a list has them, without their routes perhaps.

        Raises:
            PlatformRefusedError: also where the network has none at all, as ThingPark Enterprise.
        """
        query = (("type", of_type),) if of_type is not None else ()
        call = PlatformCall("GET", self.path(RESOURCE), query)
        try:
            return [_read(one) async for one in self.pages_by_number(call, "ID")]
        except PlatformRefusedError as exc:
            if not is_absent(exc):
                raise
            raise PlatformRefusedError(
                f"{self.caller.platform} has no AS routing profiles (status {exc.status}): there, devices are given"
                " application servers instead.",
                status=exc.status,
                oss_code=exc.oss_code,
                said=exc.said,
            ) from exc

    async def find_routing_profile(self, name: str) -> AsRoutingProfile | None:
        """Give the one of exactly that name; None: there is none.

        Raises:
            ConflictError: several have it.
        """
        found = [one for one in await self.list_routing_profiles() if one.name == name]
        if len(found) > 1:
            raise ConflictError(f"There are {len(found)} routing profiles named {name!r}: say which by its number.")
        return found[0] if found else None

    async def get_routing_profile(self, uid: str) -> AsRoutingProfile:
        """Give one, whole.

        Raises:
            NotFoundError: there is none of that number.
        """
        members = await self.find_members(PlatformCall("GET", self.path(RESOURCE, uid)))
        if members is None:
            raise NotFoundError(f"There is no routing profile {uid!r} at the network.")
        return _read(members)

    def build_create_routing_profile_call(self, members: Mapping[str, object]) -> PlatformCall:
        """Give the request that makes one of `members`, by ThingPark's names.

        Raises:
            SettingsError: it has no name.
        """
        _name_of(members)
        return PlatformCall("POST", self.path(RESOURCE), body=dict(members))

    async def create_routing_profile(self, members: Mapping[str, object]) -> AsRoutingProfile:
        """Make one, unless there is one of its name; where the answer is lost it is looked for before it is made again.

        Raises:
            ConflictError: there is one of that name.
            SettingsError: it has no name.
        """
        call = self.build_create_routing_profile_call(members)
        name = _name_of(members)
        if await self.find_routing_profile(name) is not None:
            raise ConflictError(f"There is a routing profile named {name!r} already: choose another name.")
        return await self.make(call, _read_made, lambda: self.find_routing_profile(name))

    def build_update_routing_profile_call(self, uid: str, changes: Mapping[str, object]) -> PlatformCall:
        """Give the request that changes one, still without its `occContext`."""
        refuse_forbidden(changes, FIXED, "a routing profile")
        return PlatformCall("PUT", self.path(RESOURCE, uid), body=dict(changes))

    async def update_routing_profile(self, uid: str, changes: Mapping[str, object]) -> AsRoutingProfile:
        """Change what `changes` has, by ThingPark's names."""
        return _read(await self.update(self.build_update_routing_profile_call(uid, changes)))

    async def delete_routing_profile(self, uid: str) -> bool:
        """Delete one; False: there was none."""
        return await self.remove(PlatformCall("DELETE", self.path(RESOURCE, uid)))


def write_routing_profile(wish: RoutingProfileWish) -> dict[str, object]:
    """Give the members of a profile by ThingPark's names.

    Raises:
        SettingsError: it has no name or no address, or a strategy or type that there is not.
    """
    if not wish.name.strip() or not wish.addresses:
        raise SettingsError("A routing profile needs a name and at least one address.")
    for what, value, known in (("strategy", wish.strategy, STRATEGIES), ("type", wish.type, TYPES)):
        if value not in known:
            raise SettingsError(f"{value[:40]!r} is no {what} of a routing profile: choose {' or '.join(known)}.")
    destinations: object = [{"addresses": list(wish.addresses), "ports": wish.ports, "strategy": wish.strategy}]
    if wish.as_xml:
        destinations = _write_destinations(wish.addresses)
    route = {"sourcePort": wish.ports, "strategy": wish.strategy, "destinations": destinations}
    return {"name": wish.name.strip(), "type": wish.type, "routes": [route]}


def _write_destinations(addresses: tuple[str, ...]) -> str:
    """Give the XML document. Its names are a guess by those of the JSON: no source shows one."""
    root = etree.Element("destinations")
    try:
        for address in addresses:
            etree.SubElement(etree.SubElement(root, "destination"), "address").text = address
    except ValueError:
        raise SettingsError("An address has a character that cannot stand in XML.") from None
    return etree.tostring(root, encoding="unicode")


def _name_of(members: Mapping[str, object]) -> str:
    name = members.get("name")
    if not isinstance(name, str) or not name.strip():
        raise SettingsError("A routing profile needs a name.")
    return name.strip()


def _read_made(answer: PlatformAnswer) -> AsRoutingProfile:
    return _read(answer.members, answer.headers.get("location", ""))


def _read(members: Members, location: str = "") -> AsRoutingProfile:
    raw = shown_raw(members)
    return AsRoutingProfile(
        uid=uid_of(members.text("href") or location),
        id=members.text("ID"),
        name=members.text("name"),
        type=members.text("type"),
        is_default=members.flag("isDefault"),
        routes=tuple(route.as_dict for route in Members(raw).objects("routes")),
        raw=raw,
    )
