"""ThingPark's import of devices: a CSV as a form's part, and an answer with status 200 that may be full of errors.

Source: Device Manager contract 7.3, `devices/import`, with its example of an answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, uuid5

from receiver.platforms.calls import WITHHELD, PlatformCall
from receiver.platforms.thingpark_refusals import explain_code

if TYPE_CHECKING:
    from receiver.platforms.calls import PlatformAnswer

MOST_ROW_ERRORS = 100_000
"""Lines of an answer that are read; an import has fewer."""

_MOST_SAID = 300

_LINE = re.compile(r"(?P<eui>[^,]*),\s*line (?P<line>\d{1,9})\s*,(?P<errors>.*)\Z")
_LIKE_A_KEY = re.compile(r"[0-9A-Fa-f]{32,}")  # an answer may repeat what was in the line
_ERROR = re.compile(r"\[(\d{1,6})\]\s*(.*?)(?=,\s*\[\d{1,6}\]|\Z)")


@dataclass(frozen=True, slots=True)
class ImportRowError:
    """What is wrong with one line of an imported CSV."""

    line: int | None
    """From 1, as ThingPark counts; None: it is about the whole file, or could not be read."""
    dev_eui: str | None
    codes: tuple[int, ...]
    said: str
    """In ThingPark's words, with what to do where that is known."""


@dataclass(frozen=True, slots=True)
class CsvImport:
    """What became of an import. `task`: it is done later, and this is the address of its task."""

    errors: tuple[ImportRowError, ...]
    task: str | None = None


def build_import_call(path: str, csv: str, query: tuple[tuple[str, str], ...]) -> PlatformCall:
    """Give the request that imports a CSV: a multipart form with the one part `csv`."""
    boundary = uuid5(NAMESPACE_URL, csv).hex  # of the text itself, so that it does not occur in it
    body = (
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="csv"; filename="devices.csv"\r\n'
        "Content-Type: text/csv; charset=utf-8\r\n\r\n"
        f"{csv}\r\n--{boundary}--\r\n"
    )
    return PlatformCall("POST", path, query, body, content_type=f"multipart/form-data; boundary={boundary}")


def read_import(answer: PlatformAnswer) -> CsvImport:
    """Read what became of an import: an empty answer means that all lines were done."""
    if answer.status == 202:
        return CsvImport((), answer.headers.get("location", ""))
    code, message = answer.members.integer("code"), answer.members.text("message") or ""
    message = _LIKE_A_KEY.sub(WITHHELD, message)
    if not code and not message.strip():
        return CsvImport(())
    lines = [line for line in message.splitlines() if line.strip()][:MOST_ROW_ERRORS]
    if not lines:
        return CsvImport((ImportRowError(None, None, () if code is None else (code,), f"code {code}"),))
    return CsvImport(tuple(_read_line(line) for line in lines))


def _read_line(line: str) -> ImportRowError:
    found = _LINE.match(line.strip())
    if found is None:
        return ImportRowError(None, None, (), line.strip()[:_MOST_SAID])
    errors = [(int(code), said.strip()) for code, said in _ERROR.findall(found["errors"])]
    said = "; ".join(explain_code(code, words) for code, words in errors) or found["errors"].strip()
    return ImportRowError(
        int(found["line"]),
        found["eui"].strip().upper() or None,
        tuple(code for code, _ in errors),
        said[: 2 * _MOST_SAID],
    )
