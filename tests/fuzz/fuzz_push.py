"""Coverage-guided fuzzing of what a stranger's bytes reach: the verification of a push, and the reading of reports.

    python tests/fuzz/fuzz_push.py -runs=200000            or -max_total_time=180, or any option of libFuzzer

Needs `pip install -e .[fuzz]`. It makes its own seeds; further arguments are directories with more of them.
An input is one byte that says how it is pushed, then query, a line feed, and body. What was found is written
to a file `crash-…`; `python tests/fuzz/fuzz_push.py crash-…` runs it once more.
"""

from __future__ import annotations

import json
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))
with atheris.instrument_imports(include=["receiver", "json", "urllib.parse"]):
    from receiver.errors import PushRejected, ReportUnreadableError
    from receiver.services.connection_directory import VerifyingConnection
    from receiver.services.ingest import verify_push
    from receiver.thingpark.body import parse_body
    from receiver.thingpark.reports import read_report
    from receiver.thingpark.signed_query import parse_signed_query
    from receiver.thingpark.token import body_element_texts, key_spellings, read_token_elements, sign_push

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
KEY = "17d107c7e4ae7ad8ea64ea25ee6a6b52"
DEV_EUI = "20635F0000000001"
QUERY = f"LrnDevEui={DEV_EUI}&LrnFPort=1&LrnInfos=TWA_1.1.AS-1-1&AS_ID=TWA_1.1.AS&Time=2026-11-20T12:00:00.000%2B00:00"
CONNECTION = VerifyingConnection(1, "field", "TWA_1.1.AS", 60, (1,), (key_spellings(KEY),))

AS_IT_IS, SIGNED = 0, 1
"""As it is: without the key, so it must be refused. Signed: with the right Token put behind the query."""

MEMBERS = {
    "Time": "2026-11-20T12:00:00.000+00:00",
    "DevEUI": DEV_EUI,
    "FPort": 1,
    "FCntUp": 13,
    "FCntDn": 7,
    "payload_hex": "0105",
    "mic_hex": "5c00ad47",
    "Lrrs": {"Lrr": [{"Lrrid": "FF01045A", "Chain": 0, "LrrRSSI": -110.0}]},
    "CustomerID": "100000001",
    "CustomerData": '{"name": "Door", "alr": {"pro": "P", "ver": "1"}}',
    "DevAddr": "14C4CC04",
    "AppSKey": "d27a7d90c00362fd1628796f9e339ef0",
    "DevLocTime": "2026-11-20T12:00:00Z",
    "DevLAT": 52.09,
    "DevLON": 5.12,
    "Type": "join",
    "Var1": "",
}
KINDS = ("DevEUI_uplink", "DevEUI_downlink_Sent", "DevEUI_location", "DevEUI_notification", "DevEUI_alarm", "Other")


def push(data: bytes) -> None:
    """Push one input; whatever it is, it is taken or refused, and read or unreadable."""
    raw_query, _, raw_body = data[1:].partition(b"\n")
    is_signed = data[:1] and data[0] % 2 == SIGNED
    try:
        if is_signed:
            raw_query += b"&Token=" + sign(raw_query, raw_body).encode()
        stored = verify_push(CONNECTION, "field", raw_query, raw_body, NOW)
    except PushRejected as exc:
        check_storable(exc.detail)
    else:
        if not is_signed:
            raise AssertionError("a push without the key was taken")
        for text in (stored.kind, stored.dev_eui or "", stored.query):
            check_storable(text)
    try:
        report, notes = read_report(parse_body(raw_body))
    except (PushRejected, ReportUnreadableError):
        return
    check_storable(repr(report))
    check_storable(notes.sentence() or "")


def sign(raw_query: bytes, raw_body: bytes) -> str:
    """Give the Token over what the query and the body are read as.

    Raises:
        PushRejected: one of them is not read at all.
    """
    query = parse_signed_query(raw_query + b"&Token=" + b"0" * 64)
    elements = read_token_elements(parse_body(raw_body))
    return sign_push(body_element_texts(elements)[0], query_elements=query.signed_elements, key=KEY)


def check_storable(text: str) -> None:
    """Fail on what no database text can hold."""
    text.encode("utf-8")
    if "\0" in text:
        raise AssertionError("a text that is to be stored holds NUL")


def write_seeds(directory: Path) -> None:
    """Write a push of each kind, in JSON and XML, with and without its Token, and a few that are none."""
    bodies = [json.dumps({kind: MEMBERS}).encode() for kind in KINDS]
    leaves = "".join(f"<{name}>{value}</{name}>" for name, value in MEMBERS.items() if not isinstance(value, dict))
    lrrs = "<Lrrs><Lrr><Lrrid>FF01045A</Lrrid></Lrr><Lrr><Lrrid>FF0101C2</Lrrid></Lrr></Lrrs>"
    bodies += [
        f'<?xml version="1.0" encoding="UTF-8"?><{kind} xmlns="http://uri.actility.com/lora">{leaves}{lrrs}</{kind}>'.encode()
        for kind in KINDS
    ]
    bodies += [
        *(b"", b"[]", b'{"a":' * 1000, b"<a>" * 300, b'{"DevEUI_uplink": {"a": NaN}}', b'{"a": "\\ud800\\u0000"}'),
        *(b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", b"\xef\xbb\xbf{}", json.dumps(MEMBERS).encode()),
    ]
    for number, body in enumerate(bodies):
        for way in (AS_IT_IS, SIGNED):
            (directory / f"seed-{number}-{way}").write_bytes(bytes([way]) + QUERY.encode() + b"\n" + body)
    words = {
        *MEMBERS,
        *KINDS,
        "Lrr",
        "Lrrid",
        "Token",
        "Time=",
        "%00",
        "xmlns",
        "<![CDATA[",
        "\\u0000",
        "FCntUp",
        "1e9",
    }
    entries = ("".join(f"\\x{byte:02x}" for byte in word.encode()) for word in sorted(words))
    (directory.parent / "words").write_text("".join(f'"{entry}"\n' for entry in entries))


def main() -> None:
    """Fuzz until the options say to stop, or something was found."""
    with tempfile.TemporaryDirectory(prefix="fuzz-push-") as directory:
        seeds = Path(directory) / "seeds"
        seeds.mkdir()
        write_seeds(seeds)
        given = sys.argv[1:]
        one_input = any(Path(argument).is_file() for argument in given)
        more = [] if one_input else ["-max_len=8192", f"-dict={Path(directory) / 'words'}", str(seeds)]
        atheris.Setup([sys.argv[0], *more[:2], *given, *more[2:]], push)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
