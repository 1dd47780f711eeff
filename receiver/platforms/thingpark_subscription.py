"""How ThingPark's Device Manager API is asked: paths, references, paging by cursor and by number, locked updates.

Sources: Device Manager contract 7.3; the tutorial of docs.thingpark.com (8.1 or later).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from receiver.errors import ConflictError, IdentifierError, PlatformRefusedError
from receiver.lorawan.identifiers import shorten
from receiver.platforms.calls import PlatformCall
from receiver.platforms.thingpark_calls import ThingParkCalls
from receiver.platforms.thingpark_refusals import is_absent, is_conflict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from receiver.platforms.caller import PlatformCaller
    from receiver.platforms.members import Members

REST_PATH = "/thingpark/wireless/rest"
"""Where the API stands on its host; addresses in answers begin with it, all but that of a session's subscription."""

MOST_PAGES = 20_000
"""Of one list: two million entries at ThingPark's usual 100 on a page. More is a server that counts in a circle."""

_EUI = re.compile(r"[0-9A-F]{16}\Z|[0-9]{14,15}\Z")  # a DevEUI, or the IMEI of a cellular device
_APP_SERVER = re.compile(r"([0-9]{1,12})\Z|TWA_[^./]+\.([0-9]{1,12})(?:\.AS)?\Z|(?:.*/)?appServers/([0-9]{1,12})\Z")


def device_ref(eui: str) -> str:
    """Give the reference of a device or multicast group by its EUI: `e` and the EUI in upper case.

    Raises:
        IdentifierError: it is neither a DevEUI nor an IMEI.
    """
    eui = re.sub(r"[-: ]", "", eui.strip()).upper()
    if not _EUI.match(eui):
        raise IdentifierError(f"{shorten(eui)!r} is no DevEUI: it must have 16 hex digits (an IMEI: 14 or 15).")
    return f"e{eui}"


def uid_of(location: str) -> str | None:
    """Give the number at the end of a `Location` or `href`; None where there is none."""
    last = location.partition("?")[0].rstrip("/").rpartition("/")[2]
    return last or None


def app_server_uid(reference: str) -> str:
    """Give the number of an application server from its ID (`TWA_100000001.568.AS`), its address or itself.

    Raises:
        IdentifierError: it is none of them.
    """
    found = _APP_SERVER.match(reference)
    if found is None:
        raise IdentifierError(
            f"{shorten(reference)!r} is no connection's ID: it must be like TWA_100000001.568.AS, or its number."
        )
    return found[1] or found[2] or found[3]


def path_of(href: str) -> str:
    """Give the path below `REST_PATH` that an `href` is, with or without that path or a slash before it."""
    path = "/" + href.lstrip("/")
    return path.removeprefix(REST_PATH)


