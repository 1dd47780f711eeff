"""What columns of a wide export are called, and what a cell of CSV is."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from receiver.services.csv_cells import guard_cell
from receiver.services.export_table import gather, rows_of_chunk
from receiver.services.export_wide import name_columns
from receiver.services.export_writers import local_time


@pytest.mark.parametrize(
    ("measurements", "names"),
    [
        ([("t", "Cel")], ["t"]),
        ([("t", None)], ["t"]),
        ([("t", None), ("t", "Cel"), ("t", "K")], ["t", "t [Cel]", "t [K]"]),
        ([("at", None), ("device", "V")], ["at []", "device [V]"]),
        ([("t", "Cel"), ("t", "K"), ("t [Cel]", None)], ["t [Cel]", "t [K]", "t [Cel] []"]),
        ([("a [x]", None), ("a", "x"), ("a", "y")], ["a [x]", "a [x] 2", "a [y]"]),
    ],
)
def test_each_measurement_has_a_column_name_of_its_own(measurements, names):
    assert list(name_columns(measurements).values()) == names


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@a", "\ta", "\ra"])
def test_what_a_spreadsheet_would_run_has_an_apostrophe_before_it(text):
    assert guard_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "a=1", " =1", "'=1", "é"])
def test_other_texts_stay(text):
    assert guard_cell(text) == text


@pytest.mark.parametrize(
    ("at", "local"),
    [
        ("2026-03-29T00:59:59.999999Z", "2026-03-29T01:59:59.999999+01:00"),
        ("2026-03-29T01:00:00.000000Z", "2026-03-29T03:00:00.000000+02:00"),
        ("9999-12-31T23:30:00.000000Z", "9999-12-31T23:30:00.000000Z"),
    ],
)
def test_a_time_has_the_offset_that_the_zone_had(at, local):
    assert local_time(at, ZoneInfo("Europe/Amsterdam")) == local


def test_parts_become_chunks_of_about_one_size():
    enough = rows_of_chunk(2)
    parts = [[[number] * (enough // 3), [None] * (enough // 3)] for number in range(10)]

    chunks = list(gather(iter(parts), 2))

    assert sum(len(chunk[0]) for chunk in chunks) == 10 * (enough // 3)
    assert all(enough <= len(chunk[0]) < 2 * enough for chunk in chunks[:-1])
    assert list(gather(iter([]), 2)) == []
