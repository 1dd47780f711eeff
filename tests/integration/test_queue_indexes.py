"""The queue stays quick however much stands behind it: its questions are answered by the partial indexes."""

from __future__ import annotations

import pytest
from sqlalchemy import event, text

from receiver.storage.engine import read, write
from receiver.storage.reports import list_unread_reports, wake_reports_of_device


@pytest.fixture
def plan_of(engine):
    """Give a function that runs an action and gives the database's plan for the statement it began with."""

    def explain(open_transaction, action):
        seen = []

        def note(_connection, _cursor, statement, parameters, _context, _many):
            seen.append((statement, parameters))

        with open_transaction(engine) as connection:
            event.listen(engine, "before_cursor_execute", note)
            action(connection)
            event.remove(engine, "before_cursor_execute", note)
            statement, parameters = next(one for one in seen if "reports" in one[0])
            if engine.dialect.name == "postgresql":
                connection.execute(text("SET LOCAL enable_seqscan = off"))  # a small table is read whole otherwise
                cursor = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
            else:
                cursor = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            return "\n".join(" ".join(map(str, row)) for row in cursor)

    return explain


def test_unread_reports_are_found_by_their_index(plan_of):
    assert "ix_reports_unread" in plan_of(read, lambda connection: list_unread_reports(connection, 10))


def test_reports_that_wait_for_a_key_are_found_by_their_index(plan_of):
    plan = plan_of(write, lambda connection: wake_reports_of_device(connection, "0059AC0000000001"))

    assert "ix_reports_waiting" in plan


def test_reports_of_a_rare_kind_are_found_by_their_index(plan_of):
    question = text(
        "SELECT id FROM reports WHERE kind = 'DevEUI_downlink_Sent' AND kind <> 'DevEUI_uplink' ORDER BY id"
    )

    assert "ix_reports_other_kinds" in plan_of(read, lambda connection: connection.execute(question))
