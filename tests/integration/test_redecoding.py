"""History decoded again: as if the codec had been there when the frames came, whatever stops it on the way."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, event, select, text, update

from receiver.codecs.engine import CodecEngine
from receiver.codecs.values import Codec, Signature
from receiver.errors import ConflictError, NotFoundError, StorageUnavailableError
from receiver.services.codecs import Scope, add_codec, assign_codec, remove_codec, unassign_codec
from receiver.services.decoding import Decoder
from receiver.services.redecoding import begin_redecoding, redecode, resume_redecoding
from receiver.services.redecoding_differences import RedecodingCounts
from receiver.storage import redecoding as stored
from receiver.storage.engine import read, write
from receiver.storage.redecoding_runs import FINISHED_KEPT
from receiver.storage.tables import devices, uplinks
from receiver.storage.telemetry_tables import decodings, redecodings, series, telemetry_values, undecoded
from tests.integration.codec_scripts import CLIMATE, TENFOLD, climate

ROOT = Path(__file__).parents[2]
EUI, OTHER = "20635F0000000001", "20635F0000000002"
RENAMED = CLIMATE.replace("temperature:", "warmth:")
VALUES_OF_A_FRAME = 5  # that CLIMATE makes: temperature, door.open, state, levels.0, levels.1


def frame(tenths: int) -> bytes:
    return tenths.to_bytes(2, "big") + b"\1"


@pytest.fixture(scope="module")
def codec_engine():
    with CodecEngine() as running:
        yield running


@pytest.fixture
def decoder(engine, codec_engine):
    return Decoder(engine, codec_engine)


@pytest.fixture
def network(field):
    return field.connect()


@pytest.fixture
def device(network):
    return network.add_device(dev_eui=EUI)


@pytest.fixture
def history(field, network, device, decoder):
    """Seven frames of one device, a minute apart, decoded by CLIMATE as they came."""
    add(field)
    assign_codec(field.engine, field.now, "climate", Scope(dev_eui=EUI))
    for number in range(7):
        field.take_and_read(network.uplink(device, f_port=5, payload=frame(200 + number)))
        field.wait(minutes=1)
    decoder.decode_batch(field.now, 200)


def add(field, script=CLIMATE, name="climate"):
    return add_codec(field.engine, field.now, name, climate(script), None)


def begin(field, codec_engine, **options):
    return begin_redecoding(field.engine, codec_engine, field.now, options.pop("scope", Scope()), **options)


def steps(field, codec_engine, run, size=3):
    return redecode(field.engine, codec_engine, run, lambda: field.now, step_frames=size)


def total(walk, start=None):
    return sum((step.counts for step in walk), start or RedecodingCounts())


def again(field, codec_engine, **options):
    return total(steps(field, codec_engine, begin(field, codec_engine, **options)))


def temperatures(field, name="temperature"):
    return [value for _, each, value in told(field) if each == name]


def told(field):
    """Give device, name and value of all that stands, in the order of time."""
    with read(field.engine) as tx:
        query = select(series.c.dev_eui, series.c.name, telemetry_values.c.value, telemetry_values.c.text).join(
            telemetry_values, telemetry_values.c.series_id == series.c.id
        )
        rows = tx.execute(query.order_by(telemetry_values.c.at, telemetry_values.c.uplink_id, series.c.name))
        return [(row.dev_eui, row.name, row.text if row.value is None else row.value) for row in rows]


def names(field):
    return {row.name for row in field.rows(series)}


def everything(field):
    return told(field), field.rows(decodings), field.rows(series), field.count(redecodings)


def test_frames_that_came_before_their_codec_become_telemetry(field, codec_engine, network, device):
    field.take_and_read(network.uplink(device, f_port=5, payload=frame(215)))
    add(field)
    assign_codec(field.engine, field.now, "climate", Scope(dev_eui=EUI))

    assert again(field, codec_engine) == RedecodingCounts(decoded=1, added=VALUES_OF_A_FRAME)
    assert temperatures(field) == [21.5]
    assert field.count(undecoded) == 0


def test_a_new_version_replaces_what_the_old_one_made(field, codec_engine, history):
    add(field, TENFOLD)

    assert again(field, codec_engine) == RedecodingCounts(decoded=7, changed=7, unchanged=28)
    assert temperatures(field) == [2000.0 + 10 * number for number in range(7)]
    assert len({row.codec_version_id for row in field.rows(decodings)}) == 1
    assert {row.codec_version_id for row in field.rows(telemetry_values)} == {
        row.codec_version_id for row in field.rows(decodings)
    }


def test_an_older_version_brings_back_what_it_made(field, codec_engine, history):
    before = told(field)
    first = add(field).version
    add(field, TENFOLD)
    again(field, codec_engine)

    again(field, codec_engine, codec_name=f"climate@{first}")
    assert told(field) == before


def test_the_same_codec_again_changes_nothing(field, codec_engine, history):
    before = told(field)

    assert again(field, codec_engine) == RedecodingCounts(decoded=7, unchanged=7 * VALUES_OF_A_FRAME)
    assert told(field) == before


def test_a_dry_run_tells_what_a_run_does_and_writes_nothing(field, codec_engine, history):
    add(field, RENAMED)
    before = everything(field)
    dry = list(steps(field, codec_engine, begin(field, codec_engine, dry_run=True)))
    assert everything(field) == before

    assert total(dry) == again(field, codec_engine)
    assert total(dry) == RedecodingCounts(decoded=7, added=7, removed=7, unchanged=28)


def test_a_dry_run_shows_each_difference(field, codec_engine, history):
    add(field, TENFOLD)
    dry = list(steps(field, codec_engine, begin(field, codec_engine, dry_run=True)))

    first = dry[0].samples[0]
    assert (first.dev_eui, first.name, str(first.before), str(first.after)) == (
        EUI,
        "temperature",
        "20 Cel",
        "2000 Cel",
    )
    assert first.at == field.rows(uplinks)[0].at
    assert sum(len(step.samples) for step in dry) == 7


def test_another_unit_is_one_difference_for_people(field, codec_engine, history):
    add_codec(field.engine, field.now, "climate", climate(temperature="K"), None)
    [step, *_] = steps(field, codec_engine, begin(field, codec_engine, dry_run=True), size=1)

    assert (step.counts.added, step.counts.removed) == (1, 1)
    assert [(str(one.before), str(one.after)) for one in step.samples] == [("20 Cel", "20 K")]


def test_a_built_in_codec_needs_not_be_added_and_a_dry_run_does_not_add_it(field, codec_engine, network, device):
    field.take_and_read(network.uplink(device, f_port=5, payload=bytes.fromhex("03670110056700ff")))
    dry = begin(field, codec_engine, codec_name="cayenne-lpp", dry_run=True)
    assert total(steps(field, codec_engine, dry)) == RedecodingCounts(decoded=1, added=2)

    assert again(field, codec_engine, codec_name="cayenne-lpp") == RedecodingCounts(decoded=1, added=2)
    assert temperatures(field, "temperature_3") == [27.2]


def test_frames_that_no_codec_is_for_keep_what_they_have(field, codec_engine, history):
    unassign_codec(field.engine, Scope(dev_eui=EUI))
    before = told(field)

    assert again(field, codec_engine) == RedecodingCounts(left=7)
    assert told(field) == before


def test_a_frame_that_the_codec_refuses_says_why_and_has_no_measurements(field, codec_engine, history):
    add(field, CLIMATE.replace("input.bytes.length < 3", "input.bytes[1] === 203"))

    counts = again(field, codec_engine)
    assert (counts.decoded, counts.failed, counts.removed) == (6, 1, VALUES_OF_A_FRAME)
    [failed] = [row for row in field.rows(decodings) if row.state == "failed"]
    assert "too short" in json.loads(failed.errors)[0]
    assert len(temperatures(field)) == 6


@pytest.mark.parametrize(
    ("script", "reason"), [("function decodeUplink( {", "does not load"), ("var x = 1", "no function that decodes")]
)
@pytest.mark.parametrize("codec_name", ["climate", None])
def test_a_codec_that_cannot_decode_at_all_takes_nothing_away(field, codec_engine, history, script, reason, codec_name):
    add(field, script)
    before = told(field)
    with pytest.raises(ConflictError, match=reason):
        again(field, codec_engine, codec_name=codec_name)

    assert told(field) == before


@pytest.mark.parametrize(
    ("scope", "count"),
    [
        (Scope(dev_eui=EUI.lower()), 2),
        (Scope(model="SIM/Climate"), 3),
        (Scope(model="ACME/Other"), 0),
        (Scope(driver="acme:climate:1"), 2),
        (Scope(connection="field"), 3),
        (Scope(f_port=6), 1),
        (Scope(dev_eui=EUI, f_port=6), 0),
    ],
)
def test_only_the_frames_that_match_are_decoded_again(field, codec_engine, network, device, scope, count):
    other = network.add_device(dev_eui=OTHER)
    field.take_and_read(
        network.uplink(device, f_port=5, payload=frame(1)),
        network.uplink(other, f_port=6, payload=frame(2)),
        network.uplink(device, f_port=5, payload=frame(3)),
    )
    with write(field.engine) as tx:
        tx.execute(update(devices).where(devices.c.dev_eui == EUI).values(driver="acme:climate:1"))
    add(field)

    assert again(field, codec_engine, scope=scope, codec_name="climate").decoded == count


def test_the_range_begins_with_since_and_ends_before_until(field, codec_engine, history):
    at = [row.at for row in field.rows(uplinks)]
    add(field, TENFOLD)

    assert again(field, codec_engine, since=at[2], until=at[5]).decoded == 3
    assert [value > 1000 for value in temperatures(field)] == [False, False, True, True, True, False, False]


def test_frames_without_a_clear_payload_are_passed_over(field, codec_engine):
    network = field.connect("encrypted", encrypted=True)
    device = network.add_device(dev_eui=EUI)
    add(field)
    field.take_and_read(network.join(device), network.uplink(device, f_port=5, payload=frame(1)), name="encrypted")

    assert again(field, codec_engine, codec_name="climate") == RedecodingCounts()


def test_a_frame_that_comes_while_a_run_goes_on_is_left_to_the_decoder(field, codec_engine, history, network, device):
    walk = steps(field, codec_engine, begin(field, codec_engine))
    next(walk)
    field.take_and_read(network.uplink(device, f_port=5, payload=frame(999)))

    assert total(walk).decoded == 4
    assert field.count(undecoded) == 1


def test_frames_of_one_moment_are_each_decoded_once(field, codec_engine, network, device):
    field.take_and_read(*(network.uplink(device, f_port=5, payload=frame(number)) for number in range(8)))
    add(field)

    assert again(field, codec_engine, codec_name="climate").decoded == 8
    assert len(temperatures(field)) == 8


def test_a_walk_of_several_stretches_meets_each_frame_once(field, codec_engine, history, monkeypatch):
    monkeypatch.setattr(stored, "STRETCH_ROWS", 2)

    assert again(field, codec_engine).decoded == 7
    assert field.row(redecodings).finished_at is not None


def test_a_run_that_is_stopped_goes_on_where_it_was(field, codec_engine, history):
    add(field, TENFOLD)
    walk = steps(field, codec_engine, begin(field, codec_engine, scope=Scope(dev_eui=EUI), codec_name="climate"))
    next(walk)
    walk.close()
    assert [value > 1000 for value in temperatures(field)] == [True] * 3 + [False] * 4

    run = resume_redecoding(field.engine, codec_engine)
    assert (run.told, run.counts.decoded) == (f"device {EUI}", 3)
    assert total(steps(field, codec_engine, run), run.counts) == RedecodingCounts(decoded=7, changed=7, unchanged=28)
    assert all(value > 1000 for value in temperatures(field))
    with pytest.raises(NotFoundError, match="no redecoding to go on with"):
        resume_redecoding(field.engine, codec_engine)


KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from sqlalchemy import event
from receiver.codecs.engine import CodecEngine
from receiver.services.codecs import Scope
from receiver.services.redecoding import begin_redecoding, redecode
from receiver.storage.engine import open_engine

def clock():
    return datetime.now(UTC)

engine, written = open_engine(sys.argv[1]), []

def die(connection, cursor, statement, parameters, context, many):
    written.append("INSERT INTO telemetry_values" in statement)
    if sum(written) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

with CodecEngine() as codec_engine:
    run = begin_redecoding(engine, codec_engine, clock(), Scope())
    event.listen(engine, "after_cursor_execute", die)
    list(redecode(engine, codec_engine, run, clock, step_frames=3))
"""


