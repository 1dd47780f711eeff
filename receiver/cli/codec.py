"""`receiver codec`: adds codecs, tests them by their examples, and says which frames they are for."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.codec_test_view import print_results
from receiver.cli.store import JsonOption, as_json, counted, open_store, print_record, print_rows, utc_now

if TYPE_CHECKING:
    from receiver.codecs.library import FoundCodec
    from receiver.codecs.values import Signature
    from receiver.services.codecs import Scope

app = typer.Typer(no_args_is_help=True, help="Codecs: add, test and assign what turns payloads into measurements.")

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="The codec, or NAME@VERSION for one of its versions.", show_default=False)
]
NameOption = Annotated[str | None, typer.Option("--name", help="Its name here; unset: one is proposed.")]
SignatureOption = Annotated[
    str | None,
    typer.Option(
        help="How it is called, if its text does not show it: lora-alliance, thingpark-x-js, ttn, chirpstack."
    ),
]
UnitOption = Annotated[
    list[str] | None,
    typer.Option("--unit", metavar="NAME=UNIT", help="The unit of a measurement; may be given several times."),
]
DeviceOption = Annotated[str | None, typer.Option("--device", metavar="EUI", help="For this device.")]
DriverOption = Annotated[
    str | None,
    typer.Option("--driver", metavar="P:M:V", help="For devices of this DriverCfg: producer:module:version."),
]
ModelOption = Annotated[
    str | None, typer.Option("--model", help="For devices of this ThingPark model (CustomerData.alr.pro).")
]
ConnectionOption = Annotated[str | None, typer.Option("--connection", metavar="NAME", help="For this connection.")]
PortOption = Annotated[int | None, typer.Option("--port", min=1, max=255, help="For this FPort.")]

_COLUMNS = ("name", "version", "signature", "versions", "assignments", "source", "added_at")
_VERSION_COLUMNS = ("version", "is_current", "signature", "source", "added_at")


@app.command()
def add(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .js file; examples beside it are taken too.")],
    *,
    name: NameOption = None,
    signature: SignatureOption = None,
    unit: UnitOption = None,
    json: JsonOption = False,
) -> None:
    """Add a codec from its script, or make this script the codec's current version."""
    from receiver.codecs.library import read_codec_file

    _add(read_codec_file(file, signature=_signature(signature)), name, unit, json=json)


@app.command("import")
def import_(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="A checkout of the LoRaWAN device repository, or of an Actility one.")
    ],
    device: Annotated[
        str | None, typer.Argument(metavar="VENDOR/DEVICE", help="Which one; unset: list them.", show_default=False)
    ] = None,
    *,
    vendor: Annotated[str | None, typer.Option(help="List those of this vendor only.")] = None,
    name: NameOption = None,
    signature: SignatureOption = None,
    unit: UnitOption = None,
    json: JsonOption = False,
) -> None:
    """Import the codec of one device from a local checkout, or list what there is.

    One device at a time: that is what the terms of these collections allow; they are told with each import.
    """
    from receiver.codecs.known_collections import list_collection, read_from_collection

    if device is None:
        listing = list_collection(directory, vendor=vendor)
        for warning in listing.warnings:
            typer.echo(f"receiver: {warning}", err=True)
        typer.echo(as_json(list(listing.names)) if json else "\n".join(listing.names) or "Nothing to show.")
        return
    _add(read_from_collection(directory, device, signature=_signature(signature)), name, unit, json=json)


def _add(found: FoundCodec, name: str | None, units: list[str] | None, *, json: bool) -> None:
    from receiver.services.codecs import add_codec

    chosen = found.name if name is None else name
    codec = replace(found.codec, units={**found.codec.units, **_units(units)})
    with open_store() as store:
        added = add_codec(store.engine, utc_now(), chosen, codec, found.source)
    for warning in found.warnings:
        typer.echo(f"receiver: {warning}", err=True)
    if json:
        keys = {"drivers": list(found.driver_keys), "models": list(found.model_keys)}
        about = {"signature": found.codec.signature.value, "examples": len(found.codec.examples), **keys}
        print_record({**asdict(added), **about, "licence": found.licence, "terms": found.terms}, json)
        return
    state = (
        "added" if added.is_new_codec else "has a new version" if added.is_new_version else "had this version already"
    )
    examples = counted(len(found.codec.examples), "example")
    typer.echo(f"{added.name} {state}: {added.version}, {found.codec.signature}, {examples}.")
    typer.echo(found.licence)
    if found.terms:
        typer.echo(found.terms)
    for key in found.driver_keys:
        typer.echo(f"For what the network calls {key}: receiver codec assign {added.name} --driver {key}")


@app.command("list")
def list_(*, json: JsonOption = False) -> None:
    """List all codecs, and what they are assigned to."""
    from receiver.services.codecs import list_assignments, list_codecs, scope_of

    with open_store() as store:
        codecs = list_codecs(store.engine)
        assignments = list_assignments(store.engine)
    scopes: dict[str, list[str]] = {}
    for one in assignments:
        scopes.setdefault(one.codec, []).append(str(scope_of(one)))
    if json:
        by_codec: dict[str, list[object]] = {}
        for one in assignments:
            by_codec.setdefault(one.codec, []).append(asdict(scope_of(one)))
        typer.echo(as_json([{**asdict(codec), "assigned_to": by_codec.get(codec.name, [])} for codec in codecs]))
        return
    print_rows([asdict(codec) for codec in codecs], _COLUMNS, json=False)
    for name, told in scopes.items():
        for scope in told:
            typer.echo(f"{name} is for {scope}")


