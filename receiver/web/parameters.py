"""The query parameters of an API call, each checked; whatever is wrong is told by name, with what would be right."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from receiver.errors import IdentifierError
from receiver.lorawan.identifiers import parse_device
from receiver.web.problems import wrong_parameter

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from receiver.lorawan.identifiers import DevEui
    from receiver.web.operations import Parameter


class Parameters:
    """The parameters of one call. A name that is not among `known`, or that stands twice, is an error.

    Raises:
        ProblemError: 400, with the parameter's name.
    """

    def __init__(self, given: Iterable[tuple[str, str]], known: Sequence[Parameter]) -> None:
        by_name = {parameter.name: parameter for parameter in known}
        self._values: dict[str, str] = {}
        self._repeated: dict[str, list[str]] = {}
        for name, value in given:
            if name not in by_name:
                there_are = f"there are {', '.join(by_name)}" if by_name else "there are none"
                raise wrong_parameter(name[:40], f"{name[:40]!r} is no parameter here; {there_are}.")
            if "\0" in value:  # PostgreSQL has no such text
                raise wrong_parameter(name, f"{name} has a NUL character; it must be without.")
            if by_name[name].is_repeatable:
                self._repeated.setdefault(name, []).append(value)
            elif name in self._values:
                raise wrong_parameter(name, f"{name} stands twice; give it once.")
            self._values[name] = value

    def texts(self, name: str, most: int, maximum: int = 256) -> list[str] | None:
        """Give the texts of a parameter that may stand up to `most` times, each once; None if it is not given."""
        given = self._repeated.get(name, ())
        if len(given) > most:
            raise wrong_parameter(name, f"{name} stands {len(given)} times; give it at most {most} times.")
        values = list(dict.fromkeys(given))
        if any(not 1 <= len(value) <= maximum for value in values):
            raise wrong_parameter(name, f"{name} must be 1 to {maximum} characters long.")
        return values or None

    def dev_eui(self, name: str) -> DevEui | None:
        """Give a DevEUI in upper case, or None if it is not given."""
        value = self._values.get(name)
        try:
            return None if value is None else parse_device(value)
        except IdentifierError as exc:
            raise wrong_parameter(name, str(exc)) from exc

    def text(self, name: str, maximum: int = 128) -> str | None:
        """Give a text of 1 to `maximum` characters, or None if it is not given."""
        value = self._values.get(name)
        if value is not None and not 1 <= len(value) <= maximum:
            raise wrong_parameter(name, f"{name} has {len(value)} characters; give 1 to {maximum}.")
        return value

    def choice(self, name: str, choices: Sequence[str]) -> str | None:
        """Give one of `choices`, or None if it is not given."""
        value = self._values.get(name)
        if value is not None and value not in choices:
            raise wrong_parameter(name, f"{name} is {value[:40]!r}; it must be one of {', '.join(choices)}.")
        return value

    def number(self, name: str, minimum: int, maximum: int) -> int | None:
        """Give a whole number in decimal digits, or None if it is not given."""
        value = self._values.get(name)
        if value is None:
            return None
        number = int(value) if value.isascii() and value.isdigit() and len(value) <= 20 else None
        if number is None or not minimum <= number <= maximum:
            raise wrong_parameter(
                name, f"{name} is {value[:40]!r}; it must be a whole number from {minimum} to {maximum}."
            )
        return number

    def flag(self, name: str) -> bool:
        """Give `true` or `false`; false if it is not given."""
        return self.choice(name, ("true", "false")) == "true"

    def time(self, name: str) -> datetime | None:
        """Give an aware time (ISO 8601; without an offset it is UTC), or None if it is not given.

        A `+` that was not encoded, and so is read as a space here, is taken for what it was.
        """
        value = self._values.get(name)
        if value is None:
            return None
        try:
            at = datetime.fromisoformat(value.strip().replace(" ", "+"))
            return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        except (ValueError, OverflowError) as exc:
            raise wrong_parameter(
                name, f"{name} is {value[:40]!r}; it must be ISO 8601, like 2026-11-21T08:30:00Z."
            ) from exc
