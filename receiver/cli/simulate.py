"""`receiver simulate`: one signed report, or a whole network of devices, pushed to a receiver."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import aclosing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import unquote, urlsplit

import typer

from receiver.cli.delivery_view import DeliveryView, format_request
from receiver.cli.secret_io import STANDARD_INPUT, read_secret
from receiver.cli.simulate_platforms import platforms
from receiver.cli.store import JsonOption, as_json, utc_now
from receiver.errors import IdentifierError, SettingsError
from receiver.lorawan.keys import AesKey, parse_aes_key
from receiver.simulator.body_writer import ContentType
from receiver.simulator.kinds import ReportKind, make_report
from receiver.simulator.loopback_server import LoopbackServer
from receiver.simulator.lrc import V1_PATH, V2_PATH, SimulatedLrc
from receiver.simulator.network import SimulatedNetwork
from receiver.simulator.planner import USUAL_MIX, Scenario
from receiver.simulator.push_client import DEFAULT_TIMEOUT_S, PushClient, Strategy
from receiver.simulator.scenarios import run_network
from receiver.simulator.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from receiver.simulator.push import Push
    from receiver.simulator.push_client import Delivery

app = typer.Typer(no_args_is_help=True, help="Be the network: sign reports and push them.")
app.command()(platforms)

_HERE = "https://127.0.0.1:8443/push/field"
_PORTED = {
    ReportKind.UPLINK: "uplink",
    ReportKind.DOWNLINK_SENT: "downlink_sent",
    ReportKind.DOWNLINK_REJECTED: "downlink_rejected",
    ReportKind.MULTICAST_SUMMARY: "multicast_summary",
}

KeyOption = Annotated[
    str,
    typer.Option(
        metavar="HEX",
        envvar="RECEIVER_SIMULATE_KEY",
        help="The connection's tunnel key; `-` reads it from standard input.",
        show_default=False,
    ),
]
AsTransportKeyOption = Annotated[
    str | None,
    typer.Option(
        metavar="HEX",
        envvar="RECEIVER_SIMULATE_AS_TRANSPORT_KEY",
        help="The AS transport key: payloads are encrypted, AppSKeys wrapped under it. `-` reads it.",
    ),
]
AsIdOption = Annotated[
    str | None, typer.Option(metavar="ID", help="The AS_ID of the query; else the last part of the URL.")
]
UrlOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="URL", help=f"Where to push, {_HERE} if not given; once more for each further URL of a route."
    ),
]
CaFileOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Certificates to trust, PEM: a CA's, or a self-signed server's.")
]
InsecureOption = Annotated[bool, typer.Option("--insecure", help="Do not verify TLS; to this machine only.")]
AllowRemoteOption = Annotated[bool, typer.Option("--allow-remote", help="Push to other machines than this one.")]
StrategyOption = Annotated[Strategy, typer.Option(help="Stop at the first URL that takes it, or push to all.")]
TimeoutOption = Annotated[float, typer.Option(metavar="S", min=0.1, max=600, help="How long to wait for an answer.")]
SkewOption = Annotated[
    float, typer.Option(metavar="S", min=-86_400, max=86_400, help="How far the network's clock is ahead.")
]
MaxDeviationOption = Annotated[
    float, typer.Option(metavar="S", min=0, help="What skew the receiver should tolerate; beyond it, it should refuse.")
]
SeedOption = Annotated[
    int | None, typer.Option(metavar="N", help="Of all that is drawn; another one each time if not given.")
]


@app.command()
def push(
    *,
    key: KeyOption,
    url: UrlOption = None,
    kind: Annotated[ReportKind, typer.Option(help="What to report.")] = ReportKind.UPLINK,
    content_type: Annotated[ContentType, typer.Option(help="How the body is spelled.")] = ContentType.TYPED_JSON,
    dev_eui: Annotated[str, typer.Option(metavar="EUI", help="The device.")] = "0200000000000001",
    dev_addr: Annotated[str | None, typer.Option(metavar="HEX", help="Its DevAddr; drawn if not given.")] = None,
    f_port: Annotated[int | None, typer.Option(min=1, max=255, help="FPort of an uplink or downlink.")] = None,
    payload: Annotated[str | None, typer.Option(metavar="HEX", help="FRMPayload of an uplink, in clear.")] = None,
    f_cnt: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="FCntUp of an uplink.")] = 0,
    as_id: AsIdOption = None,
    as_transport_key: AsTransportKeyOption = None,
    app_s_key: Annotated[
        str | None,
        typer.Option(
            metavar="HEX",
            help="The AppSKey; drawn if not given. Without an AS transport key it is not in the report: ABP.",
        ),
    ] = None,
    no_hsm: Annotated[bool, typer.Option("--no-hsm", help="Payloads in clear, no AppSKey.")] = False,
    skew: SkewOption = 0,
    max_deviation: MaxDeviationOption = 60,
    bad_token: Annotated[bool, typer.Option("--bad-token", help="With a wrong Token, which must be refused.")] = False,
    duplicate: Annotated[bool, typer.Option("--duplicate", help="Send the same delivery twice.")] = False,
    strategy: StrategyOption = Strategy.SEQUENTIAL,
    ca_file: CaFileOption = None,
    insecure: InsecureOption = False,
    allow_remote: AllowRemoteOption = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT_S,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the HTTP request and send nothing.")] = False,
    seed: SeedOption = None,
    json: JsonOption = False,
) -> None:
    """Push one report. Exits 1 if it was refused and should not have been, or the other way round."""
    urls = url or [_HERE]
    seed = secrets.randbelow(2**32) if seed is None else seed
    if payload is not None and kind is not ReportKind.UPLINK:
        raise typer.BadParameter("--payload goes with --kind uplink only.")
    if f_port is not None and kind not in _PORTED:
        raise typer.BadParameter(f"--f-port goes with --kind {', '.join(_PORTED)} only.")
    tunnel_key, transport_key = _read_keys(key, as_transport_key)
    session_key = None if app_s_key is None else _parse_key(read_secret(app_s_key, "AppSKey"), "--app-s-key")
    simulated = SimulatedNetwork(
        key=tunnel_key,
        clock=utc_now,
        as_id=_as_id(as_id, urls),
        as_transport_key=None if no_hsm else transport_key,
        seed=seed,
        skew=timedelta(seconds=skew),
        max_deviation=timedelta(seconds=max_deviation),
    )
    encrypted = not no_hsm and (transport_key is not None or session_key is not None)
    device = simulated.add_device(
        dev_eui=dev_eui,
        dev_addr=dev_addr or "",
        activation="abp" if kind is ReportKind.RESET else "otaa",
        payloads="encrypted" if encrypted else "clear",
        app_s_key_form="wrapped" if encrypted and transport_key is not None else "absent",
        f_cnt_up=f_cnt,
    )
    if session_key is not None:
        device.app_s_key = session_key
    if kind is ReportKind.UPLINK:
        report = simulated.uplink(device, payload=_parse_payload(payload), f_port=f_port, content_type=content_type)
    elif f_port is not None:
        report = getattr(simulated, _PORTED[kind])(device, f_port=f_port, content_type=content_type)
    else:
        report = make_report(simulated, device, kind, content_type=content_type)
    pushes = [simulated.forge(report) if bad_token else report]
    if duplicate:
        pushes.append(simulated.again(pushes[0]))
    if dry_run:
        _print_requests(pushes, urls, json=json)
        return
    client = PushClient(
        urls,
        strategy=strategy,
        ca_file=ca_file,
        insecure=insecure,
        allow_remote=allow_remote,
        timeout_s=timeout,
    )
    view, tally = DeliveryView(json=json), Tally()
    asyncio.run(_send(client, pushes, view, tally))
    view.conclude(tally, seed)


@app.command()
def network(
    *,
    key: KeyOption,
    url: UrlOption = None,
    strategy: StrategyOption = Strategy.SEQUENTIAL,
    devices: Annotated[int, typer.Option(metavar="N", help="How many devices there are.")] = 5,
    abp: Annotated[int, typer.Option(metavar="N", help="How many of them are ABP, with payloads in clear.")] = 0,
    rate: Annotated[float, typer.Option(metavar="R", help="Pushes per second.")] = 1.0,
    for_: Annotated[float, typer.Option("--for", metavar="S", help="How long, in seconds.")] = 60.0,
    count: Annotated[int, typer.Option(metavar="N", help="How many pushes at most.")] = 1_000,
    content_type: Annotated[
        Literal["xml", "jsontyped", "json", "mixed"], typer.Option(help="How bodies are spelled.")
    ] = "jsontyped",
    mix: Annotated[
        str | None, typer.Option(metavar="KIND=WEIGHT,…", help="What is reported: uplink=9,location=1 for example.")
    ] = None,
    as_id: AsIdOption = None,
    as_transport_key: AsTransportKeyOption = None,
    hsm: Annotated[
        bool | None, typer.Option("--hsm/--no-hsm", help="Payloads encrypted; if there is an AS transport key.")
    ] = None,
    late: Annotated[float, typer.Option(metavar="P", help="Probability of a late uplink.")] = 0,
    duplicates: Annotated[float, typer.Option(metavar="P", help="Probability of a repeated delivery or frame.")] = 0,
    rejoin: Annotated[float, typer.Option(metavar="P", help="Probability of a re-join or ABP reset.")] = 0,
    bad_tokens: Annotated[float, typer.Option(metavar="P", help="Probability of a push to be refused.")] = 0,
    downlink_port: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, max=65535, help="Take downlinks on this port of this machine; 0: a free one."),
    ] = None,
    skew: SkewOption = 0,
    max_deviation: MaxDeviationOption = 60,
    ca_file: CaFileOption = None,
    insecure: InsecureOption = False,
    allow_remote: AllowRemoteOption = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT_S,
    seed: SeedOption = None,
    json: JsonOption = False,
) -> None:
    """Run a network of devices. Exits 1 if one push was refused that should not have been, or the other way round."""
    urls = url or [_HERE]
    seed = secrets.randbelow(2**32) if seed is None else seed
    scenario = Scenario(
        devices=devices,
        abp_devices=abp,
        rate_per_s=rate,
        duration_s=for_,
        max_pushes=count,
        content_types=tuple(ContentType) if content_type == "mixed" else (content_type,),
        mix=USUAL_MIX if mix is None else _parse_mix(mix),
        late=late,
        duplicates=duplicates,
        rejoins=rejoin,
        bad_tokens=bad_tokens,
    )
    tunnel_key, transport_key = _read_keys(key, as_transport_key)
    if hsm and transport_key is None:
        raise SettingsError("--hsm wraps AppSKeys under the AS transport key: give it with --as-transport-key.")
    simulated = SimulatedNetwork(
        key=tunnel_key,
        clock=utc_now,
        as_id=_as_id(as_id, urls),
        as_transport_key=None if hsm is False else transport_key,
        seed=seed,
        skew=timedelta(seconds=skew),
        max_deviation=timedelta(seconds=max_deviation),
    )
    client = PushClient(
        urls,
        strategy=strategy,
        ca_file=ca_file,
        insecure=insecure,
        allow_remote=allow_remote,
        timeout_s=timeout,
    )
    view, tally = DeliveryView(json=json), Tally()
    lrc = SimulatedLrc(simulated, seed=seed)
    with _taking_downlinks(lrc, downlink_port), suppress(KeyboardInterrupt):  # what was pushed so far is summed up
        asyncio.run(_run(client, lrc, scenario, view, tally))
    view.conclude(tally, seed)


async def _send(client: PushClient, pushes: Sequence[Push], view: DeliveryView, tally: Tally) -> None:
    async with client:
        for one in pushes:
            delivery = await client.deliver(one)
            tally.add(delivery)
            view.show(delivery)


async def _run(client: PushClient, lrc: SimulatedLrc, scenario: Scenario, view: DeliveryView, tally: Tally) -> None:
    async def deliver(push: Push) -> Delivery:
        delivery = await client.deliver(push)
        for report in lrc.after(push):
            of_report = await client.deliver(report)
            tally.add(of_report)
            view.show(of_report)
        return delivery

    async with client, aclosing(run_network(lrc.network, scenario, deliver)) as deliveries:
        async for delivery in deliveries:
            tally.add(delivery)
            view.show(delivery)


@contextmanager
def _taking_downlinks(lrc: SimulatedLrc, port: int | None) -> Iterator[None]:
    """Serve the network's downlink interface while the network runs, and say where; None: not at all."""
    if port is None:
        yield
        return
    server = LoopbackServer(lrc.answer, port)
    try:
        server.start()
    except OSError as exc:
        raise SettingsError(
            f"Port {port} cannot be listened to: {exc.strerror}. Give another --downlink-port."
        ) from exc
    typer.echo(f"Downlink URL: {server.origin}{V2_PATH} (version 1: {server.origin}{V1_PATH})", err=True)
    try:
        yield
    finally:
        server.stop()


