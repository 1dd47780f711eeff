"""Refused pushes for the people who look at them: listed and shown, with no token in anything that leaves here.

A refused push may carry a token that is valid (one that came late, for instance), so tokens are taken out of
queries, headers and sentences before anybody sees them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from receiver.storage import rejections as stored
from receiver.storage.engine import read
from receiver.storage.rejections import RejectionFilter, RejectionView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

__all__ = ["RejectionFilter", "RejectionView", "ShownRejection", "get_rejection", "list_rejections", "without_tokens"]

HIDDEN = "…"

_TOKEN_VALUE = re.compile(r"((?:T|%54)(?:o|%6f)(?:k|%6b)(?:e|%65)(?:n|%6e)(?:=|%3d))[^&\s\"']+", re.IGNORECASE)
_TOKEN_DIGITS = re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{64}(?![0-9A-Fa-f])")


@dataclass(frozen=True, slots=True, repr=False)
class ShownRejection:
    """A refused push with what it held; `body` may have a clear payload, and is as it came."""

    view: RejectionView
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def __repr__(self) -> str:
        return f"ShownRejection({self.view.id}, {self.view.reason})"


def list_rejections(
    engine: Engine, wanted: RejectionFilter, *, limit: int, before_id: int | None = None
) -> Sequence[RejectionView]:
    """Give rejections, newest first, at most `limit`; `before_id`: only older ones than this, the next page.

    Raises:
        StorageUnavailableError: the database is away.
    """
    with read(engine) as tx:
        rows = stored.list_rejections(tx, wanted, limit=limit, before_id=before_id)
    return [hide_tokens_of(row) for row in rows]


def get_rejection(engine: Engine, rejection_id: int) -> ShownRejection:
    """Give one rejection with its query, headers and body, without the token.

    Raises:
        NotFoundError: there is none of that id, or it was pruned.
    """
    with read(engine) as tx:
        rejection = stored.get_rejection(tx, rejection_id)
    return ShownRejection(
        view=hide_tokens_of(rejection.view),
        query=without_tokens(rejection.query),
        headers=tuple((name, without_tokens(value)) for name, value in rejection.headers),
        body=rejection.body,
    )


def hide_tokens_of(view: RejectionView) -> RejectionView:
    """Give what may be told of a rejection with no token in it, wherever a sender may have put one."""
    return replace(view, path_name=without_tokens(view.path_name), detail=without_tokens(view.detail))


def without_tokens(text: str) -> str:
    """Give `text` without the value of any Token parameter and without anything else that could be one."""
    return _TOKEN_DIGITS.sub(HIDDEN, _TOKEN_VALUE.sub(rf"\g<1>{HIDDEN}", text))
