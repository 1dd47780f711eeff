"""What `connect`, `rotate-key` and `disconnect` print: what was done, and what is left for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from receiver.cli.store import as_json, as_text, counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from receiver.services.provisioning import Connected, Plan
    from receiver.services.provisioning_network import Network
    from receiver.services.provisioning_removal import Disconnected, RemovalPlan
    from receiver.services.provisioning_rotation import Rotated


def show_plan(name: str, plan: Plan, requests: Sequence[str], *, json: bool) -> None:
    """Print what `connect` would do: the requests that change something, and what is not as asked for."""
    differences = [str(one) for one in plan.differences]
    if json:
        typer.echo(as_json({"name": name, "step": plan.step, "requests": requests, "differences": differences}))
        return
    if not requests and not differences:
        typer.echo(f"Nothing is to be changed: {name} is connected.")
    _show_differences(differences)
    show_requests(requests, json=False)


def show_requests(requests: Sequence[str], *, json: bool) -> None:
    """Print requests that would be sent."""
    if json:
        typer.echo(as_json({"requests": list(requests)}))
        return
    for request in requests:
        typer.echo(f"Would be sent:\n{request}\n")
    typer.echo("Nothing was changed, neither here nor at the network.")


def show_connected(network: Network, done: Connected, *, json: bool) -> None:
    """Print what `connect` came to, and what is left."""
    standing, remote, wish = done.standing, done.remote, done.wish
    differences = [str(one) for one in done.differences]
    left = list(what_is_left(network, done))
    if json:
        record = {
            "name": wish.name,
            "step": done.step,
            "remote_id": remote.id,
            "remote_ref": remote.ref,
            "push_url": wish.push_url,
            "as_id": wish.as_id,
            "tunnel_key_id": standing.newest_key_id,
            "as_transport_key_check_value": standing.active_check_value,
            "done": list(done.done),
            "differences": differences,
            "left": left,
        }
        typer.echo(as_json(record))
        return
    where = as_text(remote.id or remote.ref)
    if done.done:
        typer.echo(f"\n{wish.name} is connected: {network.title} pushes to {wish.push_url} by {where}.")
    else:
        typer.echo(f"{wish.name} is connected already, by {where}; nothing was changed.")
    _show_differences(differences)
    typer.echo("\nWhat is left:")
    for sentence in left:
        typer.echo(f"  - {sentence}")


def what_is_left(network: Network, done: Connected) -> Iterable[str]:
    """Give what a person has to do, in sentences."""
    name, remote, standing = done.wish.name, done.remote, done.standing
    key_id = standing.newest_key_id
    given = standing.journal.key_id if standing.journal else None
    if done.differences:
        yield "What differs at the network stays so unless you run this with --update."
    if key_id != given:
        yield f"The network was not given tunnel key {key_id} yet: `receiver {network.surface} rotate-key {name}` does."
    yield (
        f"The network must reach {done.wish.push_url}, with a certificate that is publicly trusted and sent whole:"
        " else it pushes nothing and says nothing. `receiver doctor --url` looks at it from here."
    )
    yield f"Each device must be given {remote.id or remote.ref} at the network; until then nothing of it comes here."
    if network.surface == "kpn-lora" and not done.wish.default and not remote.is_default:
        yield "New devices get it only if they name it; --default makes it what they get otherwise."
    if remote.hsm_group is not None and standing.active_check_value is None:
        yield (
            "Its AS transport key is not here, so nothing can be decrypted:"
            f" `receiver {network.surface} rotate-key {name} --as-transport-key` has another one made."
        )
    elif standing.active_check_value is not None:
        yield (
            f"The network does not keep the AS transport key: `receiver as-key escrow {name} --out FILE` writes a copy"
            " for the safe."
        )


def show_rotated(network: Network, name: str, done: Rotated, *, json: bool) -> None:
    """Print what a rotation came to."""
    if json:
        kept = [{"key_id": key_id, "judgement": judgement} for key_id, judgement in done.kept]
        record = {"name": name, "tunnel_key_id": done.key_id, "retired": list(done.retired), "kept": kept}
        typer.echo(as_json({**record, "done": list(done.done)}))
        return
    if not done.done:
        typer.echo(f"Nothing was to be done: {name} has tunnel key {done.key_id} on both sides.")
    for key_id, judgement in done.kept:
        typer.echo(f"{key_id} is taken still: {judgement}.")
    if done.kept:
        typer.echo(
            f"Once `receiver connection keys {name}` finds an old key safe to retire,"
            f" `receiver {network.surface} rotate-key {name} --retire` retires it."
        )


def show_renewed(name: str, done: Sequence[str], check_value: str | None, *, json: bool) -> None:
    """Print what came of another AS transport key."""
    if json:
        typer.echo(as_json({"name": name, "as_transport_key_check_value": check_value, "done": list(done)}))
        return
    typer.echo(
        f"The key before it still reads what devices send until they join again. `receiver as-key escrow {name} --out"
        " FILE` writes a copy of both for the safe."
    )


def question_of_removal(network: Network, name: str, plan: RemovalPlan, *, remove_local: bool) -> str:
    """Give what is asked before something is deleted."""
    parts = []
    if plan.remote is not None:
        users = plan.users
        some = f" ({', '.join(users.some)}{', …' if users.count > len(users.some) else ''})" if users.some else ""
        used = f"it has {counted(users.count, 'device')}{some}, of which nothing would come here any more"
        unused = "no device uses it"
        parts.append(
            f"Delete the {network.noun} {as_text(plan.remote.id or plan.remote.ref)} of {name} at {network.title}"
            f" ({used if users.count else unused})?"
        )
    if remove_local:
        parts.append(
            f"Remove {name} here with its tunnel keys and AS transport keys? Without an escrow file the latter are"
            " lost; reports, uplinks and devices stay."
        )
    return " ".join(parts)


def show_disconnected(network: Network, name: str, done: Disconnected, *, json: bool) -> None:
    """Print what was taken away."""
    if json:
        record = {"name": name, "remote_id": done.remote.id if done.remote else None, "removed_here": bool(done.local)}
        typer.echo(as_json({**record, "done": list(done.done)}))
    elif done.local is None:
        typer.echo(
            f"{name} stays here with its keys: `receiver {network.surface} connect {name}` makes it there anew,"
            f" `receiver connection remove {name}` removes it."
        )


def _show_differences(differences: Sequence[str]) -> None:
    for difference in differences:
        typer.echo(f"Not as asked for: {as_text(difference)}.")
