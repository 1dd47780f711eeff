"""Which telemetry is exported: devices, names, a range of time, and the uplinks behind it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from receiver.errors import NotFoundError
from receiver.storage.export_reader import Narrowing
from receiver.storage.export_values import list_exported_devices, list_exported_series
from receiver.storage.series_values import LORAWAN_NAMES, LORAWAN_PREFIX, lorawan_series

if TYPE_CHECKING:
    from collections.abc import Iterator

    from receiver.storage.export_reader import ExportReader
    from receiver.storage.export_values import ExportedDevice
    from receiver.storage.series_values import Series


@dataclass(frozen=True, slots=True)
class Selection:
    """What is wanted; nothing given means all devices, and all measurements that codecs made."""

    dev_euis: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    """Of measurements; those that begin with `lorawan.` are what LoRaWAN itself measures."""
    lorawan: bool = False
    """All that LoRaWAN itself measures, too."""
    narrowing: Narrowing = field(default_factory=Narrowing)

    @property
    def lorawan_names(self) -> tuple[str, ...]:
        """What is wanted of LoRaWAN itself."""
        return tuple(name for name in LORAWAN_NAMES if self.lorawan or name in self.names)

    @property
    def codec_names(self) -> tuple[str, ...]:
        """What is wanted of codecs; empty: all of it, unless `no_codecs`."""
        return tuple(name for name in self.names if not name.startswith(LORAWAN_PREFIX))

    @property
    def no_codecs(self) -> bool:
        """Whether only LoRaWAN itself is asked for."""
        return bool(self.names) and not self.codec_names

    def devices(self, reader: ExportReader) -> Iterator[ExportedDevice]:
        """Give the devices by DevEUI."""
        return list_exported_devices(reader, self.dev_euis)

    def series_of(self, reader: ExportReader, dev_eui: str) -> list[Series]:
        """Give what is wanted of a device by name and unit."""
        of_codecs = [] if self.no_codecs else list_exported_series(reader, dev_eui, self.codec_names)
        of_lorawan = lorawan_series(dev_eui, self.lorawan_names)
        return sorted([*of_codecs, *of_lorawan], key=lambda one: (one.name, one.unit or "", one.id))

    def check(self, reader: ExportReader) -> None:
        """Return if all that is named is known.

        Raises:
            NotFoundError: a device, or a name of LoRaWAN's own, is not.
        """
        check_devices(reader, self.dev_euis)
        for name in self.names:
            if name.startswith(LORAWAN_PREFIX) and name not in LORAWAN_NAMES:
                raise NotFoundError(f"There is no {name[:40]!r}; there are {', '.join(LORAWAN_NAMES)}.")


def check_devices(reader: ExportReader, dev_euis: tuple[str, ...]) -> None:
    """Return if these devices are known or have measurements.

    Raises:
        NotFoundError: one has neither.
    """
    known = {device.dev_eui for device in list_exported_devices(reader, dev_euis)} if dev_euis else set()
    for dev_eui in dev_euis:
        if dev_eui not in known:
            raise NotFoundError(f"There is no device {dev_eui}. `receiver device list` shows all.")
