"""`receiver as-key`: the AS transport key, which unwraps the AppSKeys in reports of end-to-end encrypted devices."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.connection import NameArgument
from receiver.cli.secret_io import (
    PASSPHRASE_VARIABLE,
    read_file,
    read_passphrase,
    read_secret,
    refuse_existing,
    write_secret_file,
)
from receiver.cli.store import JsonOption, as_json, counted, open_store, print_record, utc_now

if TYPE_CHECKING:
    from receiver.cli.store import Store
    from receiver.services.as_transport_keys import ImportResult
    from receiver.services.escrow import RestoreResult

app = typer.Typer(no_args_is_help=True, help="AS transport keys: make a pair, import the answer, keep a copy.")

OneLineOption = Annotated[
    bool, typer.Option("--one-line", help="Print only the public key, on one line, as the KPN portal takes it.")
]
PassphraseFileOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help=f"A file with the passphrase; else {PASSPHRASE_VARIABLE}, else a prompt."),
]
_MAX_KEY_FILE_BYTES = 65_536


@app.command()
def new(
    name: NameArgument,
    *,
    bits: Annotated[int, typer.Option(help="2048, or 1024 where a portal insists.")] = 2048,
    replace: Annotated[
        bool, typer.Option("--replace", help="Make a pair although a key is active or another pair awaits.")
    ] = False,
    one_line: OneLineOption = False,
    json: JsonOption = False,
) -> None:
    """Make an RSA key pair and print its public half for the network; the private half stays here, sealed."""
    from receiver.services.as_transport_keys import new_key_pair

    with open_store() as store:
        pem = new_key_pair(store.engine, store.keyring, utc_now(), name, bits, replace=replace)
    if json or one_line:
        _print_public_key(name, pem, bits, json=json)
        return
    typer.echo(pem)
    typer.echo(
        "Give this public key to the network (the HSM part of the connection or routing profile; for a field of"
        f" one line: `receiver as-key show {name} --one-line`).\nIt answers, once, with a long hexadecimal text,"
        f" which this imports: `receiver as-key import {name} --wrapped -`."
    )


@app.command("import")
def import_(
    name: NameArgument,
    *,
    wrapped: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="The network's answer, wrapped for the public key; `-`: standard input."),
    ] = None,
    private_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --wrapped: an RSA private key made elsewhere, PEM.")
    ] = None,
    clear: Annotated[
        str | None, typer.Option(metavar="HEX", help="The AS transport key itself; `-`: standard input.")
    ] = None,
    escrow: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file that `as-key escrow` wrote: restores its keys.")
    ] = None,
    passphrase_file: PassphraseFileOption = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a key that is active already.")] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Import it although stored reports speak against it, and trust it over a key that reads nothing.",
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Import the AS transport key; stored reports are looked at to tell whether it is the right one."""
    if sum(given is not None for given in (wrapped, clear, escrow)) != 1:
        raise typer.BadParameter("Give one of --wrapped, --clear and --escrow.")
    if private_key is not None and wrapped is None:
        raise typer.BadParameter("--private-key goes with --wrapped.")
    with open_store() as store:
        if escrow is not None:
            _say_restored(name, _restore(store, name, escrow, passphrase_file, replace=replace, force=force), json=json)
        else:
            result = _import(store, name, wrapped, private_key, clear, replace=replace, force=force)
            _say_imported(name, result, json=json)


@app.command()
def show(name: NameArgument, *, one_line: OneLineOption = False, json: JsonOption = False) -> None:
    """Show the keys and pairs of a connection, newest first: check values and public keys, never the keys."""
    from receiver.errors import NotFoundError
    from receiver.services import as_transport_keys
    from receiver.thingpark.rsa_key import one_line as on_one_line

    with open_store() as store:
        keys = as_transport_keys.show(store.engine, name)
    if one_line:
        current = [key.public_key_pem for key in keys if key.state != "replaced" and key.public_key_pem]
        if not current:
            raise NotFoundError(f"{name} has no public key: `receiver as-key new {name}` makes a pair.")
        typer.echo(on_one_line(current[0]))
        return
    if json:
        rows = [asdict(key) for key in keys]
        for row in rows:
            pem = row["public_key_pem"]
            row["public_key_one_line"] = on_one_line(pem) if pem else None
        typer.echo(as_json(rows))
        return
    if not keys:
        typer.echo(f"{name} has no AS transport key. `receiver as-key new {name}` makes a pair for the network.")
    for key in keys:
        record = asdict(key)
        pem = record.pop("public_key_pem")
        print_record(record, json=False)
        typer.echo(f"\n{pem}" if pem and key.state != "replaced" else "")