@app.command()
def show(
    name: NameArgument,
    *,
    script: Annotated[bool, typer.Option("--script", help="Print its script.")] = False,
    json: JsonOption = False,
) -> None:
    """Show one codec, its versions and what it is assigned to, or its script."""
    from receiver.services.codecs import get_codec, list_assignments, list_codec_versions, scope_of

    with open_store() as store:
        row, codec = get_codec(store.engine, name)
        versions = list_codec_versions(store.engine, row.name)
        scopes = [scope_of(one) for one in list_assignments(store.engine) if one.codec == row.name]
    if script:
        typer.echo(row.script)
        return
    about = {
        "name": row.name,
        "version": row.version,
        "signature": row.signature,
        "source": row.source,
        "script_characters": len(row.script),
        "examples": len(codec.examples),
        "units": dict(codec.units),
        "added_at": row.added_at,
    }
    shown = [{name: getattr(version, name) for name in _VERSION_COLUMNS} for version in versions]
    if json:
        typer.echo(as_json({**about, "assigned_to": [asdict(scope) for scope in scopes], "versions": shown}))
        return
    print_record(about, json=False)
    for scope in scopes:
        typer.echo(f"assigned to {scope}")
    typer.echo("\nVersions, the newest first:")
    print_rows(shown, _VERSION_COLUMNS, json=False)


@app.command("test")
def run_the_examples(
    name: Annotated[
        str, typer.Argument(metavar="NAME|FILE", help="A codec, NAME@VERSION, or a .js file not added yet.")
    ],
    *,
    signature: SignatureOption = None,
    json: JsonOption = False,
) -> None:
    """Run the examples that came with a codec and show each difference. Exits 1 if there is one."""
    from receiver.codecs.engine import CodecEngine
    from receiver.codecs.library import read_codec_file
    from receiver.services.codecs import get_codec, run_examples

    if name.endswith(".js"):
        codec = read_codec_file(Path(name), signature=_signature(signature)).codec
    else:
        with open_store() as store:
            _, codec = get_codec(store.engine, name)
    with CodecEngine() as codec_engine:
        failed = print_results(run_examples(codec_engine, codec), json=json)
    if failed:
        raise typer.Exit(1)


@app.command()
def assign(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A codec; cayenne-lpp and senml are built in.")],
    *,
    device: DeviceOption = None,
    driver: DriverOption = None,
    model: ModelOption = None,
    connection: ConnectionOption = None,
    port: PortOption = None,
    json: JsonOption = False,
) -> None:
    """Say which frames a codec is for: those that match all that is given. Of several, the one that says most is taken.

    A device counts more than a driver, that more than a model, a connection, a port.
    """
    from receiver.services.codecs import assign_codec

    scope = _scope(device, driver, model, connection, port)
    with open_store() as store:
        before = assign_codec(store.engine, utc_now(), name, scope)
    if json:
        print_record({"codec": name, **asdict(scope), "instead_of": before}, json)
        return
    instead = f", in place of {before}" if before not in {None, name.partition("@")[0]} else ""
    typer.echo(f"{name} decodes what comes from now on of {scope}{instead}.")


@app.command()
def unassign(
    *,
    device: DeviceOption = None,
    driver: DriverOption = None,
    model: ModelOption = None,
    connection: ConnectionOption = None,
    port: PortOption = None,
    json: JsonOption = False,
) -> None:
    """Take back the assignment for exactly what is given. What was decoded stays."""
    from receiver.services.codecs import unassign_codec

    scope = _scope(device, driver, model, connection, port)
    with open_store() as store:
        unassign_codec(store.engine, scope)
    typer.echo(as_json(asdict(scope)) if json else f"No codec is assigned to {scope} any more.")


@app.command()
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    *,
    force: Annotated[bool, typer.Option("--force", help="Even if it is assigned.")] = False,
    json: JsonOption = False,
) -> None:
    """Remove a codec with all its versions. What it decoded stays."""
    from receiver.services.codecs import remove_codec

    with open_store() as store:
        remove_codec(store.engine, name, force=force)
    typer.echo(as_json({"removed": name}) if json else f"{name} is removed.")


def _scope(
    device: str | None, driver: str | None, model: str | None, connection: str | None, port: int | None
) -> Scope:
    from receiver.services.codecs import Scope

    return Scope(device.strip().upper() if device else None, driver, model, connection, port)


def _units(given: list[str] | None) -> dict[str, str]:
    units = {}
    for text in given or []:
        name, equals, unit = text.partition("=")
        if not (name and equals and unit):
            raise typer.BadParameter(f"{text[:40]!r} is not of the form NAME=UNIT, like temperature=Cel.")
        units[name] = unit
    return units


def _signature(text: str | None) -> Signature | None:
    from receiver.codecs.values import Signature

    if text is None:
        return None
    try:
        return Signature(text)
    except ValueError:
        known = ", ".join(signature.value for signature in Signature)
        raise typer.BadParameter(f"{text!r} is none of {known}.") from None
