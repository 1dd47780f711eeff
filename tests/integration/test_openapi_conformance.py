"""The API does what its description says: calls made from it, right and wrong ones, against a real server.

The calls are the same in each run. An id or a cursor cannot be made up, and some parameters are only for others; calls
that are meant to be right are given what is there.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import schemathesis
from schemathesis.checks import load_all_checks
from schemathesis.config import (
    ChecksConfig,
    GenerationConfig,
    ProjectConfig,
    ProjectsConfig,
    SchemathesisConfig,
    SimpleCheckConfig,
)
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation.modes import GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth
from sqlalchemy import update

from receiver.keyring import Keyring
from receiver.services.api_keys import create_api_key
from receiver.services.downlink_checks import DownlinkWish
from receiver.services.downlink_encoding import ObjectEncoder
from receiver.services.downlinks import enqueue
from receiver.services.platform_accounts import add_account
from receiver.storage.alarms import AlarmState, SeenAlarm, upsert_alarms
from receiver.storage.engine import open_engine, write
from receiver.storage.tables import connections
from receiver.storage.traffic import SeenTraffic, upsert_traffic
from tests.integration.api_use import DEVICE, OTHER_DEVICE, decode_all
from tests.integration.description_use import close_objects, described
from tests.integration.downlink_ledger_use import URL
from tests.integration.push_server import KEK, serving
from tests.integration.reading_field import Field
from tests.integration.refusals import Refusals

CALLS = 40
"""Of each operation, beside those at the bounds of its parameters."""

FIRST_EVENT = {"type": "uplink", "device": DEVICE, "connection": "field", "port": 1}
"""A stream from the beginning on that this is wanted of ends at once, at its first event."""

DOWNLINK = {"dev_eui": DEVICE, "payload_hex": "01", "f_port": 1, "expires_at": "1h"}

load_all_checks()
generation = GenerationConfig(
    max_examples=CALLS,
    deterministic=True,
    database="none",
    with_security_parameters=False,  # each call has a key that is good
    allow_x00=False,  # no text may have it, which a pattern could tell only those who read patterns
)
checks = ChecksConfig(ignored_auth=SimpleCheckConfig(enabled=False))  # it has a test of its own
project = ProjectConfig(generation=generation, checks=checks, max_stream_events=1, request_timeout=10)
config = SchemathesisConfig(seed=1, projects=ProjectsConfig(default=project))
schema = schemathesis.openapi.from_dict(close_objects(described()), config=config)


@pytest.fixture(scope="module")
def served(module_database_url, tmp_path_factory):
    """A server with uplinks, telemetry and refused pushes, and the URL and a key for it."""
    now = datetime.now(UTC) - timedelta(hours=3)
    engine = open_engine(module_database_url)
    field = Field(engine, Keyring(KEK), now)
    network = field.connect()
    devices = [network.add_device(dev_eui=dev_eui) for dev_eui in (DEVICE, OTHER_DEVICE)]
    for number in range(12):
        field.take_and_read(network.uplink(devices[number % 2], f_port=1 + number // 6, payload=bytes([number])))
        field.wait(minutes=1)
    decode_all(engine, field.now, lambda frame: {"temperature": frame.id, "humidity": 40})
    refusals = Refusals(engine, Keyring(KEK), field.now)
    for skew_s in (0, 100, 4000):
        refusals.refuse(refusals.query(skew_s=skew_s), path="nobody")
        refusals.refuse(refusals.query(), b"\x1f\x8b", path="field")
    with write(engine) as tx:
        tx.execute(update(connections).values(downlink_url=URL))
    with ObjectEncoder() as encoder:
        enqueue(engine, encoder, field.now, 1, DownlinkWish(DEVICE, f_port=1, payload=b"1"), creator="tests")
    keep_alarms(engine, field.now)
    _, key = create_api_key(engine, now, "tests", "admin")
    engine.dispose()
    directory = tmp_path_factory.mktemp("server")
    with serving(module_database_url, directory, options={}, api_calls_per_second=0) as server:
        yield f"http://127.0.0.1:{server.port}", {"Authorization": f"Bearer {key.reveal()}"}


def keep_alarms(engine, now):
    """Keep alarms that are acknowledged, so that no network is asked, and hours of traffic."""
    settings = {"client_id": "sub", "host": "127.0.0.1:9"}
    account = add_account(
        engine, Keyring(KEK), now, name="field", surface="thingpark", settings=settings, secret="secret"
    )
    by = (AlarmState.MAJOR, 1, True, "somebody", now, now, now, ("20%",))
    seen = [SeenAlarm(f"a{number}", DEVICE, None, number, *by) for number in range(6)]
    spans = [SeenTraffic(now - timedelta(hours=hours), 3600, up_count=hours) for hours in range(1, 6)]
    with write(engine) as tx:
        upsert_alarms(tx, account.id, now, seen, now)
        upsert_traffic(tx, account.id, DEVICE, now, spans)


def make_possible(case):
    """Give a call what no description can: an id that is there; and of parameters only those that go together."""
    if not case.meta.is_negative_at(ParameterLocation.PATH):
        if "id" in case.path_parameters:
            case.path_parameters["id"] = int(case.path_parameters["id"]) % 6 + 1
        if "dev_eui" in case.path_parameters:
            case.path_parameters["dev_eui"] = DEVICE
    if operation_id(case.operation) == "streamEvents":
        case.query.setdefault("since_id", 0)
    if case.meta.generation.mode is GenerationMode.POSITIVE:
        case.query.pop("cursor", None)
        case.query |= {name: "field" for name in ("connection", "as") if name in case.query}
        make_possible_together(case.query, operation_id(case.operation))
        if operation_id(case.operation) == "createDownlink":  # what goes together in it is told in words only
            case.body = DOWNLINK | {name: case.body[name] for name in ("confirmed", "replace") if name in case.body}
        if operation_id(case.operation) == "changeDevice" and case.body.get("name"):
            case.body["name"] = "boiler"  # which characters a name may have, likewise


def operation_id(operation):
    return operation.definition.raw["operationId"]


def make_possible_together(query, name_of_operation):
    if name_of_operation == "streamEvents":
        query |= {"since_id": 0, **{name: FIRST_EVENT[name] for name in FIRST_EVENT if name in query}}
    elif name_of_operation == "listTelemetry" and "bucket" in query:
        query |= {"device": DEVICE, "tz": "Europe/Amsterdam"}
        for of_uplinks in ("connection", "port"):
            query.pop(of_uplinks, None)
    elif name_of_operation == "listTraffic" and "bucket" in query:
        query |= {"device": DEVICE, "tz": "Europe/Amsterdam"}
    elif name_of_operation == "listTraffic":
        query.pop("tz", None)  # it is for buckets
    elif name_of_operation == "listTelemetry":
        query.pop("tz", None)  # it is for buckets
        if "limit" in query:
            query["limit"] = (int(query["limit"]) - 1) % 1000 + 1  # more of them can be had of buckets only


@schema.parametrize()
def test_each_operation_does_what_is_told_of_it(case, served):
    url, headers = served
    make_possible(case)

    case.call_and_validate(base_url=url, headers=headers)


def test_no_operation_but_those_of_health_is_done_without_a_good_key(served):
    url, headers = served
    for found in schema.get_all_operations():
        operation = found.ok()
        case = operation.Case(path_parameters={"id": 1, "dev_eui": DEVICE})
        if operation_id(operation) == "streamEvents":
            case.query["since_id"] = 0
        elif operation_id(operation) == "createDownlink":
            case.body, case.media_type = DOWNLINK, "application/json"
        elif operation_id(operation) == "changeDevice":
            case.body, case.media_type = {"name": "boiler"}, "application/json"

        answer = case.call_and_validate(base_url=url, headers=headers, checks=[ignored_auth])

        assert answer.status_code in {200, 202, 409}, operation.label
