"""`receiver demo`: the whole thing on this machine, with a simulated network that pushes over real HTTPS."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.errors import SettingsError

if TYPE_CHECKING:
    import socket

    from sqlalchemy import Engine

    from receiver.cli.demo_view import DemoView
    from receiver.config import Settings
    from receiver.lorawan.keys import AesKey
    from receiver.simulator.lrc import SimulatedLrc
    from receiver.simulator.network import SimulatedNetwork
    from receiver.simulator.push import Push
    from receiver.simulator.push_client import Delivery

JsonLinesOption = Annotated[bool, typer.Option("--json", help="Print one JSON object a line, for programs.")]

CONNECTION = "demo"
AS_ID = "TWA_100000001.1.AS"
_MARKER = "made-by-receiver-demo"
_TAIL_S = 0.1
_SETTLE_S = 10.0  # how long the last uplinks may take from their answers to their rows


@dataclass(frozen=True, slots=True)
class _Setup:
    settings: Settings
    certificate: Path
    certificate_key: Path
    tunnel_key: str
    as_transport_key: AesKey
    key_check_value: str

    def __repr__(self) -> str:
        return f"_Setup({self.settings.data_dir})"


def demo(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the receiver; 0 takes a free one.")] = 8443,
    devices: Annotated[int, typer.Option(min=1, max=1000, help="How many devices the network has.")] = 5,
    rate: Annotated[float, typer.Option(min=0.01, max=200, help="Pushes per second.")] = 2.0,
    for_: Annotated[float | None, typer.Option("--for", metavar="S", help="End after so many seconds.")] = None,
    seed: Annotated[int | None, typer.Option(help="For the same devices and readings again.")] = None,
    data_dir: Annotated[Path, typer.Option(help="Made anew by each demo.")] = Path("receiver-demo"),
    json: JsonLinesOption = False,
) -> None:
    """Run receiver, worker and a simulated network on this machine, and show what arrives. Ctrl-C ends it.

    The network's payloads are end-to-end encrypted: their keys come as on a network with an HSM. It takes downlinks:
    the demo sends some, and `receiver downlink send` sends yours.
    """
    from receiver.cli.demo_view import DemoView
    from receiver.cli.serve import ServeOptions, server_process, worker_process
    from receiver.simulator.loopback_server import LoopbackServer
    from receiver.simulator.lrc import V2_PATH, SimulatedLrc
    from receiver.storage.engine import open_engine
    from receiver.supervisor import Supervisor
    from receiver.web.server import listen

    view = DemoView(data_dir, json=json)
    listener = _listen(listen, port)
    downlink_server = LoopbackServer()
    downlink_server.start()
    setup = _set_up(data_dir, downlink_server.origin + V2_PATH)
    url = f"https://127.0.0.1:{listener.getsockname()[1]}"
    view.introduce(url, CONNECTION, setup.key_check_value)
    supervisor = Supervisor()
    engine = open_engine(setup.settings.resolved_database_url)
    try:
        supervisor.add(
            "server", server_process, ServeOptions(setup.settings, setup.certificate, setup.certificate_key), listener
        )
        supervisor.add("worker", worker_process, setup.settings)
        supervisor.watch()
        network = _make_network(setup, seed if seed is not None else secrets.randbits(32))
        lrc = SimulatedLrc(network)
        downlink_server.answer = lrc.answer
        with suppress(KeyboardInterrupt):
            asyncio.run(_run(view, lrc, engine, setup, f"{url}/push/{CONNECTION}", devices, rate, for_))
    finally:
        supervisor.stop()
        downlink_server.stop()
        listener.close()
        _conclude(view, engine)
        engine.dispose()


def _listen(listen: object, port: int) -> socket.socket:
    try:
        return listen("127.0.0.1", port)  # type: ignore[operator,no-any-return]
    except SettingsError as exc:
        raise SettingsError(f"{exc} Give another one with --port, or 0 for any that is free.") from exc


def _set_up(data_dir: Path, downlink_url: str) -> _Setup:
    """Make database, certificate, connection and HSM keys, in a directory that is the demo's own."""
    from receiver.config import load_settings
    from receiver.services.as_transport_keys import import_wrapped, new_key_pair
    from receiver.services.connections import add_connection, new_tunnel_key
    from receiver.simulator.portal import SimulatedPortal
    from receiver.storage.engine import open_engine
    from receiver.storage.schema import prepare_schema
    from receiver.web.self_signed import make_self_signed_certificate

    if data_dir.exists() and not (data_dir / _MARKER).exists() and any(data_dir.iterdir()):
        raise SettingsError(
            f"{data_dir} is not empty and was not made by a demo, which would remove it. Give another --data-dir."
        )
    shutil.rmtree(data_dir, ignore_errors=True)
    data_dir.mkdir(parents=True, mode=0o700)
    (data_dir / _MARKER).touch()
    now = datetime.now(UTC)
    # Everything of its own: the settings of a real receiver on this machine stay out of it.
    settings = load_settings(
        data_dir=data_dir,
        database_url=f"sqlite:///{data_dir / 'receiver.db'}",
        kek_file=None,
        kek=None,
        public_url=None,
        log_level="warning",
        log_format="console",
        reading_idle_s=0.1,
    )
    prepare_schema(settings.resolved_database_url, now)
    keyring = settings.open_keyring()
    certificate, certificate_key = data_dir / "tls.crt", data_dir / "tls.key"
    make_self_signed_certificate(certificate, certificate_key, now)
    tunnel_key = new_tunnel_key()
    portal = SimulatedPortal(secrets.token_bytes(16))
    engine = open_engine(settings.resolved_database_url)
    try:
        add_connection(
            engine,
            keyring,
            now,
            name=CONNECTION,
            platform="kpn-lora",
            as_id=AS_ID,
            tunnel_key=tunnel_key,
            payloads="encrypted",
            downlink_url=downlink_url,
        )
        _add_codecs(engine, now)
        public_key = new_key_pair(engine, keyring, now, CONNECTION)
        imported = import_wrapped(engine, keyring, now, CONNECTION, portal.wrap_for(public_key))
    finally:
        engine.dispose()
    return _Setup(settings, certificate, certificate_key, tunnel_key, portal.as_transport_key, imported.key_check_value)


