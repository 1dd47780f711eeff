"""The reports of what became of downlinks: sent or not, rejected, or how a multicast went on; signed as all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.simulator import report_bodies
from receiver.simulator.lrc_queue import Rejected
from receiver.simulator.radio import receive
from receiver.simulator.report_bodies import to_milliseconds

if TYPE_CHECKING:
    from receiver.simulator.device import SimulatedDevice
    from receiver.simulator.lrc_queue import DevicePlan, Sent
    from receiver.simulator.network import Sending, SimulatedNetwork
    from receiver.simulator.push import Push


def write_report(
    network: SimulatedNetwork, device: SimulatedDevice, plan: DevicePlan, told: Sent | Rejected, sending: Sending
) -> list[Push]:
    """Give the reports of what became of a frame: one, or of a multicast group one for each attempt."""
    if isinstance(told, Rejected):
        return [_rejected(network, device, told, sending)]
    if plan.is_group:
        return _multicast(network, device, plan, told, sending)
    return [_sent(network, device, told, sending)]


def _sent(network: SimulatedNetwork, device: SimulatedDevice, told: Sent, sending: Sending) -> Push:
    at = to_milliseconds(sending.get("at") or network.clock())
    members = report_bodies.downlink_sent(
        network.letterhead,
        device,
        at=told.at,
        f_port=told.frame.f_port,
        f_cnt_down=told.f_cnt_down,
        reception=receive(network.random, network.gateways, 1),
        slot=told.slot,
        correlation_id=told.frame.request.correlation_id,
        causes=told.causes,
    )
    return network.report("DevEUI_downlink_Sent", device, members, at, sending, told.frame.f_port)


def _rejected(network: SimulatedNetwork, device: SimulatedDevice, told: Rejected, sending: Sending) -> Push:
    return network.downlink_rejected(
        device,
        f_port=told.frame.f_port,
        cause=told.text,
        correlation_id=told.frame.request.correlation_id,
        **sending,
    )


def _multicast(
    network: SimulatedNetwork, group: SimulatedDevice, plan: DevicePlan, told: Sent, sending: Sending
) -> list[Push]:
    at = to_milliseconds(sending.get("at") or network.clock())
    failed = len(network.gateways) if told.slot == 0 else plan.failing_gateways
    attempts = [(failed, True), (0 if plan.gateways_recover else failed, False)] if failed else [(0, False)]
    return [
        network.report(
            "DevEUI_multicast_summary",
            group,
            report_bodies.multicast_summary(
                network.letterhead,
                group,
                at=told.at,
                f_port=told.frame.f_port,
                f_cnt_down=told.f_cnt_down,
                gateways=len(network.gateways),
                failed=failing,
                correlation_id=told.frame.request.correlation_id,
                is_partial=is_partial,
            ),
            at,
            sending,
            told.frame.f_port,
        )
        for failing, is_partial in attempts
    ]
