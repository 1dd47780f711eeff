"""The Token of a downlink request, against published ones, and what stands in the query."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import parse_qsl, unquote

import pytest

from receiver.lorawan.identifiers import DevEui
from receiver.lorawan.keys import parse_aes_key
from receiver.thingpark.downlink import DownlinkRequest, downlink_time, sign_downlink

KEY = "17d107c7e4ae7ad8ea64ea25ee6a6b52"
AS_ID = "TWA_100000001.1.AS"
TIME = "2026-11-20T12:00:00.000+00:00"
DEV_EUI = DevEui("20635F0000000001")


def sign(**members):
    request = DownlinkRequest(**({"dev_eui": DEV_EUI, "f_port": 1, "payload": b"\x01"} | members))
    return sign_downlink(request, AS_ID, TIME, parse_aes_key(KEY))


def names(signed):
    return [part.partition("=")[0] for part in signed.query.split("&")]


def test_the_token_is_the_hash_of_the_decoded_query_and_the_key():
    signed = sign(f_cnt_down=7, confirmed=True, correlation_id=0xABCDEF)
    raw = unquote(signed.query.rpartition("&Token=")[0])

    assert signed.query.endswith("&Token=" + hashlib.sha256((raw + KEY).encode()).hexdigest())
    assert raw == (
        f"DevEUI={DEV_EUI}&FPort=1&Payload=01&FCntDn=7&Confirmed=1&AS_ID={AS_ID}&Time={TIME}"
        "&CorrelationID=0000000000ABCDEF"
    )


def test_a_plus_is_encoded_so_that_no_server_reads_a_space():
    query = sign().query

    assert "+" not in query
    assert dict(parse_qsl(query))["Time"] == TIME


def test_what_is_shown_has_no_token():
    signed = sign()

    assert signed.shown == signed.query.rpartition("=")[0] + "=…"
    assert signed.query.rpartition("=")[2] not in repr(signed)
    assert "payload" not in repr(DownlinkRequest(DEV_EUI, 1, b"\x01"))


def test_the_counter_of_lorawan_1_1_has_another_name():
    assert "AFCntDn" in names(sign(f_cnt_down=7, is_lorawan_1_1=True))


def test_a_flush_alone_has_no_port_and_no_payload():
    assert names(sign(f_port=None, payload=None, flush=True)) == [
        "DevEUI",
        "FlushDownlinkQueue",
        "AS_ID",
        "Time",
        "Token",
    ]


def test_the_time_is_in_utc_with_its_offset_or_bare():
    at = datetime(2026, 11, 20, 13, 0, 0, 123_000, tzinfo=timezone(timedelta(hours=1)))

    assert downlink_time(at) == "2026-11-20T12:00:00.123+00:00"
    assert downlink_time(at, with_offset=False) == "2026-11-20T12:00:00"
    assert sign(validity=at.astimezone(UTC)).query.count("ValidityTime=2026-11-20T12%3A00%3A00.123%2B00%3A00") == 1


# --- published ones: Actility's documentation, KPN's instruction, KPN's forum

OFFSET_TIME = "2016-01-11T14:28:00.333+02:00"
PUBLISHED = [
    (
        "46ab678cd45df4a4e4b375Eacd096acc",
        OFFSET_TIME,
        "ea8f31d2299cbece8e180a3012766c4df15fe3cf2e142d9fdf4035b5894ec886",
    ),
    (
        "46ab678cd45df4a4e4b375eacd096acc",
        OFFSET_TIME,
        "63a4ec6532937c9bcba109a75f731d6dc192c9df662dee56757634a8a6dc3f4c",
    ),
    (
        "46ab678cd45df4a4e4b375Eacd096acc",
        "2016-01-11T14:28:00",
        "b5a84fe9c8921e9de359e3041a37b76c4b122f6f9b83577b5596c842052f7e62",
    ),
]


@pytest.mark.parametrize(("key", "time_text", "token"), PUBLISHED)
def test_a_published_token_is_reproduced(key, time_text, token):
    request = DownlinkRequest(DevEui("000000000F1D8693"), 1, b"\x00")

    assert sign_downlink(request, "app1.sample.com", time_text, key.encode()).query.endswith(f"&Token={token}")


def test_an_aes_key_signs_in_lower_case():
    key, time_text, token = PUBLISHED[1]
    request = DownlinkRequest(DevEui("000000000F1D8693"), 1, b"\x00")
    signed = sign_downlink(request, "app1.sample.com", time_text, parse_aes_key(key.upper()))

    assert signed.query.endswith(f"&Token={token}")


@pytest.mark.shared
def test_every_published_vector_is_among_these(shared):
    folder = shared / "vectors"
    vectors = [json.loads(path.read_text()) for path in sorted(folder.glob("1[34]_*.json"))]
    vectors += [
        vector
        for vector in json.loads((folder / "kpn.json").read_text())["vectors"]
        if vector["kind"] == "downlink_token" and vector["expect"] == "match"
    ]

    assert len(vectors) == 4
    for vector in vectors:
        query = vector.get("query_as_hashed") or vector["query_unescaped"]
        key = vector.get("tunnel_key") or vector["as_key"]
        assert (key, query.partition("&Time=")[2], vector["expected_token"]) in PUBLISHED
