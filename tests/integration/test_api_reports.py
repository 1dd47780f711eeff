"""Reports over the API: what came and what became of it, never what it held."""

from __future__ import annotations

import pytest

from receiver.storage.engine import read
from receiver.storage.report_queries import ReportFilter, list_report_views
from tests.integration.api_use import DEVICE, OTHER_DEVICE, assert_refused, client_of, walk


@pytest.fixture
def client(engine, keyring, now):
    return client_of(engine, keyring, now)


@pytest.fixture
def reports(field):
    """Five uplinks and a join, of two devices in turn; all are read but the last."""
    network = field.connect()
    devices = [network.add_device(dev_eui=dev_eui) for dev_eui in (DEVICE, OTHER_DEVICE)]
    for number in range(5):
        field.take_and_read(network.uplink(devices[number % 2], f_port=1, payload=bytes([number])))
        field.wait(minutes=1)
    field.take(network.join(devices[0]))


def test_the_newest_report_comes_first_page_by_page(reports, client):
    listed = client.get("/reports").json()["reports"]

    assert [report["state"] for report in listed] == ["unread"] + ["read"] * 5
    assert [report["id"] for report in listed] == sorted((report["id"] for report in listed), reverse=True)
    assert walk(client, "/reports", "reports", 2) == listed


def test_what_a_report_held_is_not_told(reports, client):
    [report] = client.get("/reports?limit=1").json()["reports"]

    assert not {"body", "query", "delivery_id", "frame_id"} & report.keys()


@pytest.mark.parametrize(
    ("query", "count"),
    [
        (f"device={OTHER_DEVICE}", 2),
        ("connection=field", 6),
        ("kind=DevEUI_uplink", 5),
        ("state=unread", 1),
        (f"device={OTHER_DEVICE}&state=unread", 0),
    ],
)
def test_reports_can_be_narrowed(reports, client, query, count):
    assert len(client.get(f"/reports?{query}").json()["reports"]) == count


def test_a_page_ends_when_its_share_was_looked_at(reports, engine):
    wanted = ReportFilter(dev_eui=OTHER_DEVICE)
    found, place, pages = [], None, 0
    with read(engine) as connection:
        while True:
            rows, place = list_report_views(connection, wanted, limit=10, before_id=place, most_examined=2)
            found += rows
            pages += 1
            if place is None:
                break

    assert (len(found), pages) == (2, 4)


@pytest.mark.parametrize(
    ("query", "parameter"),
    [("device=x", "device"), ("connection=nobody", "connection"), ("state=lost", "state"), ("kind=", "kind")],
)
def test_a_wrong_parameter_is_named(client, query, parameter):
    assert_refused(client.get(f"/reports?{query}"), parameter)
