"""Reports: the pushes that were taken, and what became of each. What they held is in the database only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.storage.engine import read
from receiver.storage.report_queries import REPORT_STATES, ReportFilter, ReportView, list_report_views
from receiver.web.api_uplinks import connection_of
from receiver.web.cursors import read_cursor, write_cursor
from receiver.web.lists import Listing, Page, answer_list, listed
from receiver.web.operations import CONNECTION, DEVICE, Operation, one_of, page_of, text_of
from receiver.web.parameters import Parameters

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from starlette.responses import Response

    from receiver.web.operations import Call

MAX_KIND = 64

_LISTING = Listing("reports", ReportView)
_LIST = (
    *(DEVICE, CONNECTION, text_of("kind", "Of this kind.", MAX_KIND, "DevEUI_uplink")),
    one_of("state", "In this state now.", *REPORT_STATES),
    *page_of(_LISTING.maximum, _LISTING.default),
)


class Reports:
    """The operation on reports. It blocks, and runs on a thread of the gate."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        about = "Reports in the order of arrival, newest first."
        self.list = Operation("read", self._list, about, _LIST, "listReports", listed(_LISTING))

    def _list(self, call: Call) -> Response:
        given = Parameters(call.parameters, _LIST)
        wanted = ReportFilter(
            dev_eui=given.dev_eui("device"),
            connection_id=connection_of(self._engine, given),
            kind=given.text("kind", MAX_KIND),
            state=given.choice("state", REPORT_STATES),
        )

        def fetch(cursor: str | None, limit: int) -> Page:
            before_id = None if cursor is None else int(read_cursor(cursor, _LISTING.member, (int,))[0])  # type: ignore[arg-type]
            with read(self._engine) as tx:
                rows, following = list_report_views(tx, wanted, limit=limit, before_id=before_id)
            return Page(rows, None if following is None else write_cursor(_LISTING.member, (following,)))

        return answer_list(call, given, _LISTING, fetch)
