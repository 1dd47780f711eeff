"""Which codec a frame is for: the assignment that says most of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from receiver.storage.codecs import StoredAssignment
    from receiver.storage.undecoded import UndecodedUplink

_WEIGHTS = {"dev_eui": 16, "driver": 8, "model": 4, "connection_id": 2, "f_port": 1}
"""A device before what kind it is, its driver before its profile, both before whence it comes; of two that are equal
otherwise, the one that names the port."""


class CodecChoice:
    """Chooses by all assignments as they stood at one moment."""

    def __init__(self, assignments: Sequence[StoredAssignment]) -> None:
        weighed = [(_weigh(one), number, one) for number, one in enumerate(assignments)]
        self._by_weight = [one for _, _, one in sorted(weighed, key=lambda entry: entry[:2], reverse=True)]
        self._chosen: dict[tuple[object, ...], int | None] = {}

    def version_for(self, uplink: UndecodedUplink) -> int | None:
        """Give the id of the codec version for an uplink; None: no assignment is for it."""
        key = (uplink.dev_eui, uplink.driver, uplink.model, uplink.connection_id, uplink.f_port)
        if key not in self._chosen:
            if len(self._chosen) >= _MOST_REMEMBERED:
                self._chosen.clear()
            self._chosen[key] = next((one.version_id for one in self._by_weight if _matches(one, uplink)), None)
        return self._chosen[key]


_MOST_REMEMBERED = 20_000
"""A fleet's devices and ports; as many texts take some megabytes."""


def _weigh(assignment: StoredAssignment) -> int:
    return sum(weight for name, weight in _WEIGHTS.items() if getattr(assignment, name) is not None)


def _matches(assignment: StoredAssignment, uplink: UndecodedUplink) -> bool:
    return (
        assignment.dev_eui in {None, uplink.dev_eui}
        and assignment.driver in {None, uplink.driver}
        and assignment.model in {None, uplink.model}
        and assignment.connection_id in {None, uplink.connection_id}
        and assignment.f_port in {None, uplink.f_port}
    )
