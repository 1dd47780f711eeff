"""The kinds of reports by the names they have in options, and how a network is asked for one of each."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Unpack

from receiver.simulator.network import SimulatedNetwork

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from receiver.simulator.device import SimulatedDevice
    from receiver.simulator.network import Sending
    from receiver.simulator.push import Push


class ReportKind(StrEnum):
    """What can be pushed. Several are the same report on the wire: three uplinks, three notifications."""

    UPLINK = "uplink"
    EMPTY_UPLINK = "empty-uplink"
    JOIN_REQUEST = "join-request"
    JOIN = "join"
    RESET = "reset"
    DEVICE_STATUS = "device-status"
    DOWNLINK_SENT = "downlink-sent"
    DOWNLINK_REJECTED = "downlink-rejected"
    LOCATION = "location"
    MULTICAST_SUMMARY = "multicast-summary"
    ALARM = "alarm"
    CELLULAR = "cellular"
    NEVER_SEEN = "never-seen"


_REPORTS: Mapping[ReportKind, Callable[..., Push]] = {
    ReportKind.UPLINK: SimulatedNetwork.uplink,
    ReportKind.EMPTY_UPLINK: SimulatedNetwork.empty_uplink,
    ReportKind.JOIN_REQUEST: SimulatedNetwork.join_request,
    ReportKind.JOIN: SimulatedNetwork.join,
    ReportKind.RESET: SimulatedNetwork.reset,
    ReportKind.DEVICE_STATUS: SimulatedNetwork.device_status,
    ReportKind.DOWNLINK_SENT: SimulatedNetwork.downlink_sent,
    ReportKind.DOWNLINK_REJECTED: SimulatedNetwork.downlink_rejected,
    ReportKind.LOCATION: SimulatedNetwork.location,
    ReportKind.MULTICAST_SUMMARY: SimulatedNetwork.multicast_summary,
    ReportKind.ALARM: SimulatedNetwork.alarm,
    ReportKind.CELLULAR: SimulatedNetwork.cellular,
    ReportKind.NEVER_SEEN: SimulatedNetwork.never_seen,
}


def make_report(
    network: SimulatedNetwork, device: SimulatedDevice, kind: ReportKind, **sending: Unpack[Sending]
) -> Push:
    """Give a report of `kind` about `device` with all that it says left to the network.

    Raises:
        ConflictError: an ABP device is asked to join, or an OTAA device to reset.
    """
    return _REPORTS[kind](network, device, **sending)
