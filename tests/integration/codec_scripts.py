"""Codecs that the tests write themselves, one for each way in which vendors write theirs."""

from __future__ import annotations

from receiver.codecs.values import Codec, Signature

CLIMATE = """
function decodeUplink(input) {
    if (input.fPort === 9) throw new Error("no such port");
    if (input.bytes.length < 3) return { errors: ["too short"] };
    var data = {
        temperature: ((input.bytes[0] << 8) | input.bytes[1]) / 10,
        door: { open: input.bytes[2] === 1 },
        state: "good",
        levels: [1, 2]
    };
    return { data: data, warnings: input.bytes.length > 3 ? ["too long"] : [] };
}
"""
"""Temperature in tenths of a degree, two bytes; a door, one byte."""

TENFOLD = CLIMATE.replace("/ 10", "* 10")


def climate(script: str = CLIMATE, **units: str) -> Codec:
    return Codec(Signature.LORA_ALLIANCE, script, units or {"temperature": "Cel"})
