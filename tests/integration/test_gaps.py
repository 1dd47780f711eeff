"""Holes in frame counters: what was sent and not heard, and what only looks like it."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from sqlalchemy import insert, text

from receiver.storage.engine import read, write
from receiver.storage.gaps import list_gaps
from receiver.storage.tables import uplinks
from tests.integration.command_line import run

DEV_EUI = "0059AC0000000001"
ONE_DEVICE = "SELECT * FROM uplink_gaps WHERE dev_eui = '0059AC0000000001'"


@pytest.fixture
def session(engine, now):
    """Give a function that stores a session's frames, a minute apart, in the order of the air."""

    def store(*f_cnt_ups, dev_eui=DEV_EUI, minutes=None):
        with write(engine) as connection:
            at = now if engine.dialect.name == "postgresql" else now.isoformat()
            session_id = connection.scalar(
                text("INSERT INTO sessions (dev_eui, began_by, started_at) VALUES (:eui, 'join', :at) RETURNING id"),
                {"eui": dev_eui, "at": at},
            )
            for position, f_cnt_up in enumerate(f_cnt_ups):
                minute = position if minutes is None else minutes[position]
                row = frame(now + timedelta(minutes=minute), f_cnt_up, dev_eui, session_id)
                connection.execute(insert(uplinks).values(row | {"frame_check": f"frame {position}"}))
        return session_id

    return store


def frame(at, f_cnt_up, dev_eui=DEV_EUI, session_id=None):
    return {
        "dev_eui": dev_eui,
        "session_id": session_id,
        "at": at,
        "received_at": at,
        "f_cnt_up": f_cnt_up,
        "payload_state": "none",
        "payload_size_bytes": 0,
        "conflicting": False,
        "late": False,
    }


@pytest.fixture
def gaps(engine):
    """Give a function that tells the holes: counter before, counter after, how many between."""

    def tell(**wanted):
        with read(engine) as connection:
            found = list_gaps(connection, limit=100, **wanted)
        return [(gap.after_f_cnt_up, gap.before_f_cnt_up, gap.missing) for gap in found]

    return tell


@pytest.mark.parametrize(
    ("f_cnt_ups", "holes"),
    {
        "frames without a hole": ((0, 1, 2, 3), []),
        "one frame was lost": ((0, 1, 3), [(1, 3, 1)]),
        "several were lost, twice": ((7, 10, 11, 20), [(11, 20, 8), (7, 10, 2)]),
        "what was before the first is not known": ((17,), []),
        "a late frame closed the hole": ((1, 3, 2, 4), []),
        "a late frame closed a part of the hole": ((1, 5, 3), [(3, 5, 1), (1, 3, 1)]),
        "two frames with one counter": ((1, 2, 2, 4), [(2, 4, 1)]),
        "a counter of 32 bits goes past 16": ((65535, 65536, 65538), [(65536, 65538, 1)]),
        "a counter of 16 bits begins anew": ((65534, 65535, 0, 1), []),
        "frames were lost at the wrap of 16 bits": ((65533, 2), [(65533, 2, 4)]),
        "a frame of before the wrap came late": ((65533, 65534, 0, 65535, 1), []),
        "a session's first frame came late over the wrap": ((0, 65535, 2), [(0, 2, 1)]),
        "the greatest counter": ((0, 2**32 - 1), [(0, 2**32 - 1, 2**32 - 2)]),
    }.values(),
    ids=str,
)
def test_holes_are_told_with_how_many_are_missing(session, gaps, f_cnt_ups, holes):
    session(*f_cnt_ups)

    assert gaps() == holes


def test_a_second_round_of_a_16_bit_counter_is_not_the_first(session, gaps):
    session(65530, 65531, *range(65532, 65536), 0, 1, 3, 65530, minutes=[0, 1, 2, 3, 4, 5, 6, 7, 8, 9])

    assert gaps() == [(1, 3, 1)]  # and the last frame is taken for a late one of the first round


def test_between_two_sessions_there_is_no_hole(session, gaps):
    session(0, 1, 500)
    session(0, 1)

    assert gaps() == [(1, 500, 498)]


def test_a_frame_without_session_or_counter_is_in_no_hole(engine, session, gaps, now):
    session_id = session(1, 2)
    with write(engine) as connection:
        connection.execute(insert(uplinks), [frame(now, 9), frame(now, None, session_id=session_id)])

    assert gaps() == []