def test_a_run_that_is_killed_amid_a_step_loses_and_doubles_nothing(field, codec_engine, history, database_url):
    add(field, TENFOLD)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, database_url], cwd=ROOT, check=False, capture_output=True, timeout=60
    )
    assert killed.returncode == -9, killed.stderr
    assert [value > 1000 for value in temperatures(field)] == [True] * 3 + [False] * 4

    run = resume_redecoding(field.engine, codec_engine)
    assert total(steps(field, codec_engine, run), run.counts) == RedecodingCounts(decoded=7, changed=7, unchanged=28)
    assert all(value > 1000 for value in temperatures(field))
    assert field.count(telemetry_values) == 7 * VALUES_OF_A_FRAME


def test_a_run_goes_on_after_the_database_was_away(field, codec_engine, history, database_is_away):
    add(field, TENFOLD)
    walk = steps(field, codec_engine, begin(field, codec_engine))
    next(walk)
    with database_is_away(), pytest.raises(StorageUnavailableError):
        next(walk)

    run = resume_redecoding(field.engine, codec_engine)
    assert total(steps(field, codec_engine, run), run.counts).decoded == 7


def test_two_processes_do_not_go_on_with_one_run(field, codec_engine, history):
    walk = steps(field, codec_engine, begin(field, codec_engine))
    next(walk)
    other = steps(field, codec_engine, resume_redecoding(field.engine, codec_engine))
    next(other)
    with pytest.raises(ConflictError, match="Another process"):
        next(walk)

    assert total(other).decoded == 1


