"""What became of a downlink, as the network reports it: sent or not, rejected, or how a multicast goes on.

A value that is not of its kind is None and noted, as in every report. CorrelationID is 64 bits of the request's, as 16
upper-case hex digits; older networks do not repeat it.

Source: ThingPark LRC–AS tunnel interface, DevEUI_downlink_Sent, DevEUI_downlink_Rejected, DevEUI_multicast_summary.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from receiver.lorawan.frame_counter import F_CNT_MAX, F_PORT_MAX

if TYPE_CHECKING:
    from receiver.thingpark.fields import Fields
    from receiver.thingpark.reports import Heading

MAX_GATEWAYS = 1_000_000
"""Of one multicast; no network has as many."""

_CORRELATION_ID = re.compile(r"[0-9A-Fa-f]{16}\Z")
_CAUSE = re.compile(r"[0-9A-Fa-f]{1,2}\Z")


class DownlinkSentReport(NamedTuple):
    """DevEUI_downlink_Sent. `is_sent` False: it could not be transmitted; `causes` are those of slots 1, 2, 3 and 4."""

    heading: Heading
    f_port: int | None
    f_cnt_down: int | None
    correlation_id: str | None
    is_sent: bool | None
    slot: int | None
    causes: tuple[str | None, ...]


class DownlinkRejectedReport(NamedTuple):
    """DevEUI_downlink_Rejected. `cause` is a text of the kind that a request is answered with."""

    heading: Heading
    f_port: int | None
    correlation_id: str | None
    status: int | None
    cause: str | None


class MulticastSummaryReport(NamedTuple):
    """DevEUI_multicast_summary: PARTIAL, several times perhaps, then SUCCESS or ABORTED; gateways are counted."""

    heading: Heading
    f_port: int | None
    f_cnt_down: int | None
    correlation_id: str | None
    status: str | None
    gateways: int | None
    succeeded: int | None
    failed: int | None
    distribution: str | None


def read_downlink_sent(heading: Heading, fields: Fields) -> DownlinkSentReport:
    """Give the typed report."""
    return DownlinkSentReport(
        heading=heading,
        f_port=fields.integer("FPort", 0, F_PORT_MAX),
        f_cnt_down=_f_cnt_down(fields),
        correlation_id=_correlation_id(fields),
        is_sent=fields.flag("DeliveryStatus"),
        slot=fields.integer("TransmissionSlot", 0, 255),
        causes=tuple(_cause(fields, f"DeliveryFailedCause{slot}") for slot in (1, 2, 3, 4)),
    )


def read_downlink_rejected(heading: Heading, fields: Fields) -> DownlinkRejectedReport:
    """Give the typed report."""
    return DownlinkRejectedReport(
        heading=heading,
        f_port=fields.integer("FPort", 0, F_PORT_MAX),
        correlation_id=_correlation_id(fields),
        status=fields.integer("DeliveryStatus", 0, 999),
        cause=fields.text("DownlinkRejectionCause"),
    )


def read_multicast_summary(heading: Heading, fields: Fields) -> MulticastSummaryReport:
    """Give the typed report."""
    return MulticastSummaryReport(
        heading=heading,
        f_port=fields.integer("FPort", 0, F_PORT_MAX),
        f_cnt_down=_f_cnt_down(fields),
        correlation_id=_correlation_id(fields),
        status=(fields.text("TransmissionStatus") or "").upper() or None,
        gateways=fields.integer("LrrCnt", 0, MAX_GATEWAYS),
        succeeded=fields.integer("LrrSuccessCnt", 0, MAX_GATEWAYS),
        failed=fields.integer("LrrFailedCnt", 0, MAX_GATEWAYS),
        distribution=fields.text("LrrFailedDistribution"),
    )


def _f_cnt_down(fields: Fields) -> int | None:
    name = "FCntDn" if fields.value("FCntDn") is not None else "AFCntDn"  # LoRaWAN 1.1, if it is spelled so here
    return fields.integer(name, 0, F_CNT_MAX)


def _correlation_id(fields: Fields) -> str | None:
    text = fields.text("CorrelationID")
    if text is None:
        return None
    if not _CORRELATION_ID.match(text):
        fields.notes.fields.append("CorrelationID")
        return None
    return text.upper()


def _cause(fields: Fields, name: str) -> str | None:
    """Give two upper-case hex digits. Typed JSON may print `00` as the number 0."""
    text = fields.text(name)
    if text is None:
        return None
    if not _CAUSE.match(text):
        fields.notes.fields.append(name)
        return None
    return text.upper().zfill(2)
