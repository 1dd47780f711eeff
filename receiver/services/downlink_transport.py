"""How a downlink leaves: one request, one answer, and what is kept of both, whichever way its connection has.

A transport knows how to ask: how to sign or to log in, and how its network's answers read. It knows nothing of the
ledger: when to send, what to do with the answer and what to write down is the dispatcher's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from receiver.lorawan.identifiers import DevEui
    from receiver.thingpark.downlink_answers import DownlinkAnswer

MOST_REQUESTS = 3
"""That one `send` makes, a log-in or another key included: the lease of a downlink covers so many deadlines."""


NOT_REPORTED = "not-reported"
"""The cause of an accepted downlink of whose transmission its network never reports: it stays accepted."""


class DownlinkToSend(NamedTuple):
    """A downlink as it goes over the air: asked for again, it is this again, byte for byte.

    `payload` is encrypted where `f_cnt_down` is given, and in clear otherwise, for the network to encrypt; None: only
    the network's queue of the device is emptied. `correlation_id` has 16 upper-case hex digits and comes back in
    reports. After `expires_at` the network must not transmit it any more.
    """

    id: int
    dev_eui: DevEui
    f_port: int | None
    payload: bytes | None
    f_cnt_down: int | None
    confirmed: bool
    flush: bool
    expires_at: datetime | None
    correlation_id: str
    is_lorawan_1_1: bool = False

    def __repr__(self) -> str:
        return f"DownlinkToSend({self.id}, {self.dev_eui}, f_port={self.f_port})"


class DownlinkOutcome(NamedTuple):
    """What came of asking. `request` and `told` are kept for people: no key, token or password is in them.

    `request` is the exact text of the last request, None if none was made. `told` is the answer's status and the
    beginning of its text, None if none came. `retry_after_s` is the pause that the network asked for.
    """

    answer: DownlinkAnswer
    request: str | None
    told: str | None = None
    retry_after_s: float | None = None

    def __repr__(self) -> str:
        return f"DownlinkOutcome({self.answer.verdict}, {self.answer.cause})"


class DownlinkTransport(Protocol):
    """Sends the downlinks of one connection. Any thread may use it, several at a time."""

    def send(self, downlink: DownlinkToSend, now: datetime) -> DownlinkOutcome:
        """Ask the network to take it; give the answer, read. Blocks, with at most `MOST_REQUESTS` requests.

        It raises nothing for what a network, or the lack of it, can do. Whatever happens becomes a verdict:

        - `AWAY`: no request got there (refused, no name, no route, TLS not verified, log-in not answered);
        - `UNKNOWN`: a request was written and no answer read, or one that leaves open whether it was taken;
        - `HOLD`: nothing of this connection will be taken before a person mends something;
        - the others as the answer says.
        """
        ...
