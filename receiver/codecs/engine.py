"""Runs the JavaScript of codecs: whatever a codec does, it costs that one frame, and less than a second.

JavaScript runs in a process of its own (`engine_process`), which knows nothing and can do nothing but compute. A call
that does not end there within its bound of processor time, or here within DECODE_TIMEOUT_S, fails; the process is
started anew, and the other frames of the batch are decoded. What one call leaves in the variables of its script does
not reach the next one: the script runs afresh for each.

Source: LoRa Alliance TS013-1.0.0, Payload Codec API; for the others, see `values.Signature`.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from receiver.codecs.engine_answers import Answer, failure, read_answer, to_decoding, to_encoding
from receiver.codecs.engine_pipe import EnginePipe, ProcessGoneError, ProcessSilentError
from receiver.codecs.values import Operation, Signature
from receiver.errors import CodecScriptError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self

    from receiver.codecs.values import Codec, Decoding, Encoding, Json, Payload

DECODE_TIMEOUT_S = 0.8
"""For one call, or for the loading of a script: with a new process (a hundredth of a second) below a second."""

WRITE_TIMEOUT_S = 5.0
"""For a batch to be read by the process, which does nothing else then."""

LOAD_AGAIN_S = 60.0
"""How long the reason why a script did not load is answered without trying: it may cost DECODE_TIMEOUT_S."""

SLOW_CALLS_MAX = 3
"""So many calls of one codec in a row that do not end, and it is not called for LOAD_AGAIN_S: others wait behind it."""

CODECS_MAX = 64
"""Kept loaded, the least recently used goes: each takes up to a few MiB."""

CALLS_MAX = 256
"""In one message: bounds what stands in the pipe and in memory."""

_BUILT_IN = frozenset({Signature.CAYENNE_LPP, Signature.SENML})
_DID_NOT_END = "It did not end within "  # so begins what the process says too, which has less patience
_TIMED_OUT = failure(f"{_DID_NOT_END}{DECODE_TIMEOUT_S:g} s.")
_TOO_SLOW = f"{SLOW_CALLS_MAX} calls of this codec in a row did not end; for {LOAD_AGAIN_S:g} s it is not called again."
_CRASHED = failure("The process that runs JavaScript ended during this call.")


@dataclass(slots=True)
class _Known:
    """What is known of a codec's script."""

    number: int
    operations: frozenset[Operation] = frozenset()
    sentence: str | None = None
    """Why it is not called."""
    not_before: float = 0.0
    """When it may be tried again."""
    loaded_in: EnginePipe | None = None
    slow_calls: int = 0
    """How many in a row did not end."""


