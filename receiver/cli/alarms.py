"""`receiver alarms`: what the networks raised of devices, acknowledged from here, polled now."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.store import JsonOption, as_json, as_text, counted, open_store, print_record, print_rows, utc_now
from receiver.cli.time_option import parse_optional_moment

if TYPE_CHECKING:
    from receiver.services.alarm_acks import Acknowledged
    from receiver.services.polls import PollView
    from receiver.storage.alarms import AlarmState

app = typer.Typer(
    no_args_is_help=True, help="Alarms that the networks raise of devices: list, show, acknowledge, poll."
)

IdArgument = Annotated[
    int, typer.Argument(metavar="ID", min=0, max=2**63 - 1, help="As `alarms list` has it.", show_default=False)
]
AccountOption = Annotated[
    str | None, typer.Option("--account", metavar="NAME", help="Only of this account.", show_default=False)
]

_BY = "command"
_COLUMNS = ("id", "dev_eui", "device", "alarm", "state", "occurrence", "acked", "info", "changed_at", "account")
_POLL_COLUMNS = ("account", "what", "done_at", "due_at", "result", "failures", "failed_at", "failure")

_NONE_POLLED = (
    "No account is polled yet: `receiver kpn-lora account add` or `receiver thingpark account add` makes one known, and"
    " the worker polls it."
)


@app.command("list")
def list_(
    *,
    device: Annotated[str | None, typer.Option(metavar="EUI", help="Only those of this device.")] = None,
    account: AccountOption = None,
    type_: Annotated[
        int | None, typer.Option("--type", metavar="N", min=0, max=2**31 - 1, help="Only of this type, such as 4.")
    ] = None,
    state: Annotated[
        str, typer.Option(metavar="S", help="Those in this state or a graver one; CLEARED for all.")
    ] = "INDETERMINATE",
    acked: Annotated[
        bool | None, typer.Option("--acked/--unacked", help="Only those that are acknowledged, or the others.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="T", help="Only those that changed since: ISO 8601, or a span like 2h or 7d.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="T", help="Only those that changed last before.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, those seen last first.")] = 50,
    before: Annotated[
        int | None, typer.Option(metavar="ID", min=0, max=2**63 - 1, help="Only older ones than this: the next page.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """List alarms that are not cleared, those seen last first."""
    from receiver.lorawan.identifiers import parse_device
    from receiver.services.alarms import list_alarms
    from receiver.services.polls import list_polls
    from receiver.services.traffic_polling import polled_accounts
    from receiver.storage.alarms import AlarmFilter

    now = utc_now()
    wanted = AlarmFilter(
        dev_eui=None if device is None else parse_device(device),
        account=account,
        type_id=type_,
        least_state=_state(state),
        acked=acked,
        since=parse_optional_moment(since, now),
        until=parse_optional_moment(until, now),
    )
    with open_store() as store:
        if account is not None:
            polled_accounts(store.engine, account)  # a name that is wrong is told, not answered with nothing
        rows = list_alarms(store.engine, wanted, limit=limit, before_id=before)
        polls = list_polls(store.engine)
    print_rows((asdict(row) for row in rows), _COLUMNS, json)
    for line in _warnings(polls):
        typer.echo(f"receiver: {as_text(line)}", err=True)


@app.command()
def show(alarm_id: IdArgument, *, json: JsonOption = False) -> None:
    """Show one alarm with all that its network says of it."""
    from receiver.services.alarms import get_alarm

    with open_store() as store:
        alarm = get_alarm(store.engine, alarm_id)
    record = asdict(alarm)
    if not json:
        record |= {"infos": ", ".join(alarm.infos)}
        del record["info"]
    print_record(record, json)


@app.command()
def ack(
    alarm_ids: Annotated[
        list[int] | None, typer.Argument(metavar="[ID]...", help="As `alarms list` has them.", show_default=False)
    ] = None,
    *,
    device: Annotated[str | None, typer.Option(metavar="EUI", help="All alarms of this device.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All alarms.")] = False,
    account: AccountOption = None,
    json: JsonOption = False,
) -> None:
    """Acknowledge alarms at their networks. Their state stays; one that gets worse has to be acknowledged again."""
    from receiver.lorawan.identifiers import parse_device
    from receiver.services.alarm_acks import acknowledge
    from receiver.services.traffic_polling import polled_accounts
    from receiver.storage.alarms import AlarmFilter

    if sum((bool(alarm_ids), device is not None, everything)) != 1:
        raise typer.BadParameter("Say which: one or more IDs, or --device, or --all; one of them.")
    if account is not None and not everything:
        raise typer.BadParameter("--account goes with --all.")
    if any(not 0 <= alarm_id < 2**63 for alarm_id in alarm_ids or ()):
        raise typer.BadParameter("An ID is a whole number, as `alarms list` has it.")
    dev_eui = None if device is None else parse_device(device)
    wanted = AlarmFilter(dev_eui=dev_eui, account=account, acked=False)
    with open_store() as store:
        if account is not None:
            polled_accounts(store.engine, account)
        if alarm_ids:
            done = acknowledge(store.engine, store.keyring, utc_now, ids=alarm_ids, by=_BY)
        else:
            done = acknowledge(store.engine, store.keyring, utc_now, wanted=wanted, by=_BY)
    if json:
        refused = [{"id": alarm_id, "reason": str(reason)} for alarm_id, reason in done.refused]
        typer.echo(as_json({"acked": done.acked, "before": done.before, "refused": refused}))
    else:
        _say(done)
    if done.refused:
        raise typer.Exit(1)


@app.command()
def poll(*, account: AccountOption = None, json: JsonOption = False) -> None:
    """Ask the networks for their alarms now. The worker does this by itself every few minutes."""
    from receiver.errors import ReceiverError, StorageUnavailableError
    from receiver.services.polling import poll_now
    from receiver.services.polls import polled_of
    from receiver.services.traffic_polling import polled_accounts
    from receiver.storage.platform_polls import Polled

    rows: list[dict[str, object]] = []
    with open_store() as store:
        for one in polled_accounts(store.engine, account):
            for what in (each for each in polled_of(one.surface) if each is not Polled.TRAFFIC):
                row: dict[str, object] = {"account": one.name, "what": what.value, "result": None, "failure": None}
                try:
                    row["result"] = poll_now(store.engine, store.keyring, utc_now, one, what)
                except StorageUnavailableError:
                    raise
                except ReceiverError as exc:
                    row["failure"] = str(exc)
                rows.append(row)
    if json:
        print_rows(rows, (), json)
    else:
        for row in rows:
            said = row["failure"] or _result(row["result"])
            typer.echo(f"{row['account']}, {row['what']}: {as_text(said)}")
    if any(row["failure"] is not None for row in rows):
        raise typer.Exit(1)


@app.command()
def accounts(*, json: JsonOption = False) -> None:
    """List the accounts that are polled: when it was done last, when it is due next, and what failed."""
    from receiver.services.polls import list_polls

    with open_store() as store:
        rows = [asdict(row) for row in list_polls(store.engine)]
    print_rows(rows if json else ({**row, "result": _result(row["result"])} for row in rows), _POLL_COLUMNS, json)


def _state(text: str) -> AlarmState:
    from receiver.storage.alarms import AlarmState

    try:
        return AlarmState(text.upper())
    except ValueError as exc:
        states = ", ".join(state.value for state in AlarmState)
        raise typer.BadParameter(f"{text[:40]!r} is not a state: there are {states}.") from exc


def _say(done: Acknowledged) -> None:
    if done.acked or not (done.before or done.refused):
        typer.echo(f"{counted(len(done.acked), 'alarm')} acknowledged.")
    if done.before:
        typer.echo(f"{counted(len(done.before), 'alarm')} had been acknowledged before.")
    for alarm_id, reason in done.refused:
        typer.echo(f"receiver: alarm {alarm_id}: {as_text(reason)}", err=True)


def _result(result: object) -> str:
    if not isinstance(result, dict):
        return "-"
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in result.items()) or "-"


def _warnings(polls: list[PollView]) -> list[str]:
    """Say of which accounts this is not the newest."""
    if not polls:
        return [_NONE_POLLED]
    return [
        f"The {row.what.value} of {row.account} could not be polled since {as_text(row.done_at or row.failed_at)}:"
        f" {row.failure}"
        for row in polls
        if row.failure is not None and row.what.value == "alarms"
    ]
