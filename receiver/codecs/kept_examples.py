"""Examples as they are kept beside a codec: JSON in, JSON out. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from receiver.codecs.values import Example, Operation

if TYPE_CHECKING:
    from collections.abc import Iterable


def examples_to_json(examples: Iterable[Example]) -> str:
    """Give examples as JSON; bytes as hex."""
    return json.dumps(
        [
            {
                "operation": one.operation.value,
                "description": one.description,
                "f_port": one.f_port,
                "frm_payload": None if one.frm_payload is None else one.frm_payload.hex(),
                "at_text": one.at_text,
                "data": one.data,
                "warnings": one.warnings,
                "errors": one.errors,
                "normalized": one.normalized,
            }
            for one in examples
        ]
    )


def examples_from_json(text: str) -> tuple[Example, ...]:
    """Give back what `examples_to_json` was given."""
    return tuple(
        Example(
            Operation(one["operation"]),
            one["description"],
            one["f_port"],
            None if one["frm_payload"] is None else bytes.fromhex(one["frm_payload"]),
            one["at_text"],
            one["data"],
            _sentences(one["warnings"]),
            _sentences(one["errors"]),
            one["normalized"],
        )
        for one in json.loads(text)
    )


def _sentences(values: list[Any] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)
