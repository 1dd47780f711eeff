"""The Grafana dashboard: every panel and variable on both databases, as an analyst's role, with Grafana's part done."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from receiver.codecs.values import Codec, Signature
from receiver.services.codecs import add_codec
from receiver.storage.engine import read, write
from receiver.storage.rejections import NewRejection, insert_rejections
from receiver.storage.tables import uplinks
from receiver.storage.telemetry import NewDecoding, write_decodings
from tests.integration.api_use import DEVICE, OTHER_DEVICE, store_values

DOCS = Path(__file__).parents[2] / "docs"
DASHBOARD = json.loads((DOCS / "grafana" / "telemetry.json").read_text())
PANELS = {panel["title"]: panel for panel in DASHBOARD["panels"]}
VARIABLES = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
INTERVAL_MS = 60_000

COLUMNS = {
    "Devices": ["dev_eui", "name", "last_seen", "battery_percent", "uplinks"],
    "Measurements": ["time", "series", "value"],
    "RSSI": ["time", "series", "value"],
    "SNR": ["time", "series", "value"],
    "Spreading factor": ["time", "series", "value"],
    "Uplinks per hour": ["time", "uplinks"],
    "Rejections by reason": ["reason", "pushes", "newest"],
    "Lost frames": ["device", "missing", "after_f_cnt_up", "before_f_cnt_up", "from_at", "until_at"],
    "Failed decodes": ["at", "device", "uplink_id", "f_port", "codec", "errors"],
}


@pytest.fixture
def data(field, engine, now):
    """Two devices: of the first a lost frame, a status, measurements and a failed decode; and a refused push."""
    network = field.connect()
    device, other = (network.add_device(dev_eui=dev_eui) for dev_eui in (DEVICE, OTHER_DEVICE))
    for _ in range(3):
        field.take_and_read(network.uplink(device, f_port=2, payload=b"\1"))
        field.wait(minutes=50)
    for _ in range(4):
        network.uplink(device, f_port=2, payload=b"lost")
    field.take_and_read(network.uplink(device, f_port=2, payload=b"\2"))
    field.take_and_read(network.uplink(other, f_port=3, payload=b"\3"))
    field.take_and_read(network.device_status(device, battery_level=127, margin_db=7))
    store_values(engine, "it's warm", [(now, 20.0), (now + timedelta(seconds=30), 22.0)], unit="Cel")
    store_values(engine, "state", [(now, "good")], unit="")
    store_values(engine, "door", [(now, True)], unit="")
    add_codec(engine, now, "acme", Codec(Signature.LORA_ALLIANCE, "function decodeUplink() {}"), None)
    with write(engine) as tx:
        write_decodings(tx, [NewDecoding(1, 1, "failed", None, None, '["too short"]', now, now, now)])
        insert_rejections(tx, [_rejection(now, reason) for reason in ("token-mismatch", "too-large", "token-mismatch")])
    return field


def _rejection(now, reason):
    return NewRejection(None, "nobody", now, reason, "It was wrong.", "", (), b"")


@pytest.fixture
def ask(data, engine, database_kind):
    """Give a function that runs an SQL text of the dashboard as an analyst, and gives rows by their columns' names."""
    if database_kind == "postgresql":
        with engine.connect() as connection:
            connection.exec_driver_sql((DOCS / "read-only-role.sql").read_text())
            connection.commit()

    def run(sql, **variables):
        with read(engine) as connection:
            if database_kind == "postgresql":
                connection.exec_driver_sql("SET LOCAL ROLE receiver_reader")
            found = connection.exec_driver_sql(as_grafana(sql, data.now, variables))
            return list(found.keys()), [dict(row) for row in found.mappings()]

    return run


@pytest.fixture
def panel(ask, database_kind):
    """Give a function that gives the columns and rows of a panel, its times as moments."""

    def run(title, device=(DEVICE, OTHER_DEVICE), measurement=("it's warm", "door", "state")):
        [target] = PANELS[title]["targets"]
        is_sqlite = database_kind == "sqlite"
        sql = target["rawQueryText" if is_sqlite else "rawSql"]
        columns, rows = ask(sql, device=device, measurement=measurement)
        for row in rows:
            for name in target["timeColumns"]:
                row[name] = of_sqlite_plugin(row[name]) if is_sqlite else row[name]
        return columns, rows

    return run


def as_grafana(sql, now, variables):
    """Replace what Grafana's page does, by its documentation: global variables, and a variable's list as SQL texts."""
    bounds = {"from": now - timedelta(hours=6), "to": now + timedelta(minutes=1)}
    for name, moment in bounds.items():
        sql = sql.replace(f"${{__{name}:date:iso}}", moment.strftime("%Y-%m-%dT%H:%M:%S.000Z"))
    for name, values in variables.items():
        quoted = ",".join("'" + value.replace("'", "''") + "'" for value in values)
        sql = sql.replace(f"${{{name}:sqlstring}}", quoted)
    sql = sql.replace("$__interval_ms", str(INTERVAL_MS))
    assert "$" not in sql
    return sql


