"""Retention: what is old goes, in small steps; what was acknowledged and not read, or waits for a key, never goes."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, insert, update

from receiver.config import load_settings
from receiver.errors import StorageUnavailableError
from receiver.services.retention import REPORTS_LEAST_AGE, prune
from receiver.storage.engine import write
from receiver.storage.retention import KEPT
from receiver.storage.tables import deliveries, locations, notifications, receptions, rejections, reports, uplinks
from receiver.storage.telemetry_retention import ROWS_A_STEP, SERIES_A_LOOK
from receiver.storage.telemetry_tables import series, telemetry_values
from receiver.storage.traffic import SeenTraffic, upsert_traffic
from receiver.worker import PAUSE_LEAST_S, PAUSE_MOST_S, Pruning, pause_after, run_worker
from tests.integration.command_line import run
from tests.integration.reading_field import FIX

DAY = timedelta(days=1)
ALL = dict.fromkeys(KEPT, 30 * DAY)


@pytest.fixture
def network(field):
    return field.connect()


@pytest.fixture
def device(network):
    return network.add_device()


def prune_all(field, ages, **options):
    deleted = {}
    for step in prune(field.engine, field.now, ages, **options):
        deleted[step.noun] = deleted.get(step.noun, 0) + step.rows
    return deleted


def refused(field, path_name="field", **values):
    row = {"path_name": path_name, "received_at": field.now, "reason": "token-mismatch", "detail": ""}
    with write(field.engine) as connection:
        more = {"query": "", "headers": "[]", "body": b"", "size_bytes": 0}
        connection.execute(insert(rejections).values(**row | more | values))


def counted(field):
    span = SeenTraffic(field.now, 3600, up_count=1)
    with write(field.engine) as connection:
        upsert_traffic(connection, 1, "20635F0000000001", field.now, [span])


def test_what_is_older_than_its_age_goes_and_the_rest_stays(field, network, device):
    field.take_and_read(network.uplink(device, f_port=5, payload=b"old"), network.join(device))
    refused(field, "old")
    field.wait(days=31)
    field.take_and_read(network.uplink(device, f_port=5, payload=b"new"))
    refused(field, "new")

    deleted = prune_all(field, ALL)

    expected = {"reports": 2, "uplinks": 1, "locations": 0, "notifications": 1, "rejections": 1, "events": 1}
    assert deleted == {**expected, "traffic": 0}
    assert [bytes(row.frm_payload) for row in field.rows(uplinks)] == [b"new"]
    assert [row.path_name for row in field.rows(rejections)] == ["new"]
    assert field.count(reports) == 1
    assert field.count(notifications) == 0


@pytest.mark.parametrize("noun", KEPT)
def test_a_table_without_an_age_is_kept_for_ever(field, network, device, noun):
    field.take_and_read(network.uplink(device, f_port=5, payload=b"old"), network.join(device))
    field.take_and_read(network.location(device, fix=FIX))
    refused(field)
    counted(field)
    field.wait(days=10_000)
    before = field.count(KEPT[noun].table)

    prune_all(field, {other: age for other, age in ALL.items() if other != noun})

    assert field.count(KEPT[noun].table) == before > 0


def measured(field, number, *, series_id=1, ago=timedelta(0)):
    """Put `number` measurements into a series, each a second after the other."""
    with write(field.engine) as connection:
        connection.execute(
            insert(series).values(id=series_id, dev_eui="20635F0000000001", name=str(series_id), unit="")
        )
        beginning = field.now - ago
        rows = [
            {"series_id": series_id, "at": beginning + timedelta(seconds=number), "uplink_id": 1, "value": number}
            for number in range(number)
        ]
        connection.execute(insert(telemetry_values), rows)


def test_old_measurements_go_in_small_steps_and_the_rest_stays(field):
    measured(field, 2 * ROWS_A_STEP + 3, series_id=1, ago=40 * DAY)
    measured(field, 5, series_id=2, ago=40 * DAY)
    measured(field, 7, series_id=3)
    ages = {"telemetry": 30 * DAY}

    assert prune_all(field, ages, dry_run=True) == {"telemetry": 2 * ROWS_A_STEP + 8}
    steps = list(prune(field.engine, field.now, ages))
    assert sum(step.rows for step in steps) == 2 * ROWS_A_STEP + 8
    assert max(step.rows for step in steps) == ROWS_A_STEP
    assert [row.series_id for row in field.rows(telemetry_values)] == [3] * 7
    assert prune_all(field, ages) == {"telemetry": 0}


def test_measurements_of_more_series_than_one_look_sees_go_too(field):
    for number in range(1, SERIES_A_LOOK + 5):
        measured(field, 1, series_id=number, ago=40 * DAY)

    assert prune_all(field, {"telemetry": 30 * DAY}) == {"telemetry": SERIES_A_LOOK + 4}
    assert field.count(telemetry_values) == 0


def test_a_measurement_stays_when_its_uplink_goes(field, network, device):
    field.take_and_read(network.uplink(device, f_port=5, payload=b"x"))
    measured(field, 1)
    field.wait(days=31)

    prune_all(field, {"uplinks": 30 * DAY})

    assert (field.count(uplinks), field.count(telemetry_values)) == (0, 1)


def test_a_row_stays_through_its_last_day(field, network, device):
    field.take_and_read(network.uplink(device, f_port=5, payload=b"x"))
    field.wait(days=30)

    assert prune_all(field, ALL)["reports"] == 0

    field.wait(seconds=1)
    assert prune_all(field, ALL)["reports"] == 1


def test_a_report_that_was_not_read_yet_stays_however_old_it_is(field, network, device):
    field.take(network.uplink(device, f_port=5, payload=b"x"))
    field.wait(days=1000)

    assert prune_all(field, ALL)["reports"] == 0
    assert field.states() == ["unread"]


def test_what_waits_for_its_key_stays_and_is_read_when_the_key_comes(field):
    network = field.connect(encrypted=True)
    device = network.add_device()
    field.take_and_read(network.uplink(device, f_port=5, payload=b"secret"))
    field.wait(days=1000)

    prune_all(field, ALL)
    field.import_as_transport_key()
    field.read()

    assert field.payloads() == [(0, "decrypted", b"secret")]


def test_an_uplink_outlives_its_report_and_a_report_its_uplink(field, network, device):
    field.take_and_read(network.uplink(device, f_port=5, payload=b"x"), network.location(device, fix=FIX))
    field.take_and_read(network.join(device))
    field.wait(days=31)

    prune_all(field, {"reports": 30 * DAY})

    assert field.row(uplinks).report_id is None
    assert [row.report_id for row in field.rows(locations)] == [None]
    assert [row.report_id for row in field.rows(notifications)] == [None]

    field.take_and_read(network.uplink(device, f_port=5, payload=b"y"))
    field.wait(days=31)
    prune_all(field, {"uplinks": 30 * DAY})
    assert field.count(uplinks) == 0
    assert field.states() == ["read"]


def test_receptions_go_with_their_uplink_and_deliveries_with_their_report(field, network, device):
    push = network.uplink(device, f_port=5, payload=b"x")
    field.take_and_read(push, network.again(push))
    assert field.count(receptions) > 0
    assert field.count(deliveries) == 1
    field.wait(days=31)

    prune_all(field, ALL)

    assert (field.count(receptions), field.count(deliveries)) == (0, 0)


def test_a_dry_run_tells_the_same_and_deletes_nothing(field, network, device):
    field.take_and_read(network.uplink(device, f_port=5, payload=b"x"), network.join(device))
    field.wait(days=31)

    would_go = prune_all(field, ALL, dry_run=True)

    assert field.count(reports) == 2
    assert prune_all(field, ALL) == would_go


def test_a_row_that_came_out_of_order_is_met_too(field):
    many = KEPT["rejections"].rows
    for age in (40, 1, 50):
        received_at = field.now - age * DAY
        with write(field.engine) as connection:
            row = {"path_name": str(age), "received_at": received_at, "reason": "x", "detail": "", "query": ""}
            more = {"headers": "[]", "body": b"", "size_bytes": 0}
            connection.execute(insert(rejections), [row | more] * (many // 2))

    assert prune_all(field, ALL)["rejections"] == many // 2 * 2
    assert {row.path_name for row in field.rows(rejections)} == {"1"}


def test_rows_that_must_stay_do_not_hide_the_old_ones_behind_them(field, network, device):
    step = KEPT["reports"].rows
    field.take(*(network.uplink(device, f_port=5, payload=b"x") for _ in range(step + 1)))
    field.take(network.uplink(device, f_port=5, payload=b"read"))
    newest = max(row.id for row in field.rows(reports))
    with write(field.engine) as connection:
        connection.execute(update(reports).where(reports.c.id == newest).values(state="read"))
    field.wait(days=31)

    assert prune_all(field, ALL)["reports"] == 1
    assert field.count(reports) == step + 1


def test_no_transaction_deletes_more_than_a_few_hundred_rows(field):
    for _ in range(3):
        with write(field.engine) as connection:
            row = {"path_name": "x", "received_at": field.now - 40 * DAY, "reason": "x", "detail": "", "query": ""}
            connection.execute(insert(rejections), [row | {"headers": "[]", "body": b"", "size_bytes": 0}] * 500)

    steps = [step.rows for step in prune(field.engine, field.now, {"rejections": 30 * DAY})]

    assert steps == [500, 500, 500, 0]


def test_between_two_steps_others_may_write(field):
    for _ in range(2):
        refused(field, received_at=field.now - 40 * DAY)
    steps = prune(field.engine, field.now, {"rejections": 30 * DAY})
    next(steps)

    refused(field, "written meanwhile")

    assert [row.path_name for row in field.rows(rejections)] == ["written meanwhile"]


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_a_row_that_another_transaction_writes_to_is_left_to_a_later_walk(field):
    for _ in range(2):
        refused(field, received_at=field.now - 40 * DAY)
    with write(field.engine) as other:
        other.execute(update(rejections).where(rejections.c.id == 1).values(detail="written meanwhile"))
        assert prune_all(field, ALL)["rejections"] == 1

    assert prune_all(field, ALL)["rejections"] == 1


def test_a_young_database_is_looked_at_without_a_write(field, network, device):
    field.take_and_read(network.uplink(device, f_port=5, payload=b"x"))
    began = []
    event.listen(field.engine, "before_cursor_execute", lambda _c, _k, statement, *_: began.append(statement))

    prune_all(field, ALL)

    assert began
    assert not [statement for statement in began if "DELETE" in statement or "IMMEDIATE" in statement]


# --- by the worker and by hand


def test_the_worker_prunes_between_its_batches(field, network, device, tmp_path):
    field.take_and_read(network.uplink(device, f_port=5, payload=b"old"))
    field.wait(days=31)
    field.take(network.uplink(device, f_port=5, payload=b"new"))
    stop = threading.Event()
    settings = load_settings(data_dir=tmp_path, uplinks_keep_days=30, reading_idle_s=0.001)
    ticks = iter(range(100_000))

    def clock():
        if field.payloads() == [(1, "clear", b"new")] or next(ticks) > 200:
            stop.set()
        return field.now

    run_worker(settings, field.engine, field.keyring, clock, stop)

    assert field.payloads() == [(1, "clear", b"new")]
    assert field.count(reports) == 2  # no age was set for them


def test_a_walk_begins_anew_every_hour(field):
    pruning = Pruning(field.engine, {"rejections": 30 * DAY})

    def walk(now):
        steps = 0
        while pruning.step(now):
            steps += 1
        return steps

    assert walk(field.now) == 1
    assert walk(field.now + timedelta(minutes=59)) == 0
    refused(field, received_at=field.now - 40 * DAY)
    assert walk(field.now + timedelta(minutes=61)) == 2
    assert field.count(rejections) == 0


def test_pruning_goes_on_after_the_database_was_away(field, database_is_away):
    refused(field, received_at=field.now - 40 * DAY)
    pruning = Pruning(field.engine, {"rejections": 30 * DAY})
    with database_is_away(), pytest.raises(StorageUnavailableError):
        pruning.step(field.now)

    while pruning.step(field.now):
        pass

    assert field.count(rejections) == 0


def test_after_a_step_sqlite_is_left_to_others_for_a_time_that_grows_with_the_step(engine):
    pauses = [pause_after(engine, step_s) for step_s in (0.001, 0.1, 60)]

    assert pauses == ([PAUSE_LEAST_S, 0.05, PAUSE_MOST_S] if engine.dialect.name == "sqlite" else [0.0, 0.0, 0.0])


def test_the_command_prunes_and_says_what_went(field, network, device, database_url, tmp_path):
    field.now = datetime.now(UTC) - 40 * DAY  # the command goes by this machine's clock
    field.take_and_read(network.uplink(device, f_port=5, payload=b"old"))
    settings = {"reports_keep_days": 30, "uplinks_keep_days": 10_000}

    dry = run(tmp_path, database_url, "db", "prune", "--dry-run", **settings)
    done = run(tmp_path, database_url, "db", "prune", "--json", **settings)

    assert dry.stdout.splitlines()[0] == "1 report older than 30 days would be deleted."
    others = {"events": 0, "alarms": 0, "traffic": 0}
    assert json.loads(done.stdout) == {"dry_run": False, "reports": 1, "uplinks": 0, **others}
    assert (field.count(reports), field.count(uplinks)) == (0, 1)


def test_where_nothing_has_an_age_only_events_and_what_the_networks_keep_too_go(database_url, tmp_path):
    done = run(tmp_path, database_url, "db", "prune")

    assert done.stdout.splitlines() == [
        "0 events older than 7 days deleted.",
        "0 alarms older than 365 days deleted.",
        "0 traffic hours older than 90 days deleted.",
    ]


def test_a_report_stays_for_as_long_as_the_same_push_could_come_again(field, network, device):
    """However few days were asked for: a copy that comes when its report is gone would be another uplink."""
    push = network.uplink(device, f_port=5, payload=b"once")
    field.take_and_read(push)
    field.now += REPORTS_LEAST_AGE - timedelta(seconds=1)
    assert prune_all(field, {"reports": DAY}) == {"reports": 0}

    field.now += timedelta(seconds=2)
    assert prune_all(field, {"reports": DAY}) == {"reports": 1}
