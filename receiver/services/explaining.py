"""Explains a refused push: which check refused it, with the numbers, and the mistake that would make it right.

No key, no part of one and no token stands in what is given, neither the token that came nor one that was made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from receiver.errors import Reason
from receiver.kpn_things.token import is_things_push
from receiver.services.findings import (
    Finding,
    find_as_id,
    find_contradiction,
    find_near_name,
    find_time,
    unique_near_name,
)
from receiver.services.judging import (
    NOT_WHOLE,
    Check,
    choose_connection,
    headers_of,
    judge,
    load_known_connections,
)
from receiver.services.rejections import hide_tokens_of, without_tokens
from receiver.services.things_findings import find_secret
from receiver.services.things_secrets import PLATFORM
from receiver.storage import rejections as stored
from receiver.storage.engine import read
from receiver.thingpark.loose_push import read_loosely
from receiver.thingpark.token_mistakes import KEY_MISTAKES, MISTAKES
from receiver.thingpark.token_search import CandidateKey, search

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Engine

    from receiver.keyring import Keyring
    from receiver.services.judging import Judgement, KnownConnection, KnownKey
    from receiver.storage.rejections import RejectionView, StoredRejection
    from receiver.thingpark.token_search import Found

_UNEXPLAINED = (
    "The token matches under none of the {mistakes} known mistakes, alone or in pairs, with any of the {keys} keys"
    " known here, live, retired and of other connections. So its key is not known here, or something that the token"
    " covers was changed: CustomerID, DevEUI, FPort, FCntUp or payload_hex of the report, or the query. What no token"
    " covers (RSSI, DevAddr, positions, names) cannot be the reason."
)
_BOUNDED = " There are so many keys, or the values are so long, that not all was tried."


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a push was refused. `checks` are those of today, as of its arrival, judged as `connection`.

    `note` says what could not be found out, and why.
    """

    rejection: RejectionView
    connection: str | None
    is_in_order_now: bool
    verdict: str
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]
    note: str | None


def explain_rejection(
    engine: Engine, keyring: Keyring, rejection_id: int, *, as_name: str | None = None
) -> Explanation:
    """Judge a refused push once more and say what is wrong with it; nothing is changed.

    `as_name`: judge it as a push to that connection, whichever it was sent to.

    Raises:
        NotFoundError: there is no such rejection, or no connection `as_name`.
        KeyringError: a tunnel key does not open.
    """
    with read(engine) as tx:
        rejection = stored.get_rejection(tx, rejection_id)
    known = load_known_connections(engine, keyring)
    connection = choose_connection(rejection.view, known, as_name)
    view = hide_tokens_of(rejection.view)
    if view.reason in NOT_WHOLE:
        check = Check("arrival", "failed", view.detail, Reason(view.reason))
        verdict = "Not all of it was kept, so that it can be neither judged nor replayed."
        return Explanation(
            view, _name_of(connection), is_in_order_now=False, verdict=verdict, checks=(check,), findings=(), note=None
        )
    headers = headers_of(rejection)
    judgement = judge(connection, view.path_name, rejection.query.encode(), rejection.body, view.received_at, headers)
    findings, note = _find(rejection, judgement, connection, known)
    return Explanation(
        rejection=view,
        connection=_name_of(connection),
        is_in_order_now=judgement.failed is None,
        verdict=_verdict(view, judgement, as_name),
        checks=tuple(
            Check(check.name, check.outcome, without_tokens(check.sentence), check.reason) for check in judgement.checks
        ),
        findings=tuple(findings),
        note=note,
    )


def _name_of(connection: KnownConnection | None) -> str | None:
    return connection.row.name if connection is not None else None


def _verdict(view: RejectionView, judgement: Judgement, as_name: str | None) -> str:
    if view.replayed_at is not None:
        return f"It was replayed on {view.replayed_at:%Y-%m-%d %H:%M:%SZ}, and is report {view.replayed_report_id}."
    if judgement.failed is None:
        option = f" --as {as_name}" if as_name else ""
        return f"It is in order now: `receiver rejections replay {view.id}{option}` stores it."
    reason = judgement.failed.reason.value if judgement.failed.reason else ""
    if reason == view.reason:
        return f"It would be refused today as well: {reason}."
    return f"It was refused for {view.reason}; today it would be for {reason}."


