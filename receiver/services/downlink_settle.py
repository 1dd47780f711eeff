"""Settles downlinks by what the network and the device report of them, in the transaction that reads the reports.

A report is about the downlink whose CorrelationID it has; without one, about that of its device, FPort and counter; and
where the network chose the counter, about the oldest with its FPort that it has: its queue is first in, first out. A
report that comes twice changes nothing. One that comes before the answer to the request settles all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from receiver.services.downlink_dispatch_plan import WINDOW_CLASS_A
from receiver.storage import downlink_settlement as stored
from receiver.storage.downlink_events import FINAL, DownlinkState, record_event, record_step
from receiver.thingpark.delivery_causes import (
    describe_distribution,
    describe_failure,
    describe_sent,
    gist_of_causes,
)
from receiver.thingpark.downlink_answers import read_downlink_answer
from receiver.thingpark.downlink_reports import DownlinkRejectedReport, DownlinkSentReport, MulticastSummaryReport

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from typing import Any

    from sqlalchemy import Connection

    from receiver.storage.downlink_settlement import ToldDownlink
    from receiver.storage.reports import UnreadReport
    from receiver.thingpark.reports import DownlinkReport

REFUSED_STATUS = 350
"""The network's own, where a report does not say one."""

BY_ORDER = " The report has no CorrelationID; it was taken for that of the oldest with its FPort."


class Settlement(NamedTuple):
    """What a report says of its downlink."""

    state: DownlinkState
    cause: str | None
    detail: str


def settle_downlinks(
    connection: Connection,
    now: datetime,
    told: Sequence[tuple[UnreadReport, DownlinkReport]],
    acknowledging: Iterable[str] = (),
) -> None:
    """Settle what the reports are about, in their order; then what devices acknowledged.

    `acknowledging` are the DevEUIs of uplinks with ACK that were just written. The caller holds `lock_reading`.
    """
    dev_euis = set(acknowledging)
    for unread, report in told:
        downlink, is_guess = _find(connection, report)
        settlement = settlement_of(report)
        if downlink is None or settlement is None:
            continue
        if stored.has_event_of_report(connection, downlink.id, unread.id):
            continue
        if is_guess:
            settlement = settlement._replace(detail=settlement.detail + BY_ORDER)
        _settle(connection, now, downlink, unread, report, settlement)
        if downlink.confirmed and settlement.state is DownlinkState.SENT:
            dev_euis.add(downlink.dev_eui)
    for dev_eui in sorted(dev_euis):
        _acknowledge(connection, now, dev_eui)


def settlement_of(report: DownlinkReport) -> Settlement | None:
    """Give what a report says, in words; None if it does not say whether it was sent."""
    if isinstance(report, DownlinkSentReport):
        if report.is_sent is None:
            return None
        if report.is_sent:
            return Settlement(DownlinkState.SENT, None, describe_sent(report.slot))
        return Settlement(DownlinkState.FAILED, gist_of_causes(report.causes), describe_failure(report.causes))
    if isinstance(report, DownlinkRejectedReport):
        return _rejected(report)
    return _multicast(report)


def _rejected(report: DownlinkRejectedReport) -> Settlement:
    text = report.cause or ""
    answer = read_downlink_answer(REFUSED_STATUS, text.encode())
    if answer.cause == f"status-{REFUSED_STATUS}":
        said = f": {text!r}" if text else ", and did not say why"
        return Settlement(DownlinkState.REFUSED, "rejected", f"The network rejected it later{said}.")
    return Settlement(DownlinkState.REFUSED, answer.cause, f"The network rejected it later. {answer.text}")


def _multicast(report: MulticastSummaryReport) -> Settlement | None:
    count = "some gateways"
    if report.succeeded is not None and report.gateways is not None:
        count = f"{report.succeeded} of {report.gateways} gateways"
    causes = describe_distribution(report.distribution)
    failed = "" if not causes else f" Not by the others: {causes}."
    match report.status:
        case "SUCCESS":
            return Settlement(DownlinkState.SENT, None, f"All is transmitted: by {count}.{failed}")
        case "PARTIAL":
            detail = f"It was transmitted by {count}, and the others will try again.{failed}"
            return Settlement(DownlinkState.ACCEPTED, "partial", detail)
        case "ABORTED":
            cause = "multicast-incomplete" if report.succeeded else "multicast-failed"
            detail = f"It was transmitted by {count}, and no more attempt will be made.{failed}"
            return Settlement(DownlinkState.FAILED, cause, detail)
        case _:
            return None


def _find(connection: Connection, report: DownlinkReport) -> tuple[ToldDownlink | None, bool]:
    """Give the downlink that a report is about, and whether that is only likely."""
    dev_eui, f_port = report.heading.dev_eui, report.f_port
    if report.correlation_id is not None:
        return stored.find_by_correlation(connection, dev_eui, report.correlation_id), False
    if f_port is None:
        return None, False
    f_cnt_down = None if isinstance(report, DownlinkRejectedReport) else report.f_cnt_down
    if f_cnt_down is not None:
        found = stored.find_by_counter(connection, dev_eui, f_port, f_cnt_down)
        if found is not None:
            return found, False
    of_any_counter = isinstance(report, DownlinkRejectedReport)
    return stored.find_oldest_waiting(connection, dev_eui, f_port, of_any_counter=of_any_counter), True


def _settle(
    connection: Connection,
    now: datetime,
    downlink: ToldDownlink,
    unread: UnreadReport,
    report: DownlinkReport,
    settlement: Settlement,
) -> None:
    state = downlink.state
    is_further = state is DownlinkState.SENT or state in FINAL
    if is_further:
        confirms = {DownlinkState.ACCEPTED, DownlinkState.SENT} if state in _TRANSMITTED else {state}
        if settlement.state not in confirms:  # it is told, and the first word stays
            record_event(
                connection,
                now,
                downlink.id,
                state,
                cause="late-report",
                detail=f"Another report came after that: {settlement.detail}",
                report_id=unread.id,
            )
        return
    columns: dict[str, Any] = {"due_at": None, "lease": None, "lease_until": None}
    if settlement.state is DownlinkState.ACCEPTED:
        columns["due_at"] = now + WINDOW_CLASS_A
    if settlement.state is DownlinkState.SENT:
        columns["sent_at"] = report.heading.at or unread.sent_at
    if downlink.f_cnt_down is None and not isinstance(report, DownlinkRejectedReport):
        columns["f_cnt_down"] = report.f_cnt_down
    record_step(
        connection,
        now,
        downlink.id,
        settlement.state,
        cause=settlement.cause,
        detail=settlement.detail,
        report_id=unread.id,
        **columns,
    )


_TRANSMITTED = {DownlinkState.SENT, DownlinkState.ACKNOWLEDGED}


def _acknowledge(connection: Connection, now: datetime, dev_eui: str) -> None:
    """Take an uplink's ACK bit for the confirmed downlink that was transmitted last before it."""
    confirmed = stored.list_newest_confirmed(connection, dev_eui)
    for position, downlink in enumerate(confirmed):
        if downlink.state is not DownlinkState.SENT:
            continue
        following = confirmed[position + 1].sent_at if position + 1 < len(confirmed) else None
        found = stored.find_acknowledging_report(connection, dev_eui, downlink.sent_at, following)
        if found is None:
            continue
        at, report_id = found
        record_step(
            connection,
            now,
            downlink.id,
            DownlinkState.ACKNOWLEDGED,
            detail=f"The device acknowledged it in its uplink of {at:%Y-%m-%dT%H:%M:%SZ}.",
            report_id=report_id,
        )