@app.command()
def escrow(
    name: NameArgument,
    *,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The file to write; it must not be there yet.")],
    passphrase_file: PassphraseFileOption = None,
    json: JsonOption = False,
) -> None:
    """Write the AS transport keys and RSA private keys into a file that a passphrase opens."""
    from receiver.services.escrow import escrow as make_escrow
    from receiver.services.escrow_file import check_passphrase

    refuse_existing(out)
    with open_store() as store:
        passphrase = check_passphrase(read_passphrase(passphrase_file, twice=True))
        data = make_escrow(store.engine, store.keyring, utc_now(), name, passphrase)
    write_secret_file(out, data)
    if json:
        typer.echo(as_json({"name": name, "file": str(out), "size_bytes": len(data)}))
        return
    typer.echo(
        f"{out} holds the AS transport keys of {name}. Keep it and the passphrase in two places that are not this"
        f" machine. `receiver as-key import {name} --escrow {out}` restores them."
    )


def _print_public_key(name: str, pem: str, bits: int, *, json: bool) -> None:
    from receiver.thingpark.rsa_key import describe_public_key, one_line

    if not json:
        typer.echo(one_line(pem))
        return
    typer.echo(
        as_json(
            {
                "name": name,
                "rsa_bits": bits,
                "public_key_fingerprint": describe_public_key(pem)[1],
                "public_key_pem": pem,
                "public_key_one_line": one_line(pem),
            }
        )
    )


def _import(
    store: Store,
    name: str,
    wrapped: str | None,
    private_key: Path | None,
    clear: str | None,
    *,
    replace: bool,
    force: bool,
) -> ImportResult:
    from receiver.services.as_transport_keys import import_clear, import_wrapped

    if wrapped is None:
        text = read_secret(clear or "", "AS transport key")
        return import_clear(store.engine, store.keyring, utc_now(), name, text, replace=replace, force=force)
    pem = read_file(private_key, "private key", _MAX_KEY_FILE_BYTES) if private_key else None
    text = read_secret(wrapped, "wrapped key")
    return import_wrapped(store.engine, store.keyring, utc_now(), name, text, pem, replace=replace, force=force)


def _restore(
    store: Store, name: str, file: Path, passphrase_file: Path | None, *, replace: bool, force: bool
) -> RestoreResult:
    from receiver.services.escrow import restore_escrow
    from receiver.services.escrow_file import MAX_ESCROW_BYTES

    data = read_file(file, "escrow file", MAX_ESCROW_BYTES)
    passphrase = read_passphrase(passphrase_file, twice=False)
    return restore_escrow(store.engine, store.keyring, name, data, passphrase, replace=replace, force=force)


def _say_imported(name: str, result: ImportResult, *, json: bool) -> None:
    if json:
        typer.echo(as_json({"name": name, **asdict(result)}))
        return
    if result.was_active_already:
        typer.echo(f"This is the active AS transport key of {name} already (check value {result.key_check_value}).")
    else:
        typer.echo(f"The AS transport key of {name} is imported; its key check value is {result.key_check_value}.")
    typer.echo(result.sentence)
    _say_what_is_read_again(result.reports_to_read_again)
    typer.echo(
        f"The network does not keep this key: `receiver as-key escrow {name} --out FILE` writes a copy for the safe."
    )


def _say_restored(name: str, result: RestoreResult, *, json: bool) -> None:
    if json:
        typer.echo(as_json({"name": name, **asdict(result)}))
        return
    active = f" The active key's check value is {result.key_check_value}." if result.key_check_value else ""
    there = f" ({counted(result.already_there, 'key')} of the file there already)" if result.already_there else ""
    typer.echo(f"Restored into {name}: {counted(result.restored, 'key')}{there}.{active}")
    if result.sentence:
        typer.echo(result.sentence)
    _say_what_is_read_again(result.reports_to_read_again)


def _say_what_is_read_again(reports: int) -> None:
    if reports:
        typer.echo(f"To be read again, now that there is a key: {counted(reports, 'report')}.")
