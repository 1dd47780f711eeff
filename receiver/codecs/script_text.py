"""What the text of a codec says of itself, without running it: its functions, its licence, whether it stands alone.

These are guesses for proposals: only running a script tells for certain.
Source: LoRa Alliance TS013-1.0.0 for the names of the functions; what the two network servers named here documented
for theirs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from receiver.codecs.values import Operation, Signature

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_LICENCE = 400
"""Characters of a licence header that are kept: a name, a year and a licence's title fit."""

_HEADER = 4096  # a licence header stands at the top

_OPERATIONS = {
    "decodeUplink": Operation.DECODE_UPLINK,
    "normalizeUplink": Operation.NORMALIZE_UPLINK,
    "encodeDownlink": Operation.ENCODE_DOWNLINK,
    "decodeDownlink": Operation.DECODE_DOWNLINK,
    "Decoder": Operation.DECODE_UPLINK,
    "Decode": Operation.DECODE_UPLINK,
    "Encoder": Operation.ENCODE_DOWNLINK,
    "Encode": Operation.ENCODE_DOWNLINK,
}
_NAMES = (*_OPERATIONS, "extractPoints")

# Each ends with an optional mark, so that what is not closed runs to the end, and is never tried twice.
_PIECE = re.compile(
    r"""(?P<string>"[^"\\\n]*(?:\\.[^"\\\n]*)*"?|'[^'\\\n]*(?:\\.[^'\\\n]*)*'?|`[^`\\]*(?:\\.[^`\\]*)*`?)"""
    r"""|(?P<comment>//[^\n]*|/\*[^*]*(?:\*(?!/)[^*]*)*(?:\*/)?)""",
    re.DOTALL,
)
_DECLARES = {
    name: re.compile(
        rf"""(?<![\w$])(?:function\s{{0,9}}\*?\s{{0,9}}{name}\s{{0,9}}\(|{name}["']?\s{{0,9}}(?:=(?![=>])|:))"""
        rf"""|(?<![\w$.]){name}\s{{0,9}}\([^()]{{0,200}}\)\s{{0,9}}\{{"""
    )
    for name in _NAMES
}
_MODULE = re.compile(
    r"""^[ \t]{0,99}(?:import\s{0,9}(?:["'{*]|[\w$]{1,99}[\s,])"""
    r"""|export\s{0,9}(?:[{*]|default\b|function\b|const\b|let\b|var\b|class\b|async\b))""",
    re.MULTILINE,
)
_NEEDS_FILE = re.compile(r"""(?<![\w$.])require\s{0,9}\(\s{0,9}["'](\.[^"'\n]{0,99})""")
_LICENCE = re.compile(r"licen[sc]e|copyright|©|spdx-", re.IGNORECASE)
_DECORATION = re.compile(r"^[ \t]*(?://+|/\*+!?|\*+/?)?[ \t]?|[ \t]*\*+/?[ \t]*$", re.MULTILINE)


def find_functions(script: str) -> frozenset[str]:
    """Give which of the functions that a codec may have the text declares, as a function or as a member."""
    text = _PIECE.sub(_keep_names, script)
    return frozenset(name for name, declares in _DECLARES.items() if declares.search(text))


def find_operations(script: str) -> frozenset[Operation]:
    """Give what can be asked of the script, as its text says."""
    return frozenset(_OPERATIONS[name] for name in find_functions(script) if name in _OPERATIONS)


def guess_signature(script: str) -> Signature | None:
    """Give how the script wants to be called, or None if its text does not say.

    Many scripts serve several network servers at once: the TS013 functions come before the others then.
    """
    names = find_functions(script)
    if names & {"decodeUplink", "encodeDownlink", "decodeDownlink"}:
        return Signature.THINGPARK_X if "extractPoints" in names else Signature.LORA_ALLIANCE
    if names & {"Decoder", "Encoder"}:
        return Signature.TTN
    return Signature.CHIRPSTACK if names & {"Decode", "Encode"} else None


def why_not_alone(script: str) -> str | None:
    """Say why the script cannot run as the one text it is, or give None.

    The answer continues a sentence that begins with the file's name.
    """
    text = _PIECE.sub(lambda piece: " " if piece["comment"] or piece[0].startswith("`") else piece[0], script)
    if _MODULE.search(text):
        return "is the source of an ES module (it imports or exports)"
    needed = _NEEDS_FILE.search(text)
    return f"needs another file, {needed[1]}" if needed else None


def find_licence(script: str) -> str | None:
    """Give the comment at the script's top that speaks of a licence or a copyright, in one line, or None."""
    comments = ""
    end = 0
    for piece in _PIECE.finditer(script[:_HEADER]):
        if not piece["comment"]:
            continue
        if script[end : piece.start()].strip():  # code between: another comment begins
            if _LICENCE.search(comments):
                break
            comments = ""
        comments += piece[0] + "\n"
        end = piece.end()
    if not _LICENCE.search(comments):
        return None
    return " ".join(_DECORATION.sub("", comments).split())[:MAX_LICENCE]


def join_scripts(parts: Sequence[tuple[str, str, Sequence[str]]]) -> str:
    """Give one script of several: each part is a file's name, its text, and the functions that are taken of it.

    Each text keeps a scope of its own, so the same helper name, or the same `const`, may stand in several; only the
    functions taken become global. What a text does not have is not made.
    """
    return "\n".join(_scoped(name, text, functions) for name, text, functions in parts)


def _scoped(name: str, text: str, functions: Sequence[str]) -> str:
    # The inner function lets a text declare `module` or `exports` itself, and keeps its "use strict" where it works.
    taken = "\n".join(
        f'if (typeof {function} === "function") globalThis.{function} = {function};\n'
        f'else if (module.exports && typeof module.exports.{function} === "function")'
        f" globalThis.{function} = module.exports.{function};"
        for function in functions
    )
    return (
        f"// {name}\n"
        "(function (module) {\n(function (exports) {\n(function () {\n"
        f"{text}\n;{taken}\n"
        "}).call(globalThis);\n})(module.exports);\n})({ exports: {} });"
    )


def _keep_names(piece: re.Match[str]) -> str:
    # A member may be named in quotes; any other text could only pretend to declare something.
    return piece[0] if piece[0][1:-1] in _NAMES and not piece["comment"] else '""' if piece["string"] else " "