def of_sqlite_plugin(value):
    """Read a time as the plugin for SQLite does: a number is seconds since 1970, a text must be RFC 3339."""
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", value)
    return datetime.fromisoformat(value)


@pytest.mark.parametrize("title", COLUMNS)
def test_every_panel_has_rows_and_columns_on_both_databases(panel, title):
    columns, rows = panel(title)

    assert columns == COLUMNS[title]
    assert rows
    for row in rows:
        for name in PANELS[title]["targets"][0]["timeColumns"]:
            assert row[name].tzinfo is not None


def test_every_panel_is_among_those_that_are_tested():
    assert PANELS.keys() == COLUMNS.keys()


def test_devices_tell_their_battery_and_their_uplinks_in_the_range(panel):
    _, rows = panel("Devices")

    assert {row["dev_eui"]: (row["battery_percent"], row["uplinks"]) for row in rows} == {
        DEVICE: (50, 4),
        OTHER_DEVICE: (None, 1),
    }
    assert [row["dev_eui"] for row in panel("Devices", device=(OTHER_DEVICE,))[1]] == [OTHER_DEVICE]


def test_measurements_are_the_means_of_spans(panel, now):
    _, rows = panel("Measurements")

    assert {row["series"].partition(" ")[2]: (row["time"], row["value"]) for row in rows} == {
        "it's warm [Cel]": (now, 21.0),
        "door": (now, 1.0),
    }
    assert panel("Measurements", measurement=("state",))[1] == []


def test_radio_is_that_of_the_uplinks(panel, data, engine):
    with read(engine) as tx:
        [frame] = tx.execute(uplinks.select().where(uplinks.c.dev_eui == OTHER_DEVICE)).all()

    for title, value in (("RSSI", frame.rssi_dbm), ("SNR", frame.snr_db), ("Spreading factor", frame.spreading_factor)):
        [row] = panel(title, device=(OTHER_DEVICE,))[1]
        assert float(row["value"]) == pytest.approx(value)
        assert timedelta() <= frame.at - row["time"] < timedelta(milliseconds=INTERVAL_MS)


def test_uplinks_are_counted_by_the_hour(panel):
    _, rows = panel("Uplinks per hour")

    assert [row["uplinks"] for row in rows] == [1, 1, 1, 2]
    assert {(row["time"].minute, row["time"].second) for row in rows} == {(0, 0)}


def test_lost_frames_are_those_between_two_that_were_heard(panel):
    [row] = panel("Lost frames")[1]

    assert row["missing"] == 4
    assert row["before_f_cnt_up"] - row["after_f_cnt_up"] == 5


def test_failed_decodes_name_the_codec_and_the_errors(panel):
    [row] = panel("Failed decodes")[1]

    assert (row["uplink_id"], row["f_port"], row["errors"]) == (1, 2, '["too short"]')
    assert row["codec"].startswith("acme@")


def test_rejections_are_counted_by_reason(panel):
    assert [(row["reason"], row["pushes"]) for row in panel("Rejections by reason")[1]] == [
        ("token-mismatch", 2),
        ("too-large", 1),
    ]


def test_variables_offer_devices_and_what_the_chosen_ones_measure(ask):
    columns, devices = ask(VARIABLES["device"]["query"])
    _, names = ask(VARIABLES["measurement"]["query"], device=(DEVICE,))
    _, none = ask(VARIABLES["measurement"]["query"], device=(OTHER_DEVICE,))

    assert columns == ["__value", "__text"]
    assert [row["__value"] for row in devices] == [DEVICE, OTHER_DEVICE]
    assert [row["name"] for row in names] == ["door", "it's warm", "state"]
    assert none == []


def test_the_kind_of_database_is_chosen_in_one_place():
    """So that another one is one change: everything refers to the variable, and every target has both queries."""
    assert list(VARIABLES) == ["datasource", "device", "measurement"]
    assert json.dumps(DASHBOARD).count("-datasource") == 1
    assert VARIABLES["datasource"]["query"] == "grafana-postgresql-datasource"
    sources = [part["datasource"] for part in (*PANELS.values(), VARIABLES["device"], VARIABLES["measurement"])]
    targets = [target for panel in PANELS.values() for target in panel["targets"]]
    assert all(source == {"uid": "${datasource}"} for source in (*sources, *(one["datasource"] for one in targets)))
    for target in targets:
        assert target["rawQueryText"] == target["queryText"]
        assert (target["format"], target["queryType"]) in {("table", "table"), ("time_series", "time series")}
