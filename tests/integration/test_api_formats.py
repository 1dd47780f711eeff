"""Lists as JSON, CSV and NDJSON; whole lists at the caller's pace, and callers that are slow, gone or too many."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import delete

from receiver.errors import StorageUnavailableError
from receiver.services.api_keys import create_api_key
from receiver.storage.tables import api_keys
from receiver.storage.telemetry_tables import series, telemetry_values
from receiver.web.lists import STREAMED_ROWS, choose_format
from receiver.web.streams import STREAMS_AT_ONCE, Stream, StreamRoom
from tests.integration.api_use import DEVICE, client_of, store_values
from tests.integration.push_server import serving

VALUES = 2 * STREAMED_ROWS + 500


@pytest.fixture
def client(engine, keyring, now):
    return client_of(engine, keyring, now)


# --- formats


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "json"),
        ("text/csv", "csv"),
        ("TEXT/CSV; charset=utf-8", "csv"),
        ("application/x-ndjson", "ndjson"),
        ("application/json;q=0.5, text/csv", "csv"),
        ("text/csv;q=0.5, application/json", "json"),
        ("text/csv;q=0", "json"),
        ("text/csv;q=many", "json"),
        ("text/csv;q=nan", "json"),
        ("image/png", "json"),
    ],
)
def test_the_accept_header_says_the_format(accept, form):
    assert choose_format(accept) == form


@pytest.mark.parametrize("path", ["/devices", "/uplinks", "/telemetry", "/telemetry/latest", "/rejections"])
def test_every_list_has_every_format(client, path):
    as_json = client.get(path)
    as_csv = client.get(path, headers={"Accept": "text/csv"})
    as_ndjson = client.get(path, params={"format": "ndjson"}, headers={"Accept": "text/csv"})

    assert as_json.headers["content-type"] == "application/json"
    assert as_csv.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert as_csv.text.count("\r\n") == 1
    assert (as_ndjson.headers["content-type"], as_ndjson.content) == ("application/x-ndjson", b"")
    assert {answer.headers["vary"] for answer in (as_json, as_csv, as_ndjson)} == {"Accept"}


def test_the_columns_of_csv_are_the_members_of_json(client, engine, now):
    store_values(engine, "t", [(now, 21.5)])
    [row] = client.get("/telemetry/latest").json()["telemetry"]

    head, line = csv.reader(io.StringIO(client.get("/telemetry/latest?format=csv").text))

    assert head == list(row)
    assert line == [DEVICE, "2026-11-20T12:00:00Z", "t", "21.5", "Cel", "1"]


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ('say "a, b"', '"say ""a, b"""'),
        ("two\nlines", '"two\nlines"'),
        ("=1+1", "'=1+1"),
        ("+31", "'+31"),
        ("-x", "'-x"),
        ("@here", "'@here"),
        ("\tx", "'\tx"),
        ("a=b", "a=b"),
        ("", ""),
        ("é", "é"),
        (-2.5, "-2.5"),
        (True, "true"),
        (False, "false"),
    ],
)
def test_a_cell_of_csv_is_quoted_and_never_a_formula(client, engine, now, value, cell):
    store_values(engine, "t", [(now, value)], unit="")

    lines = client.get("/telemetry/latest?format=csv").content.decode()

    assert lines.partition("\r\n")[2] == f"{DEVICE},2026-11-20T12:00:00Z,t,{cell},,1\r\n"


def test_ndjson_has_every_text_as_it_is(client, engine, now):
    store_values(engine, "t", [(now, "=1+1")])

    [line] = client.get("/telemetry/latest?format=ndjson").text.splitlines()

    assert json.loads(line)["value"] == "=1+1"


def test_a_local_time_keeps_its_offset_in_csv(client, engine, now):
    store_values(engine, "t", [(now, 1)])

    answer = client.get(f"/telemetry?device={DEVICE}&bucket=1d&tz=Europe/Amsterdam&format=csv")

    assert answer.text.splitlines()[1].split(",")[1] == "2026-11-20T00:00:00+01:00"


def test_with_a_limit_csv_is_a_page_whose_next_one_stands_in_a_header(client, engine, now):
    store_values(engine, "t", [(now + timedelta(minutes=number), number) for number in range(5)])
    asked = {"device": DEVICE, "limit": 3, "format": "csv"}

    first = client.get("/telemetry", params=asked)
    second = client.get("/telemetry", params={**asked, "cursor": first.headers["next-cursor"]})

    assert [answer.text.count("\r\n") - 1 for answer in (first, second)] == [3, 2]
    assert "next-cursor" not in second.headers


# --- the whole of a list, over real HTTP