def test_the_newest_finished_runs_are_kept(field, codec_engine, history):
    begin(field, codec_engine)
    for _ in range(FINISHED_KEPT + 3):
        again(field, codec_engine, scope=Scope(f_port=99))

    rows = field.rows(redecodings)
    assert [row.id for row in rows if row.finished_at] == list(range(5, FINISHED_KEPT + 5))
    assert [row.id for row in rows if not row.finished_at] == [1]


def amid_a_step(field, action):
    """Do `action` once, after the next step was read and before it is written."""
    done = []

    def act(connection, cursor, statement, parameters, context, many):
        if not done and "FROM uplinks LEFT OUTER JOIN devices" in statement:
            done.append(True)

    def before_write(connection):
        if done == [True]:
            done.append(True)
            action()

    event.listen(field.engine, "after_cursor_execute", act)
    event.listen(field.engine, "rollback", before_write)


def test_a_frame_that_is_deleted_meanwhile_is_passed_over(field, codec_engine, history):
    def prune():
        with write(field.engine) as tx:
            tx.execute(delete(uplinks).where(uplinks.c.id == field_ids[1]))

    field_ids = [row.id for row in field.rows(uplinks)]
    run = begin(field, codec_engine)
    amid_a_step(field, prune)

    assert total(steps(field, codec_engine, run)).decoded == 6
    assert len(field.rows(decodings)) == 6


