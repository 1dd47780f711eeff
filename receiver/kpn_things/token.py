"""The token of a push of KPN Things: which shared secret it was made with. Pure.

`Things-Message-Token` is the SHA-256 over the body, byte for byte, followed by the destination's shared secret, as 64
lower-case hex digits. There is no time and no nonce in it, so the same push may come again at any time.
Source: docs.kpnthings.com, Destinations, HTTPS: message token and shared secret.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from receiver.errors import PushRejected, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

TOKEN_HEADER = b"things-message-token"
PLUG_HEADER = b"things-plug-uuid"
"""Of the destination that pushes. It is not signed: it only tells which secret to try."""

_TOKEN = re.compile(rb"[0-9a-fA-F]{64}\Z")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")

_DECOY = b"a secret that no connection has"
"""Hashed where there is none, so that an unknown connection takes as long as a known one."""


@dataclass(frozen=True, slots=True)
class ThingsSecret:
    """A shared secret that pushes may be signed with. `plug_uuid`: the destination that it is of, where known."""

    row_id: int
    plug_uuid: str | None
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ThingsHeaders:
    """What the headers of a push say: its token, in lower case, and the destination's UUID; None: not there."""

    token: str | None = field(repr=False)
    plug_uuid: str | None
    is_one_token: bool = True
    """Whether what stood there was one header of 64 hex digits, if any."""


def sign_body(body: bytes, secret: bytes) -> str:
    """Give the token of a push: 64 lower-case hex digits."""
    digest = hashlib.sha256(body)
    digest.update(secret)
    return digest.hexdigest()


def is_things_push(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Say whether a push comes as KPN Things sends them, whatever it is signed with. Names are in lower case."""
    return any(name == TOKEN_HEADER for name, _ in headers)


def read_things_headers(headers: Sequence[tuple[bytes, bytes]]) -> ThingsHeaders:
    """Give token and destination of a push, whose header names are in lower case."""
    tokens = [value.strip() for name, value in headers if name == TOKEN_HEADER]
    plug = next((value.strip() for name, value in headers if name == PLUG_HEADER), None)
    plug_uuid = None if plug is None else plug.decode("latin-1").lower()
    if plug_uuid is not None and not _UUID.match(plug_uuid):
        plug_uuid = None
    if len(tokens) == 1 and _TOKEN.match(tokens[0]):
        return ThingsHeaders(tokens[0].decode("ascii").lower(), plug_uuid)
    return ThingsHeaders(None, plug_uuid, is_one_token=not tokens)


def verify_message_token(headers: ThingsHeaders, body: bytes, secrets: Sequence[ThingsSecret]) -> ThingsSecret:
    """Give the secret that the push was signed with.

    Where the destination is known, its own secrets are tried and those that are of no destination; else every one.
    All that are tried are hashed and compared in constant time, whichever fits.

    Raises:
        PushRejected: `TOKEN_MISMATCH`; the sentence says whether the token is missing, is none, or fits no secret.
    """
    tried = candidates(headers.plug_uuid, secrets)
    token = headers.token or ""
    fitting: ThingsSecret | None = None
    content = hashlib.sha256(body)  # hashed once, however many secrets there are
    for secret in reversed(tried):  # the newest is the first, and so the last to be taken here
        digest = content.copy()
        digest.update(secret.secret)
        if hmac.compare_digest(digest.hexdigest(), token):
            fitting = secret
    if not tried:
        content.update(_DECOY)
    if fitting is not None:
        return fitting
    if headers.token is None:
        what = (
            "The push has no header Things-Message-Token."
            if headers.is_one_token
            else "Things-Message-Token is not one value of 64 hexadecimal digits."
        )
        raise PushRejected(Reason.TOKEN_MISMATCH, what)
    of = "" if headers.plug_uuid is None else f" by the destination {headers.plug_uuid}"
    raise PushRejected(
        Reason.TOKEN_MISMATCH,
        f"The Things-Message-Token of the push{of} was made with none of the {len(tried)} shared secrets that it may"
        " be made with.",
    )


def candidates(plug_uuid: str | None, secrets: Sequence[ThingsSecret]) -> list[ThingsSecret]:
    """Give the secrets that a push of this destination may be signed with."""
    if plug_uuid is None or all(secret.plug_uuid != plug_uuid for secret in secrets):
        return list(secrets)
    return [secret for secret in secrets if secret.plug_uuid in {None, plug_uuid}]


def parse_plug_uuid(text: str) -> str | None:
    """Give a UUID in lower case; None: it is none."""
    uuid = text.strip().lower()
    return uuid if _UUID.match(uuid) else None
