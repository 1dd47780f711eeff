"""`receiver forwarder`: where events are sent on to, by webhook or MQTT."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.forwarder_view import (
    LETTER_COLUMNS,
    LIST_COLUMNS,
    as_record,
    as_row,
    letter_row,
    print_details,
    print_replayed,
    print_secret,
)
from receiver.cli.secret_io import read_secret
from receiver.cli.store import JsonOption, as_json, counted, open_store, print_record, print_rows, utc_now
from receiver.cli.time_option import parse_moment, parse_optional_moment

if TYPE_CHECKING:
    from datetime import datetime

    from receiver.services.forwarder_settings import MqttOptions, Wants, WebhookOptions
    from receiver.services.forwarders import Begin

app = typer.Typer(no_args_is_help=True, help="Send events on to your own systems: webhooks and MQTT.")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The forwarder's name.", show_default=False)]
UrlArgument = Annotated[str, typer.Argument(metavar="URL", help="Where to.", show_default=False)]
TypeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--type", metavar="TYPE", help="Only these: uplink, telemetry, rejection, downlink, alarm. May be repeated."
    ),
]
DeviceOption = Annotated[list[str] | None, typer.Option("--device", metavar="EUI", help="Only of these devices.")]
ConnectionOption = Annotated[
    list[str] | None, typer.Option("--connection", metavar="NAME", help="Only of these connections.")
]
PortOption = Annotated[list[int] | None, typer.Option("--port", metavar="N", help="Only of these FPorts.")]
SinceOption = Annotated[
    str | None, typer.Option(metavar="T", help="Begin with what was told since: ISO 8601, or a span like 2h or 7d.")
]
FromStartOption = Annotated[bool, typer.Option("--from-start", help="Begin with the oldest event that is kept.")]
GiveUpOption = Annotated[
    str, typer.Option("--give-up-after", metavar="SPAN", help="For how long one event is tried: 90s, 15m, 24h, 7d.")
]
CaFileOption = Annotated[str | None, typer.Option(metavar="FILE", help="Trust only these authorities (PEM).")]
SecretOption = Annotated[
    str | None,
    typer.Option(
        metavar="whsec_…", help="The signing secret, - for standard input; else one is made.", show_default=False
    ),
]
_MAX_ID = 2**63 - 1


@app.command("add-webhook")
def add_webhook(
    name: NameArgument,
    url: UrlArgument,
    *,
    types: TypeOption = None,
    devices: DeviceOption = None,
    connections: ConnectionOption = None,
    ports: PortOption = None,
    since: SinceOption = None,
    from_start: FromStartOption = False,
    give_up_after: GiveUpOption = "24h",
    secret: SecretOption = None,
    ca_file: CaFileOption = None,
    plain_http: Annotated[bool, typer.Option("--plain-http", help="Allow http:// to another machine.")] = False,
    json: JsonOption = False,
) -> None:
    """Send events as signed webhooks (Standard Webhooks); shows the signing secret, this once."""
    from receiver.services.forwarder_settings import WebhookOptions, parse_wants

    options = WebhookOptions(ca_file=ca_file, plain_http=plain_http)
    wants = parse_wants(types or [], devices or [], connections or [], ports or [])
    _add(name, url, options, wants, (since, from_start, give_up_after), secret, json=json)


@app.command("add-mqtt")
def add_mqtt(
    name: NameArgument,
    url: UrlArgument,
    *,
    topic: Annotated[
        str, typer.Option(help="With {type}, {dev_eui}, {connection}, {f_port}.")
    ] = "lora/{connection}/{dev_eui}/{type}",
    username: Annotated[str | None, typer.Option(help="The user name at the broker.")] = None,
    password: Annotated[
        str | None, typer.Option(metavar="-", help="The password; - reads it from standard input.", show_default=False)
    ] = None,
    client_id: Annotated[str | None, typer.Option(help="Instead of one that is made.", show_default=False)] = None,
    mqtt_version: Annotated[
        str, typer.Option(metavar="3.1.1|5", help="With 5 a broker says why it refuses.")
    ] = "3.1.1",
    retain: Annotated[bool, typer.Option("--retain", help="Have the broker keep the last message of a topic.")] = False,
    types: TypeOption = None,
    devices: DeviceOption = None,
    connections: ConnectionOption = None,
    ports: PortOption = None,
    since: SinceOption = None,
    from_start: FromStartOption = False,
    give_up_after: GiveUpOption = "24h",
    ca_file: CaFileOption = None,
    cert_file: Annotated[str | None, typer.Option(metavar="FILE", help="A client certificate (PEM).")] = None,
    key_file: Annotated[str | None, typer.Option(metavar="FILE", help="Its key (PEM, no passphrase).")] = None,
    plain_mqtt: Annotated[bool, typer.Option("--plain-mqtt", help="Allow mqtt:// to another machine.")] = False,
    json: JsonOption = False,
) -> None:
    """Publish events to an MQTT broker, QoS 1."""
    from receiver.services.forwarder_settings import MqttOptions, parse_wants

    options = MqttOptions(
        topic=topic,
        client_id=client_id,
        username=username,
        version=mqtt_version,
        retain=retain,
        plain_mqtt=plain_mqtt,
        ca_file=ca_file,
        cert_file=cert_file,
        key_file=key_file,
    )
    wants = parse_wants(types or [], devices or [], connections or [], ports or [])
    _add(name, url, options, wants, (since, from_start, give_up_after), password, json=json)


@app.command("list")
def list_(*, json: JsonOption = False) -> None:
    """List the forwarders: how far each is, what it waits for, and the last error."""
    from receiver.services.forwarders import list_forwarders

    with open_store() as store:
        rows = [as_row(view) for view in list_forwarders(store.engine, utc_now())]
    if not rows and not json:
        typer.echo("There is no forwarder yet: `receiver forwarder add-webhook NAME URL` makes one.")
    else:
        print_rows(rows, LIST_COLUMNS, json)


@app.command()
def show(name: NameArgument, *, json: JsonOption = False) -> None:
    """Show one with its settings. Secrets are never shown."""
    from receiver.services.forwarders import get_forwarder

    with open_store() as store:
        details = get_forwarder(store.engine, utc_now(), name)
    if json:
        typer.echo(as_json(as_record(details)))
    else:
        print_details(details)


@app.command()
def pause(name: NameArgument, *, json: JsonOption = False) -> None:
    """Send nothing more until it is resumed. Events are kept for it for a week, whatever their age."""
    from receiver.services.forwarders import pause_forwarder

    with open_store() as store:
        pause_forwarder(store.engine, utc_now(), name)
    typer.echo(as_json({"name": name, "paused": True}) if json else f"{name} is paused.")


@app.command()
def resume(name: NameArgument, *, json: JsonOption = False) -> None:
    """Go on where it stopped."""
    from receiver.services.forwarders import resume_forwarder

    with open_store() as store:
        lost = resume_forwarder(store.engine, name)
    told = f" {counted(lost, 'event')} were deleted while it was paused, and will not be sent." if lost else ""
    typer.echo(as_json({"name": name, "paused": False, "lost": lost}) if json else f"{name} goes on.{told}")


@app.command()
def remove(name: NameArgument, *, json: JsonOption = False) -> None:
    """Remove it with its secrets, what it tries again, and its dead letters."""
    from receiver.services.forwarders import remove_forwarder

    with open_store() as store:
        backlog = remove_forwarder(store.engine, name)
    if json:
        left = {"events": backlog.events, "retries": backlog.retries, "dead_letters": backlog.dead_letters}
        typer.echo(as_json({"name": name, "removed": True, "not_sent": left}))
        return
    letters = counted(backlog.dead_letters, "dead letter")
    events = counted(backlog.events + backlog.retries, "event")
    typer.echo(f"{name} is removed; it had not sent {events}, and had {letters}.")


@app.command("test")
def try_it(name: NameArgument, *, json: JsonOption = False) -> None:
    """Send one event of type `test` now, and say what came back. Exit code 1: it was not taken."""
    from receiver.services.forward_letters import send_test
    from receiver.services.forward_targets import Verdict

    with open_store() as store:
        outcome = send_test(store.engine, store.keyring, utc_now, name)
    is_taken = outcome.verdict is Verdict.TAKEN
    print_record({"name": name, "taken": is_taken, "answer": outcome.sentence}, json)
    if not is_taken:
        raise typer.Exit(1)


@app.command("dead-letters")
def dead_letters(
    name: NameArgument,
    *,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, oldest event first.")] = 50,
    after: Annotated[int, typer.Option(metavar="ID", min=0, help="Only events behind this one: the next page.")] = 0,
    json: JsonOption = False,
) -> None:
    """List events that were given up, with the last error of each."""
    from receiver.services.forward_letters import list_dead_letters

    with open_store() as store:
        letters = list_dead_letters(store.engine, name, after, limit)
    print_rows((letter_row(letter) for letter in letters), LETTER_COLUMNS, json)


@app.command()
def replay(
    name: NameArgument,
    event_ids: Annotated[
        list[int] | None,
        typer.Argument(metavar="[ID]...", min=1, max=_MAX_ID, help="Dead letters.", show_default=False),
    ] = None,
    *,
    all_dead: Annotated[bool, typer.Option("--all-dead", help="All dead letters.")] = False,
    since: Annotated[str | None, typer.Option(metavar="T", help="Events told since, from those that are kept.")] = None,
    until: Annotated[str | None, typer.Option(metavar="T", help="Only those told before.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent; change nothing.")] = False,
    json: JsonOption = False,
) -> None:
    """Send dead letters, or events of the past, again: each device's in order, beside what is new of it."""
    from receiver.services.forward_letters import replay_dead_letters, replay_history

    if [bool(event_ids), all_dead, since is not None].count(True) != 1 or (until is not None and since is None):
        raise typer.BadParameter("Give IDs of dead letters, or --all-dead, or --since T with or without --until T.")
    now = utc_now()
    with open_store() as store:
        if since is not None:
            begin, end = parse_moment(since, now), parse_optional_moment(until, now)
            result = replay_history(store.engine, now, name, begin, end, dry_run=dry_run)
        else:
            result = replay_dead_letters(store.engine, now, name, event_ids or None, dry_run=dry_run)
    print_replayed(result.events, result.not_found, json, dry_run)


