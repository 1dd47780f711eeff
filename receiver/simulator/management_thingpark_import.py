"""The import of devices by CSV at a simulated ThingPark, which answers 200 whatever is wrong with its lines.

Source: Device Manager contract 7.3, `devices/import`, with its example of an answer. Of a line these columns are read:
command, DevEUI, DevAddr, device profile, AppEUI, AppKey (NwkSKey and AppSKey of ABP devices in the next two), name in
the eleventh, latitude and longitude after it.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from receiver.simulator.management_thingpark_book import DEVICE_EXISTS, NO_DEVICE_PROFILE, ThingParkRefusalError
from receiver.simulator.management_thingpark_devices import create_device, delete_device, find_device

if TYPE_CHECKING:
    from receiver.simulator.management_thingpark_book import Json, ThingParkBook
    from receiver.simulator.management_thingpark_paging import Query

_NAME_COLUMN = 10


def import_csv(book: ThingParkBook, body: bytes, content_type: str, query: Query) -> Json | None:
    """Do all lines of a CSV that can be done, and give the answer's body; None: all could."""
    said = "".join(
        f"{row[1] if len(row) > 1 else ''},line {number},{','.join(errors)}\n"
        for number, row in enumerate(csv.reader(io.StringIO(_part(body, content_type))), 1)
        if row and (errors := _import_row(book, row, query))
    )
    return {"code": 1, "message": said} if said else None


def _import_row(book: ThingParkBook, row: list[str], query: Query) -> list[str]:
    cells = [cell.strip() for cell in row] + [""] * 16
    command, eui, dev_addr, profile, join_eui, key = cells[:6]
    try:
        match command:
            case "DELETE":
                delete_device(book, find_device(book.devices, f"e{eui.upper()}"))
            case "CREATE_OTAA" | "CREATE_ABP":
                errors = _both_errors(book, eui, profile)
                if errors:
                    return errors
                create_device(book, _body(command, cells, dev_addr, join_eui, key), query)
            case _:
                return [f"[25] Unknown command {command}"]
    except ThingParkRefusalError as exc:
        return [f"[{exc.code}] {exc.message}"]
    return []


def _both_errors(book: ThingParkBook, eui: str, profile: str) -> list[str]:
    """Give what is wrong with DevEUI and device profile: a line may have several errors at once."""
    errors = []
    if eui.upper() in book.devices:
        errors.append(f"[{DEVICE_EXISTS}] A Device report already exists for the given EUI")
    if all(one["ID"] != profile for one in book.profiles):
        errors.append(f"[{NO_DEVICE_PROFILE}] No device profile for the given ID : {profile}")
    return errors


def _body(command: str, cells: list[str], dev_addr: str, join_eui: str, key: str) -> Json:
    body: Json = {"EUI": cells[1], "activation": command.removeprefix("CREATE_"), "model": {"ID": cells[3]}}
    if join_eui:
        body["appEUI"] = join_eui
    if command == "CREATE_ABP":
        app_keys = f'<AppSKeys><AppSKey Port="*">{cells[7]}</AppSKey></AppSKeys>'
        body |= {"nwAddress": dev_addr, "nwKey": cells[6], "appKeys": app_keys}
    elif key:
        body["appKey"] = key
    name, latitude, longitude = cells[_NAME_COLUMN : _NAME_COLUMN + 3]
    if name:
        body["name"] = name
    if latitude and longitude:
        try:
            body |= {"adminLat": float(latitude), "adminLon": float(longitude)}
        except ValueError as exc:
            raise ThingParkRefusalError("Invalid latitude or longitude") from exc
    return body


def _part(body: bytes, content_type: str) -> str:
    """Give the part `csv` of a multipart form, or refuse it."""
    kind, _, boundary = content_type.partition("boundary=")
    if kind.startswith("multipart/form-data") and boundary:
        for part in body.split(b"--" + boundary.strip('"').encode()):
            head, separator, text = part.partition(b"\r\n\r\n")
            if separator and b'name="csv"' in head:
                return text.removesuffix(b"\r\n").decode("utf-8", "replace")
    raise ThingParkRefusalError("Part csv is mandatory")
