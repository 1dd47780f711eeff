"""Reads the examples that come with codecs, of every form in use, into `Example` values.

Three forms are read: the sections of a codec definition of the LoRaWAN device repository, Actility's `examples.json`,
and Actility's older `*.examples.json`, where bytes, time and data stand beside the type and an error is one text.
An example that cannot be read is left out, and a sentence says which and why: one odd example spoils no codec.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from receiver.codecs.values import Example, Operation

if TYPE_CHECKING:
    from collections.abc import Collection

    from receiver.codecs.values import Json

MAX_EXAMPLES = 500
"""Of one codec: the driver of a tracker comes with some 300."""

MAX_EXAMPLE_BYTES = 1024
"""A LoRaWAN frame holds 242 at most; some examples show that too long a frame is refused."""

MAX_DESCRIPTION = 200
"""Characters of a description that are kept: two lines of a terminal."""

MAX_TEXTS = 50
"""Warnings, or errors, that one example expects."""

_SECTIONS = {
    "uplinkDecoder": Operation.DECODE_UPLINK,
    "downlinkEncoder": Operation.ENCODE_DOWNLINK,
    "downlinkDecoder": Operation.DECODE_DOWNLINK,
}
_TYPES = {
    "uplink": Operation.DECODE_UPLINK,
    "uplink-decode": Operation.DECODE_UPLINK,
    "downlink-encode": Operation.ENCODE_DOWNLINK,
    "downlink-decode": Operation.DECODE_DOWNLINK,
}
_BOTH_WAYS = "downlink"
"""The older type: the frame decodes to the object, and the object encodes to the frame."""

_BETWEEN = re.compile(r"0[xX]|[\s:,-]")  # how hexadecimal text is spelled apart


class _OddExampleError(ValueError):
    """An example that cannot be used; the message continues a sentence that begins with the example."""


@dataclass(frozen=True, slots=True)
class ReadExamples:
    """The examples that could be read, and a sentence for each that could not."""

    examples: tuple[Example, ...] = ()
    warnings: tuple[str, ...] = ()

    def __add__(self, other: ReadExamples) -> ReadExamples:
        return ReadExamples(self.examples + other.examples, self.warnings + other.warnings)


def read_codec_definition(definition: Json, where: str) -> ReadExamples:
    """Read the examples of a codec definition: each section's are of its operation, whatever their type says."""
    read = ReadExamples()
    for section, operation in _SECTIONS.items():
        part = definition.get(section) if isinstance(definition, dict) else None
        if isinstance(part, dict) and part.get("examples") is not None:
            read += read_examples(part["examples"], f"{where}, {section}", operation=operation)
    return bounded(read, where)


def read_examples(
    listed: Json, where: str, *, operation: Operation | None = None, supported: Collection[Operation] = tuple(Operation)
) -> ReadExamples:
    """Read a list of examples; `where` begins the sentences about those that cannot be read.

    Args:
        listed: what the file holds; an object with the list as its only member is taken as that list.
        where: the file.
        operation: what all of them are examples of; None: each says so by its `type`, or shows it.
        supported: what the codec can be asked; of the older type for both ways, only these are made.
    """
    if isinstance(listed, dict):
        lists = [value for value in listed.values() if isinstance(value, list)]
        listed = lists[0] if len(lists) == 1 else listed
    if not isinstance(listed, list):
        return ReadExamples((), (f"{where}: it is not a list of examples.",))
    examples: list[Example] = []
    warnings: list[str] = []
    for number, item in enumerate(listed[:MAX_EXAMPLES], start=1):
        try:
            examples += _read_one(item, operation, supported)
        except _OddExampleError as problem:
            described = f" ({_described(item)})" if _described(item) else ""
            warnings.append(f"{where}: example {number}{described} {problem}; it was left out.")
    if len(listed) > MAX_EXAMPLES:
        warnings.append(f"{where}: only the first {MAX_EXAMPLES} of {len(listed)} examples are kept.")
    return bounded(ReadExamples(tuple(examples), tuple(warnings)), where)


def bounded(read: ReadExamples, where: str) -> ReadExamples:
    """Give no more than `MAX_EXAMPLES`, and say so where some are dropped."""
    if len(read.examples) <= MAX_EXAMPLES:
        return read
    dropped = f"{where}: only the first {MAX_EXAMPLES} of {len(read.examples)} examples are kept."
    return ReadExamples(read.examples[:MAX_EXAMPLES], (*read.warnings, dropped))


