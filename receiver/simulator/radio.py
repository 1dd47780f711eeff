"""What gateways (LRRs) hear of a frame: plausible levels, EU868 channels, and positions computed from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from receiver.errors import IdentifierError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from random import Random

MAX_LISTED_GATEWAYS = 10
"""The network lists the ten best. Source: ThingPark LRC–AS tunnel interface, Lrrs."""

_CENTRE = (52.0907, 5.1214)  # Utrecht

_CHANNELS: tuple[tuple[str, str, Decimal], ...] = (  # name, sub-band, MHz; EU868's three and KPN's five more
    ("LC1", "G1", Decimal("868.1")),
    ("LC2", "G1", Decimal("868.3")),
    ("LC3", "G1", Decimal("868.5")),
    ("LC4", "G2", Decimal("867.1")),
    ("LC5", "G2", Decimal("867.3")),
    ("LC6", "G2", Decimal("867.5")),
    ("LC7", "G2", Decimal("867.7")),
    ("LC8", "G2", Decimal("867.9")),
)

_LOWEST_SNR_DB = {7: -7.5, 8: -10.0, 9: -12.5, 10: -15.0, 11: -17.5, 12: -20.0}
"""Demodulation floor per spreading factor. Source: Semtech SX1276 data sheet, table 13."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A base station of the network. Degrees."""

    lrr_id: str
    name: str
    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class Heard:
    """One gateway's reception. dBm, dB; ESP is the signal's own power without the noise."""

    gateway: Gateway
    rssi_dbm: float
    snr_db: float

    @property
    def esp_dbm(self) -> float:
        """RSSI + SNR − 10·log10(1 + 10^(SNR/10))."""
        return self.rssi_dbm + self.snr_db - 10 * math.log10(1 + 10 ** (self.snr_db / 10))


@dataclass(frozen=True, slots=True)
class Reception:
    """How one frame came in. `heard` has the best gateway (highest SNR) first; it may be empty."""

    spreading_factor: int
    channel: str
    sub_band: str
    frequency_mhz: Decimal
    heard: tuple[Heard, ...]


@dataclass(frozen=True, slots=True)
class ComputedFix:
    """A position that the network computed from receptions. Degrees, metres; `at` is the fix's own time."""

    at: datetime
    latitude: float
    longitude: float
    radius_m: float
    f_cnt_up_used: int


def make_gateways(random: Random) -> tuple[Gateway, ...]:
    """Give ten gateways within some 10 km of one place, with the identifiers that networks give them."""
    return tuple(
        Gateway(
            lrr_id=f"FF01{random.getrandbits(16):04X}",
            name=f"gateway-{number}",
            latitude=_CENTRE[0] + random.uniform(-0.08, 0.08),
            longitude=_CENTRE[1] + random.uniform(-0.12, 0.12),
        )
        for number in range(1, MAX_LISTED_GATEWAYS + 1)
    )


def receive(random: Random, gateways: Sequence[Gateway], count: int | None = None) -> Reception:
    """Give a reception by `count` of the gateways, or by one to four of them.

    Raises:
        IdentifierError: there are fewer gateways than `count`.
    """
    if count is not None and not 0 <= count <= len(gateways):
        raise IdentifierError(f"The number of gateways is 0 to {len(gateways)}, not {count}.")
    if count is None:
        count = min(len(gateways), random.choice((1, 1, 1, 2, 2, 3, 4)))
    spreading_factor = random.choice((7, 7, 7, 8, 9, 10, 12))
    heard = [
        Heard(
            gateway,
            rssi_dbm=float(random.randint(-120, -60)),
            snr_db=random.randrange(int(_LOWEST_SNR_DB[spreading_factor] * 4), 45) / 4,  # in quarters of a dB
        )
        for gateway in random.sample(gateways, count)
    ]
    heard.sort(key=lambda reception: reception.snr_db, reverse=True)
    channel, sub_band, frequency_mhz = random.choice(_CHANNELS)
    return Reception(spreading_factor, channel, sub_band, frequency_mhz, tuple(heard))


def compute_fix(random: Random, at: datetime, f_cnt_up_used: int) -> ComputedFix:
    """Give a position among the gateways, computed shortly before `at`."""
    return ComputedFix(
        at=at - timedelta(milliseconds=random.randint(400, 4000)),
        latitude=_CENTRE[0] + random.uniform(-0.05, 0.05),
        longitude=_CENTRE[1] + random.uniform(-0.08, 0.08),
        radius_m=random.uniform(40, 900),
        f_cnt_up_used=f_cnt_up_used,
    )
