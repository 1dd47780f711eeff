"""What made the token of a refused push of KPN Things: which secret, over which body. No secret or token is told."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING

from receiver.kpn_things.token import read_things_headers
from receiver.services.findings import Finding
from receiver.services.things_secrets import PLATFORM

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from receiver.services.judging import KnownConnection, KnownKey
    from receiver.storage.rejections import RejectionView

MOST_SECRETS = 200
"""That are tried, those of the connection first: each is hashed a dozen times, over no more than a body."""

_UNEXPLAINED = (
    "The token was made with none of the {secrets} shared secrets known here, live, retired and of other connections,"
    " neither over this body nor over it with other white space, nor over none. So its secret is not known here, or the"
    " body was changed on its way: the token is over its very bytes, and what reads JSON and writes it anew turns 3.0"
    " into 3 and 1.76E9 into 1760000000."
)
_BOUNDED = " There are so many secrets that not all were tried."

_OUTSIDE_STRINGS = re.compile(rb'("(?:[^"\\]|\\.)*")|[ \t\r\n]+', re.DOTALL)


def find_secret(
    view: RejectionView,
    headers: Sequence[tuple[bytes, bytes]],
    body: bytes,
    assumed: KnownConnection | None,
    known: Mapping[str, KnownConnection],
) -> tuple[list[Finding], str | None]:
    """Give what would make the push right, or a note on why that is not known. Headers have names in lower case."""
    given = read_things_headers(headers)
    if given.token is None:
        return _without_token(is_there=not given.is_one_token)
    owners = sorted((one for one in known.values() if one.row.platform == PLATFORM), key=lambda one: one is not assumed)
    keys = [(owner, key) for owner in owners for key in owner.keys]
    tried = keys[:MOST_SECRETS]
    for code, told, advice, changed in _bodies(body):
        hashed = hashlib.sha256(changed)
        for owner, key in tried:
            for secret_code, secret_told, secret in _spellings(key):
                digest = hashed.copy()
                digest.update(secret)
                if hmac.compare_digest(digest.hexdigest(), given.token):
                    return [
                        _made_with(view, owner, key, assumed, (code, told, advice), (secret_code, secret_told))
                    ], None
    note = _UNEXPLAINED.format(secrets=len(tried))
    return [], note if len(tried) == len(keys) else note + _BOUNDED


def _bodies(body: bytes) -> Iterator[tuple[str, str, str, bytes]]:
    """Give the body as it came, and as it may have been before something changed it; with what that was."""
    yield "", "", "", body
    advice = (
        "Whatever stands between KPN Things and this receiver must pass bodies on byte for byte: switch off what"
        " formats or filters JSON there."
    )
    seen = {body}
    compact = _OUTSIDE_STRINGS.sub(rb"\1", body)
    for changed in (body.rstrip(), body + b"\n", body + b"\r\n", compact, compact + b"\n"):
        if changed not in seen:
            seen.add(changed)
            yield "body-white-space", "The body came with other white space than it was signed with.", advice, changed
    if body:
        yield "body-not-signed", "It was signed without a body, so that this one came from elsewhere.", advice, b""


def _spellings(key: KnownKey) -> Iterator[tuple[str, str, bytes]]:
    secret = key.text.reveal()
    yield "", "", secret.encode()
    told = "KPN Things has that secret with white space around it, which was pasted there."
    for spelling in (f"{secret} ", f"{secret}\n", f"{secret}\r\n", f" {secret}"):
        yield "secret-white-space", told, spelling.encode()


def _made_with(
    view: RejectionView,
    owner: KnownConnection,
    key: KnownKey,
    assumed: KnownConnection | None,
    body: tuple[str, str, str],
    spelling: tuple[str, str],
) -> Finding:
    name = owner.row.name
    codes, sentences, advice = [], [f"The token was made with {key.key_id} of {name}."], []
    if owner is not assumed:
        codes.append("other-connection-key" if assumed is not None else "other-connection-url")
        sentences[0] = f"The token was made with {key.key_id} of {name}, so the push was meant for that connection."
        advice.append(
            f"Correct the URL of the destination at KPN Things to end with /push/{name}. `receiver rejections replay"
            f" {view.id} --as {name}` judges this push as one to it."
        )
    if key.retired_at is not None:
        codes.append("retired-key")
        sentences.append(f"That secret was retired on {key.retired_at:%Y-%m-%d}.")
        advice.append(
            f"Give the destination a live secret of {name}, or add the old one again with `receiver connection"
            f" add-secret {name}`. `receiver rejections replay {view.id} --with-retired-keys` takes what was signed"
            " with it."
        )
    if body[0]:
        codes.append(body[0])
        sentences.append(body[1])
        advice.append(body[2])
    if spelling[0]:
        codes.append(spelling[0])
        sentences.append(spelling[1])
        advice.append("Enter the secret at KPN Things again, without a space or line break after it.")
    if not advice:
        advice.append(f"The token is right: `receiver rejections replay {view.id}` stores the push.")
    return Finding(tuple(codes), " ".join(sentences), " ".join(advice), connection=name, key_id=key.key_id)


def _without_token(*, is_there: bool) -> tuple[list[Finding], str | None]:
    if is_there:
        return [], "Things-Message-Token is not of 64 hexadecimal digits, or came twice: it was changed on its way."
    finding = Finding(
        ("authentication-off",),
        "The push has no Things-Message-Token: the destination at KPN Things has no shared secret, or something else"
        " pushes here, or a proxy took the header away.",
        "Enter a shared secret at the destination: `receiver connection add-secret` makes one.",
    )
    return [finding], None
