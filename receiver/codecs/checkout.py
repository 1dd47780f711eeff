"""Reads files of a local checkout within bounds: never outside its folder, never more than `MAX_FILE_BYTES`.

A checkout is other people's text. Names that come from it (`fileName`, `main`, …) are checked before they become
paths, symbolic links may not lead out, and only regular files are opened.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from receiver.codecs.plain_yaml import MAX_DEPTH, YamlRefusedError, parse_yaml
from receiver.errors import CodecSourceError

if TYPE_CHECKING:
    from pathlib import Path

    from receiver.codecs.values import Json

MAX_FILE_BYTES = 1 << 20
"""A bundled driver of a tracker, with its tables, has some 150 kB; one codec is not several times as large."""

MAX_ENTRIES = 20_000
"""Names listed of one folder: a bound only; a vendor has hundreds of files at most."""

MAX_GIT_BYTES = 4 << 20
"""`packed-refs` of a repository with tens of thousands of tags."""

_NAME = re.compile(r"[A-Za-z0-9_@+][A-Za-z0-9_@+.() -]{0,99}\Z")
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
_REF = re.compile(r"ref: (refs/heads/[\w./+-]{1,200})\Z")


@dataclass(frozen=True, slots=True)
class Checkout:
    """A folder that is read, and nothing outside of it. Make it with `open_checkout`.

    Every `name` is relative to the folder, with `/` between its parts.
    """

    root: Path

    def has(self, name: str) -> bool:
        """Whether a regular file of that name is there; False for a name that leads out."""
        try:
            return self.path_of(name).is_file()
        except CodecSourceError:
            return False

    def has_folder(self, name: str) -> bool:
        """Whether a folder of that name is there; False for a name that leads out."""
        try:
            return self.path_of(name).is_dir()
        except CodecSourceError:
            return False

    def path_of(self, name: str) -> Path:
        """Give where `name` lies.

        Raises:
            CodecSourceError: a part of it is no plain name, or it leads out of the folder.
        """
        parts = name.split("/")
        if not all(map(is_plain, parts)):
            raise CodecSourceError(f"{name[:200]!r} is not a plain file name; write the name of a file of {self.root}.")
        try:
            path = self.root.joinpath(*parts).resolve()
        except (OSError, RuntimeError) as problem:  # links in a circle
            raise CodecSourceError(f"{name} cannot be followed ({problem}); check its symbolic links.") from problem
        if not path.is_relative_to(self.root):
            raise CodecSourceError(f"{name} leads out of {self.root}; put the file itself there, not a link to it.")
        return path

    def text(self, name: str) -> str:
        """Give the text of a file, UTF-8 with or without a byte order mark.

        Raises:
            CodecSourceError: it is missing, too large, not readable, or not UTF-8.
        """
        path = self.path_of(name)
        if not path.is_file():
            raise CodecSourceError(f"{name} is not in {self.root}; check the name, or bring the checkout up to date.")
        try:
            with path.open("rb") as file:
                raw = file.read(MAX_FILE_BYTES + 1)
        except OSError as problem:
            raise CodecSourceError(f"{name} cannot be read ({problem.strerror}); check who may read it.") from problem
        if len(raw) > MAX_FILE_BYTES:
            raise CodecSourceError(f"{name} is larger than {MAX_FILE_BYTES} bytes; give a smaller build of it.")
        try:
            return raw.decode("utf-8-sig")
        except UnicodeDecodeError as problem:
            raise CodecSourceError(f"{name} is not UTF-8 at byte {problem.start}; save it as UTF-8.") from problem

    def yaml(self, name: str) -> Json:
        """Give what a YAML file holds.

        Raises:
            CodecSourceError: as `text`, and where it is not plain YAML.
        """
        try:
            return parse_yaml(self.text(name))
        except YamlRefusedError as problem:
            raise CodecSourceError(f"{name} {problem}.") from problem

    def json(self, name: str) -> Json:
        """Give what a JSON file holds, no deeper than YAML may be.

        Raises:
            CodecSourceError: as `text`, and where it is not JSON.
        """
        text = self.text(name)
        try:
            value: Json = json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
        except (ValueError, RecursionError) as problem:
            raise CodecSourceError(f"{name} is not JSON ({problem}); mend it or take it away.") from problem
        if _deeper_than(value, MAX_DEPTH):
            raise CodecSourceError(f"{name} is nested deeper than {MAX_DEPTH} levels; no codec's file is.")
        if "\\ud" in text.lower():  # half a surrogate pair can be spelled in JSON, and is no text that can be kept
            value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
        return value

    def folders(self, name: str = "") -> list[str]:
        """Give the names of the folders in a folder, sorted; none where there is no such folder."""
        return sorted(path.name for path in self._entries(name) if path.is_dir())

    def files(self, name: str, ending: str) -> list[str]:
        """Give the names of the files in a folder that end so, sorted; none where there is no such folder."""
        return sorted(path.name for path in self._entries(name) if path.name.endswith(ending) and path.is_file())

    def _entries(self, name: str) -> list[Path]:
        folder = self.path_of(name) if name else self.root
        if not folder.is_dir():
            return []
        found = [path for path, _ in zip(folder.iterdir(), range(MAX_ENTRIES), strict=False)]
        return [path for path in found if is_plain(path.name) and path.resolve().is_relative_to(self.root)]

    def commit(self) -> str | None:
        """Give the commit that is checked out, or None where `.git` does not say it in a file."""
        try:
            head = self._git_text("HEAD").strip()
            if _COMMIT.match(head):
                return head
            ref = _REF.match(head)
            if ref is None or ".." in ref[1]:
                return None
            if (self.root / ".git" / ref[1]).is_file():
                found = self._git_text(ref[1]).strip()
            else:
                packed = (line.partition(" ") for line in self._git_text("packed-refs").splitlines())
                found = next((commit for commit, _, name in packed if name == ref[1]), "")
        except (OSError, ValueError):
            return None
        return found if _COMMIT.match(found) else None

    def _git_text(self, name: str) -> str:
        with (self.root / ".git" / name).open("rb") as file:
            return file.read(MAX_GIT_BYTES).decode("utf-8")

    def tell(self, name: str) -> str:
        """Say where a file lies, for who asks later: its name in the checkout, and the commit if it is known."""
        commit = self.commit()
        return f"{name}, commit {commit[:12]}" if commit else name


def open_checkout(root: Path) -> Checkout:
    """Give the checkout at `root`.

    Raises:
        CodecSourceError: there is no such folder.
    """
    try:
        found = root.resolve()
    except (OSError, RuntimeError) as problem:
        raise CodecSourceError(f"{root} cannot be followed ({problem}); check its symbolic links.") from problem
    if not found.is_dir():
        raise CodecSourceError(f"{root} is not a folder; give the folder of a local checkout.")
    return Checkout(found)


def checked_name(text: str, example: str) -> tuple[str, str]:
    """Give both parts of `vendor/name`, each a plain name.

    Raises:
        CodecSourceError: it is not of that form; the message shows `example`.
    """
    parts = text.split("/")
    if len(parts) != 2 or not all(map(is_plain, parts)):
        raise CodecSourceError(f"{text[:200]!r} is not of the form vendor/name; write for example {example}.")
    return parts[0], parts[1]


def is_plain(name: str) -> bool:
    """Whether `name` can be one part of a name: letters, digits and a few marks, not beginning with a dot."""
    return _NAME.match(name) is not None


def as_object(value: Json) -> dict[str, Json]:
    """Give `value` if it is an object, else an empty one: what a file leaves out or says oddly is absent."""
    return value if isinstance(value, dict) else {}


def as_list(value: Json) -> list[Json]:
    """Give `value` if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def as_text(value: Json) -> str:
    """Give `value` without spaces around it if it is a text, else an empty one."""
    return value.strip() if isinstance(value, str) else ""


def _finite(spelled: str) -> float | None:
    # JavaScript writes a number beyond its range as null; so it is read as the like.
    number = float(spelled)
    return number if math.isfinite(number) else None


def _deeper_than(value: Json, depth: int) -> bool:
    level: list[Json] = [value]
    for _ in range(depth + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, list | dict)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return bool(level)
