"""A bound on log lines that strangers or a fault could make a flood of."""

from __future__ import annotations


class LogLimit:
    """Admits so many lines a second, and says how many were left out since the last one."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._second = 0
        self._admitted = 0
        self._left_out = 0

    def admit(self, second: int) -> int | None:
        """Give how many lines were left out before this one, or None: leave this one out as well."""
        if second != self._second:
            self._second, self._admitted = second, 0
        if self._admitted >= self._per_second:
            self._left_out += 1
            return None
        self._admitted += 1
        left_out, self._left_out = self._left_out, 0
        return left_out
