"""Signs webhooks in the form of Standard Webhooks 1.0.0, so that any of its libraries verifies them.

Pure: a secret, an id, a time and bytes in, headers out.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING

from receiver.errors import IdentifierError
from receiver.services.tunnel_keys import SecretText

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

PREFIX = "whsec_"
"""Of a signing secret as it is shown; base64 follows. Source: Standard Webhooks, Signature scheme."""

LEAST_BYTES, MOST_BYTES = 24, 64
"""Of a signing secret; the specification says 192 to 512 bits."""

NEW_BYTES = 32
"""Of one made here: as many as HMAC-SHA256 gives out."""


def write_signing_secret(key: bytes) -> SecretText:
    """Give the secret of these bytes as receivers are given it."""
    return SecretText(PREFIX + base64.b64encode(key).decode("ascii"))


def parse_signing_secret(text: str) -> SecretText:
    """Give the secret in `text`: `whsec_` and base64, or the base64 alone.

    Raises:
        IdentifierError: it is not of that form. The message never holds it.
    """
    try:
        key = base64.b64decode(text.strip().removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise IdentifierError(f"A signing secret must be {PREFIX} and base64; this is not base64.") from exc
    if not LEAST_BYTES <= len(key) <= MOST_BYTES:
        raise IdentifierError(
            f"A signing secret must be {LEAST_BYTES} to {MOST_BYTES} bytes, written as {PREFIX} and base64; this one"
            f" has {len(key)}. Leave it out, and a good one is made."
        )
    return write_signing_secret(key)


def sign_webhook(secrets: Sequence[SecretText], message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Give the headers that prove `body`, sent `at`: with one signature for each secret, in their order.

    `message_id` stays the same for each try and has no full stop in it, so that nothing can move from one part of what
    is signed to the next. Source: Standard Webhooks, Signature scheme and Webhook headers.
    """
    timestamp = str(int(at.timestamp()))
    signed = b".".join((message_id.encode("ascii"), timestamp.encode("ascii"), body))
    signatures = (
        hmac.digest(base64.b64decode(secret.reveal().removeprefix(PREFIX)), signed, hashlib.sha256)
        for secret in secrets
    )
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{base64.b64encode(each).decode('ascii')}" for each in signatures),
    }
