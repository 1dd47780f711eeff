"""Collections of codecs in a local checkout: tells which one it is, and reads one device of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.codecs.actility_catalogue import list_actility_catalogue, read_from_actility_catalogue
from receiver.codecs.device_repository import list_device_repository, read_from_device_repository

if TYPE_CHECKING:
    from pathlib import Path

    from receiver.codecs.library import FoundCodec, Listing
    from receiver.codecs.values import Signature


def is_device_repository(root: Path) -> bool:
    """Say whether it is the LoRaWAN device repository, by the index that no catalogue of Actility has."""
    return (root / "vendor" / "index.yaml").is_file()


def list_collection(root: Path, *, vendor: str | None = None) -> Listing:
    """Give the names of what can be read from a checkout.

    Raises:
        CodecSourceError: it is no collection that is known.
    """
    if is_device_repository(root):
        return list_device_repository(root, vendor=vendor)
    return list_actility_catalogue(root, vendor=vendor)


def read_from_collection(root: Path, device: str, *, signature: Signature | None = None) -> FoundCodec:
    """Read the codec of one device, `vendor/device`; of Actility's catalogues `vendor/driver`.

    Raises:
        CodecSourceError: there is none, or it cannot be read.
    """
    if is_device_repository(root):
        return read_from_device_repository(root, device, signature=signature)
    return read_from_actility_catalogue(root, device, signature=signature)
