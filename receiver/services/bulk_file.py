"""Reads a file of devices, CSV or JSON: all its rows, or all that is wrong with it, by line and column. Pure.

A key is a value that does not print; no problem that is named here holds one.
"""

from __future__ import annotations

import csv
import difflib
import io
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from receiver.errors import IdentifierError
from receiver.lorawan.identifiers import DevEui, parse_dev_eui, shorten
from receiver.lorawan.keys import AesKey, parse_aes_key
from receiver.services.bulk_columns import (
    BY_NAME,
    CHANGEABLE,
    COLUMNS,
    COMMENT,
    EXAMPLE_DEV_EUI,
    EXTERNAL_JOIN,
    LOCAL_JOIN,
    MOTIONS,
    REQUIRED,
    Action,
    Column,
    Kind,
    find_column,
)
from receiver.services.bulk_json import NotJsonError, read_objects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MAX_FILE_BYTES = 64 * 1024 * 1024
"""Of a file: what 100,000 rows take that have 600 bytes each, more than twice the longest in use."""

MAX_ROWS = 100_000
"""Of a file: more than any plan of KPN's or ThingPark's that is known has licences."""

MAX_TEXT = 500
"""Characters of a text. ThingPark's and KPN's own bounds are not published."""

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_DELIMITERS = ";,\t"
_AS_FORMULA = re.compile(r'="(.*)"\Z', re.DOTALL)  # ="0059AC…": how people keep Excel from making a number of it
_SCIENTIFIC = re.compile(r"[0-9]([.,][0-9]+)?E[+-]?[0-9]{1,3}\Z", re.IGNORECASE)
_EUI_DIGITS = 16


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """One device of a file. What is None is not filled in. `line` is where it begins, from 1."""

    line: int
    dev_eui: DevEui
    name: str | None = None
    join_eui: DevEui | None = None
    app_key: AesKey | None = field(default=None, repr=False)
    nwk_key: AesKey | None = field(default=None, repr=False)
    join_server: str | None = None
    device_profile: str | None = None
    connectivity_plan: str | None = None
    routing: str | None = None
    hsm_group: str | None = None
    motion: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    info: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, at which line, in which column; column None: of the line as a whole."""

    line: int
    column: str | None
    said: str

    def __str__(self) -> str:
        where = f"line {self.line}" if self.column is None else f"line {self.line}, {self.column}"
        return f"{where}: {self.said}"


@dataclass(frozen=True, slots=True)
class ReadFile:
    """What a file came to: its rows if there are no problems."""

    rows: tuple[DeviceRow, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class FileRules:
    """What rows are for: which network, what is done, and what stands for all rows whose column is empty.

    A routing that stands for all is where `move` moves them, whatever their column has.
    """

    surface: str
    action: Action
    defaults: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Record:
    """One row as it came: its line, and texts by column; what was wrong with it already."""

    line: int
    texts: dict[str, str] = field(default_factory=dict, repr=False)
    headers: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def read_file(content: bytes, rules: FileRules) -> ReadFile:
    """Read a file of devices: CSV with `;`, `,` or tabs, or JSON; UTF-8, with or without a byte order mark.

    Gives all rows or all problems, and raises nothing, whatever the bytes.
    """
    if len(content) > MAX_FILE_BYTES:
        return _refused(1, f"The file is larger than {MAX_FILE_BYTES // 2**20} MiB: split it.")
    if content.startswith(_UTF16):
        return _refused(1, "The file is UTF-16: save it as `CSV UTF-8`.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        return _refused(line, f"Byte 0x{content[exc.start]:02x} is not UTF-8: save the file as `CSV UTF-8`.")
    is_json = text.lstrip()[:1] in {"[", "{"}
    try:
        records = list(_read_json(text) if is_json else _read_csv(text))
    except _UnreadableError as exc:
        return ReadFile((), exc.problems)
    if len(records) > MAX_ROWS:
        return _refused(records[MAX_ROWS].line, f"The file has more than {MAX_ROWS:,} devices: split it.")
    if not records:
        return _refused(1, "There is no device in it.")
    return _read_rows(records, rules)


class _UnreadableError(Exception):
    """The file as a whole cannot be read."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__()
        self.problems = problems


def _refused(line: int, said: str) -> ReadFile:
    return ReadFile((), (Problem(line, None, said),))


def _read_json(text: str) -> Iterator[_Record]:
    try:
        for number, (line, members) in enumerate(read_objects(text)):
            if number > MAX_ROWS:
                return
            record = _Record(line)
            for name, value in members:
                _take_member(record, name, value)
            if record.texts or record.problems:
                yield record
    except NotJsonError as exc:
        raise _UnreadableError(Problem(exc.line, None, exc.said)) from exc


