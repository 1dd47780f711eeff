"""The process in which the JavaScript of codecs runs, and nothing else: a program that `engine` starts.

It has no environment, can open no file, and bounds of memory and time. It answers each call as soon as it
has ended, so that who waits knows which one does not end.

What it is told, a header line and as many bytes as that names:

    forget <number>
    load <number> <signature> <bytes>, and the script: answered by one line
    call <number> <operation> <"console" or "quiet"> <bytes>, and one line of JSON for each call: one line each

Every answer is one line of JSON. It ends by itself where what it is told ends, after a call that used up its memory,
and STUCK_S after the beginning of a call that does not end, even if who started it is gone.

It is run by its path (`python -I -S engine_process.py <directory of _quickjs> <bytes that a result may have>`), so
that it starts in a hundredth of a second: it imports nothing of this package, and little else.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` itself takes longer to import than all the rest
import os
import resource
import sys

sys.path.append(sys.argv[1])
import _quickjs  # type: ignore[import-not-found,import-untyped,unused-ignore]

STUCK_S = 2.0
"""Longer than who waits for an answer has patience, so that this only counts where nobody waits any more."""

CPU_S = 0.6
"""For one call: the first defence, below the time that is waited. QuickJS looks at it between its instructions."""

CONTEXT_BYTES = 64 << 20
"""For one codec: what JavaScript may hold. A large driver with its tables takes a few MiB."""

PROCESS_BYTES = 1 << 30
"""For all together, of address space."""

RESIDENT_BYTES = 512 << 20
"""Holding more than this after a batch, it ends; a new one begins with little."""

STACK_BYTES = 1 << 20
"""For JavaScript; the stack of a thread has 8 MiB."""

JOBS = 1_000
"""Steps of promises after a call; one `await` takes one to three."""

FIRST_OWN_LINE = 100_000
"""The line at which our own JavaScript begins, for QuickJS gives the same name to all that it evaluates."""

OUT_OF_MEMORY = '{"errors":["InternalError: out of memory"]}'
UNTOLD = '{"errors":["The codec gave what cannot be told"]}'


class _Context:
    """A codec's own JavaScript world."""

    def __init__(self, prelude: str, signature: str, script: str) -> None:
        self.signature = signature
        self.script = script
        self._context = _quickjs.Context()
        self._context.set_max_stack_size(STACK_BYTES)
        self._context.set_memory_limit(CONTEXT_BYTES)
        self._ask = self._context.eval(prelude)
        self._context.set_time_limit(CPU_S)

    def load(self, largest: str) -> str:
        how = f'{{"signature":"{self.signature}","largest":{largest},"firstOwnLine":{FIRST_OWN_LINE}}}'
        return self.ask("load", self.script, how)[0]

    def ask(self, verb: str, text: str, how: str) -> tuple[str, bool]:
        """Give the answer, and whether this context can be trusted with another call."""
        _signal.setitimer(_signal.ITIMER_REAL, STUCK_S)
        try:
            answer = self._ask(verb, text, how)
            ended = self._run_jobs()
            if answer is None:
                answer = self._ask("settle")
        except (_quickjs.JSException, TypeError) as error:  # the second: of a value that Python cannot take
            return _tell(str(error)), False
        except MemoryError:
            return "!" + OUT_OF_MEMORY, False
        if type(answer) is not str or "\n" in answer:
            return UNTOLD, False
        if answer.startswith("?"):
            return answer[1:], False
        return answer, ended

    def _run_jobs(self) -> bool:
        return any(not self._context.execute_pending_job() for _ in range(JOBS))


def _tell(message: str) -> str:
    """Give the answer for what JavaScript could not catch itself."""
    if "interrupted" in message:
        return f'{{"errors":["It did not end within {CPU_S:g} s."]}}'
    if "out of memory" in message:
        return "!" + OUT_OF_MEMORY
    return '{"errors":["It ended in an error that cannot be told"]}'


class _Codecs:
    """The contexts, by the number that who asks has given to a codec."""

    def __init__(self, prelude: str, largest: str) -> None:
        self._prelude = prelude
        self._largest = largest
        self._contexts: dict[str, _Context] = {}
        self._distrusted: dict[str, tuple[str, str]] = {}

    def forget(self, number: str) -> None:
        self._contexts.pop(number, None)
        self._distrusted.pop(number, None)

    def load(self, number: str, signature: str, script: str) -> None:
        _answer(self._load(number, signature, script))

    def call(self, number: str, operation: str, how: str, text: str) -> None:
        if number in self._distrusted:
            self._load(number, *self._distrusted.pop(number))
        context = self._contexts[number]
        answer, trusted = context.ask(operation, text, how)
        if not trusted:
            del self._contexts[number]
            self._distrusted[number] = context.signature, context.script
        _answer(answer)

    def _load(self, number: str, signature: str, script: str) -> str:
        try:
            context = _Context(self._prelude, signature, script)
            answer = context.load(self._largest)
        except (_quickjs.JSException, MemoryError):  # of our own JavaScript: there was no memory for it
            return "!" + OUT_OF_MEMORY
        if '"operations"' in answer[:14]:
            self._contexts[number] = context
        return answer


def _answer(text: str) -> None:
    """Write one line; end if it tells that memory has ended, which is given back best by ending."""
    left = memoryview(text.removeprefix("!").encode("utf-8", "replace") + b"\n")
    while left:
        left = left[os.write(1, left) :]
    if text.startswith("!"):
        os._exit(0)


def _bound_this_process() -> None:
    _signal.signal(_signal.SIGALRM, _signal.SIG_DFL)  # who started it may have ignored or blocked it
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, (_signal.SIGALRM,))
    resource.setrlimit(resource.RLIMIT_AS, (PROCESS_BYTES, PROCESS_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def _resident_bytes(statm: int | None) -> int:
    """Give the memory of this process, from the second number of Linux's `statm`; 0 where there is none."""
    return 0 if statm is None else int(os.pread(statm, 100, 0).split()[1]) * resource.getpagesize()


def _main() -> None:
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib takes a hundredth of a second
    prelude = "\n" * FIRST_OWN_LINE + "(() => {"
    for name in ("text", "buffer", "results", "functions", "calls"):
        with open(f"{here}/scripts/{name}.js", encoding="utf-8") as file:  # noqa: PTH123 - as above
            prelude += file.read()
    codecs = _Codecs(prelude + "})()", sys.argv[2])
    statm = os.open("/proc/self/statm", os.O_RDONLY) if os.path.exists("/proc/self/statm") else None  # noqa: PTH110
    _bound_this_process()
    told = open(0, "rb")  # noqa: SIM115 - the pipe, until the end
    _answer('{"ready":true}')
    while header := told.readline():
        verb, number, *rest = header.decode().split()
        text = told.read(int(rest[-1])).decode("utf-8", "surrogatepass") if rest else ""
        if verb == "forget":
            codecs.forget(number)
        elif verb == "load":
            codecs.load(number, rest[0], text)
        else:
            for line in text.split("\n"):
                codecs.call(number, rest[0], rest[1], line)
        _signal.setitimer(_signal.ITIMER_REAL, 0)
        if _resident_bytes(statm) > RESIDENT_BYTES:
            break


if __name__ == "__main__":
    _main()
