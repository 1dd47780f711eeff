"""What a redecoding changes: the measurements that codecs made of frames, held against those that stand. Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, NamedTuple

from receiver.services.decoding_frames import series_key, storable_key, value_row
from receiver.storage.telemetry import SeriesKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from receiver.services.decoding_frames import DecodedFrame
    from receiver.storage.redecoding import StandingValue
    from receiver.storage.telemetry import NewValue


@dataclass(frozen=True, slots=True)
class RedecodingCounts:
    """Frames, and the measurements of those that were decoded or failed."""

    decoded: int = 0
    failed: int = 0
    """Their codec refused them: they have no measurements any more."""
    left: int = 0
    """No codec is for them: what stands of them stays as it is."""
    added: int = 0
    removed: int = 0
    changed: int = 0
    """The same device, name, unit and time, and another value."""
    unchanged: int = 0

    def __add__(self, other: RedecodingCounts) -> RedecodingCounts:
        return RedecodingCounts(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


class Told(NamedTuple):
    """A value with its unit."""

    value: float | bool | str
    unit: str | None

    def __str__(self) -> str:
        value = str(self.value)
        if isinstance(self.value, bool):
            value = value.lower()
        elif isinstance(self.value, float):
            value = value.removesuffix(".0")
        return value if self.unit is None else f"{value} {self.unit}"

    def __repr__(self) -> str:
        return f"Told({self.unit})"


@dataclass(frozen=True, slots=True)
class Difference:
    """One measurement before and after; None: there was none, or there is none any more."""

    dev_eui: str
    at: datetime
    name: str
    before: Told | None
    after: Told | None


class _Place(NamedTuple):
    """Where a measurement of one frame stands."""

    key: SeriesKey
    at: datetime


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is to be done so that just the new measurements stand, with what it changes for people."""

    counts: RedecodingCounts
    put: list[tuple[SeriesKey, NewValue]]
    """Those whose value or codec version is another; their `series_id` is not known yet."""
    gone: list[StandingValue]
    samples: list[Difference]


def compare(frames: Sequence[DecodedFrame], standing: Sequence[StandingValue], most_samples: int) -> Comparison:
    """Hold what codecs made of frames against what stands of them."""
    by_uplink: dict[int, list[StandingValue]] = {}
    for row in standing:
        by_uplink.setdefault(row.uplink_id, []).append(row)
    put: list[tuple[SeriesKey, NewValue]] = []
    gone: list[StandingValue] = []
    samples: list[Difference] = []
    added = changed = unchanged = 0
    for frame in frames:
        dev_eui = frame.uplink.dev_eui
        before = {
            _Place(SeriesKey(dev_eui, row.name, row.unit), row.at): row for row in by_uplink.get(frame.uplink.id, ())
        }
        after = _new_values(frame)
        for place, new in after.items():
            old = before.get(place)
            if old is None:
                added += 1
            elif (old.value, old.text) == (new.value, new.text):
                unchanged += 1
            else:
                changed += 1
            if old is None or (old.value, old.text, old.codec_version_id) != (
                new.value,
                new.text,
                new.codec_version_id,
            ):
                put.append((place.key, new))
        gone += [row for place, row in before.items() if place not in after]
        if len(samples) < most_samples:
            samples += _differences(before, after)
    failed = sum(frame.decoding.failed for frame in frames)
    counts = RedecodingCounts(len(frames) - failed, failed, 0, added, len(gone), changed, unchanged)
    return Comparison(counts, put, gone, samples[:most_samples])


def _new_values(frame: DecodedFrame) -> dict[_Place, NewValue]:
    values: dict[_Place, NewValue] = {}
    for one in frame.measured.measurements:
        # The first of two in one place stands, as where they are written.
        values.setdefault(_Place(storable_key(series_key(frame, one)), one.at), value_row(frame, 0, one))
    return values


def _differences(before: Mapping[_Place, StandingValue], after: Mapping[_Place, NewValue]) -> Iterator[Difference]:
    """Give what differs; a value that only changed its unit, or its value and unit, is one difference for people."""
    told_before = {place: _told(place, row) for place, row in before.items()}
    told_after = {place: _told(place, row) for place, row in after.items()}
    only_before: dict[tuple[str, datetime], list[Told]] = {}
    for place, told in told_before.items():
        if place not in told_after:
            only_before.setdefault((place.key.name, place.at), []).append(told)
    for place, told in told_after.items():
        earlier = told_before.get(place)
        if earlier is None:
            others = only_before.get((place.key.name, place.at))
            earlier = others.pop(0) if others else None
        if earlier != told:
            yield Difference(place.key.dev_eui, place.at, place.key.name, earlier, told)
    for place in told_before:
        for told in only_before.pop((place.key.name, place.at), ()):
            yield Difference(place.key.dev_eui, place.at, place.key.name, told, None)


def _told(place: _Place, row: StandingValue | NewValue) -> Told:
    unit = place.key.unit or None
    if row.value is None:
        return Told(row.text or "", unit)
    return Told(row.value if row.text is None else row.text == "true", unit)
