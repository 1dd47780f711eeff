"""The columns of a file of devices, what each network wants in them, and the template that says so. Pure.

Sources: KPN LoRa Device Management API 1.2, `Device` and what its documentation says of creating and changing one;
ThingPark Device Manager contract 7.3, `DeviceLorawan`, and the control plane's tutorial.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from receiver.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

_THINGPARK = ("thingpark", "device-manager")
"""One API, ThingPark's Device Manager API, with a token or with a login."""

SURFACES = ("kpn-lora", *_THINGPARK)
"""The management APIs that devices are made at."""

EXAMPLE_DEV_EUI = "0123456789ABCDEF"
"""Of the template's example row, which is never sent: it belongs to nobody."""

NO_ROUTING = "none"
"""In the routing column: the device is to be on no connection, on purpose."""

LOCAL_JOIN, EXTERNAL_JOIN = "local", "external"
"""Where the AppKey is: at the network, or at a join server of somebody else's."""

MOTIONS = ("NEAR_STATIC", "WALKING_SPEED", "BIKE_SPEED", "VEHICLE_SPEED", "RANDOM")
"""Of ThingPark's contract. KPN's has all but BIKE_SPEED."""

COMMENT = "#"
"""A line, a column or a JSON member that begins with it is for people."""


class Action(StrEnum):
    """What a run does with each device of its file."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    MOVE = "move"


class Kind(StrEnum):
    """How the text in a column is read."""

    EUI = "eui"
    KEY = "key"
    TEXT = "text"
    MOTION = "motion"
    JOIN_SERVER = "join-server"
    LATITUDE = "latitude"
    LONGITUDE = "longitude"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name in code and in headers, other names it goes by, and what stands in it."""

    name: str
    header: str
    kind: Kind
    about: str
    synonyms: tuple[str, ...] = ()
    example: str = ""
    surfaces: tuple[str, ...] = SURFACES


COLUMNS = (
    Column(
        *("dev_eui", "DevEUI", Kind.EUI, "16 hex digits; as text, so that Excel makes no number of it"),
        synonyms=("eui", "deviceeui"),
        example=EXAMPLE_DEV_EUI,
    ),
    Column("name", "Name", Kind.TEXT, "its name at the network", ("devicename",), "Meter 1, hall 2"),
    Column(
        *("join_eui", "JoinEUI", Kind.EUI, "16 hex digits, also called AppEUI"),
        synonyms=("appeui", "applicationeui"),
        example="0000000000000000",
    ),
    Column(
        *("app_key", "AppKey", Kind.KEY, "32 hex digits; it goes to the network and is never kept here"),
        synonyms=("applicationkey",),
        example="00000000000000000000000000000000",
    ),
    Column(
        *("nwk_key", "NwkKey", Kind.KEY, "32 hex digits; only of a LoRaWAN 1.1 device; never kept here"),
        synonyms=("networkkey",),
        surfaces=_THINGPARK,
    ),
    Column(
        *("join_server", "JoinServer", Kind.JOIN_SERVER, "empty or `local`; `external`: the AppKey is elsewhere"),
        surfaces=_THINGPARK,
    ),
    Column(
        *("device_profile", "DeviceProfile", Kind.TEXT, "the id of its device profile (model) at the network"),
        synonyms=("deviceprofileid", "model", "modelid"),
        example="LORA/GenericA.1_ETSI_Rx2-SF12",
    ),
    Column(
        *("connectivity_plan", "ConnectivityPlan", Kind.TEXT, "the id of its connectivity plan"),
        synonyms=("connectivityplanid", "plan", "networksubscription", "networksubscriptionid"),
        example="supplier/plan",
    ),
    Column(
        *("routing", "Routing", Kind.TEXT, "the id of its routing profile or connection there; `none`: on none"),
        synonyms=("routingprofile", "routingprofileid", "appserver", "appserverid"),
        example="TWA_100000001.1",
    ),
    Column(
        *("hsm_group", "HsmGroup", Kind.TEXT, "the id of the HSM group; if there is only one, it is taken"),
        synonyms=("hsmgroupid",),
        surfaces=("kpn-lora",),
    ),
    Column(
        *("motion", "Motion", Kind.MOTION, f"how it moves: {', '.join(MOTIONS)}"),
        synonyms=("motionindicator",),
        example="NEAR_STATIC",
    ),
    Column("latitude", "Latitude", Kind.LATITUDE, "degrees, north positive", ("lat", "geolatitude", "adminlat")),
    Column(
        *("longitude", "Longitude", Kind.LONGITUDE, "degrees, east positive"),
        synonyms=("lon", "lng", "long", "geolongitude", "adminlon"),
    ),
    Column(
        *("info", "Info", Kind.TEXT, "free text, kept at the network"),
        synonyms=("administrativeinfo", "customeradmindata", "administrativedata"),
    ),
)

