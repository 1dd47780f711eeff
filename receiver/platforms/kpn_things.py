"""The Beta API of KPN Things: its devices, and the access of an API key to a sub-customer.

Downlinks go by the connection's transport, `receiver.kpn_things.downlink`. The API says 302 where others say 401: a
token that is not good there, or a key without access.
Source: docs.kpnthings.com, Beta API with its response codes, and its page on sub-customers; ThingsBoard's integration
for the method of the context switch, which differs from the page's.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from receiver.errors import LoginRefusedError, PlatformRefusedError, SettingsError
from receiver.platforms.caller import PlatformCaller
from receiver.platforms.calls import PlatformCall
from receiver.platforms.grip import GripTokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from receiver.http_client import HttpAnswer, HttpClient
    from receiver.platforms.calls import PlatformAnswer
    from receiver.platforms.grip import AccessToken, GripAccount
    from receiver.platforms.members import Members

PLATFORM = "KPN Things"
DEVICES_PATH = "/api/devices"
DEVICES_MEDIA_TYPE = "application/vnd.kpnthings.device.v1.response+json"

PAGE_SIZE = 20
"""Devices on a page unless another number is asked for. Source: the Beta API."""

MOST_PAGE_SIZE = 1000
"""What a page is asked for at most; the API's own limit is not published."""

MOST_PAGES = 10_000
"""Of a list; a server that always says that there is more is left there."""

LOST = frozenset({302, 401})
"""What says that the token is not good. Source: the Beta API, response codes; 401 is what any other API says."""

SORT_ORDERS = ("ASC", "DESC")


@dataclass(frozen=True, slots=True)
class ThingsDevice:
    """One device. `metadata` is any JSON value; `raw` the object as it came."""

    uuid: str | None
    name: str | None
    description: str | None
    metadata: object
    device_specification_uuid: str | None
    barcode: str | None
    raw: Mapping[str, object] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ThingsPage:
    """One page of devices. `number` counts from 0; the totals are of the whole list, None where they are not told."""

    devices: tuple[ThingsDevice, ...]
    number: int | None
    size: int | None
    total_pages: int | None
    total_devices: int | None
    is_last: bool | None


class KpnThingsClient:
    """The API as one API key sees it, or one sub-customer of it. For one event loop."""

    def __init__(self, caller: PlatformCaller) -> None:
        """`caller`: as `open_kpn_things` makes it; its authorizer logs in and names the sub-customer."""
        self.base_url = caller.base_url
        self._caller = caller

    async def list_devices(
        self, *, search: str = "", sort_by: str = "name", sort_order: str = "ASC", page_size: int = PAGE_SIZE
    ) -> AsyncIterator[ThingsDevice]:
        """Give all devices, page by page. `search`: a part of the name, upper and lower case told apart.

        Raises:
            SettingsError, PlatformRefusedError, LoginRefusedError, NoAnswerError: as `get_page`.
        """
        for number in range(MOST_PAGES):
            page = await self.get_page(number, search=search, sort_by=sort_by, sort_order=sort_order, size=page_size)
            for device in page.devices:
                yield device
            is_last = len(page.devices) < page_size if page.is_last is None else page.is_last
            if is_last or not page.devices:
                return

    async def get_page(
        self,
        number: int = 0,
        *,
        search: str = "",
        sort_by: str = "name",
        sort_order: str = "ASC",
        size: int = PAGE_SIZE,
    ) -> ThingsPage:
        """Give one page of devices, counted from 0.

        Raises:
            SettingsError: the page is not one that there can be.
            PlatformRefusedError: the API refuses.
            LoginRefusedError: the key is refused, by GRIP or by KPN Things.
            NoAnswerError: one of them was not reached, or is busy.
        """
        call = build_devices_call(number, search=search, sort_by=sort_by, sort_order=sort_order, size=size)
        return _read_page((await self._call(call)).members)

    async def switch_context(self, client_id: str) -> PlatformAnswer:
        """Give this API key access to a sub-customer: once for each, before the first request for it.

        Raises:
            SettingsError: that is no customer id.
            PlatformRefusedError, LoginRefusedError, NoAnswerError: as `get_page`.
        """
        call = build_context_switch_call(client_id)
        try:
            return await self._call(call)
        except PlatformRefusedError as exc:
            if exc.status != 405:
                raise
        return await self._call(build_context_switch_call(client_id, "POST"))

    async def _call(self, call: PlatformCall) -> PlatformAnswer:
        try:
            return await self._caller.call(call)
        except LoginRefusedError as exc:
            cause = exc.__cause__
            if isinstance(cause, PlatformRefusedError):
                raise LoginRefusedError(
                    f"KPN Things does not take the token of this API key (status {cause.status}), though it is new: in"
                    " GRIP, check that the key is good and has access to KPN Things, and the account's application id."
                ) from exc
            raise
        except PlatformRefusedError as exc:
            if exc.status == 403:
                raise PlatformRefusedError(
                    "KPN Things knows this API key, but does not allow it that (status 403): widen its rights in GRIP;"
                    " for a sub-customer, ask for access with `receiver kpn-things context-switch` first.",
                    status=403,
                    error_id=exc.error_id,
                    said=exc.said,
                ) from exc
            raise


