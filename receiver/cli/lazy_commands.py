"""Commands that are loaded when they are asked for, so that none waits for the modules of all others.

    app = typer.Typer(cls=commands_at({"serve": "receiver.cli.serve:serve", "device": "receiver.cli.device:app"}))

A place is a module and what stands in it: a function, which is a command, or a `typer.Typer`, which is a group.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import Any

import typer
import typer.main
from typer.core import TyperGroup


class LazyCommands(MutableMapping[str, Any]):
    """Commands by name: the names are known from the start, a command is loaded when it is looked at."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = dict(places)
        self._loaded: dict[str, Any] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - Typer does not publish the type of its commands
        if name not in self._loaded:
            self._loaded[name] = _load(name, self._places[name])
        return self._loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:  # noqa: ANN401 - likewise
        self._places.setdefault(name, "")
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._places[name]
        self._loaded.pop(name, None)


def commands_at(places: Mapping[str, str]) -> type[TyperGroup]:
    """Give the class of a group of these commands, in this order; for `cls` of a `typer.Typer` that has a callback."""

    class Group(TyperGroup):
        def __init__(self, **options: Any) -> None:  # noqa: ANN401 - those of Typer's own class
            super().__init__(**options)
            self.commands = LazyCommands(places)

        def list_commands(self, _ctx: Any) -> list[str]:  # noqa: ANN401 - Typer does not publish its type
            return list(places)

    return Group


def _load(name: str, place: str) -> Any:  # noqa: ANN401 - Typer does not publish the type of its commands
    module, _, attribute = place.partition(":")
    found = getattr(import_module(module), attribute)
    if isinstance(found, typer.Typer):
        command: Any = typer.main.get_group(found)
    else:
        alone = typer.Typer(add_completion=False)
        alone.command(name)(found)
        command = typer.main.get_command(alone)
    command.name = name
    return command
