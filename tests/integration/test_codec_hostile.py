"""Whatever a codec does, it costs that one frame and less than a second; the others of the batch are decoded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest

from receiver.codecs.engine import DECODE_TIMEOUT_S, LOAD_AGAIN_S, SLOW_CALLS_MAX, CodecEngine
from receiver.errors import CodecScriptError
from tests.integration.codec_use import codec, decode, payload, uplink

SLACK_S = 0.7
"""For starting a new process on a slow machine."""

GOOD, BAD = payload("0102"), payload("ff02")


@pytest.fixture(scope="module")
def javascript():
    with CodecEngine() as engine:
        yield engine


def hostile(body: str, before: str = ""):
    """Give a codec that does this for payloads beginning with ff, and else decodes."""
    return uplink(f"if (input.bytes[0] === 0xff) {{ {body} }}\nreturn {{data: {{first: input.bytes[0]}}}};", before)


FAILS = {
    "endless loop": "while (true);",
    "endless loop that catches": "while (true) { try { while (true); } catch (e) {} finally { continue; } }",
    "endless loop of regular expressions": "/^(a+)+$/.test('a'.repeat(40) + '!');",
    "array of a thousand million": "return {data: new Array(1e9) + ''};",
    "reversal of a sparse array": "var a = []; a[4294967294 - 1] = 1; a.reverse();",
    "power beyond memory": "return {data: 2n ** (2n ** 40n)};",
    "power that takes minutes": "return {data: String(7n ** 30000000n).length};",
    "endless recursion": "(function again() { return again() + 1; })();",
    "text that doubles": "var s = 'x'; while (true) s += s;",
    "memory until it ends": "var l = []; while (true) l.push(new Array(1000).fill(1));",
    "memory until it ends, in bytes": "var l = []; while (true) l.push(new Uint8Array(1 << 20));",
    "console for ever": "while (true) console.log('x');",
    "result of 100 MB": "return {data: 'x'.repeat(1e8)};",
    "result of 1 MB": "return {data: 'x'.repeat(1e6)};",
    "result of 70 kB in few characters": "return {data: '\\u20ac'.repeat(24000)};",
    "result of many elements": "return {data: new Array(1e6).fill(0)};",
    "result that has itself inside": "var o = {}; o.o = o; return {data: o};",
    "result as deep as can be": "var o = {}; for (var i = 0; i < 1e6; i++) o = {o}; return {data: o};",
    "result deeper than it may be": "var o = {}; for (var i = 0; i < 200; i++) o = [o]; return {data: o};",
    "getter that loops": "return {data: {get value() { while (true); }}};",
    "getter that throws": "return {data: {get value() { throw new Error('no'); }}};",
    "toJSON that loops": "return {data: {toJSON() { while (true); }}};",
    "toJSON of everything that throws": "Object.prototype.toJSON = () => { throw 1; }; return {data: {a: 1}};",
    "toJSON of everything that loops": "Object.prototype.toJSON = () => { while (true); }; return {data: {a: 1}};",
    "proxy that loops": "return new Proxy({}, {has() { while (true); }});",
    "proxy that throws": "return new Proxy({}, {has() { throw null; }});",
    "proxy of endless keys": "return {data: new Proxy({}, {ownKeys() { while (true); }})};",
    "null thrown": "throw null;",
    "undefined thrown": "throw undefined;",
    "thrown with a toString that loops": "throw {toString() { while (true); }};",
    "thrown error with a message that loops": "var e = new Error(); e.message = {toJSON() { while (true); }}; throw e;",
    "thrown error with a stack that loops": (
        "throw Object.defineProperty(new TypeError('x'), 'stack', {get() { while (true); }});"
    ),
    "errors that loop": "return {errors: {get length() { while (true); }, toJSON() { while (true); }}};",
    "endless promises": "return new Promise(() => { (function next() { Promise.resolve().then(next); })(); });",
    "promise that never settles": "return new Promise(() => {});",
    "promise that loops": "return Promise.resolve().then(() => { while (true); });",
    "wait for another thread": "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);",
    "nothing": "return;",
    "a function": "return {data: () => 1};",
}
"""Each ends in an error of that frame."""


@pytest.mark.parametrize("body", FAILS.values(), ids=FAILS)
def test_a_hostile_codec_costs_one_frame_and_less_than_a_second(javascript, body):
    given = hostile(body)
    decode(javascript, given, GOOD)

    begun = time.monotonic()
    before, bad, after = decode(javascript, given, GOOD, BAD, GOOD)
    took_s = time.monotonic() - begun

    assert bad.failed
    assert bad.data is None
    assert all(len(sentence) <= 500 for sentence in bad.errors)
    assert (before.data, before.errors) == (after.data, after.errors) == ({"first": 1}, ())
    assert took_s < DECODE_TIMEOUT_S + SLACK_S


HARMLESS = {
    "JSON.stringify replaced": "JSON.stringify = () => { while (true); };",
    "JSON.parse replaced": "JSON.parse = () => 'nothing';",
    "methods of arrays replaced": "Array.prototype.map = Array.prototype.push = Array.prototype.join = () => 1;",
    "iteration of arrays replaced": "Array.prototype[Symbol.iterator] = function* () { yield 'false'; };",
    "methods of texts replaced": "String.prototype.slice = String.prototype.charCodeAt = () => { throw 1; };",
    "Promise replaced": "Promise = globalThis.Promise = function () {};",
    "Date replaced": "Date = globalThis.Date = function () {};",
    "Reflect replaced": "Reflect.apply = () => { while (true); };",
    "everything deleted": "var g = globalThis; for (var name of Object.getOwnPropertyNames(g)) delete g[name];",
}


@pytest.mark.parametrize("before", HARMLESS.values(), ids=HARMLESS)
def test_a_codec_that_replaces_what_it_finds_is_called_all_the_same(javascript, before):
    given = uplink("return {data: {first: input.bytes[0]}, warnings: ['a', 'b']};", before)

    assert [(one.data, one.warnings) for one in decode(javascript, given, GOOD, GOOD)] == [
        ({"first": 1}, ("a", "b"))
    ] * 2


def test_a_codec_that_replaces_what_it_finds_harms_no_other(javascript):
    decode(javascript, uplink("return {};", "Object.prototype.toJSON = () => 1; Array.prototype[0] = 1; Buffer = 1;"))

    assert decode(javascript, uplink("return {data: [Buffer.from([1]), {}]};")).data == [[1], {}]


def test_a_codec_that_loops_for_every_frame_costs_each_frame_less_than_a_second(javascript):
    begun = time.monotonic()
    decodings = decode(javascript, hostile("[].concat; var a = []; a[4294967293] = 1; a.reverse();"), BAD, BAD, GOOD)

    assert [one.errors for one in decodings] == [(f"It did not end within {DECODE_TIMEOUT_S:g} s.",)] * 2 + [()]
    assert time.monotonic() - begun < 2 * (DECODE_TIMEOUT_S + SLACK_S)


def test_what_a_codec_says_is_bounded(javascript):
    given = uplink(
        "for (var i = 0; i < 1000; i++) console.log('y'.repeat(1000));"
        "return {data: {}, warnings: Array.from({length: 200}, () => 'x'.repeat(1e4))};"
    )

    decoding = decode(javascript, given, with_console=True)

    assert decoding.warnings == ("x" * 500,) * 100
    assert len(decoding.console) <= 100
    assert sum(map(len, decoding.console)) <= 8 * 1024


@pytest.mark.parametrize(
    "body", ["while (true);", "var a = []; a[4294967293] = 1; a.reverse();"], ids=["loops", "loops beyond interruption"]
)
def test_a_codec_that_does_not_end_again_and_again_is_left_alone_for_a_while(body):
    now = [0.0]
    with CodecEngine(clock=lambda: now[0]) as engine:
        begun = time.monotonic()
        first = engine.decode_uplinks(hostile(body), [GOOD, *[BAD] * 50, GOOD])
        took_s = time.monotonic() - begun
        other = decode(engine, uplink("return {data: 1};"), GOOD)
        now[0] = LOAD_AGAIN_S
        later = engine.decode_uplinks(hostile(body), [GOOD, BAD, GOOD])

    assert [one.failed for one in first] == [False] + [True] * 51
    assert "is not called again" in first[-1].errors[0]
    assert took_s < (SLOW_CALLS_MAX + 1) * (DECODE_TIMEOUT_S + SLACK_S)
    assert other.data == 1
    assert [one.failed for one in later] == [False, True, False]


@pytest.mark.parametrize(
    "script",
    [
        "while (true);",
        "var a = []; a[4294967293] = 1; a.reverse();",
        "var l = []; while (1) l.push('x'.repeat(1e6) + l);",
    ],
    ids=["loops", "loops beyond interruption", "takes all memory"],
)
def test_a_script_that_does_not_load_is_not_tried_for_every_frame(script):
    now = [0.0]
    with CodecEngine(clock=lambda: now[0]) as engine:
        first = decode(engine, codec(script), GOOD)
        begun = time.monotonic()
        others = [one for _ in range(50) for one in engine.decode_uplinks(codec(script), [GOOD] * 10)]
        took_s = time.monotonic() - begun
        now[0] = LOAD_AGAIN_S
        again_begun = time.monotonic()
        again = decode(engine, codec(script), GOOD)
        again_took_s = time.monotonic() - again_begun

        assert first.errors[0].startswith("The script does not load: ")
        assert {one.errors for one in others} == {first.errors}
        assert again.errors[0].startswith("The script does not load: ")  # it may name another number of seconds
        assert took_s < again_took_s < DECODE_TIMEOUT_S + SLACK_S
        assert decode(engine, hostile(""), GOOD).data == {"first": 1}
        with pytest.raises(CodecScriptError):
            engine.operations(codec(script))


def test_a_process_killed_between_batches_costs_nothing(javascript):
    given = hostile("")
    decode(javascript, given, GOOD)
    os.kill(javascript.pid, signal.SIGKILL)

    assert [one.data for one in decode(javascript, given, GOOD, GOOD)] == [{"first": 1}] * 2


def test_a_process_killed_within_a_batch_costs_nothing(javascript):
    given = uplink("for (var i = 0; i < 3e5; i++); return {data: {first: input.bytes[0]}};")
    decode(javascript, given, GOOD)
    killer = threading.Timer(0.1, os.kill, (javascript.pid, signal.SIGKILL))
    killer.start()

    decodings = javascript.decode_uplinks(given, [GOOD] * 100)
    killer.join()

    assert [one.data for one in decodings] == [{"first": 1}] * 100


PARENT = textwrap.dedent(
    """
    import sys
    sys.path.insert(0, sys.argv[1])
    from receiver.codecs.engine import CodecEngine
    from tests.integration.codec_use import codec, decode, payload, uplink
    import receiver.codecs.engine as module
    module.DECODE_TIMEOUT_S = 1000.0  # this process never ends it
    engine = CodecEngine()
    decode(engine, uplink("return {data: 1};"))
    print(engine.pid, flush=True)
    body = sys.argv[2]
    if body:
        decode(engine, uplink(body))
    sys.stdin.read()
    """
)


@pytest.mark.parametrize(
    "body",
    ["", "while (true);", "var a = []; a[4294967293] = 1; a.reverse();"],
    ids=["idle", "loop", "uninterruptible"],
)
def test_the_process_ends_when_the_receiver_is_killed(body):
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, root, body], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()

    _, alive = psutil.wait_procs([child], timeout=5)

    assert not alive or child.status() == psutil.STATUS_ZOMBIE


def test_the_process_knows_no_secret_and_has_no_file(javascript, monkeypatch):
    decode(javascript, hostile(""), GOOD)
    process = psutil.Process(javascript.pid)

    assert process.environ() == {"TZ": "UTC"}
    assert process.cwd() == "/"
    assert os.getsid(javascript.pid) == javascript.pid
    assert {Path(file.path).name for file in process.open_files()} <= {"statm"}


@pytest.mark.parametrize(
    "name", ["process", "std", "os", "WebAssembly", "fetch", "setTimeout", "importScripts", "load"]
)
def test_a_codec_sees_nothing_of_the_machine(javascript, name):
    assert decode(javascript, uplink(f"return {{data: typeof {name}}};")).data == "undefined"


def test_many_codecs_are_kept_within_bounds():
    with CodecEngine() as engine:
        for number in range(200):
            assert decode(engine, uplink(f"return {{data: {number}}};")).data == number
        assert decode(engine, uplink("return {data: 0};")).data == 0
        assert psutil.Process(engine.pid).memory_info().rss < 256 << 20


def test_memory_that_codecs_hold_is_given_back(javascript):
    greedy = "globalThis.kept = new Uint8Array(40 << 20).fill(1); return {data: 1};"
    with CodecEngine() as engine:
        for number in range(30):
            assert decode(engine, uplink(greedy, f"// {number}")).data == 1
        assert psutil.Process(engine.pid).memory_info().rss < 640 << 20
