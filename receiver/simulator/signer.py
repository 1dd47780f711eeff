"""The network's way of signing: each body becomes a delivery with its own LrnInfos, Time and Token."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from receiver.simulator.push import Fault, Push, QueryValues, TimeEncoding, WireOrder, sign

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from random import Random

    from receiver.simulator.report_bodies import Letterhead

LOCATION = "DevEUI_location"

FORGERIES = (Fault.WRONG_TOKEN, Fault.WRONG_KEY, Fault.WRONG_AS_ID)
"""The faults that make a push one which nobody who has the key has sent."""


@dataclass(slots=True)
class Signer:
    """Signs with one key for one AS_ID, and counts its deliveries in LrnInfos.

    `order` and `encoding` None: drawn for each push, as they differ between networks. `skew` is added to
    the query's Time; beyond `max_deviation` either way a push should be refused.
    """

    key: str
    as_id: str
    letterhead: Letterhead
    random: Random
    order: WireOrder | None
    encoding: TimeEncoding | None
    skew: timedelta
    max_deviation: timedelta
    deliveries: int = 0

    def __repr__(self) -> str:
        return f"Signer(as_id={self.as_id!r}, deliveries={self.deliveries}, key=…)"

    def deliver(self, push: Push) -> Push:
        """Give `push` as a new delivery, signed: its `sent_at` (before the skew), body and kind are taken."""
        self.deliveries += 1
        return self._signed(
            replace(
                push,
                number=self.deliveries,
                sent_at=push.sent_at + self.skew,
                should_be_accepted=abs(self.skew) <= self.max_deviation,
            ),
            self.key,
            self.as_id,
        )

    def again_in_a_new_delivery(self, push: Push, sent_at: datetime) -> Push:
        """Give the same frame as another delivery of it: same body; LrnInfos, Time and Token are new."""
        return self.deliver(replace(push, sent_at=sent_at, fault=Fault.SAME_FRAME))

    def forge(self, push: Push, fault: Fault) -> Push:
        """Give `push` as somebody without the key would send it. The body is the same.

        Raises:
            ValueError: the fault is none of `FORGERIES`.
        """
        forged = replace(push, fault=fault, should_be_accepted=False)
        match fault:
            case Fault.WRONG_TOKEN:
                return self._with_token(forged, self.as_id, self.random.randbytes(32).hex())
            case Fault.WRONG_KEY:
                return self._signed(forged, self.random.randbytes(16).hex(), self.as_id)
            case Fault.WRONG_AS_ID:
                return self._signed(forged, self.key, f"{self.as_id}-of-another")
            case _:
                raise ValueError(f"{fault.name} is no forgery; {', '.join(f.name for f in FORGERIES)} are.")

    def skewed(self, push: Push, skew: timedelta) -> Push:
        """Give `push` signed, validly, by a clock that is `skew` ahead (or behind, if negative)."""
        shifted = replace(
            push,
            sent_at=push.sent_at + skew,
            fault=Fault.CLOCK_SKEW,
            should_be_accepted=push.should_be_accepted and abs(skew) <= self.max_deviation,
        )
        return self._signed(shifted, self.key, self.as_id)

    def _values(self, push: Push, as_id: str) -> QueryValues:
        return QueryValues(
            lrn_dev_eui=push.dev_eui.lower() if push.kind == LOCATION else push.dev_eui,
            lrn_f_port=str(push.f_port or 0),
            lrn_infos=f"TWA_{self.letterhead.customer_id}.1.AS-1-{push.number}",
            as_id=as_id,
            time=self.letterhead.time(push.sent_at),
        )

    def _signed(self, push: Push, key: str, as_id: str) -> Push:
        return self._with_token(push, as_id, sign(push.body, self._values(push, as_id), key))

    def _with_token(self, push: Push, as_id: str, token: str) -> Push:
        order = self.order or self.random.choice(list(WireOrder))
        encoding = self.encoding or self.random.choice(list(TimeEncoding))
        return replace(push, query=self._values(push, as_id).write(token, order, encoding))