def open_kpn_things(
    http: HttpClient,
    login: GripAccount,
    api_url: str,
    headers: tuple[tuple[str, str], ...] = (),
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> KpnThingsClient:
    """Give a client; nothing is asked yet. `headers` go with each request: they name a sub-customer."""
    authorizer = GripAuthorizer(GripTokens(http, login), headers)
    return KpnThingsClient(PlatformCaller(http, api_url, PLATFORM, authorizer, sleep=sleep))


class GripAuthorizer:
    """The `Authorizer` of an API key of KPN Things: tokens of GRIP, which are had by a thread, and fixed headers."""

    def __init__(self, tokens: GripTokens, headers: tuple[tuple[str, str], ...] = ()) -> None:
        self.lost_statuses = LOST
        self._tokens = tokens
        self._headers = headers
        self._token: AccessToken | None = None

    async def dress(self, call: PlatformCall) -> PlatformCall:
        """Give the request with a token and the headers.

        Raises:
            LoginRefusedError, NoAnswerError: as `GripTokens.get`.
        """
        token = await asyncio.to_thread(self._tokens.get)
        if self._token is None or self._token.text != token.text:
            self._token = token
        return call.with_headers(("Authorization", f"Bearer {token.text}"), *self._headers)

    async def renew(self, refused: PlatformCall) -> bool:
        """Have another token than the refused one; False: that was asked for just now.

        Raises:
            LoginRefusedError, NoAnswerError: as `GripTokens.renew`.
        """
        token = self._token
        if token is None or dict(refused.headers).get("Authorization") != f"Bearer {token.text}":
            return True
        if token.is_new:
            return False
        self._token = await asyncio.to_thread(self._tokens.renew, token)
        return True

    def hear(self, answer: HttpAnswer) -> None:
        """Note that the token was good: should it be refused later, it has ended."""
        if answer.status not in LOST and self._token is not None and self._token.is_new:
            self._token = type(self._token)(self._token.text, is_new=False)


def build_devices_call(number: int, *, search: str, sort_by: str, sort_order: str, size: int) -> PlatformCall:
    """Give the request for a page of devices, all of its parameters said; an empty search is left out.

    Raises:
        SettingsError: the page is not one that there can be.
    """
    if number < 0 or not 1 <= size <= MOST_PAGE_SIZE:
        raise SettingsError(
            f"A page has a number from 0 on and 1 to {MOST_PAGE_SIZE} devices, not {number} and {size}."
        )
    if sort_order not in SORT_ORDERS:
        raise SettingsError(f"{sort_order[:40]!r} is no order: choose {' or '.join(SORT_ORDERS)}.")
    query = [("currentPage", str(number)), ("pageSize", str(size))]
    query += [("search", search)] if search else []
    query += [("sortBy", sort_by), ("sortOrder", sort_order)]
    return PlatformCall("GET", DEVICES_PATH, tuple(query), accept=DEVICES_MEDIA_TYPE)


def build_context_switch_call(client_id: str, method: str = "GET") -> PlatformCall:
    """Give the request for access to a sub-customer. GET by KPN's page, POST by others.

    Raises:
        SettingsError: that is no customer id.
    """
    if not client_id.strip() or not client_id.isprintable() or len(client_id) > 500:
        raise SettingsError(
            "A customer id is a text of 1 to 500 characters, as the customer's page at KPN Things has it."
        )
    path = f"/api/v1/lifecycle/clients/{quote(client_id.strip(), safe='')}/context-switch"
    return PlatformCall(method, path, headers=(("Content-Type", "application/json"),))


def _read_page(members: Members) -> ThingsPage:
    return ThingsPage(
        devices=tuple(_read_device(one) for one in members.objects("content")),
        number=members.integer("number"),
        size=members.integer("size"),
        total_pages=members.integer("totalPages"),
        total_devices=members.integer("totalElements"),
        is_last=members.flag("last"),
    )


def _read_device(members: Members) -> ThingsDevice:
    return ThingsDevice(
        uuid=members.text("uuid"),
        name=members.text("name"),
        description=members.text("description"),
        metadata=members.as_dict.get("metadata"),
        device_specification_uuid=members.text("deviceSpecificationUUID"),
        barcode=members.text("barcode"),
        raw=members.as_dict,
    )