def test_a_payload_that_changed_meanwhile_is_read_again(field, codec_engine, history):
    def rewrite():
        with write(field.engine) as tx:
            tx.execute(update(uplinks).where(uplinks.c.id == second).values(frm_payload=frame(999)))

    second = field.rows(uplinks)[1].id
    run = begin(field, codec_engine)
    amid_a_step(field, rewrite)

    assert total(steps(field, codec_engine, run)) == RedecodingCounts(
        decoded=7, changed=1, unchanged=7 * VALUES_OF_A_FRAME - 1
    )
    assert temperatures(field)[1] == 99.9


@pytest.mark.parametrize("codec_name", [None, "climate"])
def test_a_codec_that_is_removed_meanwhile_writes_nothing_more(field, codec_engine, history, codec_name):
    before = told(field)
    run = begin(field, codec_engine, codec_name=codec_name)
    amid_a_step(field, lambda: remove_codec(field.engine, "climate", force=True))

    if codec_name is None:
        assert total(steps(field, codec_engine, run)) == RedecodingCounts(left=7)
    else:
        with pytest.raises(NotFoundError, match="was removed"):
            total(steps(field, codec_engine, run))
    assert told(field) == before


def test_what_the_decoder_does_meanwhile_doubles_nothing(field, codec_engine, network, device, decoder):
    add(field)
    assign_codec(field.engine, field.now, "climate", Scope(dev_eui=EUI))
    for number in range(7):
        field.take_and_read(network.uplink(device, f_port=5, payload=frame(number)))
    run = begin(field, codec_engine)
    amid_a_step(field, lambda: decoder.decode_batch(field.now, 5))

    assert total(steps(field, codec_engine, run)) == RedecodingCounts(
        decoded=7, added=2 * VALUES_OF_A_FRAME, unchanged=5 * VALUES_OF_A_FRAME
    )
    assert field.count(telemetry_values) == 7 * VALUES_OF_A_FRAME


