"""Clear payloads become telemetry, by the codec that is for them, and a decode that fails harms nothing else."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError

from receiver.codecs.engine import CodecEngine
from receiver.codecs.values import Codec, Signature
from receiver.services.codecs import Scope, add_codec, assign_codec, remove_codec, unassign_codec
from receiver.services.decoding import Decoder
from receiver.services.devices import set_app_s_key
from receiver.storage.engine import read, write
from receiver.storage.tables import devices, uplinks
from receiver.storage.telemetry import forget_decodings
from receiver.storage.telemetry_queries import list_latest, list_series, list_values
from receiver.storage.telemetry_tables import decodings, series, telemetry_values, undecoded
from tests.integration.codec_scripts import CLIMATE, TENFOLD, climate
from tests.integration.reading_field import allow_inserts, changed, refuse_inserts

WARM = bytes([0, 215, 1])  # 21.5 degrees, door open


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
    return network.add_device(dev_eui="20635F0000000001")


def decode(field, decoder) -> int:
    return decoder.decode_batch(field.now, 200)


def add(field, codec=None, name="climate"):
    return add_codec(field.engine, field.now, name, codec or climate(), None)


def assign(field, name="climate", **scope):
    return assign_codec(field.engine, field.now, name, Scope(**scope))


def telemetry(field, dev_eui="20635F0000000001"):
    """Give name, value and unit of all that stands of a device, the oldest first."""
    with read(field.engine) as tx:
        values, _ = list_values(tx, list_series(tx, dev_eui), limit=10_000)
    return [
        (one.name, one.value, one.unit) for one in sorted(values, key=lambda one: (one.at, one.uplink_id, one.name))
    ]


def test_an_uplink_of_an_assigned_device_becomes_telemetry(field, decoder, network, device):
    add(field)
    assign(field, dev_eui=device.dev_eui)
    field.take_and_read(network.uplink(device, f_port=5, payload=WARM))

    assert decode(field, decoder) == 1
    assert telemetry(field) == [
        ("door.open", True, None),
        ("levels.0", 1.0, None),
        ("levels.1", 2.0, None),
        ("state", "good", None),
        ("temperature", 21.5, "Cel"),
    ]


def test_a_measurement_has_the_networks_time_of_its_frame_and_knows_its_uplink(field, decoder, network, device):
    add(field)
    assign(field, dev_eui=device.dev_eui)
    push = network.uplink(device, f_port=5, payload=WARM)
    field.wait(minutes=1)
    field.take_and_read(push)
    decode(field, decoder)

    uplink = field.row(uplinks)
    with read(field.engine) as tx:
        values, _ = list_values(tx, list_series(tx, device.dev_eui), limit=100)
    assert {(one.at, one.uplink_id) for one in values} == {(uplink.at, uplink.id)}
    assert uplink.at < field.now


def test_the_decoded_object_is_kept_whole_with_the_version_that_made_it(field, decoder, network, device):
    added = add(field)
    assign(field, dev_eui=device.dev_eui)
    field.take_and_read(network.uplink(device, f_port=5, payload=WARM + b"\1"))
    decode(field, decoder)

    row = field.row(decodings)
    assert json.loads(row.decoded) == {"temperature": 21.5, "door": {"open": True}, "state": "good", "levels": [1, 2]}
    assert (row.state, json.loads(row.warnings), row.errors) == ("decoded", ["too long"], None)
    assert added.is_new_version
    assert row.codec_version_id is not None


@pytest.mark.parametrize(("payload", "port", "reason"), [(b"\1", 5, "too short"), (WARM, 9, "no such port")])
def test_a_failed_decode_keeps_the_uplink_and_says_why(field, decoder, network, device, payload, port, reason):
    add(field)
    assign(field, dev_eui=device.dev_eui)
    field.take_and_read(
        network.uplink(device, f_port=port, payload=payload), network.uplink(device, f_port=5, payload=WARM)
    )
    decode(field, decoder)

    failed, good = field.rows(decodings)
    assert (failed.state, failed.decoded) == ("failed", None)
    assert reason in json.loads(failed.errors)[0]
    assert good.state == "decoded"
    assert [row.payload_state for row in field.rows(uplinks)] == ["clear", "clear"]


def test_an_endless_codec_costs_its_own_decode_only(field, decoder, network, device):
    add(field, climate(CLIMATE.replace('throw new Error("no such port")', "while (true) {}")))
    assign(field, dev_eui=device.dev_eui)
    field.take_and_read(*(network.uplink(device, f_port=port, payload=WARM) for port in (5, 9, 5)))
    decode(field, decoder)

    assert [row.state for row in field.rows(decodings)] == ["decoded", "failed", "decoded"]


def test_an_uplink_that_no_codec_is_for_leaves_the_queue_as_it_is(field, decoder, network, device):
    field.take_and_read(network.uplink(device, f_port=5, payload=WARM))

    assert decode(field, decoder) == 1
    assert (field.count(decodings), field.count(undecoded)) == (0, 0)
    assert decode(field, decoder) == 0


def test_an_encrypted_uplink_is_decoded_when_its_key_comes(field, decoder):
    network = field.connect("encrypted", encrypted=True)
    device = network.add_device(dev_eui="20635F0000000001")
    add(field)
    assign(field, dev_eui=device.dev_eui)
    field.take_and_read(network.join(device), network.uplink(device, f_port=5, payload=WARM), name="encrypted")
    assert decode(field, decoder) == 0

    field.import_as_transport_key("encrypted")
    field.read()
    assert decode(field, decoder) == 1
    assert ("temperature", 21.5, "Cel") in telemetry(field)


def test_what_was_made_of_a_payload_that_was_taken_for_clear_is_replaced_when_its_key_comes(field, decoder):
    network = field.connect("old", encrypted=True, tells_payload_encryption=False)
    device = network.add_device(dev_eui="20635F0000000001", activation="abp")
    add(field)
    assign(field, dev_eui=device.dev_eui)
    field.take_and_read(network.uplink(device, f_port=5, payload=WARM), name="old")
    decode(field, decoder)
    assert ("temperature", 21.5, "Cel") not in telemetry(field)

    set_app_s_key(field.engine, field.keyring, field.now, device.dev_eui, device.dev_addr, device.app_s_key)
    field.read()
    decode(field, decoder)
    assert [value for name, value, _ in telemetry(field) if name == "temperature"] == [21.5]


def test_what_was_made_of_a_payload_goes_when_it_turns_out_to_wait_for_a_key(field, decoder, network, device):
    add(field)
    assign(field, dev_eui=device.dev_eui)
    field.take_and_read(network.uplink(device, f_port=5, payload=WARM))
    decode(field, decoder)

    with write(field.engine) as tx:
        forget_decodings(tx, [field.row(uplinks).id])
    assert (field.count(decodings), field.count(telemetry_values), field.count(undecoded)) == (0, 0, 0)


def test_a_frame_whose_payload_changes_while_it_is_decoded_is_decoded_again(field, codec_engine, network, device):
    class Meanwhile:
        """Lets the payload be another one after it was read for decoding."""

        def decode_uplinks(self, *arguments, **options):
            with write(field.engine) as tx:
                tx.execute(update(uplinks).values(frm_payload=bytes([0, 100, 1])))
            self.decode_uplinks = codec_engine.decode_uplinks
            return codec_engine.decode_uplinks(*arguments, **options)

    add(field)
    assign(field, dev_eui=device.dev_eui)
    field.take_and_read(network.uplink(device, f_port=5, payload=WARM))
    decoder = Decoder(field.engine, Meanwhile())

    decode(field, decoder)
    assert (field.count(decodings), field.count(undecoded)) == (0, 1)
    decode(field, decoder)
    assert ("temperature", 10.0, "Cel") in telemetry(field)


@pytest.mark.parametrize(
    ("scope", "other"),
    [
        ({"model": "SIM/Climate"}, {"model": "ACME/Other"}),
        ({"driver": "acme:climate:1"}, {"driver": "acme:climate:2"}),
        ({"connection": "field"}, None),
        ({"f_port": 5}, {"f_port": 6}),
    ],
)
def test_a_codec_is_for_what_it_is_assigned_to(field, decoder, network, device, scope, other):
    add(field)
    assign(field, **scope)
    if other:
        add(field, climate(TENFOLD), "other")
        assign(field, "other", **other)
    told = {"DriverCfg": {"app": {"pId": "acme", "mId": "climate", "ver": "1"}}}
    push = changed(network, network.uplink(device, f_port=5, payload=WARM), **told)
    field.take_and_read(push)
    assert field.row(devices).driver == "acme:climate:1"
    decode(field, decoder)

    assert ("temperature", 21.5, "Cel") in telemetry(field)


def test_the_assignment_that_says_most_is_taken(field, decoder, network, device):
    add(field)
    add(field, climate(TENFOLD), "tenfold")
    assign(field, "tenfold", connection="field", f_port=5)
    assign(field, "climate", dev_eui=device.dev_eui)
    assign(field, "tenfold", f_port=5)
    field.take_and_read(network.uplink(device, f_port=5, payload=WARM))
    decode(field, decoder)

    assert ("temperature", 21.5, "Cel") in telemetry(field)


def test_a_new_version_of_a_codec_decodes_what_comes_after_it(field, decoder, network, device):
    add(field)
    assign(field, dev_eui=device.dev_eui)
    field.take_and_read(network.uplink(device, f_port=5, payload=WARM))
    decode(field, decoder)
    add(field, climate(TENFOLD))
    field.wait(minutes=1)
    field.take_and_read(network.uplink(device, f_port=5, payload=WARM))
    decode(field, decoder)

    assert [value for name, value, _ in telemetry(field) if name == "temperature"] == [21.5, 2150.0]
    assert len({row.codec_version_id for row in field.rows(decodings)}) == 2


def test_the_same_content_added_again_is_the_same_version(field):
    first, again = add(field), add(field)

    assert (first.version, again.is_new_version) == (again.version, False)


def test_an_older_content_added_again_is_the_current_version_again(field, decoder, network, device):
    add(field)
    add(field, climate(TENFOLD))
    assert not add(field).is_new_version
    assign(field, dev_eui=device.dev_eui)
    field.take_and_read(network.uplink(device, f_port=5, payload=WARM))
    decode(field, decoder)

    assert ("temperature", 21.5, "Cel") in telemetry(field)


def test_what_a_removed_codec_decoded_stays(field, decoder, network, device):
    add(field)
    assign(field, dev_eui=device.dev_eui)
    field.take_and_read(network.uplink(device, f_port=5, payload=WARM))
    decode(field, decoder)
    remove_codec(field.engine, "climate", force=True)
    field.take_and_read(network.uplink(device, f_port=5, payload=WARM))
    decode(field, decoder)

    assert len(telemetry(field)) == 5
    assert [row.codec_version_id for row in field.rows(decodings)] == [None]


def test_nothing_more_is_decoded_once_a_codec_is_unassigned(field, decoder, network, device):
    add(field)
    assign(field, dev_eui=device.dev_eui)
    unassign_codec(field.engine, Scope(dev_eui=device.dev_eui))
    field.take_and_read(network.uplink(device, f_port=5, payload=WARM))
    decode(field, decoder)

    assert field.count(decodings) == 0


def test_cayenne_lpp_needs_no_script(field, decoder, network, device):
    assign(field, "cayenne-lpp", f_port=5)
    field.take_and_read(network.uplink(device, f_port=5, payload=bytes.fromhex("03670110056700ff")))
    decode(field, decoder)

    assert telemetry(field) == [("temperature_3", 27.2, "Cel"), ("temperature_5", 25.5, "Cel")]


def test_senml_brings_its_own_units_and_times(field, decoder, network, device):
    assign(field, "senml", f_port=5)
    pack = json.dumps([{"n": "outside", "u": "Cel", "v": 21.5}, {"n": "outside", "u": "Cel", "v": 21.0, "t": -3600}])
    field.take_and_read(network.uplink(device, f_port=5, payload=pack.encode()))
    decode(field, decoder)

    with read(field.engine) as tx:
        values, _ = list_values(tx, list_series(tx, device.dev_eui), limit=10)
    newest, oldest = values
    assert (newest.value, oldest.value, newest.unit) == (21.5, 21.0, "Cel")
    assert newest.at - oldest.at == timedelta(hours=1)


def test_text_that_no_database_can_hold_is_kept_as_far_as_it_can_be(field, decoder, network, device):
    add(field, Codec(Signature.LORA_ALLIANCE, r"""decodeUplink = () => ({data: {"n\u0000me": "a\u0000b\ud800"}})"""))
    assign(field, dev_eui=device.dev_eui)
    field.take_and_read(network.uplink(device, f_port=5, payload=WARM))
    decode(field, decoder)

    assert field.row(decodings).state == "decoded"
    [(_, value, _)] = telemetry(field)
    assert value.startswith("a")
    assert "\0" not in value


def test_a_batch_that_cannot_be_written_is_decoded_again_later(field, decoder, network, device):
    add(field)
    assign(field, dev_eui=device.dev_eui)
    field.take_and_read(network.uplink(device, f_port=5, payload=WARM))
    refuse_inserts(field.engine, "telemetry_values", "uplink_id > 0", "uplink_id")
    with pytest.raises(SQLAlchemyError):
        decode(field, decoder)
    assert (field.count(decodings), field.count(series), field.count(undecoded)) == (0, 0, 1)

    allow_inserts(field.engine, "telemetry_values")
    decode(field, decoder)
    assert len(telemetry(field)) == 5


def test_values_are_paged_by_cursor_without_a_hole_or_a_repetition(field, decoder, network, device):
    add(field)
    assign(field, dev_eui=device.dev_eui)
    for _ in range(7):
        field.take_and_read(network.uplink(device, f_port=5, payload=WARM))
    field.wait(seconds=1)
    for _ in range(3):
        field.take_and_read(network.uplink(device, f_port=5, payload=WARM))
    decode(field, decoder)

    with read(field.engine) as tx:
        wanted = list_series(tx, device.dev_eui)
        whole, _ = list_values(tx, wanted, limit=1000)
        paged, cursor = list_values(tx, wanted, limit=4)
        while cursor is not None:
            page, cursor = list_values(tx, wanted, limit=4, before=cursor)
            paged += page
    assert len(whole) == 50
    assert paged == whole
    assert [one.at for one in whole] == sorted((one.at for one in whole), reverse=True)


def test_the_latest_of_each_series_is_given_for_one_device_or_all(field, decoder, network, device):
    other = network.add_device(dev_eui="20635F0000000002")
    add(field)
    assign(field, connection="field")
    field.take_and_read(network.uplink(device, f_port=5, payload=WARM), network.uplink(other, f_port=5, payload=WARM))
    field.wait(seconds=9)
    field.take_and_read(network.uplink(device, f_port=5, payload=bytes([0, 100, 0])))
    decode(field, decoder)

    with read(field.engine) as tx:
        everything = list_latest(tx, limit=100)
        of_one = list_latest(tx, dev_eui=device.dev_eui, limit=100)
        behind = list_latest(tx, after=(device.dev_eui, "state", ""), limit=2)
    assert len(everything) == 10
    assert {(one.name, one.value) for one in of_one} >= {("temperature", 10.0), ("door.open", False)}
    assert [(one.dev_eui, one.name) for one in behind] == [
        (device.dev_eui, "temperature"),
        (other.dev_eui, "door.open"),
    ]
