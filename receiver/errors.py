"""The exception tree. Each class has a `code` and says whether trying again can help.

    ReceiverError
    ├── SettingsError             a setting is missing or wrong; names every bad one
    ├── IdentifierError           a DevEUI, DevAddr, counter or key is not of its form
    ├── PushRejected              a push that was not taken; carries the answer's status and the true reason
    ├── ReportUnreadableError     an authentic report whose body cannot be understood
    ├── KeyringError              a sealed secret does not open
    ├── AsTransportKeyError       the AS transport key cannot be unwrapped, or would be overwritten
    ├── NotFoundError             no such connection, key, device …
    ├── ConflictError             it exists already, or another state forbids this
    ├── SenmlError                bytes that are no SenML pack
    ├── CodecSourceError          a codec cannot be read from where it lies
    ├── CodecScriptError          a codec's script does not load
    ├── CodecEngineUnavailableError   JavaScript cannot be run here; trying again can help
    ├── ExportError               there is nothing to export, or it cannot be written
    ├── LoginRefusedError         another server does not let this receiver in
    ├── PlatformRefusedError      a management API does not do what it was asked
    ├── NoAnswerError             another server was not reached, or gave no answer; trying again can help
    ├── SchemaError               the database's schema is not the one this version works with
    └── StorageUnavailableError   the database did not take it; trying again can help

Every message is a sentence for the person who reads it: what was wrong, with which value, what to do.
No message ever holds a key, a token or a clear payload.
"""

from __future__ import annotations

from enum import StrEnum


class ReceiverError(Exception):
    """Anything this project raises on purpose."""

    code = "receiver-error"
    retry_can_help = False


class SettingsError(ReceiverError):
    """A setting is missing or wrong."""

    code = "settings"


class IdentifierError(ReceiverError, ValueError):
    """A value is not a DevEUI, DevAddr, frame counter, key … of the form LoRaWAN gives it."""

    code = "identifier"


class Reason(StrEnum):
    """Why a push was not taken. The value is what `rejections.reason` holds."""

    UNKNOWN_CONNECTION = "unknown-connection"
    TOKEN_MISMATCH = "token-mismatch"  # noqa: S105 - a name
    AS_ID_MISMATCH = "as-id-mismatch"
    QUERY_BODY_MISMATCH = "query-body-mismatch"
    TIME_OUT_OF_WINDOW = "time-out-of-window"
    MALFORMED_QUERY = "malformed-query"
    MALFORMED_BODY = "malformed-body"
    EMPTY_BODY = "empty-body"
    TOO_LARGE = "too-large"
    BODY_INCOMPLETE = "body-incomplete"
    HEAD_INCOMPLETE = "head-incomplete"

    @property
    def status(self) -> int:
        """The HTTP status of the answer: 401 for the five that must look alike, else 400, 408 or 413."""
        if self in _UNAUTHENTIC:
            return 401
        return {Reason.TOO_LARGE: 413, Reason.HEAD_INCOMPLETE: 408}.get(self, 400)


_UNAUTHENTIC = frozenset(
    {
        Reason.UNKNOWN_CONNECTION,
        Reason.TOKEN_MISMATCH,
        Reason.AS_ID_MISMATCH,
        Reason.QUERY_BODY_MISMATCH,
        Reason.TIME_OUT_OF_WINDOW,
    }
)


class PushRejected(ReceiverError):  # noqa: N818 - it is a verdict, not a failure
    """A push that was not taken.

    `reason` is one of the closed set above; `detail` is a sentence with the numbers, kept with the
    rejection and never part of a 401 answer.
    """

    code = "push-rejected"

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class ReportUnreadableError(ReceiverError):
    """An authentic report that cannot be read; it stays stored and is flagged with this sentence."""

    code = "report-unreadable"


class KeyringError(ReceiverError):
    """A sealed secret does not open with the key-encryption key of this process."""

    code = "keyring"


class AsTransportKeyError(ReceiverError):
    """The AS transport key could not be unwrapped, or an existing one would be overwritten."""

    code = "as-transport-key"


class NotFoundError(ReceiverError):
    """The named thing does not exist."""

    code = "not-found"


class ConflictError(ReceiverError):
    """The named thing exists already, or its state forbids what was asked."""

    code = "conflict"


class SenmlError(ReceiverError):
    """The bytes are no SenML pack. The message names the record, counted from 1, and the label."""

    code = "senml"


class CodecSourceError(ReceiverError):
    """A codec could not be read from where it lies; the message says which file, and what to do."""

    code = "codec-source"


class CodecScriptError(ReceiverError):
    """A codec's script does not load; the sentence has JavaScript's message and the line."""

    code = "codec-script"


class CodecEngineUnavailableError(ReceiverError):
    """The process that runs JavaScript cannot be started; trying again can help."""

    code = "codec-engine-unavailable"
    retry_can_help = True


class ExportError(ReceiverError):
    """There is nothing to export, or what was exported cannot be written; nothing is left of it."""

    code = "export"


class LoginRefusedError(ReceiverError):
    """Another server does not let this receiver in: an account's key or address is to be mended."""

    code = "login-refused"


class PlatformRefusedError(ReceiverError):
    """A management API does not do what it was asked; the sentence has its words and what can be done.

    `status` is that of HTTP, `oss_code` the platform's own number, `error_id` its name for the error, `said` its words.
    """

    code = "platform-refused"

    def __init__(
        self, sentence: str, *, status: int, oss_code: int | None = None, error_id: str | None = None, said: str = ""
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.oss_code = oss_code
        self.error_id = error_id
        self.said = said


class NoAnswerError(ReceiverError):
    """Another server was not reached, or gave no answer. `was_sent`: it may have taken what it was asked."""

    code = "no-answer"
    retry_can_help = True

    def __init__(self, sentence: str, *, was_sent: bool) -> None:
        super().__init__(sentence)
        self.was_sent = was_sent


class UnreachedError(NoAnswerError):
    """No connection to the other server came about, so it was asked nothing."""


class GivenUpError(NoAnswerError):
    """The request was given up here, as what sends it was being stopped: it says nothing of the other server."""


class SchemaError(ReceiverError):
    """The database's schema is unknown, older or newer than this version works with."""

    code = "schema"


class StorageUnavailableError(ReceiverError):
    """The database did not take it. Nothing was stored; trying again can help."""

    code = "storage-unavailable"
    retry_can_help = True