def _take_member(record: _Record, name: str, value: object) -> None:
    if name.startswith(COMMENT):
        return
    column = find_column(name)
    if column is None:
        record.problems.append(Problem(record.line, shorten(name), _unknown(name)))
    elif value is None:
        return
    elif isinstance(value, str):
        _take_text(record, column, name, value)
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and column.kind not in {Kind.EUI, Kind.KEY}:
        _take_text(record, column, name, repr(value))
    else:
        record.problems.append(Problem(record.line, shorten(name), "It must be a text in quotes."))


def _read_csv(text: str) -> Iterator[_Record]:
    delimiter = None
    if text[:4].lower() == "sep=" and len(text) > 4:  # Excel's own first line
        delimiter = text[4] if text[4] in _DELIMITERS else None
        text = "\n" + text.partition("\n")[2]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter or _delimiter(text), strict=True)
    columns: list[tuple[str, Column | None]] | None = None
    begins = 1
    count = 0
    try:
        for cells in reader:
            line, begins = begins, reader.line_num + 1
            if not any(cell.strip() for cell in cells) or cells[0].lstrip().startswith(COMMENT):
                continue
            if columns is None:
                columns = _read_header(line, cells)
                continue
            yield _csv_record(line, columns, cells)
            count += 1
            if count > MAX_ROWS:
                return
    except csv.Error as exc:
        raise _UnreadableError(Problem(begins, None, f"It is not CSV: {_csv_words(exc)}.")) from exc


def _csv_words(exc: csv.Error) -> str:
    words = str(exc)
    if "expected after" in words:
        return "after a closing quote there is more; a quote within a value is written twice"
    if "unexpected end" in words:
        return "a value's opening quote is never closed"
    return "a value is far too long" if "limit" in words else words


def _delimiter(text: str) -> str:
    """Give what separates the header's names: of the candidates the one it has most of, outside quotes."""
    for line in text.splitlines():
        bare = re.sub(r'"[^"]*"', "", line)
        if bare.strip() and not bare.lstrip().startswith(COMMENT):
            return max(_DELIMITERS, key=bare.count)
    return ","


def _read_header(line: int, cells: list[str]) -> list[tuple[str, Column | None]]:
    columns: list[tuple[str, Column | None]] = []
    problems = []
    seen: dict[str, str] = {}
    for number, cell in enumerate(cells, 1):
        header = cell.strip()
        column = find_column(header)
        if column is None and header and not header.startswith(COMMENT):
            problems.append(Problem(line, shorten(header), _unknown(header)))
        if column is not None and column.name in seen:
            said = f"The column stands there already, as {shorten(seen[column.name])}."
            problems.append(Problem(line, shorten(header), said))
        if column is not None:
            seen[column.name] = header
        columns.append((header or f"column {number}", column))
    if "dev_eui" not in seen:
        problems.insert(0, Problem(line, None, "There is no column DevEUI: the first line must name the columns."))
    if problems:
        raise _UnreadableError(*problems)
    return columns


def _csv_record(line: int, columns: list[tuple[str, Column | None]], cells: list[str]) -> _Record:
    record = _Record(line)
    if any(cell.strip() for cell in cells[len(columns) :]):
        said = f"It has {len(cells)} values, and there are {len(columns)} columns: is a value with a comma unquoted?"
        record.problems.append(Problem(line, None, said))
    for (header, column), cell in zip(columns, cells, strict=False):
        if column is not None:
            _take_text(record, column, header, cell)
        elif cell.strip() and not header.startswith(COMMENT):
            record.problems.append(Problem(line, header, "There is a value in a column without a name."))
    return record


def _take_text(record: _Record, column: Column, header: str, text: str) -> None:
    formula = _AS_FORMULA.match(text.strip())
    text = (formula[1] if formula else text).strip()
    if column.name in record.headers:
        said = f"It stands there already, as {shorten(record.headers[column.name])}."
        record.problems.append(Problem(record.line, shorten(header), said))
    record.headers[column.name] = header
    if text:
        record.texts[column.name] = text


def _read_rows(records: list[_Record], rules: FileRules) -> ReadFile:
    rows: list[DeviceRow] = []
    problems: list[Problem] = []
    lines: dict[str, int] = {}
    for record in records:
        found = record.problems or _check(record, rules)
        if isinstance(found, list):
            problems += found
            continue
        if found.dev_eui in lines:
            said = f"{found.dev_eui} stands in line {lines[found.dev_eui]} already."
            problems.append(Problem(record.line, record.headers["dev_eui"], said))
        lines.setdefault(found.dev_eui, record.line)
        rows.append(found)
    return ReadFile((), tuple(problems)) if problems else ReadFile(tuple(rows), ())


