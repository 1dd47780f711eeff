"""Alarms of devices, as the networks raise them: listed and shown with scope `read`, acknowledged with `downlink`.

An acknowledgement changes no setting of this receiver's, so it needs no `admin`; but all who look at the network's
portal see it, so it is more than `read`: it acts on the field as a downlink does, and its people are the same.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response

from receiver.errors import KeyringError, LoginRefusedError, NoAnswerError, PlatformRefusedError, SettingsError
from receiver.services.alarms import AlarmDetails, AlarmView, get_alarm, list_alarms
from receiver.storage.alarms import AlarmFilter, AlarmState
from receiver.web.cursors import read_cursor, write_cursor
from receiver.web.lists import Listing, Page, answer_list, listed
from receiver.web.operations import (
    DEVICE,
    MAX_NAME,
    SINCE,
    UNTIL,
    Operation,
    json_answer,
    one_of,
    page_of,
    path_id,
    text_of,
    whole_number,
)
from receiver.web.parameters import Parameters
from receiver.web.problems import ProblemError, unavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Engine

    from receiver.keyring import Keyring
    from receiver.web.operations import Call

PATH = "/api/v1/alarms"
PATH_OF_ONE = "/api/v1/alarms/{id}"
PATH_OF_ACK = "/api/v1/alarms/{id}/ack"

MOST_TYPE = 2**31 - 1
"""The greatest number of a type that is kept."""

ACCOUNT = text_of("account", "Of the account of this name, as `receiver kpn-lora account add` was given it.", MAX_NAME)

_LISTING = Listing("alarms", AlarmView)
_STATES = [state.value for state in AlarmState]
_ID = path_id("the alarm")
_LIST = (
    DEVICE,
    ACCOUNT,
    whole_number("type", "Of the type with this number, such as 4: no uplink activity.", 0, MOST_TYPE),
    one_of("state", "In this state or a graver one; CLEARED for all, as if it was not given.", *_STATES),
    one_of("acked", "Only those that are acknowledged, or only the others.", "true", "false"),
    *(SINCE, UNTIL),
    *page_of(_LISTING.maximum, _LISTING.default),
)


class Alarms:
    """The operations on alarms. Each blocks, and runs on a thread of the gate."""

    def __init__(self, engine: Engine, keyring: Keyring, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._keyring = keyring
        self._clock = clock
        about = "Alarms, those seen last first; `since` and `until` are of their last change."
        self.list = Operation("read", self._list, about, _LIST, "listAlarms", listed(_LISTING))
        answers = (json_answer("The alarm.", AlarmDetails),)
        self.show = Operation("read", self._show, "One alarm.", (), "getAlarm", answers, _ID)
        about = "Acknowledge an alarm at its network; to do it again changes nothing."
        answers = (json_answer("The alarm, which is acknowledged.", AlarmDetails),)
        problems = (HTTPStatus.CONFLICT, HTTPStatus.BAD_GATEWAY)
        self.ack = Operation("downlink", self._ack, about, (), "acknowledgeAlarm", answers, _ID, problems=problems)

    def _list(self, call: Call) -> Response:
        given = Parameters(call.parameters, _LIST)
        state, acked = given.choice("state", _STATES), given.choice("acked", ("true", "false"))
        wanted = AlarmFilter(
            dev_eui=given.dev_eui("device"),
            account=given.text("account"),
            type_id=given.number("type", 0, MOST_TYPE),
            least_state=None if state is None else AlarmState(state),
            acked=None if acked is None else acked == "true",
            since=given.time("since"),
            until=given.time("until"),
        )

        def fetch(cursor: str | None, limit: int) -> Page:
            before_id = None if cursor is None else read_cursor(cursor, _LISTING.member, (int,))[0]
            rows = list_alarms(self._engine, wanted, limit=limit + 1, before_id=before_id)  # type: ignore[arg-type]
            more = len(rows) > limit
            return Page(rows[:limit], write_cursor(_LISTING.member, (rows[limit - 1].id,)) if more else None)

        return answer_list(call, given, _LISTING, fetch)

    def _show(self, call: Call) -> Response:
        Parameters(call.parameters, ())
        return _answer(get_alarm(self._engine, _id(call)))

    def _ack(self, call: Call) -> Response:
        """Acknowledge one: 409 if the network knows it no more, 502 if it refuses, 503 if it is away."""
        from receiver.services.alarm_acks import acknowledge_one  # few processes ever need its HTTP client

        Parameters(call.parameters, ())
        by = f"api-key {call.key.name}"
        try:
            return _answer(acknowledge_one(self._engine, self._keyring, self._clock, _id(call), by))
        except (PlatformRefusedError, LoginRefusedError) as exc:
            raise ProblemError(HTTPStatus.BAD_GATEWAY, str(exc)) from exc
        except (SettingsError, KeyringError) as exc:
            raise ProblemError(HTTPStatus.CONFLICT, str(exc)) from exc
        except NoAnswerError as exc:
            return unavailable(str(exc))


def alarm_operations(alarms: Alarms) -> dict[str, dict[str, Operation]]:
    """Give the operations by path and method."""
    return {PATH: {"GET": alarms.list}, PATH_OF_ONE: {"GET": alarms.show}, PATH_OF_ACK: {"POST": alarms.ack}}


def _answer(content: AlarmDetails) -> Response:
    return Response(msgspec.json.encode(content), media_type="application/json")


def _id(call: Call) -> int:
    text = call.path["id"]
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise ProblemError(HTTPStatus.NOT_FOUND, f"{text[:40]!r} is no id of an alarm; an id is a whole number.")
    return int(text)
