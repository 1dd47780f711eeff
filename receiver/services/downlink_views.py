"""Downlinks for those who asked for them: one with all its steps, or a page of many."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from receiver.errors import NotFoundError
from receiver.storage import downlinks as stored
from receiver.storage.codecs import get_codec_version
from receiver.storage.downlinks import DownlinkEventView, DownlinkFilter, DownlinkView
from receiver.storage.engine import read

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Engine

__all__ = ["DownlinkDetails", "DownlinkFilter", "DownlinkView", "get_downlink", "list_downlinks", "load_downlink"]

WARNING_END = "\n"
"""Ends each warning but the last in the detail of a downlink's first event, which is where warnings are kept."""

_VIEW = [field.name for field in fields(DownlinkView)]


@dataclass(frozen=True, slots=True, repr=False)
class DownlinkDetails(DownlinkView):
    """A downlink with every step of it, oldest first.

    `object` is what the codec `codec` made the payload of; null where the payload was given. `warnings` are those of
    when it was put in.
    """

    object: Mapping[str, Any] | None
    codec: str | None
    warnings: list[str]
    events: list[DownlinkEventView]


def get_downlink(engine: Engine, downlink_id: int) -> DownlinkDetails:
    """Give one downlink.

    Raises:
        NotFoundError: there is none of that id.
    """
    with read(engine) as tx:
        return load_downlink(tx, downlink_id)


def load_downlink(tx: Connection, downlink_id: int) -> DownlinkDetails:
    """Give one downlink, as it stands within a transaction.

    Raises:
        NotFoundError: there is none of that id.
    """
    view = stored.find_downlink(tx, downlink_id)
    if view is None:
        raise no_downlink(downlink_id)
    made_of, version_id = stored.find_downlink_object(tx, downlink_id)
    codec = None if version_id is None else get_codec_version(tx, version_id)
    events = stored.list_events_of_downlink(tx, downlink_id)
    detail = events[0].detail if events else None
    return DownlinkDetails(
        **{name: getattr(view, name) for name in _VIEW},
        object=None if made_of is None else json.loads(made_of),
        codec=None if codec is None else f"{codec.name}@{codec.version}",
        warnings=detail.split(WARNING_END) if detail else [],
        events=events,
    )


def list_downlinks(
    engine: Engine, wanted: DownlinkFilter, *, limit: int, before_id: int | None = None
) -> Sequence[DownlinkView]:
    """Give downlinks, newest first, at most `limit`; `before_id`: only older ones than this, the next page.

    Raises:
        StorageUnavailableError: the database is away.
    """
    with read(engine) as tx:
        return stored.list_downlinks(tx, wanted, limit=limit, before_id=before_id)


def no_downlink(downlink_id: int) -> NotFoundError:
    """Give the error of an id that no downlink has."""
    return NotFoundError(f"There is no downlink {downlink_id}; `receiver downlink list` shows those there are.")