def _print_requests(pushes: Sequence[Push], urls: Sequence[str], *, json: bool) -> None:
    for one in pushes:
        for url in urls:
            if json:
                request = {"method": "POST", "url": one.url(url), "headers": one.headers, "body": one.body.decode()}
                typer.echo(as_json(request))
            else:
                typer.echo(format_request(one, url))


def _as_id(as_id: str | None, urls: Sequence[str]) -> str:
    """Give the AS_ID: a connection's is its name if it was given no other, and its URL ends with the name."""
    found = as_id or unquote(urlsplit(urls[0]).path.rstrip("/").rpartition("/")[2])
    if not found:
        raise SettingsError(f"{urls[0]!r} does not end with a connection's name: give the AS_ID with --as-id.")
    return found


def _read_keys(key: str, as_transport_key: str | None) -> tuple[str, AesKey | None]:
    if key == as_transport_key == STANDARD_INPUT:
        raise SettingsError("Standard input holds one key: give the other in its variable (see --help).")
    tunnel_key = read_secret(key, "tunnel key")
    _parse_key(tunnel_key, "--key")
    if as_transport_key is None:
        return tunnel_key, None
    return tunnel_key, _parse_key(read_secret(as_transport_key, "AS transport key"), "--as-transport-key")


def _parse_key(text: str, option: str) -> AesKey:
    try:
        return parse_aes_key(text)
    except IdentifierError as exc:
        raise SettingsError(f"{option}: {exc}") from exc


def _parse_payload(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        return bytes.fromhex(text)
    except ValueError as exc:
        raise SettingsError(f"--payload has {len(text)} characters, which are not whole bytes of hex digits.") from exc


def _parse_mix(text: str) -> Mapping[ReportKind, float]:
    mix: dict[ReportKind, float] = {}
    for part in text.split(","):
        name, _, weight = part.strip().partition("=")
        try:
            mix[ReportKind(name)] = float(weight or 1)
        except ValueError as exc:
            raise SettingsError(
                f"--mix: {part.strip()!r} is not KIND=WEIGHT; the kinds are {', '.join(ReportKind)}."
            ) from exc
    return mix
