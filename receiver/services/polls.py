"""How polling stands: what is due for which account, what rests after a refused login, what failed last."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from receiver.storage import platform_polls as stored
from receiver.storage.engine import read
from receiver.storage.platform_polls import Polled

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Engine

    from receiver.storage.platform_accounts import StoredPlatformAccount
    from receiver.storage.platform_polls import StoredPoll

SURFACES = ("kpn-lora", "thingpark")
"""Whose accounts are polled: those with credentials for programs. A Device Manager's is a person's login."""

FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=1)
"""After failures, doubling from the first on; the client has tried a request several times by then."""


class PollTimes(NamedTuple):
    """How often alarms (and health with them) and traffic are polled; None: never."""

    alarms: timedelta | None
    traffic: timedelta | None

    def of(self, what: Polled) -> timedelta | None:
        """Give how often this is polled."""
        return self.traffic if what is Polled.TRAFFIC else self.alarms


USUAL_TIMES = PollTimes(timedelta(minutes=5), timedelta(hours=6))
"""Five minutes cost an account some 300 short requests a day. Traffic is asked for device by device."""


def poll_times(alarms_minutes: float, traffic_hours: float) -> PollTimes:
    """Give how often is polled by settings, in which 0 means never."""
    return PollTimes(
        timedelta(minutes=alarms_minutes) if alarms_minutes else None,
        timedelta(hours=traffic_hours) if traffic_hours else None,
    )


@dataclass(frozen=True, slots=True)
class PollView:
    """How polling something of an account stands. `refused`: its login was, so it rests until the account is changed.

    `result` is what the last whole walk found, and `failure` what went wrong since.
    """

    account: str
    surface: str
    what: Polled
    done_at: datetime | None
    due_at: datetime
    refused: bool
    failures: int
    failed_at: datetime | None
    failure: str | None
    result: Mapping[str, int]


def list_polls(engine: Engine) -> list[PollView]:
    """Give how polling stands, by account."""
    with read(engine) as tx:
        rows = stored.list_polls(tx)
    return [_view(row) for row in rows]


def is_due(poll: StoredPoll, mark: str, now: datetime) -> bool:
    """Say whether something is to be polled now. After a refused login it is only when the account was changed."""
    if poll.refused_account is not None:
        return poll.refused_account != mark
    return poll.due_at <= now


def mark_of(account: StoredPlatformAccount) -> str:
    """Give what tells an account from the same one changed: a hash of its settings and its sealed secret."""
    settings = json.dumps(sorted(account.settings.items())).encode()
    return hashlib.sha256(settings + b"\0" + account.sealed_secret).hexdigest()[:32]


def polled_of(surface: str) -> tuple[Polled, ...]:
    """Give what is polled of the accounts of a surface; nothing of most."""
    if surface not in SURFACES:
        return ()
    return tuple(Polled) if surface == "kpn-lora" else (Polled.ALARMS, Polled.TRAFFIC)


def pause_after(failures: int) -> timedelta:
    """Give how long to wait after a failure that came behind so many others."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * (1 << min(failures, 10)))


def _view(row: StoredPoll) -> PollView:
    return PollView(
        account=row.account,
        surface=row.surface,
        what=row.what,
        done_at=row.done_at,
        due_at=row.due_at,
        refused=row.refused_account is not None,
        failures=row.failures,
        failed_at=row.failed_at,
        failure=row.failure,
        result=row.result,
    )
