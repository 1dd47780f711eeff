"""HTTP Digest: the answer to a server's challenge, which proves a password without sending it.

MD5 and SHA-256, each also in the form `-sess`; `qop` auth, or none as old servers have it. `auth-int`, which hashes
the body too, is not answered.
Source: RFC 7616 sections 3.3, 3.4 and 3.5; RFC 2069 for challenges without `qop`.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from receiver.errors import LoginRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CNONCE_BYTES = 16
"""Of the client's own part, so that a server cannot have hashes made beforehand."""

_PARAMETER = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s,\"]+))")
_SCHEME = re.compile(r"(?:^|,)\s*([A-Za-z][A-Za-z0-9-]*)\s+(?=[A-Za-z][A-Za-z0-9-]*\s*=)")
_STRONGEST_FIRST = ("sha-256-sess", "sha-256", "md5-sess", "md5")


@dataclass(frozen=True, slots=True)
class DigestChallenge:
    """One challenge of `WWW-Authenticate`. `qop`: auth, or empty where the server names none."""

    realm: str
    nonce: str
    algorithm: str
    qop: str
    opaque: str | None
    is_stale: bool
    wants_hashed_user: bool


def parse_challenge(header: str) -> DigestChallenge | None:
    """Give the strongest Digest challenge in a `WWW-Authenticate`; None: there is none.

    Raises:
        LoginRefusedError: there are only such as cannot be answered.
    """
    starts = list(_SCHEME.finditer(header))
    found = []
    for number, start in enumerate(starts, 1):
        end = starts[number].start() if number < len(starts) else len(header)
        if start[1].lower() == "digest":
            found.append(_read(header[start.end() : end]))
    if not found:
        return None
    known = [one for one in found if one is not None]
    if not known:
        raise LoginRefusedError("The login asks for a form of HTTP Digest that is not known here (MD5, SHA-256, auth).")
    return min(known, key=lambda one: _STRONGEST_FIRST.index(one.algorithm.lower()))


def answer_challenge(
    challenge: DigestChallenge, method: str, uri: str, login: str, password: str, cnonce: str | None = None
) -> str:
    """Give the header `Authorization` for a first answer to a challenge. `uri`: path and query, as in the request.

    `cnonce` is chance unless it is given.
    """
    cnonce = secrets.token_hex(CNONCE_BYTES) if cnonce is None else cnonce
    hashed = _hash(challenge.algorithm)
    a1 = hashed(f"{login}:{challenge.realm}:{password}")
    if challenge.algorithm.lower().endswith("-sess"):
        a1 = hashed(f"{a1}:{challenge.nonce}:{cnonce}")
    a2 = hashed(f"{method}:{uri}")
    count = "00000001"
    middle = f"{challenge.nonce}:{count}:{cnonce}:{challenge.qop}" if challenge.qop else challenge.nonce
    user = hashed(f"{login}:{challenge.realm}") if challenge.wants_hashed_user else login
    quoted = {
        "username": user,
        "realm": challenge.realm,
        "nonce": challenge.nonce,
        "uri": uri,
        "response": hashed(f"{a1}:{middle}:{a2}"),
    }
    if challenge.opaque is not None:
        quoted["opaque"] = challenge.opaque
    plain = {"algorithm": challenge.algorithm}
    if challenge.qop:
        quoted["cnonce"] = cnonce
        plain |= {"qop": challenge.qop, "nc": count}
    elif challenge.algorithm.lower().endswith("-sess"):
        quoted["cnonce"] = cnonce
    if challenge.wants_hashed_user:
        plain["userhash"] = "true"
    parts = [f'{name}="{_escaped(value)}"' for name, value in quoted.items()]
    return "Digest " + ", ".join([*parts, *(f"{name}={value}" for name, value in plain.items())])


def read_parameters(text: str) -> Mapping[str, str]:
    """Give the parameters of a challenge or an answer, their names in lower case."""
    return {
        found[1].lower(): re.sub(r"\\(.)", r"\1", found[2]) if found[2] is not None else found[3]
        for found in _PARAMETER.finditer(text)
    }


def _read(text: str) -> DigestChallenge | None:
    named = read_parameters(text)
    algorithm = named.get("algorithm", "MD5")
    offered = [one.strip().lower() for one in named.get("qop", "").split(",") if one.strip()]
    if algorithm.lower() not in _STRONGEST_FIRST or (offered and "auth" not in offered) or "nonce" not in named:
        return None
    return DigestChallenge(
        realm=named.get("realm", ""),
        nonce=named["nonce"],
        algorithm=algorithm,
        qop="auth" if offered else "",
        opaque=named.get("opaque"),
        is_stale=named.get("stale", "").lower() == "true",
        wants_hashed_user=named.get("userhash", "").lower() == "true",
    )


def _hash(algorithm: str) -> Callable[[str], str]:
    if algorithm.lower().startswith("sha-256"):
        return lambda text: hashlib.sha256(text.encode()).hexdigest()
    return lambda text: hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()  # the server's choice


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