BY_NAME: Mapping[str, Column] = {column.name: column for column in COLUMNS}

REQUIRED: Mapping[tuple[str, Action], tuple[str, ...]] = {
    ("kpn-lora", Action.CREATE): (
        *("dev_eui", "join_eui", "app_key", "device_profile", "connectivity_plan", "routing"),
    ),
    **{(surface, Action.CREATE): ("dev_eui", "app_key", "device_profile", "routing") for surface in _THINGPARK},
    **{(surface, Action.MOVE): ("dev_eui", "routing") for surface in SURFACES},
    **{(surface, action): ("dev_eui",) for surface in SURFACES for action in (Action.UPDATE, Action.DELETE)},
}
"""What a row must have. Without a routing KPN drops what a device sends in silence (its DATAFLOW strategy), and without
a plan it takes the first with room; so both are asked for. ThingPark takes a device without an AppKey for one of an
external join server, for its whole life; so that is to be said in its own column."""

CHANGEABLE: Mapping[str, tuple[str, ...]] = {
    "kpn-lora": ("name", "routing", "connectivity_plan", "device_profile", "join_eui"),
    **dict.fromkeys(
        _THINGPARK,
        ("name", "routing", "connectivity_plan", "device_profile", "motion", "latitude", "longitude", "info"),
    ),
}
"""What `update` sends, of what is filled in. KPN's contract names these and no others; ThingPark's keys are write-only
and set at creation."""

DEFAULTABLE = (
    *("join_eui", "join_server", "device_profile", "connectivity_plan", "routing", "hsm_group", "motion", "info"),
)
"""What may be given once for all rows; a key never."""


def normalise(header: str) -> str:
    """Give a header without case, spaces and punctuation, as synonyms are looked up."""
    return "".join(character for character in header.lower() if character.isalnum())


def find_column(header: str) -> Column | None:
    """Give the column that a header names by any of its names, or None."""
    return _BY_HEADER.get(normalise(header))


_BY_HEADER = {
    name: column for column in COLUMNS for name in (normalise(column.name), normalise(column.header), *column.synonyms)
}


def write_template(surface: str, form: str) -> str:
    """Give the template of a surface as `csv` or `json`: comments of what is required, every column, an example row.

    Raises:
        SettingsError: devices are not made at that surface.
    """
    if surface not in SURFACES:
        raise SettingsError(f"There is no template for {surface!r}: choose {' or '.join(SURFACES)}.")
    columns = [column for column in COLUMNS if surface in column.surfaces]
    comments = [f"Devices for {surface}. Lines that begin with # are for people, and the example row is to go."]
    comments += [f"{column.header}: {column.about}{_wanted(surface, column.name)}" for column in columns]
    if form == "json":
        rows: list[dict[str, object]] = [
            {COMMENT: comments},
            {column.header: column.example or None for column in columns},
        ]
        return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"
    text = io.StringIO()
    text.write("".join(f"{COMMENT} {comment}\n" for comment in comments))
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(column.header for column in columns)
    writer.writerow(column.example for column in columns)
    return text.getvalue()


def _wanted(surface: str, name: str) -> str:
    if name == "dev_eui":
        return " (always required)"
    words = []
    if name in REQUIRED[surface, Action.CREATE]:
        also = " or --to" if name == "routing" else ""
        words.append(f"required to create{also}")
    if name in REQUIRED[surface, Action.MOVE]:
        words.append("to move")
    if name in CHANGEABLE[surface]:
        words.append("sent by update")
    return f" ({', '.join(words)})" if words else " (optional)"
