"""The codecs of the simulated devices: a script each, with examples, and the units of what it gives."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SCRIPTS = Path(__file__).with_name("codecs")
"""`<kind>.js` and `<kind>.examples.json`, by the names of `sensors.SENSORS`."""

UNITS: Mapping[str, Mapping[str, str]] = {
    "climate": {"temperature": "Cel", "humidity": "%RH", "battery": "V"},
    "tracker": {"position.latitude": "lat", "position.longitude": "lon", "speed": "km/h", "battery": "%"},
    "parking": {"field.x": "uT", "field.y": "uT", "field.z": "uT"},
    "meter": {"volume": "l", "flow": "l/h"},
    "text": {"temperature": "Cel", "battery": "V"},
}
"""By the kind of device and the name of the measurement; spelled as SenML does where it has a name for them."""


def script_of(kind: str) -> Path:
    """Give the script of a kind of device."""
    return SCRIPTS / f"{kind}.js"
