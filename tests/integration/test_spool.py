"""The spool's file: what it has taken is on the disk, in order, within bounds, and is never thrown away."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from datetime import timedelta

import pytest

from receiver.errors import StorageUnavailableError
from receiver.storage.spool import ROW_BYTES, SHRINK_ABOVE_BYTES, Spool, read_spool_state
from tests.integration.inbox_use import report_maker


@pytest.fixture
def make_report(now):
    return report_maker(1, now)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "spool.db"


@pytest.fixture
def make_spool(path):
    spools = []

    def make(**bounds):
        spools.append(Spool(path, **bounds))
        return spools[-1]

    yield make
    for spool in spools:
        spool.close()


@pytest.fixture
def spool(make_spool):
    return make_spool()


def queries(spool):
    return [row.report.query for row in spool.first(1000)]


def test_reports_come_out_as_they_went_in(spool, make_report):
    report = make_report(1)._replace(body=b"\xff\x00 any bytes", query="LrnInfos=\u00e9", dev_eui=None, frame_id=None)
    spool.append([report])

    assert [row.report for row in spool.first(10)] == [report]


def test_reports_keep_the_order_in_which_they_came(spool, make_spool, make_report):
    for number in (3, 1, 2):
        (spool if number % 2 else make_spool()).append([make_report(number)])

    assert queries(spool) == ["LrnInfos=TWA-3-1", "LrnInfos=TWA-1-1", "LrnInfos=TWA-2-1"]


def test_what_it_has_taken_is_there_for_another_process(spool, path, make_report):
    spool.append([make_report(1)])
    script = (
        "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM spooled').fetchone()[0])"
    )

    found = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert found.stdout == "1\n"


def test_each_commit_is_synced(spool):
    with spool._use() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_nobody_else_may_read_its_files(spool, path, make_report):
    spool.append([make_report(1)])

    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    assert len(list(path.parent.iterdir())) == 3


def test_what_is_removed_is_gone_and_the_rest_stays(spool, make_report):
    spool.append([make_report(number) for number in range(5)])
    spool.remove(spool.first(3)[-1].id)

    assert queries(spool) == ["LrnInfos=TWA-3-1", "LrnInfos=TWA-4-1"]


def test_a_place_is_never_given_twice(spool, make_report):
    _, first = spool.append([make_report(1)])
    spool.remove(first)
    _, second = spool.append([make_report(2)])

    assert second > first


def test_a_step_is_bounded_in_bytes_but_never_empty(spool, make_report):
    spool.append([make_report(number)._replace(body=bytes(5_000_000)) for number in range(3)])

    assert len(spool.first(10)) == 1


# --- bounds


def test_it_takes_what_there_is_room_for_and_then_no_more(make_spool, make_report):
    report = make_report(1)
    each = ROW_BYTES + len(report.body) + len(report.query)
    spool = make_spool(max_bytes=3 * each)

    assert spool.append([make_report(number) for number in range(5)])[0] == 3
    with pytest.raises(StorageUnavailableError, match="The spool is full"):
        spool.append([make_report(9)])
    assert len(spool.first(10)) == 3


def test_there_is_room_again_once_something_is_removed(make_spool, make_report):
    report = make_report(1)
    spool = make_spool(max_bytes=ROW_BYTES + len(report.body) + len(report.query))
    _, last_id = spool.append([report])
    spool.remove(last_id)

    assert spool.append([report])[0] == 1


def test_it_takes_no_more_when_its_oldest_report_is_too_old_and_keeps_that(make_spool, make_report, now):
    spool = make_spool(max_age_s=60)
    spool.append([make_report(1)])
    with pytest.raises(StorageUnavailableError, match="RECEIVER_SPOOL_MAX_AGE_S"):
        spool.append([make_report(2)._replace(received_at=now + timedelta(seconds=62))])

    assert spool.append([make_report(3)._replace(received_at=now + timedelta(seconds=59))])[0] == 1
    assert len(spool.first(10)) == 2


def test_a_full_disk_refuses_and_keeps_what_there_is_and_takes_again_when_there_is_room(spool, make_report):
    spool.append([make_report(1)])
    with spool._use() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(StorageUnavailableError, match="full"):
        spool.append([make_report(2)._replace(body=bytes(100_000))])

    assert spool.append([make_report(3)._replace(body=bytes(100_000))])[0] == 1  # opened anew, without that bound
    assert queries(spool) == ["LrnInfos=TWA-1-1", "LrnInfos=TWA-3-1"]


def test_an_empty_spool_gives_the_disk_back(spool, path, make_report):
    _, last_id = spool.append([make_report(1)._replace(body=bytes(2 * SHRINK_ABOVE_BYTES))])
    spool.remove(last_id)
    spool.shrink()

    assert path.stat().st_size < SHRINK_ABOVE_BYTES // 10
    assert spool.append([make_report(2)])[1] > last_id


# --- what goes wrong with the file


def test_a_file_that_is_no_spool_is_told(spool, path, make_report):
    path.parent.mkdir()
    path.write_bytes(b"not a database, and longer than SQLite's magic words" * 100)

    with pytest.raises(StorageUnavailableError, match=r"spool\.db cannot be used"):
        spool.append([make_report(1)])


def test_a_spool_of_a_newer_version_is_left_alone(make_spool, path, make_report):
    make_spool().append([make_report(1)])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA user_version=99")

    with pytest.raises(StorageUnavailableError, match="newer version"):
        make_spool().append([make_report(2)])


def test_a_file_that_was_removed_is_made_anew_and_nothing_goes_into_the_old_one(spool, path, make_report):
    spool.append([make_report(1)])
    for file in path.parent.iterdir():
        file.unlink()
    spool.append([make_report(2)])

    assert read_spool_state(path).rows == 1


def test_a_spool_that_another_process_holds_for_long_is_told(spool, path, make_report):
    spool.open()
    with closing(sqlite3.connect(path, isolation_level=None)) as other, spool._use() as connection:
        connection.execute("PRAGMA busy_timeout=50")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnavailableError, match="locked"):
            spool.append([make_report(1)])


# --- set aside


def test_what_is_set_aside_is_kept_with_its_reason_and_can_be_brought_back(spool, path, make_report, now):
    spool.append([make_report(number) for number in (1, 2)])
    spool.set_aside(spool.first(1)[0].id, "Why.", now)
    state = read_spool_state(path)
    assert (state.rows, state.set_aside, state.set_aside_reason) == (1, 1, "Why.")
    assert queries(spool) == ["LrnInfos=TWA-2-1"]

    assert spool.bring_back() == 1
    assert queries(spool) == ["LrnInfos=TWA-2-1", "LrnInfos=TWA-1-1"]
    assert read_spool_state(path).set_aside == 0


# --- its state


def test_the_state_tells_how_many_how_large_how_old_and_the_bounds(make_spool, path, make_report, now):
    spool = make_spool(max_bytes=10_000, max_age_s=60)
    reports = [make_report(number) for number in range(3)]
    spool.append(reports)
    state = read_spool_state(path)

    assert (state.rows, state.oldest_at, state.max_bytes, state.max_age_s) == (3, reports[0].received_at, 10_000, 60)
    assert state.bytes == sum(ROW_BYTES + len(report.body) + len(report.query) for report in reports)
    assert state.oldest_s(now + timedelta(seconds=9)) == 9
    assert not state.is_full(now)
    assert state.is_full(now + timedelta(seconds=61))


def test_the_state_of_an_emptied_spool_is_empty(spool, path, make_report, now):
    spool.append([make_report(1)])
    spool.remove(spool.first(1)[0].id)
    state = read_spool_state(path)

    assert (state.rows, state.bytes, state.oldest_at, state.oldest_s(now)) == (0, 0, None, 0)


def test_the_state_of_a_spool_that_is_not_there_is_empty_and_makes_no_file(path):
    assert read_spool_state(path).rows == 0
    assert not path.exists()


def test_the_state_of_a_file_that_is_no_spool_is_told(path):
    path.parent.mkdir()
    path.write_bytes(b"not a database, and longer than SQLite's magic words" * 100)

    with pytest.raises(StorageUnavailableError, match="cannot be read"):
        read_spool_state(path)