class SubscriptionCalls(ThingParkCalls):
    """Asks the resources of one subscription; the classes of the resources build on it."""

    def __init__(self, caller: PlatformCaller, subscription: str = "mine") -> None:
        """Ask nothing yet. `subscription`: `mine`, or the number that a session gave."""
        super().__init__(caller)
        self.subscription = subscription

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.caller!r}, {self.subscription!r})"

    def path(self, *parts: str) -> str:
        """Give the path of a resource of the subscription."""
        return "/".join(["/subscriptions", *(quote(part, safe="") for part in (self.subscription, *parts))])

    async def get_members(self, call: PlatformCall) -> Members:
        """Send a request and give the object that answers it.

        Raises:
            PlatformRefusedError: it is no object, such as a page that wants a login: nothing must be concluded from it.
        """
        answer = await self.send(call)
        if call.method == "GET" and not isinstance(answer.value, dict):
            raise self.unreadable("it is no JSON object")
        return answer.members

    async def find_members(self, call: PlatformCall) -> Members | None:
        """Send a request and give the object that answers it; None: there is no such thing."""
        try:
            return await self.get_members(call)
        except PlatformRefusedError as exc:
            if is_absent(exc):
                return None
            raise

    async def update(self, call: PlatformCall) -> Members:
        """Send a PUT with the `occContext` of what is there now; where that has changed meanwhile, once again.

        Raises:
            PlatformRefusedError: ThingPark does not do it, or the object was changed twice meanwhile.
        """
        if not isinstance(call.body, dict):
            raise TypeError("An update is a JSON object.")
        try:
            return await self._put(call, call.body)
        except PlatformRefusedError as exc:
            if not is_conflict(exc):
                raise
        return await self._put(call, call.body)

    async def _put(self, call: PlatformCall, changes: Mapping[str, object]) -> Members:
        there = await self.get_members(PlatformCall("GET", call.path))
        occ = there.as_dict.get("occContext")
        body = dict(changes) if occ is None else {**changes, "occContext": occ}
        return await self.get_members(PlatformCall("PUT", call.path, call.query, body))

    async def pages_by_number(self, call: PlatformCall, key: str) -> AsyncIterator[Members]:
        """Give the entries of all pages, asked for by `pageIndex` from 1; `key` tells entries apart.

        Raises:
            PlatformRefusedError: a page comes twice, so that the rest cannot be had.
        """
        before: list[object] = []
        for number in range(1, MOST_PAGES + 1):
            page = await self.get_members(call if number == 1 else call.with_query(("pageIndex", str(number))))
            entries = self._entries_of(page)
            keys = [entry.as_dict.get(key) for entry in entries]
            if entries and keys == before:
                raise self._circle(f"page {number} is page {number - 1} again")
            for entry in entries:
                yield entry
            if not entries or not page.flag("more"):
                return
            before = keys
        raise self._circle(f"there are more than {MOST_PAGES} pages")

    async def pages_by_cursor(self, call: PlatformCall, key: str) -> AsyncIterator[Members]:
        """Give the entries of all pages, sorted by `key`, each page asked for by the cursor of the one before.

        Where ThingPark gives no cursor (alarms before 8.1), pages are asked for by number.

        Raises:
            PlatformRefusedError: a cursor comes twice, so that the rest cannot be had.
        """
        in_order = call.with_query(("sort", f"{key},asc"))
        page = await self._first_in_order(in_order, key)
        if page is None or (page.flag("more") and not page.object("cursors").text("last")):
            async for entry in self.pages_by_number(call if page is None else in_order, key):
                yield entry
            return
        seen: set[str] = set()
        for _ in range(MOST_PAGES):
            for entry in self._entries_of(page):
                yield entry
            if not page.flag("more"):
                return
            cursor = page.object("cursors").text("last")
            if not cursor or cursor in seen:
                raise self._circle("it does not say what the next page is")
            seen.add(cursor)
            page = await self.get_members(in_order.with_query(("pageAfter", cursor)))
        raise self._circle(f"there are more than {MOST_PAGES} pages")

    async def _first_in_order(self, call: PlatformCall, key: str) -> Members | None:
        """Give the first page; None: this release cannot sort by `key`."""
        try:
            return await self.get_members(call)
        except PlatformRefusedError as exc:
            if exc.status != 400 or key == "EUI":
                raise
            return None

    def _entries_of(self, page: Members) -> tuple[Members, ...]:
        if "briefs" not in page and "more" not in page:
            raise self.unreadable("it is no list")
        return page.objects("briefs")

    def _circle(self, what: str) -> PlatformRefusedError:
        return PlatformRefusedError(
            f"{self.caller.platform} does not give the list to its end ({what}), so the rest of it cannot be had.",
            status=200,
        )


def refuse_forbidden(changes: Mapping[str, object], forbidden: frozenset[str], what: str) -> None:
    """Return if all members of `changes` may be changed after creation, and there is one.

    Raises:
        ConflictError: a member may not, or there is none.
    """
    found = sorted(forbidden & changes.keys())
    if found:
        raise ConflictError(
            f"{' and '.join(found)} of {what} cannot be changed once it is there: delete it and make it anew."
        )
    if not changes:
        raise ConflictError(f"There is nothing to change of {what}.")
