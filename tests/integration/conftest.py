"""What tests of the receiver's inside share: a database that goes away and comes back."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, text

from receiver.services.connections import add_connection
from tests.integration.inbox_use import TUNNEL_KEY, rejection_maker, report_maker
from tests.integration.reading_field import Field


@pytest.fixture
def field(engine, keyring, now):
    return Field(engine, keyring, now)


@pytest.fixture
def inbox_connection_id(engine, keyring, now):
    return add_connection(engine, keyring, now, name="field", platform="thingpark", tunnel_key=TUNNEL_KEY).id


@pytest.fixture
def new_report(inbox_connection_id, now):
    return report_maker(inbox_connection_id, now)


@pytest.fixture
def new_rejection(inbox_connection_id, now):
    return rejection_maker(inbox_connection_id, now)


@pytest.fixture
def database_is_away(engine, request):
    """Give a context manager: within it no statement succeeds, as when a disk or a server is gone."""
    if engine.dialect.name == "sqlite":
        return lambda: _moved_aside(engine)
    server = request.getfixturevalue("postgresql_server")
    return lambda: _closed_to_all(engine, server)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def module_database_url(request, tmp_path_factory):
    """A migrated database for all tests of a module, which run once on SQLite and once on PostgreSQL."""
    if request.param == "postgresql":
        make = request.getfixturevalue("make_module_postgresql")
        return make(request.getfixturevalue("postgresql_template"))
    path = tmp_path_factory.mktemp("module") / "receiver.db"
    path.write_bytes(request.getfixturevalue("sqlite_template").read_bytes())
    return f"sqlite:///{path}"


@contextmanager
def _moved_aside(engine):
    engine.dispose()
    path = Path(engine.url.database)
    aside = path.with_name("aside")
    path.rename(aside)
    path.mkdir()  # so that SQLite does not make an empty file in its place
    try:
        yield
    finally:
        path.rmdir()
        aside.rename(path)


@contextmanager
def _closed_to_all(engine, server):
    name = engine.url.database
    administration = create_engine(server.get_uri(driver="psycopg"), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with administration.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        connection.execute(
            text("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = :name"), {"name": name}
        )
    try:
        yield
    finally:
        with administration.connect() as connection:
            connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
