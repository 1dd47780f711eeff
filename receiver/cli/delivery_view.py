"""How simulated pushes and their answers are shown: a line or a JSON object each, and what came of them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.text import Text

from receiver.cli.store import as_json

if TYPE_CHECKING:
    from receiver.simulator.push import Push
    from receiver.simulator.push_client import Answer, Delivery
    from receiver.simulator.tally import Tally


class DeliveryView:
    """Prints deliveries as they come, and the summary at the end. No token and no payload is shown."""

    def __init__(self, *, json: bool) -> None:
        self._json = json
        self._console = Console(highlight=False, soft_wrap=True)

    def show(self, delivery: Delivery) -> None:
        """Print one delivery."""
        if self._json:
            typer.echo(as_json(_record(delivery)))
        else:
            self._console.print(_line(delivery))

    def conclude(self, tally: Tally, seed: int) -> None:
        """Print the summary. Ends the command with exit code 1 and one sentence if something went wrong."""
        if self._json:
            typer.echo(as_json({"summary": _summary(tally, seed)}))
        else:
            self._console.print(Text(_summary_text(tally, seed), style="bold"))
        if tally.verdict is not None:
            typer.echo(f"receiver: {tally.verdict}", err=True)
            raise typer.Exit(1)


def format_request(push: Push, url: str) -> str:
    """Give the HTTP request of `push` as text, Token and body included."""
    host, _, target = push.url(url).partition("://")[2].partition("/")
    lines = [f"POST /{target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in push.headers.items()]
    lines += [f"Content-Length: {len(push.body)}", "", push.body.decode()]
    return "\n".join(lines)


def _line(delivery: Delivery) -> Text:
    push = delivery.push
    counter = "" if push.f_cnt_up is None else f"FCnt {push.f_cnt_up}"
    port = "" if push.f_port is None else f"FPort {push.f_port}"
    kind = push.detail or push.kind.removeprefix("DevEUI_")
    line = Text(f"{push.sent_at:%H:%M:%S}  {kind:<17} {push.dev_eui}  {port:<9} {counter:<10} ")
    line.append(", ".join(_answer(answer) for answer in delivery.answers), _style(delivery))
    if push.fault:
        line.append(f"  {push.fault}", "dim")
    if not delivery.is_as_expected:
        line.append("  should have been " + ("accepted" if push.should_be_accepted else "refused"), "bold red")
    return line


def _answer(answer: Answer) -> str:
    return f"{answer.status or answer.error} {answer.elapsed_s * 1000:.1f} ms"


def _style(delivery: Delivery) -> str:
    if not delivery.is_as_expected:
        return "red"
    return "green" if delivery.was_accepted else "yellow"


def _record(delivery: Delivery) -> dict[str, object]:
    push = delivery.push
    return {
        "number": push.number,
        "kind": push.kind,
        "detail": push.detail or None,
        "content_type": push.content_type,
        "dev_eui": push.dev_eui,
        "dev_addr": push.dev_addr,
        "f_port": push.f_port,
        "f_cnt_up": push.f_cnt_up,
        "received_at": push.received_at,
        "sent_at": push.sent_at,
        "fault": push.fault or None,
        "should_be_accepted": push.should_be_accepted,
        "accepted": delivery.was_accepted,
        "as_expected": delivery.is_as_expected,
        "answers": [
            {"url": answer.url, "status": answer.status, "ms": _ms(answer.elapsed_s * 1000), "error": answer.error}
            for answer in delivery.answers
        ],
    }


def _summary(tally: Tally, seed: int) -> dict[str, object]:
    return {
        "pushes": tally.pushes,
        "accepted": tally.accepted,
        "refused": tally.refused,
        "unanswered": tally.unanswered,
        "not_as_expected": tally.missed + tally.wrongly_accepted + tally.unproven,
        "by_kind": dict(tally.by_kind),
        "by_fault": dict(tally.by_fault),
        "by_status": dict(tally.by_status),
        "median_ms": _ms(tally.quantile_ms(0.5)),
        "p99_ms": _ms(tally.quantile_ms(0.99)),
        "seed": seed,
    }


def _summary_text(tally: Tally, seed: int) -> str:
    median, p99 = tally.quantile_ms(0.5), tally.quantile_ms(0.99)
    times = f", median {median:.1f} ms, 99 % within {p99:.1f} ms" if median is not None and p99 is not None else ""
    return (
        f"{tally.pushes} pushes: {tally.accepted} accepted, {tally.refused} refused, "
        f"{tally.unanswered} unanswered{times}; --seed {seed} repeats it"
    )


def _ms(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 3)
