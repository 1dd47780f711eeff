"""Callers of the API, without a socket, and what stands in the database for them to find."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
from starlette.applications import Starlette

from receiver.services.api_keys import create_api_key
from receiver.storage.engine import read, write
from receiver.storage.tables import uplinks
from receiver.storage.telemetry import NewDecoding, NewValue, SeriesKey, ensure_series, insert_values, write_decodings
from receiver.web.api import api_routes

DEVICE = "20635F0000000001"
OTHER_DEVICE = "20635F0000000002"


class Caller:
    """A caller with a key, straight to the application."""

    def __init__(self, app, key):
        self._app = app
        self._headers = {"Authorization": f"Bearer {key}"}

    def get(self, path, params=None, headers=None):
        async def call():
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(self._app), base_url="http://receiver/api/v1", headers=self._headers
            ) as client:
                return await client.get(path, params=params, headers=headers)

        return asyncio.run(call())

    def post(self, path, params=None):
        async def call():
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(self._app), base_url="http://receiver/api/v1", headers=self._headers
            ) as client:
                return await client.post(path, params=params)

        return asyncio.run(call())

    def patch(self, path, body):
        async def call():
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(self._app), base_url="http://receiver/api/v1", headers=self._headers
            ) as client:
                return await client.patch(path, json=body)

        return asyncio.run(call())


def client_of(engine, keyring, now, scope="read"):
    """Give a caller with a key of that scope."""
    _, key = create_api_key(engine, now, f"key-{scope}", scope)
    return Caller(Starlette(routes=api_routes(engine, keyring, lambda: now, calls_per_second=0)), key.reveal())


def assert_refused(answer, parameter, status=400):
    """The answer is a problem document that names the parameter and says what would be right."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem.get("parameter") == parameter
    assert problem["detail"].endswith(".")
    assert any(word in problem["detail"] for word in ("must be", "give ", "there are")), problem["detail"]


def walk(client, path, member, limit, **parameters):
    """Give all rows of a list, page by page."""
    rows, cursor = [], None
    while True:
        page = client.get(path, params={**parameters, "limit": limit} | ({"cursor": cursor} if cursor else {})).json()
        assert len(page[member]) <= limit
        rows += page[member]
        cursor = page["next_cursor"]
        if cursor is None:
            return rows


def store_values(engine, name, values, *, dev_eui=DEVICE, unit="Cel", first_uplink_id=1):
    """Store measurements: pairs of a time and a number, a text, true or false."""
    with write(engine) as tx:
        [series_id] = ensure_series(tx, [SeriesKey(dev_eui, name, unit)]).values()
        rows = []
        for place, (at, value) in enumerate(values):
            number = None if isinstance(value, str) else float(value)
            text = value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else None
            rows.append(NewValue(series_id, at, first_uplink_id + place, number, text, 1))
        insert_values(tx, rows)


def decode_all(engine, now, measure):
    """Give every uplink a decoding; `measure` gives the names and numbers of one."""
    with read(engine) as tx:
        frames = tx.execute(uplinks.select().order_by(uplinks.c.id)).all()
    with write(engine) as tx:
        for frame in frames:
            measured = measure(frame)
            if not measured:
                continue
            times = [frame.at, frame.at]
            write_decodings(tx, [NewDecoding(frame.id, None, "decoded", "{}", None, None, *times, now)])
            known = ensure_series(tx, [SeriesKey(frame.dev_eui, name, "") for name in measured])
            insert_values(
                tx,
                [
                    NewValue(known[SeriesKey(frame.dev_eui, name, "")], frame.at, frame.id, float(value), None, None)
                    for name, value in measured.items()
                ],
            )


def at(text):
    return datetime.fromisoformat(text).astimezone(UTC)


def every(first, **step):
    """Give a function that gives the moment number n."""
    return lambda number: at(first) + number * timedelta(**step)