def _check(record: _Record, rules: FileRules) -> DeviceRow | list[Problem]:
    values: dict[str, object] = {}
    problems: list[Problem] = []
    texts = {**rules.defaults, **record.texts}
    if rules.action is Action.MOVE and "routing" in rules.defaults:  # where to is said, whatever stands in the file
        texts["routing"] = rules.defaults["routing"]
    for name, text in texts.items():
        column = BY_NAME[name]
        header = shorten(record.headers.get(name, column.header))
        if rules.surface not in column.surfaces:
            if name in record.texts:
                problems.append(Problem(record.line, header, f"{column.header} is nothing that {rules.surface} has."))
            continue
        try:
            values[name] = _READERS[column.kind](text)
        except IdentifierError as exc:
            problems.append(Problem(record.line, header, str(exc)))
    for name in _missing(values, texts, rules):
        header = record.headers.get(name, BY_NAME[name].header)
        problems.append(Problem(record.line, shorten(header), f"It is empty, and needed to {rules.action}."))
    for name, said in _contradictions(values, texts, rules):
        problems.append(Problem(record.line, BY_NAME[name].header, said))
    return problems or DeviceRow(record.line, **values)  # type: ignore[arg-type]  # the readers give their types


def _missing(values: Mapping[str, object], texts: Mapping[str, str], rules: FileRules) -> Iterator[str]:
    is_external = values.get("join_server") == EXTERNAL_JOIN
    for name in REQUIRED[rules.surface, rules.action]:
        wanted = "join_eui" if name == "app_key" and is_external else name
        if wanted not in texts:
            yield wanted
    if rules.action is Action.UPDATE and not any(name in texts for name in CHANGEABLE[rules.surface]):
        yield CHANGEABLE[rules.surface][0]


def _contradictions(
    values: Mapping[str, object], texts: Mapping[str, str], rules: FileRules
) -> Iterator[tuple[str, str]]:
    if rules.action is Action.CREATE and values.get("join_server") == EXTERNAL_JOIN and "app_key" in texts:
        yield "app_key", "A device of an external join server has its AppKey there: leave it empty here."
    if ("latitude" in texts) != ("longitude" in texts):
        yield "longitude", "Latitude and Longitude go together."
    if values.get("motion") == "BIKE_SPEED" and rules.surface == "kpn-lora":
        yield "motion", "BIKE_SPEED is nothing that kpn-lora has."


def _read_eui(text: str) -> DevEui:
    bare = text.removeprefix("0x").removeprefix("0X")
    digits = "".join(character for character in bare if character.isalnum())
    if len(digits) != _EUI_DIGITS and _SCIENTIFIC.match(bare):
        raise IdentifierError(
            f"{shorten(text)!r} is a number that Excel has rounded: make the column text there, and paste it anew."
        )
    if digits.isdigit() and len(digits) < _EUI_DIGITS:
        raise IdentifierError(f"{shorten(text)!r} has {len(digits)} digits of 16: were zeros at its beginning dropped?")
    found = parse_dev_eui(bare)
    if found == EXAMPLE_DEV_EUI:
        raise IdentifierError("This is the template's example row: remove it.")
    return found


def _read_text(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise IdentifierError(f"It has {len(text)} characters; {MAX_TEXT} is the most.")
    if not text.isprintable():
        raise IdentifierError("It has a character that cannot be printed, such as a line break.")
    return text


def _read_motion(text: str) -> str:
    found = text.upper().replace(" ", "_").replace("-", "_")
    if found not in MOTIONS:
        raise IdentifierError(f"{shorten(text)!r} is none of {', '.join(MOTIONS)}.")
    return found


def _read_join_server(text: str) -> str:
    if text.lower() not in {LOCAL_JOIN, EXTERNAL_JOIN}:
        raise IdentifierError(f"{shorten(text)!r} is neither `{LOCAL_JOIN}` nor `{EXTERNAL_JOIN}`.")
    return text.lower()


def _read_degrees(text: str, most: int) -> float:
    try:
        degrees = float(text.replace(",", ".")) if len(text) <= 40 else most + 1.0
    except ValueError:
        degrees = most + 1.0
    if not -most <= degrees <= most:
        raise IdentifierError(f"{shorten(text)!r} is no number of degrees from -{most} to {most}.")
    return degrees


_READERS: Mapping[Kind, Callable[[str], object]] = {
    Kind.EUI: _read_eui,
    Kind.KEY: parse_aes_key,
    Kind.TEXT: _read_text,
    Kind.MOTION: _read_motion,
    Kind.JOIN_SERVER: _read_join_server,
    Kind.LATITUDE: lambda text: _read_degrees(text, 90),
    Kind.LONGITUDE: lambda text: _read_degrees(text, 180),
}


def _unknown(header: str) -> str:
    near = difflib.get_close_matches(header.lower()[:40], [column.header.lower() for column in COLUMNS], 1)
    meant = next((f" Is it {column.header}?" for column in COLUMNS if column.header.lower() in near), "")
    return f"There is no such column.{meant} A name that begins with # is left alone."
