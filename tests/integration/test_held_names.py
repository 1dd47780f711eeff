"""A name is held by one at a time, on both databases, and by nobody whose process is gone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from receiver.errors import StorageUnavailableError
from receiver.storage.engine import open_engine, sqlite_path
from receiver.storage.held_names import hold_name
from tests.integration.forward_use import wait_until

CHECKOUT = Path(__file__).parents[2]
HOLDER = """
import sys, time
from receiver.storage.engine import open_engine
from receiver.storage.held_names import hold_name
with hold_name(open_engine(sys.argv[1]), "field") as is_held:
    print(is_held, flush=True)
    time.sleep(60)
"""


def is_free(engine, name="field"):
    with hold_name(engine, name) as is_held:
        return is_held


def test_a_name_is_held_by_one_at_a_time(engine):
    with hold_name(engine, "field") as first, hold_name(engine, "field") as second:
        assert (first, second) == (True, False)
        assert not is_free(engine), "who was refused has not given it free"
        assert is_free(engine, "meters")

    assert is_free(engine)


def test_a_name_is_free_after_a_fault(engine):
    with pytest.raises(ZeroDivisionError), hold_name(engine, "field"):
        raise ZeroDivisionError

    assert is_free(engine)


def test_a_name_is_free_once_the_process_that_held_it_was_killed(engine, database_url):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, database_url], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "True\n"
        assert not is_free(engine)
    finally:
        holder.kill()
        holder.communicate(timeout=60)

    wait_until(lambda: is_free(engine))


def test_nothing_is_left_beside_a_database(engine):
    path = sqlite_path(engine)
    if path is None:
        pytest.skip("PostgreSQL keeps no file of it")
    before = sorted(path.parent.iterdir())

    with hold_name(engine, "field"):
        assert len(list(path.parent.glob(f"{path.name}.held-*"))) == 1

    assert sorted(path.parent.iterdir()) == before


def test_a_directory_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")

    with (
        pytest.raises(StorageUnavailableError, match="cannot be made"),
        hold_name(open_engine(f"sqlite:///{tmp_path}/file/receiver.db"), "field"),
    ):
        pass
