"""Sends events as webhooks in the form of Standard Webhooks: a signed POST each, up to eight at once."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from receiver.errors import GivenUpError, NoAnswerError
from receiver.http_client import HttpAnswer, HttpClient, tls_context
from receiver.services.forward_backoff import parse_retry_after
from receiver.services.forward_signing import sign_webhook
from receiver.services.forward_targets import Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from datetime import datetime

    from receiver.http_client import HttpBounds
    from receiver.services.forward_plan import Delivery
    from receiver.services.tunnel_keys import SecretText

GONE = 410
TOO_MANY = 429
ASKS_FOR_A_PAUSE = frozenset({429, 502, 503, 504})
"""Whose `Retry-After` counts; of others it may be about anything. Source: Standard Webhooks, success and failure."""


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """Where webhooks go, who they are from, and what they are signed with, the newest secret first."""

    url: str
    uid: str
    secrets: tuple[SecretText, ...]
    ca_file: str | None

    def __repr__(self) -> str:
        return f"WebhookSettings({self.uid})"


class WebhookTarget:
    """A receiver of webhooks."""

    def __init__(
        self, settings: WebhookSettings, clock: Callable[[], datetime], bounds: HttpBounds | None = None
    ) -> None:
        """Connect to nothing yet.

        Raises:
            SettingsError: the CA file cannot be used.
        """
        self._settings = settings
        self._clock = clock
        context = tls_context(settings.ca_file)
        self._client = HttpClient(context, bounds)
        self.at_once = bounds.at_once if bounds else 8

    def start(self, delivery: Delivery, done: Callable[[Delivery, Outcome], None]) -> None:
        """Begin to send; the message id of an event is the same at each try."""
        message_id = f"evt_{self._settings.uid}_{delivery.event_id}"

        def settle(future: Future[HttpAnswer]) -> None:
            done(delivery, self._judge(future))

        self._send(message_id, delivery.content.body).add_done_callback(settle)

    def send_test(self, body: bytes) -> Outcome:
        """Send one message, and wait for what becomes of it."""
        future = self._send(f"test_{secrets.token_hex(8)}", body)
        future.exception()
        return self._judge(future)

    def look(self) -> None:
        """Do nothing: each request has its own deadline."""

    def close(self) -> None:
        """Give up what is under way."""
        self._client.close()

    def _send(self, message_id: str, body: bytes) -> Future[HttpAnswer]:
        headers = sign_webhook(self._settings.secrets, message_id, self._clock(), body)
        headers["content-type"] = "application/json"
        return self._client.start("POST", self._settings.url, headers, body)

    def _judge(self, future: Future[HttpAnswer]) -> Outcome:
        error = future.exception()
        if error is not None:
            return judge_fault(error)
        return judge_answer(future.result(), self._clock())


def judge_answer(answer: HttpAnswer, now: datetime) -> Outcome:
    """Say what an answer means.

    Only 2xx is success. Whatever else but 410 may be put right at the other end, so it is tried again, a 400 as a 500.
    Source: Standard Webhooks, Delivery success and failure.
    """
    status = answer.status
    if 200 <= status <= 299:
        return Outcome(Verdict.TAKEN, f"It was answered {status}.")
    if status == GONE:
        return Outcome(Verdict.GONE, "It was answered 410: the receiver wants no more events.")
    asked_s = parse_retry_after(answer.headers.get("retry-after"), now) if status in ASKS_FOR_A_PAUSE else None
    sentence = f"It was answered {status}."
    if 300 <= status <= 399:
        sentence = f"It was answered {status}, a redirect, which is not followed: give the right URL."
    return Outcome(Verdict.AWAY if status == TOO_MANY else Verdict.NOT_TAKEN, sentence, asked_s)


def judge_fault(error: BaseException) -> Outcome:
    """Say what it means that no answer came."""
    if isinstance(error, GivenUpError):
        return Outcome(Verdict.AWAY, "The receiver was stopped before an answer came.")
    if isinstance(error, NoAnswerError):
        return Outcome(Verdict.NOT_TAKEN if error.was_sent else Verdict.AWAY, str(error))
    return Outcome(Verdict.NOT_TAKEN, f"It could not be sent ({type(error).__name__}).")
