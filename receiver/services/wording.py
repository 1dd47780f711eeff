"""Numbers as sentences have them."""

from __future__ import annotations

_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


def tell_span(seconds: float) -> str:
    """Give a span as people say it, in its two largest units: `3 hours 12 minutes`, `45 seconds`, `2 days`."""
    left = round(seconds)
    if left >= 3_600:
        left = round(left / 60) * 60
    parts = []
    for unit, size in _UNITS:
        number, rest = divmod(left, size)
        if number:
            parts.append(tell_count(number, unit))
            left = rest
        if parts and (unit == "second" or len(parts) == 2 or not left):
            break
    return " ".join(parts) or "0 seconds"


def tell_count(number: int, noun: str) -> str:
    """Give `1 report`, `2,000 reports`: for nouns that take an s."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
