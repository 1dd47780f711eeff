"""What ThingPark's alarms are called: of devices and multicast groups, their types and their states.

Sources: ThingPark 7.3, management of alarm occurrences (names); Device Manager contract 7.3, `AlarmBrief` (states).
KPN's gateway numbers the types in the same way (`deviceAlarmTypeId`).
"""

from __future__ import annotations

from enum import IntEnum

ALARM_NAMES: dict[int, str] = {
    1: "battery level",
    2: "traffic exceeds the downlink regulator",
    3: "traffic exceeds the uplink regulator",
    4: "no uplink activity",
    5: "higher data rate than expected",
    6: "lower data rate than expected",
    7: "join request replayed (DevNonce)",
    8: "join request with a wrong MIC",
    9: "join request replayed (wrong MIC correlation)",
    10: "uplink frame replayed (wrong FCnt)",
    11: "uplink frame replayed (repeated FCnt)",
    12: "MAC command blocked: rejected by the device",
    13: "MAC command blocked: no reply of the device",
    14: "join request with an invalid JoinEUI",
    15: "join request replayed (invalid DevNonce)",
    16: "uplink frame with a wrong MIC",
}
"""By type. 17 and above are in use, and nothing that is published names them."""

EVENT_TYPES = frozenset({2, 3, 7, 8, 9, 10, 11, 14, 15, 16})
"""Types that count occurrences; the others are states, whose occurrence is 1."""


class AlarmState(IntEnum):
    """How grave an alarm is; acknowledging it does not change this."""

    CLEARED = 1
    INDETERMINATE = 2
    WARNING = 3
    MINOR = 4
    MAJOR = 5
    CRITICAL = 6


def alarm_name(alarm_id: int | None) -> str:
    """Give the name of an alarm's type, such as `no uplink activity`; `alarm 17` where it has none."""
    if alarm_id is None:
        return "alarm of no known type"
    return ALARM_NAMES.get(alarm_id, f"alarm {alarm_id}")


def alarm_state_name(state: int | None) -> str:
    """Give the name of a state in lower case, such as `warning`; `state 9` for one that is not known."""
    if state is None:
        return "unknown"
    try:
        return AlarmState(state).name.lower()
    except ValueError:
        return f"state {state}"
