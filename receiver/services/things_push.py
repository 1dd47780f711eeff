"""The push moment of KPN Things: a body, a token over it, and nothing else that has to be in order.

There is no query, no time and no nonce: a push that comes again is a further delivery of the first. What is signed is
kept, whatever it says: whether it can be understood is for the reading moment.
Source: docs.kpnthings.com, Destinations, HTTPS.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from receiver.errors import PushRejected, Reason
from receiver.kpn_things.token import (
    PLUG_HEADER,
    TOKEN_HEADER,
    is_things_push,
    read_things_headers,
    sign_body,
    verify_message_token,
)
from receiver.storage.reports import NewReport

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from receiver.kpn_things.token import ThingsSecret

THINGS_KIND = "SenML"
"""The kind of a report of KPN Things: no report of ThingPark has this name."""

THINGS_CONTENT = "senml"

PROOF_HEADERS = frozenset({TOKEN_HEADER, PLUG_HEADER})
"""What a push is judged by: kept with a rejection before all other headers."""

MOST_QUERY = 1024
"""Characters of a query that are kept with a report: a destination's URL may have one, which nobody signs."""

_BASE_TIME = re.compile(rb'"bt"\s*:\s*([0-9]{1,12}(?:\.[0-9]{1,12})?(?:[eE]\+?[0-9]{1,2})?)')
_BASE_TIME_WITHIN = 200
"""Bytes: the base time stands in the first record, after the base name."""

_DECOY = b"a secret that no connection has"


def verify_things_push(
    connection_id: int,
    secrets: Sequence[ThingsSecret],
    raw_query: bytes,
    raw_body: bytes,
    received_at: datetime,
    headers: Sequence[tuple[bytes, bytes]],
) -> NewReport:
    """Judge a push by its token and give what to store. Names of headers are in lower case.

    Raises:
        PushRejected: `TOKEN_MISMATCH`; nothing else, for any bytes at all.
    """
    if not headers:  # the short way of a push does not bring them; no request comes without any
        raise PushRejected(Reason.TOKEN_MISMATCH, "The push has no header Things-Message-Token.")
    secret = verify_message_token(read_things_headers(headers), raw_body, secrets)
    return NewReport(
        connection_id=connection_id,
        tunnel_key_id=secret.row_id,
        kind=THINGS_KIND,
        content_type=THINGS_CONTENT,
        dev_eui=None,  # the reading moment says
        received_at=received_at,
        sent_at=received_at,
        delivery_id=_delivery_id(connection_id, raw_body),
        frame_id=None,
        query=raw_query[:MOST_QUERY].decode("latin-1").replace("\0", ""),
        body=raw_body,
    )


def true_refusal(
    rejection: PushRejected,
    name: str,
    raw_body: bytes,
    headers: Sequence[tuple[bytes, bytes]],
    *,
    is_known: bool,
) -> PushRejected:
    """Give why a push was refused that was judged as one of ThingPark, and may be one of KPN Things.

    Its missing query would be answered 400, which says nothing of what is wrong: that nobody knows the connection, or
    that it is one of ThingPark. Both look like every other push that is not accepted.
    """
    if rejection.reason.status == 401 or not is_things_push(headers):
        return rejection
    sign_body(raw_body, _DECOY)  # so that it takes as long as for a connection of KPN Things
    if not is_known:
        return PushRejected(Reason.UNKNOWN_CONNECTION, f"There is no connection {name[:64]!r}.")
    return PushRejected(
        Reason.TOKEN_MISMATCH,
        f"It is signed as KPN Things signs, with a Things-Message-Token; connection {name[:64]!r} is one of ThingPark.",
    )


def _delivery_id(connection_id: int, raw_body: bytes) -> bytes:
    """Identify the push by its body: the base time in ms, 6 bytes, then 10 of a digest, as the ids of others have it.

    Ids of about one time so stand side by side in their index; all copies have the same base time.
    """
    digest = hashlib.sha256(b"%d:" % connection_id)
    digest.update(raw_body)
    found = _BASE_TIME.search(raw_body, 0, _BASE_TIME_WITHIN)
    milliseconds = int(float(found[1]) * 1000) if found is not None else 0
    return (milliseconds & 0xFFFFFFFFFFFF).to_bytes(6, "big") + digest.digest()[:10]
