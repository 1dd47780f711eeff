"""JSON Schemas (2020-12) of Python types as msgspec writes and reads them: classes become components, by name.

What is answered is a dataclass: each member is always there, null where it has no value, unless its type says that it
is left out. What is read is a Struct: a member with a default may be left out, and others may be forbidden.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Literal, Union, final, get_args, get_origin, get_type_hints

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import fields as struct_fields

_SCALARS: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    datetime: {"type": "string", "format": "date-time"},
    NoneType: {"type": "null"},
    Any: {},
}

_NAMES = {"datetime": datetime, "Mapping": Mapping, "Sequence": Sequence, "Any": Any}
"""What many modules import for type checkers only."""

_SUFFIX = "View"
"""The name of what is shown, where another class has the plain name; a caller sees the plain one."""


@final
class Schemas:
    """Gives the schema of a type, and keeps the components that it refers to."""

    def __init__(self) -> None:
        self.components: dict[str, dict[str, Any]] = {}
        self._classes: dict[str, type] = {}

    def of(self, kind: Any) -> dict[str, Any]:  # noqa: ANN401 - a type, or what stands for one in an annotation
        """Give the schema of a type.

        Raises:
            TypeError: it has none here, or another class has its name.
        """
        if kind in _SCALARS:
            return dict(_SCALARS[kind])
        origin, arguments = get_origin(kind), get_args(kind)
        if origin in {Union, UnionType}:
            return self._union([argument for argument in arguments if argument is not UnsetType])
        if origin is Literal:
            return {"type": "string", "enum": list(arguments)}
        if origin is tuple and arguments[-1] is not Ellipsis:
            items = [self.of(argument) for argument in arguments]
            return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
        if origin in {list, tuple, Sequence}:
            return {"type": "array", "items": self.of(arguments[0])}
        if origin in {dict, Mapping}:
            return {"type": "object", "additionalProperties": self.of(arguments[1])}
        if isinstance(kind, type) and issubclass(kind, Enum):
            return {"type": "string", "enum": [member.value for member in kind]}
        if isinstance(kind, type) and (issubclass(kind, Struct) or dataclasses.is_dataclass(kind)):
            return self._reference(kind)
        raise TypeError(f"{kind} has no JSON Schema here.")

    def _union(self, kinds: Sequence[Any]) -> dict[str, Any]:
        """Give one of several: as one list of types where they are plain ones, which client generators like best."""
        schemas = [self.of(kind) for kind in kinds]
        if len(schemas) == 1:
            return schemas[0]
        with_more = [schema for schema in schemas if set(schema) - {"type"}]
        if len(with_more) <= 1 and all("type" in schema and "enum" not in schema for schema in schemas):
            types = [schema["type"] for schema in schemas]
            return {**(with_more[0] if with_more else {}), "type": types}
        return {"oneOf": schemas}

    def _reference(self, kind: type) -> dict[str, Any]:
        name = kind.__name__.removesuffix(_SUFFIX)
        known = self._classes.setdefault(name, kind)
        if known is not kind:
            raise TypeError(f"{known} and {kind} would both be told of as {name}.")
        if name not in self.components:
            self.components[name] = {}  # before its members, one of which may be of this type
            self.components[name] = self._object(kind)
        return {"$ref": f"#/components/schemas/{name}"}

    def _object(self, kind: type) -> dict[str, Any]:
        hints = get_type_hints(kind, localns=dict(_NAMES))
        told: dict[str, Any] = {"type": "object", "description": inspect.cleandoc(kind.__doc__ or "")}
        if issubclass(kind, Struct):
            read = struct_fields(kind)
            told["properties"] = {member.encode_name: self.of(hints[member.name]) for member in read}
            told["required"] = [member.encode_name for member in read if member.required]
            return told | ({"additionalProperties": False} if kind.__struct_config__.forbid_unknown_fields else {})
        answered = dataclasses.fields(kind)  # type: ignore[arg-type]  # it is a dataclass
        told["properties"] = {member.name: self.of(hints[member.name]) for member in answered}
        told["required"] = [member.name for member in answered if member.default is not UNSET]
        return told