def one_line(text: str) -> str:
    """Give a text in one line, without anything that would move a terminal's cursor."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())


def parse_bytes(value: Json) -> bytes:
    """Give the bytes of a list of whole numbers (−128 to 255, a negative one is its two's complement) or of hex text.

    Raises:
        ValueError: it is neither, or longer than `MAX_EXAMPLE_BYTES`. The message continues a sentence.
    """
    if isinstance(value, str):
        try:
            found = bytes.fromhex(_BETWEEN.sub("", value[: 8 * MAX_EXAMPLE_BYTES]))
        except ValueError:
            raise _OddExampleError("has bytes that are not hexadecimal") from None
    elif isinstance(value, list):
        found = bytes(_byte(item) for item in value[: MAX_EXAMPLE_BYTES + 1])
    else:
        raise _OddExampleError("has bytes that are neither a list of numbers nor hexadecimal text")
    if len(found) > MAX_EXAMPLE_BYTES:
        raise _OddExampleError(f"has more than {MAX_EXAMPLE_BYTES} bytes")
    return found


def _read_one(item: Json, operation: Operation | None, supported: Collection[Operation]) -> list[Example]:
    if not isinstance(item, dict):
        raise _OddExampleError("is not an object")
    if "input" in item or "output" in item:
        return [_read_example(item, operation or _operation_of(item))]
    return _read_older(item, operation, supported)


def _operation_of(item: dict[str, Json]) -> Operation:
    named = item.get("type")
    if isinstance(named, str) and named in _TYPES:
        return _TYPES[named]
    if named is not None and named != _BOTH_WAYS:
        raise _OddExampleError(f"is of the unknown type {json.dumps(named)[:40]}")
    given = item.get("input")
    if isinstance(given, dict) and "bytes" not in given:
        return Operation.ENCODE_DOWNLINK
    return Operation.DECODE_DOWNLINK if named == _BOTH_WAYS else Operation.DECODE_UPLINK


def _read_example(item: dict[str, Json], operation: Operation) -> Example:
    given, expected = item.get("input"), item.get("output", {})
    if not isinstance(given, dict) or not isinstance(expected, dict):
        raise _OddExampleError("has an input or an output that is not an object")
    encodes = operation is Operation.ENCODE_DOWNLINK
    errors = _texts(expected, "errors")
    framed = expected if encodes else given
    what = "bytes" if encodes else "data"
    if what not in expected and not errors:
        raise _OddExampleError(f"says neither which {what} nor which errors shall come out")
    return Example(
        operation=operation,
        description=_described(item),
        f_port=_f_port(framed.get("fPort", given.get("fPort"))),
        frm_payload=parse_bytes(framed.get("bytes")) if not encodes or expected.get("bytes") is not None else None,
        at_text=_at_text(given.get("recvTime", given.get("time"))),
        data=_object_to_encode(given) if encodes else expected.get("data"),
        warnings=_texts(expected, "warnings"),
        errors=errors,
        normalized=None if encodes else _normalized(item.get("normalizedOutput")),
    )


def _read_older(item: dict[str, Json], operation: Operation | None, supported: Collection[Operation]) -> list[Example]:
    error = item.get("error", item.get("errors"))
    errors = None if error is None else _texts({"errors": error}, "errors")
    if "data" not in item and not errors:
        raise _OddExampleError("has neither data nor an error")
    if operation is None and item.get("type") == _BOTH_WAYS:
        ways = [
            way
            for way, name in ((Operation.DECODE_DOWNLINK, "bytes"), (Operation.ENCODE_DOWNLINK, "data"))
            if name in item and way in supported
        ]
    else:
        ways = [operation or _operation_of({**item, "input": item})]
    frame = None if item.get("bytes") is None else parse_bytes(item["bytes"])
    if frame is None and ways != [Operation.ENCODE_DOWNLINK]:
        raise _OddExampleError("has no bytes")
    return [
        Example(
            operation=way,
            description=_described(item),
            f_port=_f_port(item.get("fPort")),
            frm_payload=frame,
            at_text=_at_text(item.get("time", item.get("recvTime"))),
            data=item.get("data"),
            warnings=_texts(item, "warnings"),
            errors=errors,
        )
        for way in ways
    ]


def _object_to_encode(given: dict[str, Json]) -> Json:
    for name in ("data", "message"):
        if name in given:
            return given[name]
    raise _OddExampleError("has no data to encode")


def _normalized(output: Json) -> Json:
    """Give the data: the output of `normalizeUplink` stands in an object, as that of `decodeUplink` does."""
    return output.get("data") if isinstance(output, dict) else output


def _texts(output: dict[str, Json], name: str) -> tuple[str, ...] | None:
    value = output.get(name)
    if name not in output:
        return None
    listed = value if isinstance(value, list) else [] if value is None else [value]
    return tuple(text if isinstance(text, str) else json.dumps(text) for text in listed[:MAX_TEXTS])


def _f_port(value: Json) -> int | None:
    if value is None:
        return None
    number = int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 4 else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= 255 or number % 1:
        raise _OddExampleError(f"has the fPort {json.dumps(value)[:20]}, which is no number of one byte")
    return int(number)


def _byte(item: Json) -> int:
    if isinstance(item, bool) or not isinstance(item, int | float) or not -128 <= item <= 255 or item % 1:
        raise _OddExampleError(f"has {json.dumps(item)[:20]} among its bytes")
    return int(item) % 256


def _at_text(value: Json) -> str | None:
    return value[:64] if isinstance(value, str) and value else None


def _described(item: Json) -> str:
    description = item.get("description") if isinstance(item, dict) else None
    return one_line(description)[:MAX_DESCRIPTION] if isinstance(description, str) else ""
