"""Reads one device's codec from a local checkout of the LoRaWAN device repository.

Source: github.com/TheThingsNetwork/lorawan-devices, its README: vendor/index.yaml names vendors, vendor/<vendor>/
index.yaml their devices, vendor/<vendor>/<device>.yaml the codec by firmware version and region, and
vendor/<vendor>/<codec>.yaml the scripts with their examples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.codecs.checkout import as_list, as_object, as_text, checked_name, is_plain, open_checkout
from receiver.codecs.examples import read_codec_definition
from receiver.codecs.library import (
    FoundCodec,
    Listing,
    files_of_definition,
    name_of,
    refuse_parts,
    signature_of,
    tell_licence,
)
from receiver.codecs.script_text import join_scripts
from receiver.codecs.values import Codec, Signature
from receiver.errors import CodecSourceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from receiver.codecs.checkout import Checkout
    from receiver.codecs.values import Json

TERMS = (
    "The LoRaWAN device repository is MIT licensed, and as a collection protected by database right: its makers allow "
    "taking what concerns individual devices, not the whole or a substantial part of it."
)

MAX_NAMES = 50_000
"""Devices listed: a bound only; the repository has thousands."""

_INDEX = "vendor/index.yaml"
_FUNCTIONS = {
    "uplinkDecoder": ("decodeUplink", "normalizeUplink"),
    "downlinkEncoder": ("encodeDownlink",),
    "downlinkDecoder": ("decodeDownlink",),
}


def list_device_repository(root: Path, *, vendor: str | None = None) -> Listing:
    """Give the names of the devices, `vendor/device`, sorted; of one vendor only where it is given.

    A vendor whose index cannot be read is named in the warnings.

    Raises:
        CodecSourceError: `root` is no checkout of the device repository, or the vendor is not in it.
    """
    checkout = open_checkout(root)
    vendors = [vendor] if vendor is not None else _vendors(checkout)
    names: list[str] = []
    warnings: list[str] = []
    for name in vendors:
        try:
            names += [f"{name}/{device}" for device in _devices(checkout, name)]
        except CodecSourceError as problem:
            if vendor is not None:
                raise
            warnings.append(str(problem))
    return Listing(tuple(sorted(names)[:MAX_NAMES]), tuple(warnings))


def read_from_device_repository(
    root: Path, device: str, *, codec: str | None = None, signature: Signature | None = None
) -> FoundCodec:
    """Read the codec of one device.

    Where the scripts of a codec are different files, they are joined, each in a scope of its own.

    Args:
        root: the folder of the checkout.
        device: `vendor/device`.
        codec: which of its codecs; None: that of the firmware version listed last, with a warning if there are more.
        signature: how it is called; None: as its text says.

    Raises:
        CodecSourceError: the device or its codec is not there, or cannot be read.
    """
    checkout = open_checkout(root)
    vendor, model = checked_name(device, "dragino/lht65")
    about = f"vendor/{vendor}/{model}.yaml"
    if not checkout.has(_INDEX):
        raise _no_checkout(checkout)
    if not checkout.has(about):
        raise CodecSourceError(f"{device} is not in {checkout.root}; list the devices of {vendor} to find its name.")
    chosen, folder, warnings = _choose(checkout, about, vendor, codec)
    definition = as_object(checkout.yaml(f"{folder}/{chosen}.yaml"))
    files = files_of_definition(definition)
    if not files:
        raise CodecSourceError(f"{folder}/{chosen}.yaml names no script; look into it, or choose another codec.")
    texts = {name: checkout.text(f"{folder}/{name}") for name in dict.fromkeys(files.values())}
    for name, text in texts.items():
        refuse_parts(text, f"{folder}/{name}")
    script, called, more = _join(folder, files, texts, signature)
    read = read_codec_definition(definition, f"{chosen}.yaml")
    return FoundCodec(
        name=name_of(vendor, model),
        codec=Codec(signature=called, script=script, examples=read.examples),
        source=checkout.tell(", ".join(f"{folder}/{name}" for name in texts)),
        licence=tell_licence(list(texts.values()), None),
        terms=TERMS,
        warnings=(*warnings, *more, *read.warnings),
    )


def _choose(checkout: Checkout, about: str, vendor: str, wanted: str | None) -> tuple[str, str, tuple[str, ...]]:
    """Give a codec's name, the folder where it lies, and sentences about the others that the device has."""
    offered = dict(_codecs(as_object(checkout.yaml(about))))  # the last one said of each: its newest firmware
    if wanted is None and not offered:
        raise CodecSourceError(f"{about} names no codec: the vendor gave none; look for a script of the vendor's own.")
    if wanted is not None and wanted not in offered:
        others = f" It names {', '.join(offered)}." if offered else ""
        raise CodecSourceError(f"{about} does not name the codec {wanted[:100]!r}; choose one that it names.{others}")
    chosen = wanted or list(offered)[-1]
    # A codec lies with the device, or with the maker of a module whose profile the device takes over.
    folders = [f"vendor/{name}" for name in (vendor, offered[chosen]) if name]
    folder = next((name for name in folders if checkout.has(f"{name}/{chosen}.yaml")), folders[0])
    rest = [name for name in offered if name != chosen]
    if wanted is not None or not rest:
        return chosen, folder, ()
    told = f"{about} names several codecs: {chosen}, of the firmware listed last, was read, and not {', '.join(rest)}."
    return chosen, folder, (told,)


