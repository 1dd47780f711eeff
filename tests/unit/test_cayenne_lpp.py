"""Cayenne LPP: the published examples, every type, and what is no such payload.

Sources: "docs" is myDevices, Cayenne Low Power Payload, section Examples; "stack" is The Things Stack, Payload
Formatters, CayenneLPP; "parser" is the payload of selvakn/cayenne-lpp-parser, main.go, which was worked out by hand
from the docs' table. The other types are worked out by hand from ElectronicCats/CayenneLPP, src/CayenneLPP.h.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.codecs.cayenne_lpp import UNITS, decode_cayenne_lpp
from receiver.codecs.measurements import measure
from receiver.codecs.values import Payload

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def decode(payload_hex, f_port=1):
    return decode_cayenne_lpp(Payload(bytes.fromhex(payload_hex), f_port, NOW))


@pytest.mark.parametrize(
    ("payload_hex", "data"),
    [
        ("0367 0110 0567 00FF", {"temperature_3": 27.2, "temperature_5": 25.5}),
        ("0167 FFD7", {"temperature_1": -4.1}),
        ("0671 04D2 FB2E 0000", {"accelerometer_6": {"x": 1.234, "y": -1.234, "z": 0}}),
        ("0188 06765F F2960A 0003E8", {"gps_1": {"latitude": 42.3519, "longitude": -87.9094, "altitude": 10}}),
        ("0073 27BF 0067 00DE", {"barometric_pressure_0": 1017.5, "temperature_0": 22.2}),
    ],
    ids=["docs", "docs, frame N", "docs, frame N+1", "docs, GPS", "stack"],
)
def test_published_examples_are_decoded(payload_hex, data):
    assert decode(payload_hex).data == data


@pytest.mark.parametrize(
    ("payload_hex", "name", "value"),
    [
        ("0100FF", "digital_in_1", 255),  # parser
        ("020164", "digital_out_2", 100),  # parser
        ("0302154A", "analog_in_3", 54.5),  # parser
        ("0403EAB6", "analog_out_4", -54.5),  # parser
        ("056501F4", "luminosity_5", 500),  # parser
        ("066632", "presence_6", 50),  # parser
        ("0767FF64", "temperature_7", -15.6),  # parser
        ("0868A0", "relative_humidity_8", 80),  # parser
        ("0971FE58000F0682", "accelerometer_9", {"x": -0.424, "y": 0.015, "z": 1.666}),  # parser
        ("0A7329EF", "barometric_pressure_10", 1073.5),  # parser
        ("0B8601630231FE66", "gyrometer_11", {"x": 3.55, "y": 5.61, "z": -4.1}),  # parser
        ("0C8807FD8700BEF500086A", "gps_12", {"latitude": 52.3655, "longitude": 4.8885, "altitude": 21.54}),  # parser
        ("0164FFFFFFFF", "generic_1", 4_294_967_295),
        ("017401A4", "voltage_1", 4.2),
        ("01750FA1", "current_1", 4.001),
        ("0176338FD6A0", "frequency_1", 865_064_608),
        ("017864", "percentage_1", 100),
        ("0179FFFC", "altitude_1", -4),
        ("017D019A", "concentration_1", 410),
        ("018005DC", "power_1", 1500),
        ("0182000004D3", "distance_1", 1.235),
        ("018300000065", "energy_1", 0.101),
        ("01840167", "direction_1", 359),
        ("018565A1B2C3", "unixtime_1", 1_705_095_875),
        ("0187FF8000", "colour_1", {"r": 255, "g": 128, "b": 0}),
        ("0189031F0D84004A97E900086A", "gps_1", {"latitude": 52.366724, "longitude": 4.888553, "altitude": 21.54}),
        ("018E01", "switch_1", 1),
    ],
)
def test_every_type_is_decoded_without_noise_in_the_decimals(payload_hex, name, value):
    decoding = decode(payload_hex)

    assert decoding.data == {name: value}
    assert len(json.dumps(decoding.data)) < 90


@pytest.mark.parametrize(
    ("payload_hex", "told"),
    [
        ("", "The payload is empty."),
        ("01", "At offset 0 a channel stands without a type, after 0 values."),
        ("0167011003", "At offset 4 a channel stands without a type, after 1 values."),
        ("016701100307", "At offset 5 the type 7 is not known, after 1 values."),
        ("016701", "At offset 2 a value of type 103 has 1 of 2 bytes."),
        ("0188010203", "At offset 2 a value of type 136 has 3 of 9 bytes."),
    ],
)
def test_what_is_not_read_to_its_end_fails_whole(payload_hex, told):
    decoding = decode(payload_hex)

    assert (decoding.data, decoding.errors) == (None, (told,))


def test_the_first_of_two_values_of_a_channel_and_type_stands():
    decoding = decode("0367 0110 0367 00FF")

    assert decoding.data == {"temperature_3": 27.2}
    assert decoding.warnings == ("At offset 6 temperature_3 stands once more; the first value was kept.",)


@pytest.mark.parametrize("f_port", [1, 2, 11, 223])
def test_every_port_is_read_alike(f_port):
    assert decode("0167FFD7", f_port).data == {"temperature_1": -4.1}


def test_measurements_have_the_units_of_their_types():
    data = decode("0367 0110 0188 06765F F2960A 0003E8 0100 01").data

    assert [(row.name, row.value, row.unit) for row in measure(data, NOW, UNITS).measurements] == [
        ("temperature_3", 27.2, "Cel"),
        ("gps_1.latitude", 42.3519, "lat"),
        ("gps_1.longitude", -87.9094, "lon"),
        ("gps_1.altitude", 10.0, "m"),
        ("digital_in_1", 1, None),
    ]


@given(st.binary(max_size=60))
def test_any_payload_is_decoded_or_failed(body):
    decoding = decode_cayenne_lpp(Payload(body, 1, NOW))

    assert decoding.failed == (decoding.data is None)


@given(st.integers(-(2**15), 2**15 - 1))
def test_a_temperature_has_one_decimal(tenths):
    data = decode_cayenne_lpp(Payload(b"\x01\x67" + tenths.to_bytes(2, "big", signed=True), 1, NOW)).data

    assert data["temperature_1"] == float(f"{tenths}e-1")
