"""What is to be done with each row of a file, seen what the network has: the plan of a run. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from math import isclose
from typing import TYPE_CHECKING

from receiver.errors import SettingsError
from receiver.lorawan.identifiers import shorten
from receiver.services.bulk_columns import CHANGEABLE, NO_ROUTING, Action

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from receiver.services.bulk_file import DeviceRow
    from receiver.services.bulk_networks import NetworkDevice, NetworkPlan

_COMPARED = ("name", "join_eui", "device_profile", "connectivity_plan", "routing")  # keys no network gives back
_SHOWN_LINES = 10
_DEGREES = 1e-5  # a metre: networks keep positions as floats of 32 bits


class Step(StrEnum):
    """What is to be done with a row."""

    CREATE = "create"
    UPDATE = "update"
    MOVE = "move"
    DELETE = "delete"
    SAME = "same"
    """Nothing: the network has it so."""
    DIFFERENT = "different"
    """Nothing: it was to be created, and is there otherwise."""
    ABSENT = "absent"
    """Nothing: it was to be deleted, and is not there."""
    UNKNOWN = "unknown"
    """Nothing: it was to be changed, and is not there."""


SENT = frozenset({Step.CREATE, Step.UPDATE, Step.MOVE, Step.DELETE})
"""Steps that need a request."""


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """A row and its step; `device` as the network has it, `differing` the columns in which they differ."""

    row: DeviceRow
    step: Step
    device: NetworkDevice | None = None
    differing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlanUse:
    """A connectivity plan: how many devices are to be made in it, and how many it has room for, if it says so."""

    plan: str
    needed: int
    free: int | None


@dataclass(frozen=True, slots=True)
class BulkPlan:
    """The steps of all rows, and what they need of connectivity plans."""

    rows: tuple[PlannedRow, ...]
    uses: tuple[PlanUse, ...] = ()
    keys_left_out: bool = False
    """There are keys in the file that this action does not send."""

    @property
    def counts(self) -> dict[str, int]:
        """Give how many rows there are of each step; steps without a row are left out."""
        found = Counter(planned.step for planned in self.rows)
        return {step.value: found[step] for step in Step if found[step]}


def make_plan(
    rows: Iterable[DeviceRow],
    devices: Mapping[str, NetworkDevice],
    action: Action,
    surface: str,
    plans: Sequence[NetworkPlan] = (),
) -> BulkPlan:
    """Give the plan for rows, `devices` being all those of them that the network has, by DevEUI."""
    planned = tuple(_plan_row(row, devices.get(row.dev_eui), action, surface) for row in rows)
    needed = Counter(one.row.connectivity_plan for one in planned if one.step is Step.CREATE)
    free = {plan.id: plan.free for plan in plans}
    uses = tuple(PlanUse(plan, number, free.get(plan)) for plan, number in sorted(needed.items()) if plan)
    has_keys = any(one.row.app_key or one.row.nwk_key for one in planned)
    return BulkPlan(planned, uses, has_keys and action is not Action.CREATE)


def differing_columns(row: DeviceRow, device: NetworkDevice, names: Collection[str]) -> tuple[str, ...]:
    """Give those of the columns in which a row differs from a device; what the row does not say is not compared."""
    return tuple(name for name in names if not _is_same(name, row, device))


def refuse_unknown_names(
    plan: BulkPlan, plans: Collection[str], profiles: Collection[str], routings: Collection[str]
) -> None:
    """Return if all plans, profiles and routings that are to be sent are the network's; an empty list tells nothing.

    Raises:
        SettingsError: some are not; the sentence says which, and in which lines.
    """
    sentences = []
    for name, what, known in (
        ("connectivity_plan", "connectivity plan", plans),
        ("device_profile", "device profile", profiles),
        ("routing", "routing profile or connection", routings),
    ):
        lines: dict[str, list[int]] = {}
        for one in plan.rows:
            value = getattr(one.row, name)
            is_sent = one.step in {Step.CREATE, Step.UPDATE} or (one.step is Step.MOVE and name == "routing")
            if is_sent and known and value and value not in known and value != NO_ROUTING:
                lines.setdefault(value, []).append(one.row.line)
        for value, found in lines.items():
            at = ", ".join(str(line) for line in found[:_SHOWN_LINES]) + (", …" if len(found) > _SHOWN_LINES else "")
            there = ", ".join(sorted(known)[:_SHOWN_LINES])
            sentences.append(
                f"The network has no {what} {shorten(value, 80)!r} (line {at}); it has: {shorten(there, 400)}."
            )
    if sentences:
        raise SettingsError("\n".join([*sentences[:_SHOWN_LINES], "Nothing was sent."]))


def refuse_full_plans(plan: BulkPlan) -> None:
    """Return if each connectivity plan has room for what is to be made in it, or does not say.

    Raises:
        SettingsError: one has not.
    """
    for use in plan.uses:
        if use.free is not None and use.free < use.needed:
            raise SettingsError(
                f"The connectivity plan {use.plan} has {use.free:,} free licences, and {use.needed:,} are needed:"
                " choose another plan, delete devices that are not used, or have it widened at the network. Nothing was"
                " sent."
            )


def _plan_row(row: DeviceRow, device: NetworkDevice | None, action: Action, surface: str) -> PlannedRow:
    match action:
        case Action.CREATE:
            return _plan_create(row, device)
        case Action.DELETE:
            return PlannedRow(row, Step.ABSENT if device is None else Step.DELETE, device)
        case Action.MOVE:
            names: tuple[str, ...] = ("routing",)
        case Action.UPDATE:
            names = CHANGEABLE[surface]
    if device is None:
        return PlannedRow(row, Step.UNKNOWN)
    differing = differing_columns(row, device, names)
    step = Step.MOVE if action is Action.MOVE else Step.UPDATE
    return PlannedRow(row, step if differing else Step.SAME, device, differing)


def _plan_create(row: DeviceRow, device: NetworkDevice | None) -> PlannedRow:
    if device is None:
        return PlannedRow(row, Step.CREATE)
    told = tuple(name for name in _COMPARED if getattr(device, name) is not None)
    differing = differing_columns(row, device, told)
    return PlannedRow(row, Step.DIFFERENT if differing else Step.SAME, device, differing)


def _is_same(name: str, row: DeviceRow, device: NetworkDevice) -> bool:
    wanted = getattr(row, name)
    if wanted is None:
        return True
    found = getattr(device, name)
    if name == "routing":
        return found is not None and (found == () if wanted == NO_ROUTING else found == (wanted,))
    if isinstance(wanted, float):
        return isinstance(found, float) and isclose(wanted, found, abs_tol=_DEGREES)
    return bool(wanted == found)
