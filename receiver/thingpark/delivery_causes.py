"""What the network says of each transmission slot of a downlink, in words.

A report has a cause for the first receive window (in class B and C: for the ping slot or the only window), for the
second one, for the ping slot and for the relay's window. `00` says that nothing went wrong there. `C0` beside one
that was sent is no failure: the network chose the second window.

Source: ThingPark Wireless Logger user guide, delivery failed causes for unicast and multicast packets.
"""

from __future__ import annotations

import re

NO_FAILURE = "00"

SLOTS = {1: "the first receive window", 2: "the second receive window", 3: "the ping slot", 4: "the relay's window"}
"""TransmissionSlot; 0 is an unknown one. Source: ThingPark LRC–AS tunnel interface, DevEUI_downlink_Sent."""

_CAUSES = {
    "A0": "the gateway's radio was stopped",
    "A1": "the gateway's downlink radio was stopped",
    "A2": "the ping slot was not available",
    "A3": "the gateway's radio was busy",
    "A4": "the channel was in use (listen before talk)",
    "A5": "the gateway's radio board had an error",
    "A6": "the gateway's basic station had a failure of its own",
    "B0": "the frame reached the gateway too late",
    "C0": "the network chose the second window",
    "D0": "the gateway's duty cycle was used up",
    "DA": "the duty cycle, as the network counts it, was used up",
    "DB": "the frame was longer than the dwell time allows",
    "DC": "no gateway was synchronised by GPS",
    "DD": "no gateway was connected",
    "DE": "the peering operator does not allow it",
    "DF": "the NetID was wrong",
    "E0": "a class C frame waited longer than 60 seconds",
    "E1": "the network's queue was full",
    "E2": "the frame counter was not valid",
    "E3": "its validity time was over",
    "E4": "the queue was emptied because the device joined anew",
}

_FAMILIES = {  # for a code that a newer network adds
    "A": "the transmission slot was busy",
    "B": "the frame came too late",
    "C": "the network chose another window",
    "D": "duty cycle or the gateway forbade it",
    "E": "the frame was dropped from the network's queue",
}

_CODE = re.compile(r"[0-9A-F]{2}\Z")
_SHARE = re.compile(r"\s*([0-9A-Fa-f]{2})\s*=\s*(\d{1,9})\s*\Z", re.ASCII)

MOST_SHARES = 40
"""There are about twenty codes."""


def describe_cause(code: str) -> str:
    """Say what a code means, with the code; one that is not known is told by its family, or as it is."""
    code = code.upper()
    if not _CODE.match(code):
        return "an unreadable cause"
    words = _CAUSES.get(code) or _FAMILIES.get(code[0])
    return f"{words} ({code})" if words else f"cause {code}"


def describe_sent(slot: int | None) -> str:
    """Say that a gateway transmitted a frame, and when."""
    where = SLOTS.get(slot) if slot is not None else None
    return "A gateway transmitted it." if where is None else f"A gateway transmitted it in {where}."


def describe_failure(causes: tuple[str | None, ...]) -> str:
    """Say why no slot carried a frame: the causes of slots 1, 2, 3 and 4, absent ones as None or `00`."""
    told = [
        f"in {SLOTS[slot]}, {describe_cause(cause)}"
        for slot, cause in enumerate(causes, start=1)
        if cause is not None and cause != NO_FAILURE
    ]
    if not told:
        return "The network could not transmit it, and did not say why."
    return f"The network could not transmit it: {'; '.join(told)}."


def describe_distribution(text: str | None) -> str | None:
    """Say how many gateways failed for which cause, out of a text like `A3=2,D0=7`; None if there is nothing to say."""
    if not text:
        return None
    parts = [_SHARE.match(part) for part in text.split(",")[:MOST_SHARES]]
    told = [f"{part[2]} × {describe_cause(part[1])}" for part in parts if part is not None and int(part[2])]
    return ", ".join(told) or None


def gist_of_causes(causes: tuple[str | None, ...]) -> str:
    """Give the causes as a word for machines: `failed-A3-D0`; `failed` without any."""
    codes = [cause.upper() for cause in causes if cause is not None and _CODE.match(cause.upper())]
    return "-".join(["failed", *(code for code in codes if code != NO_FAILURE)])