def _find(
    rejection: StoredRejection,
    judgement: Judgement,
    connection: KnownConnection | None,
    known: Mapping[str, KnownConnection],
) -> tuple[list[Finding], str | None]:
    findings: list[Finding] = []
    assumed = connection
    if connection is None:
        near = unique_near_name(rejection.view.path_name, list(known))
        if near is not None:
            assumed = known[near]
            findings.append(find_near_name(rejection.view, near))
    note = None
    if judgement.key_id is None:
        by_token, note = _search_any(rejection, judgement, assumed, known)
        findings += by_token
    if judgement.query is not None and connection is not None:
        findings += find_as_id(rejection.view, judgement, connection)
        findings += find_contradiction(judgement)
        findings += find_time(rejection.view, judgement, connection.row.max_deviation_s)
    return findings, note


# --- the token


def _search_any(
    rejection: StoredRejection,
    judgement: Judgement,
    assumed: KnownConnection | None,
    known: Mapping[str, KnownConnection],
) -> tuple[list[Finding], str | None]:
    headers = headers_of(rejection)
    if (assumed is not None and assumed.row.platform == PLATFORM) or (is_things_push(headers) and not rejection.query):
        return find_secret(rejection.view, headers, rejection.body, assumed, known)
    return _search(rejection, judgement, assumed, known)


def _search(
    rejection: StoredRejection,
    judgement: Judgement,
    assumed: KnownConnection | None,
    known: Mapping[str, KnownConnection],
) -> tuple[list[Finding], str | None]:
    if judgement.body is None:
        return [], (
            "The body cannot be read as a report, so that its token cannot be tried. It must arrive as the network"
            " sends it, byte for byte."
        )
    signing = (other for other in known.values() if other.row.platform != PLATFORM)
    others = sorted(signing, key=lambda other: other is not assumed)
    push = read_loosely(rejection.query, judgement.body, list(dict.fromkeys(other.row.as_id for other in others)))
    if push.token is None:
        return _without_token(rejection)
    candidates = [
        CandidateKey(
            (other, key),
            key.text.reveal(),
            is_expected=key.retired_at is None and (assumed is None or other is assumed),
        )
        for other in others
        for key in other.keys
    ]
    result = search(push, candidates)
    if result.found is not None:
        return [_made_with(rejection.view, result.found, assumed)], None
    note = _UNEXPLAINED.format(mistakes=len(MISTAKES) + len(KEY_MISTAKES), keys=len(candidates))
    return [], note if result.is_complete else note + _BOUNDED


def _without_token(rejection: StoredRejection) -> tuple[list[Finding], str | None]:
    if "Token=" in rejection.query:
        return [], "Token is not of 64 hexadecimal digits: it was cut off or changed on its way, and cannot be tried."
    if "AS_ID=" in rejection.query:
        return [], "The query came without its Token, so that nothing can be tried."
    finding = Finding(
        ("authentication-off",),
        "The query has neither AS_ID nor Token: the network does not sign what it pushes here.",
        "Activate the uplink security (AS ID and tunnel key) of this application server at the network's portal.",
    )
    return [finding], None


def _made_with(view: RejectionView, found: Found, assumed: KnownConnection | None) -> Finding:
    origin: tuple[KnownConnection, KnownKey] = found.key.label  # type: ignore[assignment]
    owner, key = origin
    name, key_id = owner.row.name, key.key_id
    codes, sentences, advice = [], [f"The token was made with {key_id} of {name}."], []
    if assumed is not None and owner is not assumed:
        codes.append("other-connection-key")
        sentences[0] = f"The token was made with {key_id} of another connection, {name}."
        advice.append(
            f"Correct the URL at the network to end with /push/{name}, or give it a key of {assumed.row.name}."
            f" `receiver rejections replay {view.id} --as {name}` judges this push as one to {name}."
        )
    elif assumed is None:
        codes.append("other-connection-url")
        sentences[0] = f"The token was made with {key_id} of {name}, so the push was meant for that connection."
        advice.append(
            f"Correct the URL at the network to end with /push/{name}. `receiver rejections replay {view.id} --as"
            f" {name}` judges this push as one to it."
        )
    if key.retired_at is not None:
        codes.append("retired-key")
        sentences.append(f"That key was retired on {key.retired_at:%Y-%m-%d}.")
        advice.append(
            f"Give the network a live key of {name}, or add the old one again with `receiver connection add-key"
            f" {name}`. `receiver rejections replay {view.id} --with-retired-keys` takes what was signed with it."
        )
    for mistake in found.mistakes:
        codes.append(mistake.code)
        sentences.append(mistake.sentence)
        advice.append(mistake.advice)
    if not advice:
        advice.append("The token is right; it is another check that refuses the push.")
    return Finding(tuple(codes), " ".join(sentences), " ".join(advice), connection=name, key_id=key_id)