def _codecs(device: dict[str, Json]) -> Iterator[tuple[str, str]]:
    """Give each codec that the device names, with the vendor of the profile; those of the last firmware last."""
    found: dict[str, str] = {}
    for firmware in as_list(device.get("firmwareVersions")):
        for profile in as_object(as_object(firmware).get("profiles")).values():
            codec = as_text(as_object(profile).get("codec"))
            if codec:
                found.pop(codec, None)
                found[codec] = as_text(as_object(profile).get("vendorID"))
    yield from found.items()


def _join(
    folder: str, files: dict[str, str], texts: dict[str, str], stated: Signature | None
) -> tuple[str, Signature, tuple[str, ...]]:
    if len(texts) == 1:
        [(name, text)] = texts.items()
        return (text, *signature_of(text, f"{folder}/{name}", stated))
    for name, text in texts.items():
        called, _ = signature_of(text, f"{folder}/{name}", stated)
        if called not in {Signature.LORA_ALLIANCE, Signature.THINGPARK_X}:
            raise CodecSourceError(
                f"{folder}/{name} is called as {called}, and is not joined with others; give it alone."
            )
    parts = [
        (name, text, [function for section in files if files[section] == name for function in _FUNCTIONS[section]])
        for name, text in texts.items()
    ]
    told = f"{', '.join(texts)} were joined to one script, each in a scope of its own."
    return join_scripts(parts), stated or Signature.LORA_ALLIANCE, (told,)


def _vendors(checkout: Checkout) -> list[str]:
    if not checkout.has(_INDEX):
        raise _no_checkout(checkout)
    listed = as_list(as_object(checkout.yaml(_INDEX)).get("vendors"))
    names = [as_text(as_object(vendor).get("id")) for vendor in listed]
    # Many vendors are named there only for their numbers, and have no device.
    return [name for name in names if name and checkout.has(f"vendor/{name}/index.yaml")]


def _devices(checkout: Checkout, vendor: str) -> list[str]:
    index = as_object(checkout.yaml(f"vendor/{vendor}/index.yaml"))
    return [name for name in map(as_text, as_list(index.get("endDevices"))) if is_plain(name)]


def _no_checkout(checkout: Checkout) -> CodecSourceError:
    return CodecSourceError(
        f"{checkout.root} has no {_INDEX}; give the folder of a checkout of the LoRaWAN device repository."
    )
