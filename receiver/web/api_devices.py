"""Devices: all by DevEUI, and one with its sessions and what it measures."""

from __future__ import annotations

from dataclasses import asdict, fields
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import UNSET, UnsetType
from starlette.responses import Response

from receiver.errors import IdentifierError
from receiver.lorawan.identifiers import parse_device
from receiver.services.devices import SHOWN_SESSIONS, set_device_name, set_lorawan_version
from receiver.storage.devices import Device, count_waiting_reports, find_device, list_devices, list_sessions
from receiver.storage.engine import read
from receiver.storage.telemetry_queries import list_series
from receiver.web.answers import DeviceDetails, Measurement, SessionView
from receiver.web.cursors import read_cursor, write_cursor
from receiver.web.lists import Listing, Page, answer_list, listed
from receiver.web.operations import PATH_DEV_EUI, Operation, json_answer, page_of
from receiver.web.parameters import Parameters
from receiver.web.problems import ProblemError, wrong_parameter

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from receiver.lorawan.identifiers import DevEui
    from receiver.web.operations import Call


class DeviceChange(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be changed of a device; a member that is left out stays.

    `name` is up to 256 characters; null or an empty one gives it back the network's name for it.
    """

    name: str | UnsetType | None = UNSET
    lorawan_version: Literal["1.0", "1.1"] | UnsetType = UNSET


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
        about = "Name a device, or say which version of LoRaWAN it speaks."
        path = (PATH_DEV_EUI,)
        self.change = Operation("admin", self._change, about, (), "changeDevice", answers, path, DeviceChange)

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
        return self._answer(_device_of(call))

    def _change(self, call: Call) -> Response:
        Parameters(call.parameters, ())
        dev_eui, wanted = _device_of(call), call.body
        if not isinstance(wanted.name, UnsetType):
            try:
                set_device_name(self._engine, dev_eui, wanted.name or "")
            except IdentifierError as exc:
                raise wrong_parameter("name", str(exc)) from exc
        if not isinstance(wanted.lorawan_version, UnsetType):
            set_lorawan_version(self._engine, dev_eui, wanted.lorawan_version)
        return self._answer(dev_eui)

    def _answer(self, dev_eui: DevEui) -> Response:
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


def _device_of(call: Call) -> DevEui:
    try:
        return parse_device(call.path["dev_eui"])
    except IdentifierError as exc:
        raise ProblemError(HTTPStatus.NOT_FOUND, str(exc)) from exc
