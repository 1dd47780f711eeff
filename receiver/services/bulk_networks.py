"""What a run over many devices needs of a network, whichever it is: one protocol, and whom a refusal is about."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from receiver.errors import PlatformRefusedError
    from receiver.lorawan.identifiers import DevEui
    from receiver.services.bulk_file import DeviceRow


@dataclass(frozen=True, slots=True)
class NetworkDevice:
    """A device as a network has it. What is None the network did not tell."""

    dev_eui: DevEui
    ref: str
    """What the network's calls name it by."""
    name: str | None = None
    join_eui: DevEui | None = None
    device_profile: str | None = None
    connectivity_plan: str | None = None
    routing: tuple[str, ...] | None = None
    """Ids of the routing profile or connections it is on; empty: on none, so nothing of it comes to any server."""
    motion: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    info: str | None = None


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """A connectivity plan and its free licences; None: the network does not say how many."""

    id: str
    name: str | None
    free: int | None


class NetworkDevices(Protocol):
    """The devices of one account at one network.

    All methods raise PlatformRefusedError, LoginRefusedError or NoAnswerError, and ConflictError where one device
    cannot be what is asked of it. A `create` whose answer was lost has looked whether it was done before it asked
    again.
    """

    @property
    def platform(self) -> str:
        """Its name for people."""
        ...

    def list_devices(self) -> AsyncIterator[NetworkDevice]:
        """Give all devices of the account."""
        ...

    async def find(self, dev_eui: DevEui) -> NetworkDevice | None:
        """Give one device as `list_devices` does, or None."""
        ...

    async def create(self, row: DeviceRow) -> str:
        """Make a device, and give its reference."""
        ...

    async def update(self, device: NetworkDevice, row: DeviceRow, names: Sequence[str]) -> None:
        """Change those columns of a device to what the row has."""
        ...

    async def delete(self, device: NetworkDevice) -> None:
        """Delete a device; one that is not there any more is deleted."""
        ...

    async def plans(self) -> list[NetworkPlan]:
        """Give the connectivity plans."""
        ...

    async def profiles(self) -> set[str]:
        """Give the ids of the device profiles."""
        ...

    async def routings(self) -> set[str]:
        """Give the ids of the routing profiles or connections."""
        ...


class Verdict(StrEnum):
    """Whom a refusal is about."""

    ROW = "row"
    """This device alone: the next may do better."""
    RUN = "run"
    """Every device that is asked for likewise."""
    UNCLEAR = "unclear"
    """It cannot be told from one."""


_FOR_ALL_CODES = frozenset({214, 222})
_OF_ROW_CODES = frozenset({111})
"""214: no such connectivity plan. 222: no such device profile. 111: there is a device of that DevEUI. Sources: KPN LoRa
Device Management API, application status message; ThingPark Device Manager contract 7.3, example of an import."""

_FOR_ALL = re.compile(
    r"licen[cs]e|\bno (?:more |free |available )*(?:connections|devices)\b|quota"
    r"|(?:connectivity ?plan|device ?profile|routing ?profile|HSM ?group|app(?:lication)? ?server)"
    r" (?:for|not|unknown)\b",
    re.IGNORECASE,
)
_OF_ROW = re.compile(
    r"already|duplicate|exists|in use|entropy|weak|\bkey\b|applicationKey|appKey|\bEUI\b|not found|no device",
    re.IGNORECASE,
)


def judge(error: PlatformRefusedError) -> Verdict:
    """Say whether a refusal is about one device or would meet all of them.

    Neither network publishes its list of errors; so known numbers count first, then statuses, then words.
    """
    if error.oss_code in _OF_ROW_CODES:
        return Verdict.ROW
    if error.oss_code in _FOR_ALL_CODES or error.status in {401, 403}:
        return Verdict.RUN
    if _FOR_ALL.search(error.said):
        return Verdict.RUN
    if error.status == 409 or _OF_ROW.search(error.said):
        return Verdict.ROW
    return Verdict.UNCLEAR