class CodecEngine:
    """Decodes and encodes with codecs in JavaScript; may be used from several threads, which then wait for each other.

    No codec makes it raise. `clock` gives seconds, and is only asked for when a script that did not load may be tried
    again.

    Raises:
        CodecEngineUnavailableError: by any call, when the process cannot be started.
        ValueError: by any call, for a codec that is built in.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._pipe: EnginePipe | None = None
        self._known: OrderedDict[tuple[Signature, str], _Known] = OrderedDict()
        self._forgotten: list[int] = []
        self._next_number = 1
        self._deadline = 0.0  # of the call that is running

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process; the next call starts a new one."""
        with self._lock:
            self._end()

    @property
    def pid(self) -> int | None:
        """The process that runs JavaScript, if there is one at present."""
        return None if self._pipe is None else self._pipe.pid

    def decode_uplinks(
        self, codec: Codec, payloads: Sequence[Payload], *, with_console: bool = False
    ) -> list[Decoding]:
        """Give one decoding for each payload, in their order, normalized where the script does that."""
        texts = [_frame_text(codec, payload) for payload in payloads]
        return [to_decoding(answer) for answer in self._call(codec, Operation.DECODE_UPLINK, texts, with_console)]

    def decode_downlinks(
        self, codec: Codec, payloads: Sequence[Payload], *, with_console: bool = False
    ) -> list[Decoding]:
        """Give one decoding for each payload of a downlink, in their order."""
        texts = [_frame_text(codec, payload) for payload in payloads]
        return [to_decoding(answer) for answer in self._call(codec, Operation.DECODE_DOWNLINK, texts, with_console)]

    def encode_downlinks(
        self, codec: Codec, objects: Sequence[Json], f_port: int | None = None, *, with_console: bool = False
    ) -> list[Encoding]:
        """Give one encoding for each object, in their order; `f_port` is for scripts that name none or ask for it."""
        texts = [msgspec.json.encode((given, f_port)) for given in objects]
        answers = self._call(codec, Operation.ENCODE_DOWNLINK, texts, with_console)
        return [to_encoding(answer, f_port) for answer in answers]

    def operations(self, codec: Codec) -> frozenset[Operation]:
        """Give what the script can do.

        Raises:
            CodecScriptError: it does not load, or did not a short while ago.
        """
        _check_is_javascript(codec)
        with self._lock:
            known, _ = self._load(codec)
        if known.sentence is not None:
            raise CodecScriptError(known.sentence)
        return known.operations

    def _call(self, codec: Codec, operation: Operation, texts: Sequence[bytes], with_console: bool) -> list[Answer]:
        _check_is_javascript(codec)
        how = "console" if with_console else "quiet"
        answers: list[Answer] = []
        second_try: int | None = None
        with self._lock:
            while (begun := len(answers)) < len(texts):
                known, pipe = self._load(codec)
                if pipe is None:
                    return answers + [failure(known.sentence or "")] * (len(texts) - begun)
                if second_try != begun:
                    self._deadline = 0.0
                try:
                    self._exchange(pipe, known, f"{operation} {how}", texts[begun : begun + CALLS_MAX], answers)
                except ProcessSilentError:
                    self._end()
                    self._take(known, _TIMED_OUT, answers)
                except ProcessGoneError:
                    self._end()
                    if second_try == len(answers):
                        answers.append(_CRASHED)
                        second_try = None
                    else:  # it may have been ended from outside: this call is tried once more
                        second_try = len(answers)
                except BaseException:  # an interruption, say: what is still under way must not answer another call
                    self._end()
                    raise
        return answers

    def _exchange(
        self, pipe: EnginePipe, known: _Known, how: str, texts: Sequence[bytes], answers: list[Answer]
    ) -> None:
        """Append the answers of calls, each before its deadline; that of the first one may be running already."""
        body = b"\n".join(texts)
        pipe.write(b"call %d %s %d\n%s" % (known.number, how.encode(), len(body), body), _in_s(WRITE_TIMEOUT_S))
        self._deadline = self._deadline or _in_s(DECODE_TIMEOUT_S)
        for _ in texts:
            self._take(known, read_answer(pipe.read_line(self._deadline)), answers)
            self._deadline = _in_s(DECODE_TIMEOUT_S)
            if known.sentence is not None:
                self._end()  # which has the other calls before it already
                return

    def _take(self, known: _Known, answer: Answer, answers: list[Answer]) -> None:
        """Append an answer; note when too many in a row are that a call did not end."""
        answers.append(answer)
        is_slow = bool(answer.errors) and answer.errors[0].startswith(_DID_NOT_END)
        known.slow_calls = known.slow_calls + 1 if is_slow else 0
        if known.slow_calls >= SLOW_CALLS_MAX:
            known.slow_calls = 0
            known.sentence, known.not_before = _TOO_SLOW, self._clock() + LOAD_AGAIN_S

    def _load(self, codec: Codec) -> tuple[_Known, EnginePipe | None]:
        """Give what is known of a codec, and the process that has it loaded; None: it does not load."""
        known = self._find(codec)
        if known.sentence is not None and self._clock() < known.not_before:
            return known, None
        for _ in range(2):  # the first time the process may have ended long ago
            if self._pipe is None:
                self._pipe = EnginePipe()
            pipe = self._pipe
            if known.loaded_in is pipe:
                return known, pipe
            try:
                answer = self._send_script(pipe, known.number, codec)
                break
            except ProcessSilentError:
                self._end()
                answer = _TIMED_OUT
                break
            except ProcessGoneError:
                self._end()
                answer = _CRASHED
            except BaseException:
                self._end()
                raise
        if answer.errors:
            known.sentence, known.not_before = (
                f"The script does not load: {answer.errors[0]}",
                self._clock() + LOAD_AGAIN_S,
            )
            return known, None
        known.sentence, known.operations, known.loaded_in = None, frozenset(answer.operations), pipe
        return known, pipe

    def _send_script(self, pipe: EnginePipe, number: int, codec: Codec) -> Answer:
        script = codec.script.encode("utf-8", "replace")
        forget = b"".join(b"forget %d\n" % other for other in self._forgotten)
        self._forgotten.clear()
        header = b"load %d %s %d\n" % (number, codec.signature.encode(), len(script))
        pipe.write(forget + header + script, _in_s(WRITE_TIMEOUT_S))
        return read_answer(pipe.read_line(_in_s(DECODE_TIMEOUT_S)))

    def _find(self, codec: Codec) -> _Known:
        key = codec.signature, codec.script
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _Known(self._next_number)
            self._next_number += 1
            if len(self._known) > CODECS_MAX:
                self._forgotten.append(self._known.popitem(last=False)[1].number)
        self._known.move_to_end(key)
        return known

    def _end(self) -> None:
        if self._pipe is not None:
            self._pipe.kill()
            self._pipe = None
        self._forgotten.clear()


def _check_is_javascript(codec: Codec) -> None:
    if codec.signature in _BUILT_IN:
        raise ValueError(f"A codec of signature {codec.signature} is built in: it has no script to run.")


def _in_s(seconds: float) -> float:
    return time.monotonic() + seconds


def _frame_text(codec: Codec, payload: Payload) -> bytes:
    at_text = None
    if codec.signature is Signature.THINGPARK_X:
        at_text = payload.at.isoformat(timespec="milliseconds") if payload.at_text is None else payload.at_text
    return msgspec.json.encode((list(payload.frm_payload), payload.f_port, payload.at.timestamp() * 1000, at_text))
