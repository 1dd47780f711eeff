"""What bodies say, before anything is looked up: a report read by the platform that pushed it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from receiver.errors import PushRejected, ReportUnreadableError
from receiver.services.things_push import THINGS_KIND
from receiver.services.things_reading import read_things_report
from receiver.thingpark.plain_uplink import read_plain_uplink
from receiver.thingpark.reports import read_raw_report

if TYPE_CHECKING:
    from receiver.services.things_reading import ToldValues
    from receiver.storage.reports import UnreadReport
    from receiver.thingpark.reports import Report


class Parsed(NamedTuple):
    """A report with what its body says; `report` None: it is unreadable, and `notes` say why."""

    unread: UnreadReport
    report: Report | None
    notes: str | None
    values: ToldValues | None = None
    """Those that KPN Things decoded itself."""


def parse_report(unread: UnreadReport) -> Parsed:
    """Read the body of a stored report."""
    if unread.kind == THINGS_KIND:
        return Parsed(unread, *read_things_report(unread))
    plain = read_plain_uplink(unread.body)
    if plain is not None:
        return Parsed(unread, plain, None)
    try:
        report, notes = read_raw_report(unread.body)
    except (ReportUnreadableError, PushRejected) as exc:
        return Parsed(unread, None, str(exc))
    return Parsed(unread, report, notes.sentence())
