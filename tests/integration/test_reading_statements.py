"""A batch is read with a few statements, however many uplinks it has."""

from __future__ import annotations

from sqlalchemy import event

from receiver.services.reading import read_batch
from receiver.storage.tables import receptions, uplinks
from tests.integration.reading_field import HELLO


def statements_of(field, action):
    seen = []

    def note(_connection, _cursor, statement, *_):
        seen.append(statement)

    event.listen(field.engine, "before_cursor_execute", note)
    action()
    event.remove(field.engine, "before_cursor_execute", note)
    return seen


def test_a_batch_of_many_uplinks_takes_as_many_statements_as_one_of_few(field):
    network = field.connect(encrypted=True)
    field.import_as_transport_key()
    fleet = [network.add_device() for _ in range(40)]
    field.take_and_read(*(network.uplink(device, f_port=5, payload=HELLO) for device in fleet))
    counts = []
    for some in (fleet[:2], fleet):
        field.wait(minutes=10)
        field.take(*(network.uplink(device, f_port=5, payload=HELLO, gateways=3) for device in some))
        statements = statements_of(field, lambda: read_batch(field.engine, field.keyring, field.now, 200))
        counts.append(len(statements))

    assert counts[0] == counts[1]
    assert field.count(uplinks) == 40 + 2 + 40
    assert field.count(receptions) >= 3 * 42
    assert {state for _, state, _ in field.payloads()} == {"decrypted"}


def test_the_ids_of_uplinks_are_in_the_order_of_their_reports(field):
    network = field.connect()
    device = network.add_device()
    for size in (1, 7, 3):
        field.take(*(network.uplink(device, f_port=5, payload=HELLO) for _ in range(size)))
        field.read()

    assert [row.report_id for row in field.rows(uplinks)] == sorted(row.report_id for row in field.rows(uplinks))
    assert len({row.id for row in field.rows(uplinks)}) == 11
