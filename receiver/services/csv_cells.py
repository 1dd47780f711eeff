"""Texts in cells of CSV: none of them is a formula to a spreadsheet.

A text that begins with `=`, `+`, `-`, `@`, a tab or a carriage return gets an apostrophe before it: a spreadsheet
would run it as a formula, and what stands in it came from a network. Numbers never get one.
"""

from __future__ import annotations

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # OWASP, CSV Injection


def guard_cell(text: str) -> str:
    """Give the text as it can stand in a cell."""
    return f"'{text}" if text.startswith(_FORMULA) else text
