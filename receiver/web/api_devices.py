"""Devices: all by DevEUI, and one with its sessions and what it measures."""

from __future__ import annotations

from dataclasses import asdict, fields
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response

from receiver.errors import IdentifierError
from receiver.lorawan.identifiers import parse_device
from receiver.services.devices import SHOWN_SESSIONS
from receiver.storage.devices import Device, count_waiting_reports, find_device, list_devices, list_sessions
from receiver.storage.engine import read
from receiver.storage.telemetry_queries import list_series
from receiver.web.answers import DeviceDetails, Measurement, SessionView
from receiver.web.cursors import read_cursor, write_cursor
from receiver.web.lists import Listing, Page, answer_list, listed
from receiver.web.operations import PATH_DEV_EUI, Operation, json_answer, page_of
from receiver.web.parameters import Parameters
from receiver.web.problems import ProblemError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from receiver.web.operations import Call

_LISTING = Listing("devices", Device)
_LIST = page_of(_LISTING.maximum, _LISTING.default)
_SESSION = [field.name for field in fields(SessionView)]


class Devices:
    """The operations on devices. Each blocks, and runs on a thread of the gate."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.list = Operation("read", self._list, "All devices, by DevEUI.", _LIST, "listDevices", listed(_LISTING))
        about = "One device with its sessions and its measurements' names."
        answers = (json_answer("The device.", DeviceDetails),)
        self.show = Operation("read", self._show, about, (), "getDevice", answers, (PATH_DEV_EUI,))

    def _list(self, call: Call) -> Response:
        given = Parameters(call.parameters, _LIST)

        def fetch(cursor: str | None, limit: int) -> Page:
            after = "" if cursor is None else str(read_cursor(cursor, _LISTING.member, (str,))[0])
            with read(self._engine) as tx:
                rows = list_devices(tx, after=after, limit=limit + 1)
            more = len(rows) > limit
            return Page(rows[:limit], write_cursor(_LISTING.member, (rows[limit - 1].dev_eui,)) if more else None)

        return answer_list(call, given, _LISTING, fetch)

    def _show(self, call: Call) -> Response:
        """Give what is known of one; no key of it, nor anything that is made of one."""
        Parameters(call.parameters, ())
        try:
            dev_eui = parse_device(call.path["dev_eui"])
        except IdentifierError as exc:
            raise ProblemError(HTTPStatus.NOT_FOUND, str(exc)) from exc
        with read(self._engine) as tx:
            device = find_device(tx, dev_eui)
            if device is None:
                raise ProblemError(HTTPStatus.NOT_FOUND, f"There is no device {dev_eui}: it was not heard yet.")
            sessions = list_sessions(tx, dev_eui, SHOWN_SESSIONS)
            series = list_series(tx, dev_eui)
            waiting = count_waiting_reports(tx, dev_eui)
        content = DeviceDetails(
            **asdict(device),
            sessions=[SessionView(*(getattr(session, name) for name in _SESSION)) for session in sessions],
            measurements=[Measurement(one.name, one.unit) for one in series],
            reports_waiting_for_key=waiting,
        )
        return Response(msgspec.json.encode(content), media_type="application/json")