def _add_codecs(engine: Engine, now: datetime) -> None:
    """Let what the devices send become telemetry, each kind by its model, as the network names it."""
    from receiver.codecs.library import read_codec_file
    from receiver.services.codecs import Scope, add_codec, assign_codec
    from receiver.simulator.device_codecs import UNITS, script_of
    from receiver.simulator.sensors import SENSORS

    for kind, sensor in SENSORS.items():
        codec = replace(read_codec_file(script_of(kind)).codec, units=UNITS[kind])
        add_codec(engine, now, kind, codec, "the simulator")
        assign_codec(engine, now, kind, Scope(model=sensor.profile))


def _make_network(setup: _Setup, seed: int) -> SimulatedNetwork:
    from receiver.simulator.network import SimulatedNetwork

    return SimulatedNetwork(
        key=setup.tunnel_key,
        as_id=AS_ID,
        as_transport_key=setup.as_transport_key,
        seed=seed,
        clock=lambda: datetime.now(UTC),
    )


async def _run(
    view: DemoView,
    lrc: SimulatedLrc,
    engine: Engine,
    setup: _Setup,
    push_url: str,
    devices: int,
    rate: float,
    for_: float | None,
) -> None:
    from receiver.cli.demo_downlinks import send_downlinks
    from receiver.simulator.kinds import ReportKind
    from receiver.simulator.planner import USUAL_MIX
    from receiver.simulator.push_client import PushClient
    from receiver.simulator.scenarios import Scenario, run_network

    # These come when there were downlinks, and of these alone.
    of_downlinks = {ReportKind.DOWNLINK_SENT, ReportKind.DOWNLINK_REJECTED, ReportKind.MULTICAST_SUMMARY}

    scenario = Scenario(
        devices=devices,
        rate_per_s=rate,
        duration_s=for_ if for_ is not None else 30 * 86_400,
        max_pushes=10**9,
        content_types=("jsontyped", "jsontyped", "json", "xml"),
        mix={kind: weight for kind, weight in USUAL_MIX.items() if kind not in of_downlinks},
        late=0.02,
        duplicates=0.04,
        rejoins=0.01,
        bad_tokens=0.01,
    )
    tasks = [asyncio.create_task(_tail(view, engine)), asyncio.create_task(send_downlinks(view, engine))]
    try:
        async with PushClient([push_url], ca_file=setup.certificate) as client:
            await _until_ready(push_url, setup.certificate)

            async def deliver(push: Push) -> Delivery:
                delivery = await client.deliver(push)
                for report in lrc.after(push):
                    view.delivery(await client.deliver(report))
                return delivery

            async with aclosing(run_network(lrc.network, scenario, deliver)) as deliveries:
                async for delivery in deliveries:
                    view.delivery(delivery)
        await _until_read(engine)
        await asyncio.sleep(2 * _TAIL_S)
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


async def _until_ready(push_url: str, certificate: Path) -> None:
    """Wait until the server, which is being started, answers."""
    import ssl

    import httpx

    url = push_url.partition("/push/")[0] + "/healthz"
    context = ssl.create_default_context(cafile=str(certificate))
    deadline = asyncio.get_running_loop().time() + 30
    async with httpx.AsyncClient(verify=context, trust_env=False) as client:
        while asyncio.get_running_loop().time() < deadline:
            with suppress(httpx.HTTPError):
                await client.get(url, timeout=1)
                return
            await asyncio.sleep(0.1)
    raise SettingsError("The receiver did not come up within 30 s; what it says stands above.")


async def _until_read(engine: Engine) -> None:
    from receiver.storage.engine import read
    from receiver.storage.reports import list_unread_reports

    deadline = asyncio.get_running_loop().time() + _SETTLE_S
    while asyncio.get_running_loop().time() < deadline:
        with read(engine) as tx:
            if not list_unread_reports(tx, 1):
                return
        await asyncio.sleep(_TAIL_S)


async def _tail(view: DemoView, engine: Engine) -> None:
    from receiver.storage.engine import read
    from receiver.storage.uplink_queries import list_uplinks_since

    cursor = 0
    while True:
        with read(engine) as tx:
            newer = list_uplinks_since(tx, cursor, limit=200)
        for uplink in newer:
            cursor = uplink.id
            view.uplink(uplink)
        await asyncio.sleep(_TAIL_S)


def _conclude(view: DemoView, engine: Engine) -> None:
    from receiver.storage.engine import read
    from receiver.storage.overview import count_rows

    with read(engine) as tx:
        view.conclude(count_rows(tx))
