"""What is to be done with each row, seen what the network has; and whom a refusal is about."""

from __future__ import annotations

from dataclasses import replace

import pytest

from receiver.errors import PlatformRefusedError, SettingsError
from receiver.services.bulk_columns import Action
from receiver.services.bulk_file import DeviceRow
from receiver.services.bulk_networks import NetworkDevice, NetworkPlan, Verdict, judge
from receiver.services.bulk_plan import Step, make_plan, refuse_full_plans, refuse_unknown_names

EUI = "0059AC0000000001"
ROW = DeviceRow(2, EUI, name="Meter", device_profile="LORA/A", connectivity_plan="plan", routing="TWA_1.2")
THERE = NetworkDevice(
    EUI, "15532", name="Meter", device_profile="LORA/A", connectivity_plan="plan", routing=("TWA_1.2",)
)


def changed(device, **changes):
    return replace(device, **changes)


def step(action, row=ROW, device=THERE):
    (planned,) = make_plan([row], {} if device is None else {EUI: device}, action, "kpn-lora").rows
    return planned.step, planned.differing


@pytest.mark.parametrize(
    ("action", "device", "expected"),
    [
        (Action.CREATE, None, (Step.CREATE, ())),
        (Action.CREATE, THERE, (Step.SAME, ())),
        (Action.CREATE, changed(THERE, name="Other"), (Step.DIFFERENT, ("name",))),
        (Action.CREATE, changed(THERE, routing=()), (Step.DIFFERENT, ("routing",))),
        (Action.CREATE, NetworkDevice(EUI, "15532"), (Step.SAME, ())),
        (Action.UPDATE, None, (Step.UNKNOWN, ())),
        (Action.UPDATE, THERE, (Step.SAME, ())),
        (Action.UPDATE, changed(THERE, name="Other", device_profile="B"), (Step.UPDATE, ("name", "device_profile"))),
        (Action.MOVE, None, (Step.UNKNOWN, ())),
        (Action.MOVE, changed(THERE, name="Other"), (Step.SAME, ())),
        (Action.MOVE, changed(THERE, routing=("TWA_1.3",)), (Step.MOVE, ("routing",))),
        (Action.MOVE, changed(THERE, routing=("TWA_1.2", "TWA_1.3")), (Step.MOVE, ("routing",))),
        (Action.MOVE, changed(THERE, routing=None), (Step.MOVE, ("routing",))),
        (Action.DELETE, None, (Step.ABSENT, ())),
        (Action.DELETE, THERE, (Step.DELETE, ())),
    ],
)
def test_a_step_follows_from_what_is_there(action, device, expected):
    assert step(action, device=device) == expected


def test_a_position_is_the_same_within_a_metre():
    row = DeviceRow(2, EUI, latitude=52.1, longitude=5.0)
    near = NetworkDevice(EUI, "1", latitude=52.099998, longitude=5.000001)

    (planned,) = make_plan([row], {EUI: near}, Action.UPDATE, "thingpark").rows

    assert planned.step is Step.SAME


def test_licences_are_counted_for_devices_that_are_to_be_made():
    rows = [changed(ROW, line=number, dev_eui=f"{number:016X}") for number in range(1, 4)]
    plan = make_plan(rows, {rows[0].dev_eui: THERE}, Action.CREATE, "kpn-lora", [NetworkPlan("plan", None, 1)])

    assert [(use.plan, use.needed, use.free) for use in plan.uses] == [("plan", 2, 1)]
    with pytest.raises(SettingsError, match="has 1 free licences, and 2 are needed"):
        refuse_full_plans(plan)


def test_a_plan_that_does_not_say_what_is_free_stops_nothing():
    refuse_full_plans(make_plan([ROW], {}, Action.CREATE, "kpn-lora", [NetworkPlan("plan", None, None)]))


def test_names_are_not_checked_against_a_list_that_the_network_does_not_give():
    refuse_unknown_names(make_plan([ROW], {}, Action.CREATE, "kpn-lora"), set(), set(), set())


def test_names_that_are_not_sent_are_not_checked():
    plan = make_plan([ROW], {EUI: THERE}, Action.CREATE, "kpn-lora")

    refuse_unknown_names(plan, {"other"}, {"other"}, {"other"})


@pytest.mark.parametrize(
    ("status", "code", "said", "verdict"),
    [
        (400, 214, "No ConnectivityPlan for ID: x and Operator: 24", Verdict.RUN),
        (400, None, "Bad request: No ConnectivityPlan for ID: x and Operator: 24", Verdict.RUN),
        (400, 222, "No device profile for the given ID : X", Verdict.RUN),
        (400, None, "Bad request: No DeviceProfile for ID: X", Verdict.RUN),
        (400, None, "Bad request: No HSMGroup for ID: X", Verdict.RUN),
        (400, None, "Bad request: No more connections available in ConnectivityPlan x", Verdict.RUN),
        (409, None, "No more license available for the network subscription x", Verdict.RUN),
        (403, None, "Forbidden", Verdict.RUN),
        (400, 111, "A Device report already exists for the given EUI", Verdict.ROW),
        (409, None, "A Device with EUI 0059AC already exists", Verdict.ROW),
        (400, None, "applicationKey is not 16 bytes in hexadecimal", Verdict.ROW),
        (400, None, "The key has too low an entropy", Verdict.ROW),
        (400, None, "Device not found", Verdict.ROW),
        (400, None, "The tides are wrong", Verdict.UNCLEAR),
        (400, None, "", Verdict.UNCLEAR),
    ],
)
def test_a_refusal_is_about_one_device_or_all(status, code, said, verdict):
    assert judge(PlatformRefusedError(said, status=status, oss_code=code, said=said)) is verdict
