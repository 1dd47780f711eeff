"""What the owner of a device told the network of it: CustomerData, and the driver that decodes its payloads there.

Source: ThingPark LRC–AS tunnel interface, reports; DriverCfg as networks have sent it since 2020.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from receiver.thingpark.fields import Fields, Notes

if TYPE_CHECKING:
    from receiver.thingpark.body import Value


class CustomerData(NamedTuple):
    """What the owner told the network of the device: its name and its profile (`alr.pro`, `alr.ver`)."""

    name: str | None = None
    model: str | None = None
    model_version: str | None = None


def read_customer_data(fields: Fields) -> CustomerData:
    """Read CustomerData as object, as JSON text (XML), or as text in single quotes; never a fault."""
    value = fields.value("CustomerData")
    if isinstance(value, str) and value:
        value = _customer_data_text(value)
    if not isinstance(value, dict):
        return CustomerData()
    quiet = Fields(value, Notes())
    alr = value.get("alr")
    profile = Fields(alr if isinstance(alr, dict) else {}, Notes())
    return CustomerData(_storable(quiet.text("name")), _storable(profile.text("pro")), _storable(profile.text("ver")))


def read_driver(fields: Fields) -> str | None:
    """Read DriverCfg, an object in JSON; in XML nobody has seen more than its name."""
    value = fields.value("DriverCfg")
    if not isinstance(value, dict):
        return None
    for part in (value.get("app"), value.get("mod")):
        names = Fields(part if isinstance(part, dict) else {}, Notes())
        whole = [names.text(name) for name in ("pId", "mId", "ver")]
        if all(whole):
            return _storable(":".join(str(name) for name in whole))
    return None


def _storable(text: str | None) -> str | None:
    """Replace what JSON inside a text can spell and no database text can hold: NUL and half surrogate pairs."""
    if text is None or (text.isascii() and "\0" not in text):
        return text
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "?")


def _customer_data_text(text: str) -> Value:
    for candidate in (text, text.replace("'", '"')):
        try:
            parsed: Value = json.loads(candidate, parse_int=str, parse_float=str)
        except (ValueError, RecursionError):
            continue
        return parsed
    return None
