"""Reads one driver from a local checkout of Actility's device catalogue, of its present or of its older layout.

Source: github.com/actility/device-catalog, its READMEs: vendors/<vendor>/drivers/<driver>/driver.yaml with the script
and examples.json, vendors/<vendor>/models/<model>/model.yaml; and github.com/actility/thingpark-iot-flow-driver-
catalogue, where <vendor>/<driver>/package.json has a member `driver`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from receiver.codecs.checkout import as_object, as_text, checked_name, open_checkout
from receiver.codecs.examples import ReadExamples, bounded, read_examples
from receiver.codecs.library import (
    FoundCodec,
    Listing,
    examples_of_file,
    name_of,
    refuse_parts,
    signature_of,
    tell_licence,
)
from receiver.codecs.script_text import find_functions, find_operations, guess_signature, why_not_alone
from receiver.codecs.values import Codec, Signature
from receiver.errors import CodecSourceError

if TYPE_CHECKING:
    from pathlib import Path

    from receiver.codecs.checkout import Checkout
    from receiver.codecs.values import Json

TERMS = (
    "Actility's catalogue is public but names no licence for the whole: what a driver's package.json or header says "
    "holds, and where they say nothing, ask its maker before passing it on; take single drivers, not the collection."
)

MAX_EXAMPLE_FILES = 100
"""Files of the older layout, one for each kind of message."""

MAX_UNITS = 500
"""Points of one driver."""

_SIGNATURES = {
    "lora-alliance": Signature.LORA_ALLIANCE,
    "actility": Signature.THINGPARK_X,
    "thingpark-x-js": Signature.THINGPARK_X,
    "ttn": Signature.TTN,
    "chirpstack": Signature.CHIRPSTACK,
}
_KEY = re.compile(r"[\w.-]{1,64}:[\w.-]{1,64}:[\w.-]{1,32}\Z", re.ASCII)
_NOT_VENDORS = {"node_modules", "template", "templates", "development-guide"}


@dataclass(frozen=True, slots=True)
class _Driver:
    """One driver's folder, and what its two descriptions say."""

    checkout: Checkout
    folder: str
    about: dict[str, Json]
    """driver.yaml, empty in the older layout."""
    package: dict[str, Json]
    """package.json, empty where there is none."""

    @property
    def told(self) -> dict[str, Json]:
        """What package.json says of the driver."""
        return as_object(self.package.get("driver"))

    def file(self, name: str) -> str:
        return f"{self.folder}/{name}"


def list_actility_catalogue(root: Path, *, vendor: str | None = None) -> Listing:
    """Give the names of the drivers, `vendor/driver`, sorted; of one vendor only where it is given.

    Some have a description and no script: that shows when one is read.

    Raises:
        CodecSourceError: `root` is no checkout of a catalogue of drivers, or the vendor has none.
    """
    checkout = open_checkout(root)
    names: list[str] = []
    if checkout.has_folder("vendors"):
        for maker in checkout.folders("vendors") if vendor is None else [vendor]:
            folder = f"vendors/{maker}/drivers"
            found = checkout.folders(folder)
            names += [f"{maker}/{name}" for name in found if checkout.has(f"{folder}/{name}/driver.yaml")]
    else:
        for maker in checkout.folders() if vendor is None else [vendor]:
            if maker not in _NOT_VENDORS:
                found = [name for name in checkout.folders(maker) if name not in _NOT_VENDORS]
                names += [f"{maker}/{name}" for name in found if checkout.has(f"{maker}/{name}/package.json")]
    if not names:
        of = f" of {vendor[:100]!r}" if vendor is not None else ""
        raise CodecSourceError(f"{checkout.root} has no drivers{of}; give the folder of a checkout of the catalogue.")
    return Listing(tuple(sorted(names)))


def read_from_actility_catalogue(root: Path, driver: str, *, signature: Signature | None = None) -> FoundCodec:
    """Read one driver, with its units, its examples and the keys by which the network's reports name it.

    Args:
        root: the folder of the checkout.
        driver: `vendor/driver`.
        signature: how it is called; None: as driver.yaml or package.json say, else as the text says.

    Raises:
        CodecSourceError: it is not there, it has no script, or only sources of a bundle, or it cannot be read.
    """
    checkout = open_checkout(root)
    vendor, model = checked_name(driver, "abeeway/asset-tracker")
    found = _open_driver(checkout, vendor, model)
    name = _find_script(found)
    script = checkout.text(found.file(name))
    called, warnings = _signature(found, script, found.file(name), signature)
    read = _examples(found, script)
    keys, odd_keys = _driver_keys(found)
    return FoundCodec(
        name=name_of(vendor, model),
        codec=Codec(signature=called, script=script, units=_units(found), examples=read.examples),
        source=checkout.tell(found.file(name)),
        licence=tell_licence([script], as_text(found.package.get("license"))),
        terms=TERMS,
        driver_keys=keys,
        model_keys=_model_keys(checkout, vendor, keys),
        warnings=(*warnings, *odd_keys, *_context(found), *read.warnings),
    )


def _open_driver(checkout: Checkout, vendor: str, model: str) -> _Driver:
    for folder in (f"vendors/{vendor}/drivers/{model}", f"{vendor}/{model}"):
        about, package = f"{folder}/driver.yaml", f"{folder}/package.json"
        if checkout.has(about) or checkout.has(package):
            return _Driver(
                checkout,
                folder,
                as_object(checkout.yaml(about)) if checkout.has(about) else {},
                as_object(checkout.json(package)) if checkout.has(package) else {},
            )
    raise CodecSourceError(
        f"{vendor}/{model} is not a driver in {checkout.root}; list the drivers of {vendor} to find its name."
    )


