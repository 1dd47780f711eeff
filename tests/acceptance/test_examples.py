"""Every published report that is well-formed: signed, pushed over TLS, stored byte for byte, and read."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from urllib.parse import quote

import httpx
import pytest
from lxml import etree
from sqlalchemy import select

from receiver.storage.engine import read
from receiver.storage.tables import reports, uplinks
from tests.acceptance.running_receiver import AS_ID, KEY, SHARED_REPORTS, wait_until

pytestmark = pytest.mark.shared


def members_of(path):
    """Give a report's kind and the texts of its top members, read with other eyes than the receiver's; or None."""
    raw = path.read_bytes()
    try:
        if path.suffix == ".xml":
            root = etree.fromstring(raw)
            return etree.QName(root).localname, {etree.QName(child).localname: child.text for child in root}
        top = json.loads(raw, parse_int=str, parse_float=str)
    except (etree.XMLSyntaxError, ValueError):
        return None
    if not isinstance(top, dict):
        return None
    [(kind, members)] = top.items()
    return kind, members


WELL_FORMED = {
    path.name: members for path in sorted(SHARED_REPORTS.glob("[0-9]*")) if (members := members_of(path)) is not None
}


def body_elements(kind, members):
    """Give the report's part of the signed text. Source: LRC–AS tunnel interface, security of the reports."""
    customer, dev_eui = members.get("CustomerID") or "", members["DevEUI"]
    port, payload = members.get("FPort") or "0", members.get("payload_hex") or ""
    match kind:
        case "DevEUI_uplink":
            return f"{customer}{dev_eui}{port}{members.get('FCntUp') or ''}{payload}"
        case "DevEUI_downlink_Sent":
            return f"{customer}{dev_eui}{port}{members.get('FCntDn') or '0'}"
        case "DevEUI_location":
            return f"{customer}{dev_eui.lower()}"
        case _:
            return f"{customer}{dev_eui}"


def signed_query(kind, members, number):
    elements = {
        "LrnDevEui": members["DevEUI"].lower() if kind == "DevEUI_location" else members["DevEUI"],
        "LrnFPort": members.get("FPort") or "0",
        "LrnInfos": f"TWA_100000001.1.AS-1-{number}",
        "AS_ID": AS_ID,
        "Time": datetime.now(UTC).astimezone().isoformat(timespec="milliseconds"),
    }
    signed = body_elements(kind, members) + "&".join(f"{name}={value}" for name, value in elements.items())
    elements["Token"] = hashlib.sha256(f"{signed}{KEY}".encode()).hexdigest()
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in elements.items())


def test_the_published_examples_are_there():
    assert len(WELL_FORMED) >= 70


def test_every_example_is_taken_stored_whole_and_read(installation):
    installation.add_connection("field")
    bodies = {name: (SHARED_REPORTS / name).read_bytes() for name in WELL_FORMED}
    statuses = {}
    with (
        installation.serve() as served,
        httpx.Client(verify=served.context(), trust_env=False) as client,
    ):
        for number, (name, (kind, members)) in enumerate(WELL_FORMED.items(), 1):
            url = f"{served.url('field')}?{signed_query(kind, members, number)}"
            statuses[name] = client.post(url, content=bodies[name]).status_code
        assert {name: status for name, status in statuses.items() if status != 200} == {}
        wait_until(lambda: "unread" not in installation.report_states())

    with read(installation.engine) as connection:
        stored = {bytes(row.body): row for row in connection.execute(select(reports))}
        rows = connection.execute(select(uplinks.c.dev_eui, uplinks.c.f_cnt_up, uplinks.c.frm_payload)).all()
    payloads = {(row.dev_eui, row.f_cnt_up, row.frm_payload and bytes(row.frm_payload)) for row in rows}
    assert [name for name, body in bodies.items() if body not in stored] == []
    for name, (kind, members) in WELL_FORMED.items():
        report = stored[bodies[name]]
        allowed = {"read", "waiting_for_key"} if members.get("AppSKey") else {"read"}
        assert (name, report.kind, report.state in allowed) == (name, kind, True), report.note
        if kind == "DevEUI_uplink" and not members.get("AppSKey"):
            counter = int(members["FCntUp"]) if "FCntUp" in members else None  # a join request has none
            uplink = (members["DevEUI"].upper(), counter, bytes.fromhex(members.get("payload_hex") or "") or None)
            assert (name, uplink in payloads) == (name, True)