@app.command("rotate-secret")
def rotate_secret(
    name: NameArgument,
    *,
    secret: Annotated[
        str | None, typer.Option(metavar="SECRET", help="The new one, - for standard input.", show_default=False)
    ] = None,
    finish: Annotated[bool, typer.Option("--finish", help="Sign with the new secret only, from now on.")] = False,
    json: JsonOption = False,
) -> None:
    """Give a webhook a new secret beside the old one; both sign until --finish. A broker's password is replaced."""
    from receiver.services.forwarders import finish_rotation
    from receiver.services.forwarders import rotate_secret as rotate

    if finish and secret is not None:
        raise typer.BadParameter("Give either --secret or --finish.")
    with open_store() as store:
        if finish:
            finish_rotation(store.engine, name)
            typer.echo(as_json({"name": name, "finished": True}) if json else f"{name} signs with its new secret only.")
            return
        given = None if secret is None else read_secret(secret, "new secret")
        shown = rotate(store.engine, store.keyring, utc_now(), name, given)
    if shown is not None and given is None:
        print_secret(name, shown, json)
    else:
        typer.echo(as_json({"name": name, "rotated": True}) if json else f"{name} has its new secret.")


def _add(
    name: str,
    url: str,
    options: WebhookOptions | MqttOptions,
    wants: Wants,
    times: tuple[str | None, bool, str],
    secret: str | None,
    *,
    json: bool,
) -> None:
    from receiver.services.forwarders import add_forwarder

    now = utc_now()
    since, from_start, give_up_after = times
    if since is not None and from_start:
        raise typer.BadParameter("Give either --since or --from-start.")
    begin: Begin | datetime = "start" if from_start else "now"
    given = None if secret is None else read_secret(secret, "secret")
    with open_store() as store:
        shown = add_forwarder(
            store.engine,
            store.keyring,
            now,
            name=name,
            url=url,
            options=options,
            wants=wants,
            secret=given,
            give_up_after=_span(give_up_after, now),
            begin=begin if since is None else parse_moment(since, now),
        )
    if shown is not None and given is None:
        print_secret(name, shown, json)
    else:
        typer.echo(as_json({"name": name, "added": True}) if json else f"{name} is added.")
    if not json:
        typer.echo(f"`receiver forwarder test {name}` sends one event to try it; the worker begins within seconds.")


def _span(text: str, now: datetime) -> timedelta:
    span = now - parse_moment(text, now)
    if not text.strip()[:1].isdigit() or "-" in text or span <= timedelta():
        raise typer.BadParameter(f"{text[:40]!r} is not a span of time: give one like 90s, 15m, 24h, 7d.")
    return span
