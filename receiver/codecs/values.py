"""What goes into a codec and what comes out of it.

Source: LoRa Alliance TS013-1.0.0, Payload Codec API, for the names of the functions and of what they take and return.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""What JSON can hold. Numbers that came from JavaScript are those of IEEE 754 doubles."""


class Signature(StrEnum):
    """How a codec is called: what `signature` may be in the `driver.yaml` of Actility, and the built-in ones."""

    LORA_ALLIANCE = "lora-alliance"
    """TS013: `decodeUplink({bytes, fPort, recvTime: Date})` gives `{data, warnings, errors}`; so do the others."""
    THINGPARK_X = "thingpark-x-js"
    """Actility's older drivers: the same names, but a function gives the decoded object itself, `encodeDownlink` takes
    the object itself, and `extractPoints({message})` may give points, whose units stand beside the script."""
    TTN = "ttn"
    """`Decoder(bytes, port)`, `Encoder(object, port)`, and `Converter(decoded, port)` where present."""
    CHIRPSTACK = "chirpstack"
    """`Decode(fPort, bytes, variables)`, `Encode(fPort, object, variables)`."""
    CAYENNE_LPP = "cayenne-lpp"
    """Built in: no script."""
    SENML = "senml"
    """Built in: SenML and ThingsML, JSON or CBOR."""


class Operation(StrEnum):
    """What is asked of a codec."""

    DECODE_UPLINK = "decodeUplink"
    NORMALIZE_UPLINK = "normalizeUplink"
    ENCODE_DOWNLINK = "encodeDownlink"
    DECODE_DOWNLINK = "decodeDownlink"


@dataclass(frozen=True, slots=True)
class Payload:
    """A frame's payload as a codec gets it."""

    frm_payload: bytes
    f_port: int
    at: datetime
    """The network's time of the frame, with a zone."""
    at_text: str | None = None
    """The same as the network wrote it, for codecs that want the text; None: `at` in ISO 8601 is given."""

    def __repr__(self) -> str:
        return f"Payload({len(self.frm_payload)} bytes, f_port={self.f_port})"


@dataclass(frozen=True, slots=True)
class Decoding:
    """What a codec made of a payload, or why it made nothing.

    It failed where `errors` is not empty; `data` is None then. Warnings and errors are sentences, of the codec or of
    what runs it, cut to bounds.
    """

    data: Json
    warnings: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    normalized: Json = None
    """What `normalizeUplink` made of `data`, where the codec has it: an object, or a list of objects."""
    points: Mapping[str, Json] | None = None
    """What `extractPoints` gave, where an Actility driver has it: by the point's name."""
    console: tuple[str, ...] = ()
    """What the codec wrote to `console`, for who tests it. It may hold clear payload: it is never logged or stored."""

    @property
    def failed(self) -> bool:
        """Whether there is no object."""
        return bool(self.errors)

    def __repr__(self) -> str:
        return f"Decoding({'failed' if self.failed else 'done'}, {len(self.warnings)} warnings)"


@dataclass(frozen=True, slots=True)
class Encoding:
    """The frame that a codec made of an object, or why it made none: `errors` is not empty then."""

    frm_payload: bytes
    f_port: int | None
    warnings: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    console: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Encoding({len(self.frm_payload)} bytes, f_port={self.f_port})"


class Measurement(NamedTuple):
    """One named value: a row of `telemetry`. A tuple: many are made of each frame.

    `unit` is as the codec or SenML names it: `Cel`, `%RH`, `V` …
    """

    name: str
    at: datetime
    value: float | bool | str
    unit: str | None = None

    def __repr__(self) -> str:
        return f"Measurement({self.name!r})"


@dataclass(frozen=True, slots=True)
class Example:
    """One of the examples that come with a codec: what goes in, and what shall come out."""

    operation: Operation
    description: str
    f_port: int | None
    frm_payload: bytes | None
    """What is decoded; of an example that encodes, what shall come out."""
    at_text: str | None
    """`recvTime` as the example has it."""
    data: Json
    """What shall come out; of an example that encodes, what goes in."""
    warnings: tuple[str, ...] | None
    """None: the example does not say."""
    errors: tuple[str, ...] | None
    normalized: Json = None
    """What `normalizeUplink` shall give; None: the example does not say."""


@dataclass(frozen=True, slots=True)
class Codec:
    """A codec as it is kept: its script and how to call it."""

    signature: Signature
    script: str
    """One JavaScript text; empty for a built-in codec."""
    units: Mapping[str, str] = field(default_factory=dict)
    """By a measurement's name: the unit, where what came with the codec says so."""
    examples: tuple[Example, ...] = ()

    def __repr__(self) -> str:
        return f"Codec({self.signature}, {len(self.script)} characters)"
