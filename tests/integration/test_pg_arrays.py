"""Arrays packed for PostgreSQL hold what psycopg's own arrays hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from receiver.storage import pg_arrays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TIMES = [
    datetime(2026, 11, 21, 8, 30, 0, 123456, tzinfo=UTC),
    datetime(1999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2026, 3, 29, 2, 30, tzinfo=timezone(timedelta(hours=1))),
]

CASES: list[tuple[str, Callable[..., pg_arrays.PgArray], list[Any]]] = [
    ("bigint[]", pg_arrays.int8s, [0, -1, 2**63 - 1, -(2**63)]),
    ("double precision[]", pg_arrays.float8s, [0.0, -101.774582, 1e300, float("inf")]),
    ("boolean[]", pg_arrays.bools, [True, False]),
    ("text[]", pg_arrays.texts, ["", "DevEUI_uplink", 'a "quoted" {brace}', "ä€😀", "NULL"]),
    ("bytea[]", pg_arrays.byteas, [b"", b"\x00\xff\\", bytes(range(256)) * 20]),
    ("timestamptz[]", pg_arrays.timestamptzs, TIMES),
]


@pytest.fixture
def connection(make_postgresql: Callable[[str], str]) -> Iterator[psycopg.Connection]:
    url = make_postgresql("template0").replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(url) as connection:
        pg_arrays.register(connection)
        yield connection


def came_back(connection: psycopg.Connection, type_name: str, parameter: object) -> Any:
    row = connection.execute(f"SELECT %b::{type_name}".encode(), (parameter,)).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize(("type_name", "array", "values"), CASES, ids=[case[0] for case in CASES])
def test_values_come_back_as_they_went_in(
    connection: psycopg.Connection,
    type_name: str,
    array: Callable[..., pg_arrays.PgArray],
    values: list[Any],
) -> None:
    for given in (values, [*values, None], [None], []):
        assert came_back(connection, type_name, array(given)) == given


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(TypeError):
        pg_arrays.timestamptzs([datetime(2026, 11, 21)])  # noqa: DTZ001


def test_an_array_shows_nothing_of_its_values() -> None:
    assert "secret" not in repr(pg_arrays.texts(["secret"]))
