"""The query parameters of an API call, each checked; whatever is wrong is told by name, with what would be right."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from receiver.web.problems import wrong_parameter

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Parameters:
    """The parameters of one call. A name that is not in `known`, or that stands twice, is an error.

    Raises:
        ProblemError: 400, with the parameter's name.
    """

    def __init__(self, given: Iterable[tuple[str, str]], known: Sequence[str]) -> None:
        self._values: dict[str, str] = {}
        for name, value in given:
            if name not in known:
                raise wrong_parameter(name[:40], f"{name[:40]!r} is no parameter here; there are {', '.join(known)}.")
            if name in self._values:
                raise wrong_parameter(name, f"{name} stands twice; give it once.")
            self._values[name] = value

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