@pytest.fixture(scope="module")
def server(module_database_url, tmp_path_factory):
    with serving(module_database_url, tmp_path_factory.mktemp("server"), options={}) as running:
        yield running


@pytest.fixture
def reader(server):
    now = datetime.now(UTC)
    store_values(server.engine, "t", [(now + timedelta(seconds=number), number) for number in range(VALUES)])
    _, key = create_api_key(server.engine, now, "key", "read")
    headers = {"Authorization": f"Bearer {key.reveal()}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}/api/v1", headers=headers, timeout=20) as client:
        yield client
    with server.engine.begin() as tx:
        for table in (api_keys, telemetry_values, series):
            tx.execute(delete(table))


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_without_a_limit_the_whole_list_comes(reader, form):
    answer = reader.get(f"/telemetry?device={DEVICE}&order=oldest&format={form}")

    assert answer.headers["transfer-encoding"] == "chunked"
    if form == "csv":
        values = [float(row["value"]) for row in csv.DictReader(io.StringIO(answer.text))]
    else:
        values = [json.loads(line)["value"] for line in answer.text.splitlines()]
    assert values == [float(number) for number in range(VALUES)]


def test_the_whole_list_can_begin_at_a_cursor(reader):
    cursor = reader.get(f"/telemetry?device={DEVICE}&limit=300").json()["next_cursor"]

    answer = reader.get("/telemetry", params={"device": DEVICE, "cursor": cursor, "format": "ndjson"})

    assert len(answer.text.splitlines()) == VALUES - 300


def test_a_caller_who_goes_leaves_room_for_others(reader):
    for _ in range(2 * STREAMS_AT_ONCE):
        with reader.stream("GET", f"/telemetry?device={DEVICE}&format=csv") as answer:
            next(answer.iter_bytes())

    assert reader.get(f"/telemetry?device={DEVICE}&format=csv").text.count("\r\n") == VALUES + 1


# --- slow, gone, too many


async def never():
    await asyncio.Event().wait()


def run_stream(rest, send, receive=never, room=None):
    stream = Stream(b"first", iter(rest), {}, "text/csv")
    room = room or StreamRoom()
    assert stream.enter(room) is stream
    asyncio.run(stream({}, receive, send))
    assert room.open == 0


def test_chunks_are_sent_in_order_to_the_end():
    sent = []

    async def send(message):
        sent.append(message)

    run_stream([b"second", b"third"], send)

    assert [message.get("body") for message in sent] == [None, b"first", b"second", b"third", b""]
    assert [message.get("more_body") for message in sent] == [None, True, True, True, False]


def test_between_chunks_no_connection_is_held(engine, keyring, now):
    store_values(engine, "t", [(now + timedelta(seconds=number), number) for number in range(VALUES)])
    app = client_of(engine, keyring, now)
    held = []

    async def send(message):
        held.append(engine.pool.checkedout())

    async def call():
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/api/v1/telemetry",
            "query_string": f"device={DEVICE}&format=csv".encode(),
            "headers": [(b"authorization", app._headers["Authorization"].encode())],
        }
        await app._app(scope, never, send)

    asyncio.run(call())

    assert held == [0] * 5


def test_a_stream_of_a_caller_who_is_gone_makes_no_more_chunks():
    made, sent = [], []

    def rest():
        for number in range(10):
            made.append(number)
            yield b"more"

    async def send(message):
        sent.append(message)
        await asyncio.sleep(0)

    async def receive():
        return {"type": "http.disconnect"}

    run_stream(rest(), send, receive)

    assert made == []
    assert sent[-1]["more_body"]


@pytest.mark.parametrize("room", [StreamRoom(chunk_timeout_s=0.01), StreamRoom(stream_timeout_s=0.01)])
def test_a_caller_who_does_not_read_is_cut_off(room):
    sent = []

    async def send(message):
        sent.append(message)
        if len(sent) == 3:
            await never()

    run_stream([b"second", b"third"], send, room=room)

    assert sent[-1]["more_body"]


@pytest.mark.parametrize("fault", [StorageUnavailableError("The database is away."), RuntimeError("a fault")])
def test_a_fault_amid_a_stream_leaves_its_end_out(fault):
    sent = []

    def rest():
        yield b"second"
        raise fault

    async def send(message):
        sent.append(message)

    run_stream(rest(), send)

    assert [message.get("more_body") for message in sent] == [None, True, True]


def test_a_stream_beyond_those_that_are_under_way_is_told_to_come_again():
    room = StreamRoom()
    room.open = STREAMS_AT_ONCE

    answer = Stream(b"first", iter(()), {}, "text/csv").enter(room)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