def _find_script(driver: _Driver) -> str:
    """Give the script's name: what package.json names, else a bundle, else index.js; the first that stands alone."""
    main = as_text(driver.package.get("main")).removeprefix("./")
    bundles = [f"dist/{name}" for name in driver.checkout.files(driver.file("dist"), ".js")]
    there = [
        name
        for name in dict.fromkeys((main, "main.js", *bundles, "index.js"))
        if name.endswith(".js") and driver.checkout.has(driver.file(name))
    ]
    if not there:
        raise CodecSourceError(_tell_no_script(driver))
    for name in there:
        script = driver.checkout.text(driver.file(name))
        if why_not_alone(script) is None and find_functions(script):
            return name
    refuse_parts(driver.checkout.text(driver.file(there[0])), driver.file(there[0]))
    return there[0]


def _tell_no_script(driver: _Driver) -> str:
    package, version = as_text(driver.about.get("packageName")), driver.about.get("packageVersion")
    if package:
        named = f"the npm package {package[:100]!r}, version {str(version)[:20]!r}"
        return f"{driver.folder} has no script; it names {named}: get that package and give its main script."
    return (
        f"{driver.folder} describes a driver whose script is not in the catalogue; ask its vendor for it, or look for "
        "another driver of the same vendor."
    )


def _signature(driver: _Driver, script: str, name: str, stated: Signature | None) -> tuple[Signature, tuple[str, ...]]:
    """Give how the script is called: as stated, else as the driver says where that fits its text, else as the text."""
    if stated is not None:
        return stated, ()
    said = (as_text(driver.about.get("signature")) or as_text(driver.told.get("type"))).lower()
    if said and said not in _SIGNATURES:
        called, warnings = signature_of(script, name, None)
        return called, (f"{driver.folder} names the unknown signature {said[:40]!r}.", *warnings)
    if not said and not driver.about:
        return signature_of(script, name, None)
    named = _SIGNATURES.get(said, Signature.LORA_ALLIANCE)  # empty: it follows TS013
    guess = guess_signature(script)
    alike = {Signature.LORA_ALLIANCE, Signature.THINGPARK_X}  # the same names of functions
    if guess is None or guess is named or {guess, named} <= alike:
        return named, ()
    # A script for several servers may well have what is said, though the guess prefers another.
    wanted = {Signature.TTN: "Decoder", Signature.CHIRPSTACK: "Decode"}.get(named, "decodeUplink")
    if wanted in find_functions(script):
        return named, ()
    return guess, (f"{driver.folder} says {named}, but its script declares no {wanted}: it is called as {guess}.",)


def _driver_keys(driver: _Driver) -> tuple[tuple[str, ...], tuple[str, ...]]:
    stated = driver.about.get("protocolId")
    keys = [as_text(key) for key in (stated if isinstance(stated, list) else [stated])]
    application = as_object(driver.told.get("application"))
    parts = [application.get(part) for part in ("producerId", "moduleId", "version")]
    if all(isinstance(part, str | int) and part for part in parts):
        keys.append(":".join(str(part) for part in parts))
    keys = [key for key in dict.fromkeys(keys) if key]
    good = tuple(key for key in keys if _KEY.match(key))
    odd = tuple(
        f"{driver.folder} has the protocolId {key[:100]!r}, which is not vendor:protocol:version."
        for key in keys
        if key not in good
    )
    return good, odd


def _model_keys(checkout: Checkout, vendor: str, keys: tuple[str, ...]) -> tuple[str, ...]:
    """Give the models of the vendor whose model.yaml names this driver; a model that cannot be read is passed over."""
    folder = f"vendors/{vendor}/models"
    found: list[str] = []
    for name in checkout.folders(folder):
        try:
            model = as_object(checkout.yaml(f"{folder}/{name}/model.yaml"))
        except CodecSourceError:
            continue
        named = model.get("protocolId")
        protocols = {as_text(key) for key in (named if isinstance(named, list) else [named])}
        model_id = as_text(model.get("modelId"))
        if protocols & set(keys) and _KEY.match(model_id):
            found.append(model_id)
    return tuple(dict.fromkeys(found))


def _units(driver: _Driver) -> dict[str, str]:
    points = as_object(driver.told.get("points"))
    units = {name: as_text(as_object(point).get("unitId")) for name, point in points.items()}
    return {name[:100]: unit[:32] for name, unit in list(units.items())[:MAX_UNITS] if unit}


def _context(driver: _Driver) -> tuple[str, ...]:
    if driver.about.get("useContext") is not True:
        return ()
    return (f"{driver.folder} keeps a context from one frame to the next, which it does not get here.",)


def _examples(driver: _Driver, script: str) -> ReadExamples:
    supported = find_operations(script)

    def read_list(value: Json, where: str) -> ReadExamples:
        return read_examples(value, where, supported=supported)

    if driver.checkout.has(driver.file("examples.json")):
        return examples_of_file(driver.checkout, driver.file("examples.json"), read_list)
    read = ReadExamples()
    for folder, ending in (("examples", ".examples.json"), ("errors", ".errors.json")):
        for name in driver.checkout.files(driver.file(folder), ending)[:MAX_EXAMPLE_FILES]:
            read += examples_of_file(driver.checkout, driver.file(f"{folder}/{name}"), read_list)
    return bounded(read, driver.folder)
