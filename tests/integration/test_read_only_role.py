"""The role that docs/read-only-role.sql makes: it reads everything but secrets, and changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from receiver.storage.columns import metadata

SCRIPT = Path(__file__).parents[2] / "docs" / "read-only-role.sql"
VIEWS = {"telemetry", "lorawan_telemetry", "uplink_gaps"}
SECRET = {"tunnel_keys", "as_transport_keys", "session_keys", "api_keys", "forwarder_secrets", "things_accounts"}
SECRET |= {"downlink_counters", "downlink_counter_uses"}  # a lane is made of an AppSKey
SECRET |= {"platform_accounts", "provisionings"}
SECRET_COLUMNS = {"reports": {"query", "body", "tunnel_key_id", "delivery_id", "frame_id"}}
SECRET_COLUMNS["rejections"] = {"query", "headers", "body"}
SECRET_COLUMNS["forwarders"] = {"url", "options", "uid", "lease_holder"}

pytestmark = pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)


@pytest.fixture
def reader(engine):
    """Give a connection that has become the role."""
    with engine.connect() as connection:
        for _ in range(2):  # it may be run again
            connection.exec_driver_sql(SCRIPT.read_text())
        connection.commit()
        connection.exec_driver_sql("SET ROLE receiver_reader")
        connection.commit()
        yield connection


@pytest.mark.parametrize("name", sorted({*metadata.tables, *VIEWS} - SECRET - SECRET_COLUMNS.keys()))
def test_the_role_reads_what_was_received_and_measured(reader, name):
    assert reader.execute(text(f"SELECT * FROM {name} LIMIT 1")) is not None  # noqa: S608 - names of our own


@pytest.mark.parametrize("name", SECRET_COLUMNS)
def test_of_pushes_the_role_reads_all_but_what_they_held(reader, name):
    columns = [column.name for column in metadata.tables[name].columns if column.name not in SECRET_COLUMNS[name]]

    assert reader.execute(text(f"SELECT {', '.join(columns)} FROM {name} LIMIT 1")) is not None  # noqa: S608 - names of our own
    for column in SECRET_COLUMNS[name]:
        refuses(reader, f"SELECT {column} FROM {name}")  # noqa: S608 - names of our own


@pytest.mark.parametrize("name", sorted(SECRET))
def test_the_role_reads_no_secret(reader, name):
    refuses(reader, f"SELECT * FROM {name}")  # noqa: S608 - names of our own


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM uplinks", "UPDATE devices SET name = 'x'", "INSERT INTO codecs VALUES (1)", "DROP VIEW telemetry"],
)
def test_the_role_changes_nothing(reader, statement):
    refuses(reader, statement)


def refuses(connection, statement):
    with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"):
        connection.execute(text(statement))
    connection.rollback()
