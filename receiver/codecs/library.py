"""Codecs as they are found in files: one script with what lies beside it, proposed with a name and a way to call it.

Nothing is run here. What is found is a proposal for a person, who may name it otherwise or say how it is called.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from receiver.codecs.checkout import Checkout, as_object, as_text, open_checkout
from receiver.codecs.examples import ReadExamples, bounded, one_line, read_codec_definition, read_examples
from receiver.codecs.script_text import find_functions, find_licence, find_operations, guess_signature, why_not_alone
from receiver.codecs.values import Codec, Signature
from receiver.errors import CodecSourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from receiver.codecs.values import Json

MAX_DEFINITIONS = 200
"""Codec definitions looked through for the one that names a script: a bound only."""

MAX_NAME = 64

_TELLING_NOTHING = {"index", "main", "codec", "decoder", "driver", "dist", "src"}
_ABOVE = 16  # folders above a script that may be its checkout


@dataclass(frozen=True, slots=True)
class FoundCodec:
    """A codec that was read from files, before it is kept."""

    name: str
    """A proposal: lower case letters, digits, dots and dashes."""
    codec: Codec
    source: str
    """Where it was read: the file's name in the checkout, and the commit where it is known."""
    licence: str
    """What the files themselves say of their licence, in one sentence."""
    terms: str = ""
    """What holds for the collection it is from, in one sentence; empty for a file of no known collection."""
    driver_keys: tuple[str, ...] = ()
    """`pId:mId:ver` of the application, as `DriverCfg.app` of the network's reports names it."""
    model_keys: tuple[str, ...] = ()
    """`pId:mId:ver` of the device models that name this driver, as `DriverCfg.mod` of the reports does."""
    warnings: tuple[str, ...] = ()
    """Sentences about what was left out or guessed."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The names in a collection; nothing of them but their names was read."""

    names: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def read_codec_file(path: Path, *, signature: Signature | None = None) -> FoundCodec:
    """Read one script, and the examples beside it.

    Examples are `<stem>.examples.json`, `examples.json`, or a codec definition (`<stem>-codec.yaml`, `<stem>.yaml`,
    `*-codec.yaml`) that names the script; the first that is there.

    Args:
        path: a `.js` file.
        signature: how it is called; None: as its text says.

    Raises:
        CodecSourceError: it cannot be read, it is the source of a bundle, or its text does not show how it is called.
    """
    if path.suffix != ".js":
        raise CodecSourceError(f"{path} is not a .js file; give the script itself.")
    folder = open_checkout(path.parent)
    script = folder.text(path.name)
    refuse_parts(script, str(path))
    called, warnings = signature_of(script, str(path), signature)
    read = _examples_beside(folder, path, script)
    checkout, inside = _checkout_of(folder.root, path.name)
    return FoundCodec(
        name=_name_of_file(folder.root, path.stem),
        codec=Codec(signature=called, script=script, examples=read.examples),
        source=checkout.tell(inside),
        licence=tell_licence([script], None),
        warnings=(*warnings, *read.warnings),
    )


def signature_of(script: str, name: str, stated: Signature | None) -> tuple[Signature, tuple[str, ...]]:
    """Give how a script is called, and sentences about what was guessed; what is stated is taken.

    Raises:
        CodecSourceError: nothing is stated, and the text declares none of the functions of a codec.
    """
    guess = guess_signature(script)
    if stated is not None:
        return stated, ()
    if guess is None:
        raise CodecSourceError(
            f"{name} declares none of decodeUplink, Decoder and Decode; check that it is a codec, or say its signature."
        )
    if guess is Signature.THINGPARK_X:
        how = "its functions are taken to give the decoded object itself; say lora-alliance if they give {data: …}"
        return guess, (f"{name} declares extractPoints, so {how}.",)
    if "decodeUplink" not in find_functions(script) and guess is Signature.LORA_ALLIANCE:
        return guess, (f"{name} declares no decodeUplink: it only concerns downlinks.",)
    return guess, ()


def refuse_parts(script: str, name: str) -> None:
    """Refuse a script that is only a part of a bundle.

    Raises:
        CodecSourceError: it imports, exports or requires other files.
    """
    why = why_not_alone(script)
    if why is not None:
        raise CodecSourceError(f"{name} {why}: build its bundle first (npm run build), and give the bundle's file.")


def tell_licence(scripts: Sequence[str], package_licence: str | None) -> str:
    """Say in one sentence what package.json and the headers of the scripts say of their licence."""
    headers = dict.fromkeys(one_line(header) for header in map(find_licence, scripts) if header)
    said = [f"package.json says {one_line(package_licence)[:80]}"] if package_licence else []
    said += [f"a script begins with “{header}”" for header in headers]
    return f"{'; '.join(said)}." if said else "Neither the script nor a package.json beside it names a licence."


def name_of(*parts: str) -> str:
    """Give a name for a codec made of these parts: lower case letters, digits, dots and dashes, at most `MAX_NAME`."""
    name = re.sub(r"[^a-z0-9.]+", "-", "-".join(parts).lower())[:MAX_NAME].strip("-.")
    return name or "codec"


def _name_of_file(folder: Path, stem: str) -> str:
    if stem.lower() not in _TELLING_NOTHING:
        return name_of(stem)
    above = next((part for part in reversed(folder.parts[1:]) if part.lower() not in _TELLING_NOTHING), stem)
    return name_of(above)


def _checkout_of(folder: Path, name: str) -> tuple[Checkout, str]:
    for above in (folder, *folder.parents[:_ABOVE]):
        if (above / ".git").exists():
            return Checkout(above), (folder / name).relative_to(above).as_posix()
    return Checkout(folder), name


def _examples_beside(folder: Checkout, path: Path, script: str) -> ReadExamples:
    supported = find_operations(script)
    for name in (f"{path.stem}.examples.json", "examples.json"):
        if folder.has(name):
            return examples_of_file(folder, name, lambda value, where: read_examples(value, where, supported=supported))
    likely = (f"{path.stem}-codec.yaml", f"{path.stem}.yaml")
    others = [name for name in folder.files("", "-codec.yaml") if name not in likely][:MAX_DEFINITIONS]
    for name in (*(name for name in likely if folder.has(name)), *others):
        try:
            definition = folder.yaml(name)
        except CodecSourceError as problem:
            if name in likely:
                return ReadExamples((), (f"{problem} No examples were read.",))
            continue  # another codec's definition, which this one does not need
        if path.name in files_of_definition(as_object(definition)).values():
            return bounded(read_codec_definition(definition, name), name)
    return ReadExamples()


def examples_of_file(folder: Checkout, name: str, read: Callable[[Json, str], ReadExamples]) -> ReadExamples:
    """Give the examples of a JSON file; where it cannot be read, none and a sentence."""
    try:
        return read(folder.json(name), name)
    except CodecSourceError as problem:
        return ReadExamples((), (f"{problem} No examples were read of it.",))


def files_of_definition(definition: dict[str, Json]) -> dict[str, str]:
    """Give by the section of a codec definition (`uplinkDecoder`, …) the file that it names."""
    sections = ("uplinkDecoder", "downlinkEncoder", "downlinkDecoder")
    named = {section: as_text(as_object(definition.get(section)).get("fileName")) for section in sections}
    return {section: name for section, name in named.items() if name}