def test_what_waits_for_the_decoder_is_decoded_by_the_codec_that_was_asked_for(
    field, codec_engine, network, device, decoder
):
    add(field)
    add(field, TENFOLD, "tenfold")
    assign_codec(field.engine, field.now, "climate", Scope(dev_eui=EUI))
    field.take_and_read(network.uplink(device, f_port=5, payload=frame(215)))
    again(field, codec_engine, codec_name="tenfold")

    assert decoder.decode_batch(field.now, 200) == 0
    assert temperatures(field) == [2150.0]


def test_a_series_goes_with_its_last_value(field, codec_engine, history):
    add(field, RENAMED)
    walk = steps(field, codec_engine, begin(field, codec_engine))
    next(walk)
    assert {"temperature", "warmth"} <= names(field)

    total(walk)
    assert names(field) == {"warmth", "door.open", "state", "levels.0", "levels.1"}


def test_a_decoder_that_remembers_a_series_makes_it_again_after_it_was_deleted(
    field, codec_engine, history, network, device, decoder
):
    add(field, RENAMED, "renamed")
    again(field, codec_engine, codec_name="renamed")
    assert "temperature" not in names(field)
    field.take_and_read(network.uplink(device, f_port=5, payload=frame(215)))
    decoder.decode_batch(field.now, 200)

    assert temperatures(field) == [21.5]


def test_values_with_their_own_times_are_replaced_too(field, codec_engine, network, device):
    def pack(seconds):
        return Codec(
            Signature.LORA_ALLIANCE,
            "function decodeUplink(input) { var t = input.recvTime.getTime();"
            " return { data: [0, 1, 2].map(function (i) {"
            f" return {{ time: new Date(t - i * {seconds}000).toISOString(), level: i }}; }}) }}; }}",
        )

    field.take_and_read(network.uplink(device, f_port=5, payload=b"\0"))
    add_codec(field.engine, field.now, "pack", pack(3600), None)
    assert again(field, codec_engine, codec_name="pack").added == 3
    add_codec(field.engine, field.now, "pack", pack(60), None)

    assert again(field, codec_engine, codec_name="pack") == RedecodingCounts(decoded=1, added=2, removed=2, unchanged=1)
    newest = field.row(uplinks).at
    assert {newest - row.at for row in field.rows(telemetry_values)} == {timedelta(minutes=one) for one in range(3)}


def explained(engine, action, part):
    """Give the plan of the statement of `action` that has `part` in it."""
    seen = []

    def note(_connection, _cursor, statement, parameters, _context, _many):
        seen.append((statement, parameters))

    with read(engine) as connection:
        event.listen(engine, "before_cursor_execute", note)
        action(connection)
        event.remove(engine, "before_cursor_execute", note)
        statement, parameters = next(one for one in seen if part in one[0])
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL enable_seqscan = off"))  # a small table is read whole otherwise
            connection.execute(text("SET LOCAL enable_sort = off"))
            cursor = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
        else:
            cursor = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return "\n".join(" ".join(map(str, row)) for row in cursor)


@pytest.mark.parametrize(("dev_eui", "index"), [(EUI, "ix_uplinks_dev_eui_at"), (None, "ix_uplinks_at")])
@pytest.mark.parametrize("has_range", [True, False])
@pytest.mark.parametrize("is_first", [True, False])
def test_frames_are_walked_by_an_index(engine, now, dev_eui, index, has_range, is_first):
    since, until = (now, now) if has_range else (None, None)
    frames = stored.ChosenFrames(dev_eui, None, None, None, 5, since, until, 10)
    after = stored.BEGINNING if is_first else stored.Position(now, 5)
    end = None if is_first else stored.Position(now, 9)
    walk = explained(engine, lambda tx: stored.list_chosen_frames(tx, frames, after, end, 10), "FROM uplinks")
    stretch = explained(engine, lambda tx: stored.find_stretch_end(tx, frames, after), "FROM uplinks")

    assert index in walk
    assert index in stretch


def test_what_stands_of_frames_is_found_by_indexes(engine):
    plan = explained(engine, lambda tx: stored.list_standing_values(tx, [1, 2]), "telemetry_values")

    assert "pk_telemetry_values" in plan or "PRIMARY KEY (series_id=?" in plan
    assert "SCAN uplinks" not in plan
    assert "SCAN series" not in plan
    assert "SCAN decodings" not in plan
