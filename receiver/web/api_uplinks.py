"""Uplinks: by the network's time, and one with all that belongs to it. Payloads are clear, in hex."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response

from receiver.storage.engine import read
from receiver.storage.uplink_details import get_uplink
from receiver.storage.uplink_pages import FramePlace, UplinkFilter, find_connection_id, list_uplink_page
from receiver.storage.uplink_queries import UplinkView
from receiver.web.answers import UplinkDetails
from receiver.web.cursors import read_cursor, write_cursor
from receiver.web.lists import Listing, Page, answer_list, listed
from receiver.web.operations import (
    CONNECTION,
    DEVICE,
    ID_MAX,
    ORDER,
    PORT,
    SINCE,
    UNTIL,
    Operation,
    json_answer,
    page_of,
    path_id,
)
from receiver.web.parameters import Parameters
from receiver.web.problems import ProblemError, wrong_parameter

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from receiver.web.operations import Call

_LISTING = Listing("uplinks", UplinkView)
_LIST = (DEVICE, CONNECTION, PORT, SINCE, UNTIL, ORDER, *page_of(_LISTING.maximum, _LISTING.default))


class Uplinks:
    """The operations on uplinks. Each blocks, and runs on a thread of the gate."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.list = Operation(
            "read", self._list, "Uplinks by time, newest first.", _LIST, "listUplinks", listed(_LISTING)
        )
        about = "One uplink: what was decoded, who heard it, what brought it."
        answers = (json_answer("The uplink.", UplinkDetails),)
        self.show = Operation("read", self._show, about, (), "getUplink", answers, path_id("the uplink"))

    def _list(self, call: Call) -> Response:
        given = Parameters(call.parameters, _LIST)
        wanted = UplinkFilter(
            dev_eui=given.dev_eui("device"),
            connection_id=connection_of(self._engine, given),
            f_port=given.number("port", 0, 255),
            since=given.time("since"),
            until=given.time("until"),
            oldest_first=given.choice("order", ("newest", "oldest")) == "oldest",
        )
        kind = "uplinks-oldest" if wanted.oldest_first else "uplinks"

        def fetch(cursor: str | None, limit: int) -> Page:
            place = None if cursor is None else FramePlace(*read_cursor(cursor, kind, (datetime, int)))  # type: ignore[arg-type]
            with read(self._engine) as tx:
                rows, following = list_uplink_page(tx, wanted, limit=limit, after=place)
            return Page(rows, None if following is None else write_cursor(kind, following))

        return answer_list(call, given, _LISTING, fetch)

    def _show(self, call: Call) -> Response:
        Parameters(call.parameters, ())
        text = call.path["id"]
        if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= ID_MAX):
            raise ProblemError(HTTPStatus.NOT_FOUND, f"{text[:40]!r} is no id of an uplink; an id is a whole number.")
        with read(self._engine) as tx:
            uplink = get_uplink(tx, int(text))
        content = UplinkDetails(
            **uplink.columns,
            decoding=uplink.decoding,
            receptions=uplink.receptions,
            deliveries=uplink.deliveries,
        )
        return Response(msgspec.json.encode(content), media_type="application/json")


def connection_of(engine: Engine, given: Parameters) -> int | None:
    """Give the id of the connection that the parameter `connection` names; None if it is not given.

    Raises:
        ProblemError: 400, there is none of that name: a slip is told and not answered with nothing.
    """
    name = given.text("connection")
    if name is None:
        return None
    with read(engine) as tx:
        found = find_connection_id(tx, name)
    if found is None:
        raise wrong_parameter("connection", f"There is no connection {name[:40]!r}; it must be the name of one.")
    return found