def test_holes_are_asked_of_one_device(session, gaps):
    session(1, 3)
    session(4, 7, dev_eui="0059AC0000000002")

    assert gaps(dev_eui="0059AC0000000002") == [(4, 7, 2)]


def test_holes_are_asked_since_a_time(session, gaps, now):
    session(1, 3, 5, minutes=[0, 10, 20])

    assert gaps(since=now + timedelta(minutes=20)) == [(3, 5, 1)]


def test_a_hole_says_when_it_was_and_by_whom_the_device_came(field, gaps):
    network = field.connect()
    device = network.add_device()
    field.take_and_read(network.uplink(device, f_port=5, payload=b"x"))
    network.uplink(device, f_port=5, payload=b"lost")
    field.wait(hours=1)
    field.take_and_read(network.uplink(device, f_port=5, payload=b"y"))

    with read(field.engine) as connection:
        (gap,) = list_gaps(connection, limit=10)

    assert (gap.dev_eui, gap.connection, gap.missing) == (device.dev_eui, "field", 1)
    assert [gap.from_at, gap.until_at] == [row.at for row in field.rows(uplinks)]


@pytest.mark.parametrize("pause", [{"seconds": 60}, {"hours": 1}], ids=["within a session", "as a restart"])
def test_a_16_bit_counter_that_begins_anew_leaves_no_hole_however_it_is_read(field, gaps, pause):
    network = field.connect()
    device = network.add_device(f_cnt_up=65_534)
    for _ in range(2):
        field.take_and_read(network.uplink(device, f_port=5, payload=b"x"))
        field.wait(**pause)
    device.f_cnt_up = 0
    for _ in range(2):
        field.take_and_read(network.uplink(device, f_port=5, payload=b"y"))
        field.wait(**pause)

    assert [row.f_cnt_up for row in field.rows(uplinks)] == [65_534, 65_535, 0, 1]
    assert gaps() == []


def test_a_rejoin_leaves_no_hole(field, gaps):
    network = field.connect()
    device = network.add_device(f_cnt_up=700)
    field.take_and_read(network.uplink(device, f_port=5, payload=b"x"))
    field.wait(hours=1)
    field.take_and_read(network.join(device), network.uplink(device, f_port=5, payload=b"y"))

    assert [row.f_cnt_up for row in field.rows(uplinks)] == [700, 0]
    assert gaps() == []


def test_a_late_frame_closes_the_hole_that_it_left(field, gaps):
    network = field.connect()
    device = network.add_device()
    field.take_and_read(network.uplink(device, f_port=5, payload=b"x"))
    network.hold(device)
    field.wait(minutes=10)
    field.take_and_read(network.uplink(device, f_port=5, payload=b"y"))
    assert gaps() == [(0, 2, 1)]

    field.take_and_read(network.late_uplink(device))

    assert gaps() == []


def test_a_question_for_one_device_reads_only_that_device(engine):
    plan_of_view = text({"sqlite": "EXPLAIN QUERY PLAN ", "postgresql": "EXPLAIN "}[engine.dialect.name] + ONE_DEVICE)
    with read(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL enable_seqscan = off"))  # an empty table is read whole otherwise
        plan = "\n".join(" ".join(map(str, row)) for row in connection.execute(plan_of_view))

    assert "ix_uplinks_dev_eui_at" in plan
    assert "SCAN uplinks" not in plan


def test_the_command_lists_holes_for_people_and_programs(database_url, session, tmp_path):
    session(1, 4)

    rows = json.loads(run(tmp_path, database_url, "uplinks", "gaps", "--device", DEV_EUI, "--json").stdout)
    table = run(tmp_path, database_url, "uplinks", "gaps").stdout

    assert [(row["after_f_cnt_up"], row["before_f_cnt_up"], row["missing"]) for row in rows] == [(1, 4, 2)]
    assert DEV_EUI in table


def test_a_time_that_is_none_is_refused_as_wrong_usage(database_url, tmp_path):
    done = run(tmp_path, database_url, "uplinks", "gaps", "--since", "yesterday")

    assert done.returncode == 2
    assert "2026-11-20" in done.stderr
