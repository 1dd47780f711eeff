"""`receiver serve` and `receiver worker`: the processes that take pushes and read them."""

from __future__ import annotations

import signal
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.errors import ReceiverError, SchemaError, SettingsError, StorageUnavailableError
from receiver.logs import configure, get_logger

if TYPE_CHECKING:
    import socket
    from types import FrameType

    from sqlalchemy import Engine

    from receiver.config import Settings
    from receiver.web.tls import ServerCertificate

JsonLogOption = Annotated[bool, typer.Option("--json", help="Log one JSON object a line.")]

SCHEMA_LOOK_S = 1.0
"""How often the worker asks for a database that was away at its start, or not upgraded yet."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What the server processes of one `serve` share; picklable."""

    settings: Settings
    cert_file: Path | None
    key_file: Path | None
    database_is_ready: bool = True


def serve(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "0.0.0.0",  # noqa: S104 - the network calls it
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8443,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate chain, PEM; read anew when it changes.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key, PEM without a passphrase.")] = None,
    plain_http: Annotated[bool, typer.Option(help="No TLS here: a proxy in front does it.")] = False,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Server processes; more than one wants PostgreSQL.")] = 1,
    without_worker: Annotated[bool, typer.Option(help="Do not read reports here; `receiver worker` does.")] = False,
    json: JsonLogOption = False,
) -> None:
    """Take the network's pushes over HTTPS, and read them, until told to stop."""
    from receiver.supervisor import Supervisor
    from receiver.web.server import listen
    from receiver.web.tls import ServerCertificate

    settings = _load_settings(json=json)
    configure(settings.log_level, settings.log_format)
    _check_tls_options(tls_cert, tls_key, plain_http=plain_http)
    certificate = ServerCertificate(tls_cert, tls_key) if tls_cert and tls_key else None
    database_is_ready = _prepare_database(settings)
    settings.open_keyring()  # made here, once, before several processes ask for it
    listener = listen(host, port)
    scheme = "http" if certificate is None else "https"
    _log.info("listening", url=f"{scheme}://{host}:{listener.getsockname()[1]}/push/<connection>", workers=workers)
    supervisor = Supervisor()
    try:
        if not without_worker:
            supervisor.add("worker", worker_process, settings, database_is_ready)
        if workers == 1:
            supervisor.watch()
            _run_server(settings, listener, certificate, database_is_ready=database_is_ready)
        else:
            options = ServeOptions(settings, tls_cert, tls_key, database_is_ready)
            for number in range(workers):
                supervisor.add(f"server-{number + 1}", server_process, options, listener)
            supervisor.watch()
            _wait_for_signal()
    finally:
        listener.close()  # first, so that the network goes to its next URL and does not wait in the backlog
        supervisor.stop()


def _prepare_database(settings: Settings) -> bool:
    """Bring the schema up to date, or say that the database is away: pushes go to the spool then.

    Raises:
        SchemaError: its schema is not one to work with.
        StorageUnavailableError: a SQLite file cannot be used and never could be: most likely its path is wrong.
    """
    from receiver.storage.schema import prepare_schema

    try:
        upgraded = prepare_schema(settings.resolved_database_url, datetime.now(UTC))
    except StorageUnavailableError as exc:
        if settings.resolved_database_url.startswith("sqlite") and not settings.connections_cache_path.exists():
            raise
        _log.error("database_away_at_start", error=str(exc), until_then="pushes are kept in the spool")
        return False
    if upgraded.backup is not None:
        _log.info("database_upgraded", before=upgraded.before, after=upgraded.after, backup=str(upgraded.backup))
    return True


def _load_settings(*, json: bool) -> Settings:
    from receiver.config import load_settings

    return load_settings(log_format="json") if json else load_settings()


def _check_tls_options(tls_cert: Path | None, tls_key: Path | None, *, plain_http: bool) -> None:
    if plain_http and (tls_cert or tls_key):
        raise SettingsError("Give either --plain-http or --tls-cert and --tls-key, not both.")
    if not plain_http and (tls_cert is None or tls_key is None):
        raise SettingsError(
            "The networks push to HTTPS only. Give --tls-cert and --tls-key; or, behind a proxy that does TLS,"
            " --plain-http. (`receiver demo` makes a certificate for itself.)"
        )


def _run_server(
    settings: Settings, listener: socket.socket, certificate: ServerCertificate | None, *, database_is_ready: bool
) -> None:
    from receiver.storage.engine import open_engine
    from receiver.web.app import build_app
    from receiver.web.server import run_server

    engine = open_engine(settings.resolved_database_url)
    try:
        app = build_app(settings, engine, settings.open_keyring(), database_is_ready=database_is_ready)
        run_server(app, listener, certificate)
    finally:
        engine.dispose()


def server_process(options: ServeOptions, listener: socket.socket) -> None:
    """Be one of several servers on one listening socket."""
    from receiver.supervisor import end_with_parent
    from receiver.web.tls import ServerCertificate

    end_with_parent()
    settings = options.settings
    configure(settings.log_level, settings.log_format)
    try:
        certificate = (
            ServerCertificate(options.cert_file, options.key_file) if options.cert_file and options.key_file else None
        )
        _run_server(settings, listener, certificate, database_is_ready=options.database_is_ready)
    except ReceiverError as exc:
        _log.error("server_stopped", error=str(exc))
        raise SystemExit(1) from exc


def worker_process(settings: Settings, database_is_ready: bool = True) -> None:
    """Be the worker beside a server, which brings the schema up to date if it could not at the start."""
    from receiver.supervisor import end_with_parent

    end_with_parent()
    configure(settings.log_level, settings.log_format)
    try:
        _run_worker(settings, () if database_is_ready else (StorageUnavailableError, SchemaError))
    except ReceiverError as exc:
        _log.error("worker_stopped", error=str(exc))
        raise SystemExit(1) from exc


def worker(*, json: JsonLogOption = False) -> None:
    """Read stored reports into uplinks until told to stop. `receiver serve` does this too, unless told not to."""
    settings = _load_settings(json=json)
    configure(settings.log_level, settings.log_format)
    _run_worker(settings, (StorageUnavailableError,))


def _run_worker(settings: Settings, waits_for: tuple[type[ReceiverError], ...]) -> None:
    """Read, once the schema is current; what `waits_for` names is waited for. Without any it is not looked at."""
    from receiver.storage.engine import open_engine
    from receiver.worker import run_worker

    stop = threading.Event()
    _on_stop_signal(stop)
    engine = open_engine(settings.resolved_database_url)
    try:
        if waits_for:
            _wait_for_schema(engine, stop, waits_for)
        if not stop.is_set():
            _log.info("worker_started")
            run_worker(settings, engine, settings.open_keyring(), lambda: datetime.now(UTC), stop)
    finally:
        engine.dispose()


def _wait_for_schema(engine: Engine, stop: threading.Event, waits_for: tuple[type[ReceiverError], ...]) -> None:
    from receiver.storage.schema import require_current

    told: str | None = None
    while not stop.is_set():
        try:
            require_current(engine)
        except waits_for as exc:
            if str(exc) != told:  # once, and not each second of an outage
                told = str(exc)
                _log.warning("worker_waits_for_database", error=told)
            stop.wait(SCHEMA_LOOK_S)
        else:
            return


def _wait_for_signal() -> None:
    stop = threading.Event()
    _on_stop_signal(stop)
    stop.wait()


def _on_stop_signal(stop: threading.Event) -> None:
    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
