"""Structured logs on standard error, with every key, token and payload taken out before anything is written.

Loggers of other libraries go the same way, within bounds. Who calls no `configure` (a short command) sees warnings
only.
"""

from __future__ import annotations

import logging
import re
import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Literal, cast

import structlog
from structlog.processors import JSONRenderer, TimeStamper, format_exc_info
from structlog.stdlib import BoundLogger, ProcessorFormatter

from receiver.log_limit import LogLimit

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from structlog.typing import EventDict, Processor

REDACTED = "[redacted]"

FOREIGN_LINES_PER_S = 10
"""Of one other library at one level: enough to see what goes on, at most a few hundred megabytes a day."""

_OWN = __name__.partition(".")[0]

_SECRET_NAME = re.compile(r"key|token|secret|password|passphrase|authorization|payload|query", re.IGNORECASE)
# What has such a word in its name and tells nothing: which key it was, not the key.
_HARMLESS_NAMES = frozenset(
    {
        "as_transport_key_id",
        "kek_id",
        "key_check_value",
        "key_id",
        "payload_size_bytes",
        "payload_state",
        "payloads",
        "tunnel_key_id",
    }
)
# A push's token, a bearer key or a password may stand inside another library's sentence. What follows the
# second colon of a URL is a password only if an @ comes after it; else it is a port.
_SECRET_TEXT = re.compile(r"(\btoken=|\bbearer\s+|://[^\s/:@]*:(?=[^\s@]*@))[^\s&\"'@]+", re.IGNORECASE)
# Strangers choose what stands in some events; on a terminal these characters act, or turn the line around.
_ACTS_ON_TERMINALS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# The first three tell each request with its URL, and a push's URL holds its token; the others say at each start
# what the receiver says itself.
_TALKATIVE = ("httpcore", "httpx", "uvicorn.access", "uvicorn.error", "alembic.runtime.migration")


def get_logger(name: str) -> BoundLogger:
    """Give the logger `name` (of the module): `log.info("what-happened", dev_eui=…)`."""
    logger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[structlog.stdlib.filter_by_level, *_PREPARE, ProcessorFormatter.wrap_for_formatter],
        wrapper_class=BoundLogger,
    )
    return cast("BoundLogger", logger)


def configure(level: str, log_format: Literal["console", "json"]) -> None:
    """Write the logs of this process to standard error, from `level` (`debug` … `critical`) on.

    `json` gives one object a line; `console` is for people, coloured where standard error is a terminal.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=_PREPARE,
            processors=[ProcessorFormatter.remove_processors_meta, _renderer(log_format)],
        )
    )
    handler.addFilter(_ForeignLimit())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


def redact(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Replace what may be secret: values under a telling name at any depth, and tokens inside any text.

    Characters that would act on a terminal are escaped.
    """
    return _redact_mapping(event)


def _redact_mapping(values: Mapping[str, Any]) -> MutableMapping[str, Any]:
    return {name: _redact_value(name, value) for name, value in values.items()}


def _redact_value(name: str, value: Any) -> Any:  # noqa: ANN401 - a log takes anything
    if name not in _HARMLESS_NAMES and _SECRET_NAME.search(name):
        return REDACTED
    match value:
        case str():
            shown = _ACTS_ON_TERMINALS.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), value)
            return _SECRET_TEXT.sub(rf"\g<1>{REDACTED}", shown)
        case bytes() | bytearray() | memoryview():
            return f"[{len(value)} bytes]"
        case dict():
            return _redact_mapping({str(key): item for key, item in value.items()})
        case list() | tuple():
            return [_redact_value("", item) for item in value]
        case _:
            return value


def _renderer(log_format: Literal["console", "json"]) -> Processor:
    if log_format == "json":
        return JSONRenderer(ensure_ascii=False)
    # The plain formatter: the other ones print local variables, among them keys.
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)


class _ForeignLimit(logging.Filter):
    """Bounds what other libraries say: a web server says a line for every request that is none."""

    def __init__(self) -> None:
        super().__init__()
        self._limits: defaultdict[tuple[str, int], LogLimit] = defaultdict(lambda: LogLimit(FOREIGN_LINES_PER_S))

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] == _OWN:
            return True
        left_out = self._limits[record.name, record.levelno].admit(int(record.created))
        if left_out:
            record.msg = f"{record.getMessage()} ({left_out} lines of {record.name} were left out before this one)"
            record.args = ()
        return left_out is not None


_PREPARE: list[Processor] = [
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    TimeStamper(fmt="iso", utc=True),
    format_exc_info,
    redact,  # the last one, so that the text of exceptions passes it too
]
