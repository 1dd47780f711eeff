"""What simulated devices measure, and the bytes they send it in.

Each kind of device has its own FPort, its own profile in CustomerData and values that move as such values
do. Numbers are big-endian in all of them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

_DEGREES_SCALE = 1_000_000  # micro-degrees in 32 bits, as common trackers send them


class Reading(NamedTuple):
    """One FRMPayload in clear, and the FPort it goes out on."""

    f_port: int
    payload: bytes


class Sensor(Protocol):
    """A device's inside: gives its next reading; its profile names it to the network."""

    profile: ClassVar[str]
    f_port: ClassVar[int]

    def read(self, random: Random) -> Reading:
        """Give the next reading."""
        ...


def _step(random: Random, value: float, size: float, low: float, high: float) -> float:
    return min(high, max(low, value + random.uniform(-size, size)))


@dataclass(slots=True)
class ClimateSensor:
    """Temperature (int16, 0.1 °C), relative humidity (uint8, 0.5 %), battery (uint16, mV)."""

    profile: ClassVar[str] = "SIM/Climate"
    f_port: ClassVar[int] = 2
    temperature_c: float = 19.5
    humidity_percent: float = 48.0
    battery_mv: float = 3600.0

    def read(self, random: Random) -> Reading:
        """Give the next reading: 5 bytes."""
        self.temperature_c = _step(random, self.temperature_c, 0.4, -25, 45)
        self.humidity_percent = _step(random, self.humidity_percent, 1.5, 5, 100)
        self.battery_mv = max(2900.0, self.battery_mv - random.uniform(0, 0.2))
        values = (round(self.temperature_c * 10), round(self.humidity_percent * 2), round(self.battery_mv))
        return Reading(self.f_port, struct.pack(">hBH", *values))


@dataclass(slots=True)
class Tracker:
    """Latitude and longitude (int32, micro-degrees), speed (uint8, km/h), battery (uint8, %)."""

    profile: ClassVar[str] = "SIM/Tracker"
    f_port: ClassVar[int] = 18
    latitude: float = 52.0907
    longitude: float = 5.1214
    speed_km_h: float = 0.0
    battery_percent: float = 98.0

    def read(self, random: Random) -> Reading:
        """Give the next reading: 10 bytes."""
        self.speed_km_h = _step(random, self.speed_km_h, 12, 0, 90)
        reach = self.speed_km_h / 5000  # degrees in the few minutes between two readings
        self.latitude = _step(random, self.latitude, reach, 50.8, 53.5)
        self.longitude = _step(random, self.longitude, reach, 3.4, 7.1)
        self.battery_percent = max(5.0, self.battery_percent - random.uniform(0, 0.02))
        position = (round(self.latitude * _DEGREES_SCALE), round(self.longitude * _DEGREES_SCALE))
        return Reading(
            self.f_port, struct.pack(">iiBB", *position, round(self.speed_km_h), round(self.battery_percent))
        )


@dataclass(slots=True)
class ParkingSensor:
    """Occupied (uint8, 0 or 1), times occupied (uint16), magnetic field on three axes (int16, 0.1 µT)."""

    profile: ClassVar[str] = "SIM/Parking"
    f_port: ClassVar[int] = 1
    occupied: bool = False
    count: int = 0

    def read(self, random: Random) -> Reading:
        """Give the next reading: 9 bytes."""
        if random.random() < 0.6:
            self.occupied = not self.occupied
            self.count = (self.count + self.occupied) % 2**16
        field = [random.randint(-900, 900) if self.occupied else random.randint(-40, 40) for _ in range(3)]
        return Reading(self.f_port, struct.pack(">BHhhh", self.occupied, self.count, *field))


@dataclass(slots=True)
class WaterMeter:
    """Volume (uint32, litres), flow (uint16, litres an hour), alarm bits (uint8)."""

    profile: ClassVar[str] = "SIM/WaterMeter"
    f_port: ClassVar[int] = 10
    volume_l: int = 184_250

    def read(self, random: Random) -> Reading:
        """Give the next reading: 7 bytes."""
        flow = random.choice((0, 0, 0, 12, 90, 420))
        self.volume_l = (self.volume_l + flow // 12) % 2**32
        return Reading(self.f_port, struct.pack(">IHB", self.volume_l, flow, int(flow > 400)))


@dataclass(slots=True)
class TextSensor:
    """ASCII text such as `T=21.5;B=3.61`, as home-made devices send it."""

    profile: ClassVar[str] = "SIM/Text"
    f_port: ClassVar[int] = 3
    temperature_c: float = 21.0

    def read(self, random: Random) -> Reading:
        """Give the next reading: 13 or 14 bytes."""
        self.temperature_c = _step(random, self.temperature_c, 0.5, -25, 45)
        text = f"T={self.temperature_c:.1f};B={random.uniform(3.3, 3.7):.2f}"
        return Reading(self.f_port, text.encode("ascii"))


SENSORS: Mapping[str, type[Sensor]] = {
    "climate": ClimateSensor,
    "tracker": Tracker,
    "parking": ParkingSensor,
    "meter": WaterMeter,
    "text": TextSensor,
}
"""The kinds of devices, by the name they have in options."""
