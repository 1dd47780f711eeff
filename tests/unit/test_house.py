"""The plan of the house, held: who may import whom, what is pure, how long a module is, what the README names."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer

from receiver.config import CONFIG_VARIABLE, ENV_PREFIX, Settings
from receiver.keyring import KEK_BYTES, Keyring
from receiver.storage.engine import open_engine
from receiver.web.api import api_routes
from receiver.web.health import health_routes
from receiver.web.push import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "receiver"
MODULES = sorted(PACKAGE.rglob("*.py"))
LONGEST_LINES = 400

# Each room and the rooms it may import: always downwards, never back. A new room needs a line here.
ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "log_limit": set(),
    "logs": {"errors", "log_limit"},
    "keyring": {"errors", "lorawan"},
    "http_client": {"errors"},
    "platforms": {"errors", "http_client", "lorawan", "kpn_things"},
    "config": {"errors", "keyring"},
    "lorawan": {"errors"},
    "thingpark": {"errors", "lorawan"},
    "kpn_things": {"errors", "lorawan"},
    "codecs": {"errors", "logs", "lorawan", "kpn_things"},
    "storage": {"errors", "logs", "lorawan"},
    "services": {
        *("errors", "log_limit", "logs", "keyring", "http_client", "lorawan", "thingpark", "kpn_things", "codecs"),
        *("platforms", "storage"),
    },
    "simulator": {"errors", "logs", "lorawan", "thingpark"},
    "supervisor": {"errors", "logs"},
    "worker": {"errors", "logs", "keyring", "http_client", "codecs", "services", "storage", "config"},
    "web": {"errors", "logs", "keyring", "lorawan", "services", "storage"},
    "cli": {
        *("errors", "logs", "keyring", "config", "lorawan", "thingpark", "codecs", "platforms", "storage"),
        *("services", "simulator", "supervisor", "worker", "web"),
    },
}
SEE_CONFIG = {"cli", "worker", "web.app"}

PURE = ("lorawan", "thingpark", "kpn_things")
# What only computes. Files, sockets, clocks, logs, settings and randomness are not in it, and so not in a pure room.
COMPUTES = {
    *("__future__", "abc", "base64", "binascii", "bisect", "collections", "collections.abc", "contextlib"),
    *("dataclasses", "datetime", "decimal", "enum", "functools", "hashlib", "hmac", "itertools", "json", "math"),
    *("operator", "re", "string", "struct", "types", "typing", "urllib.parse", "cryptography", "lxml", "msgspec"),
}
ACTS = {
    *("now", "utcnow", "today"),  # the clock
    *("generate", "generate_private_key", "generate_key"),  # randomness of the cryptography package
    *("open", "print", "input", "read_text", "read_bytes"),
}
SQL = {"sqlalchemy", "alembic", "sqlite3", "psycopg"}
HANDLES = {"Engine", "Connection"}  # of SQLAlchemy: what other rooms pass on to storage
TERMINAL = {"typer", "click", "rich"}


@dataclass(frozen=True)
class Import:
    """One import: of which module, and which names of it (none for `import module`)."""

    module: str
    names: tuple[str, ...] = ()

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def room_of(module: str) -> str:
    return module.partition(".")[0]


def imports_of(path: Path) -> Iterator[Import]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively; the house imports by full name"
            yield Import(str(node.module), tuple(alias.name for alias in node.names))


def own_imports_of(path: Path) -> Iterator[str]:
    """Give the modules of this package that `path` imports, without the package's name."""
    for found in imports_of(path):
        if found.module == "receiver":
            yield from (name for name in found.names if name != "__version__")
        elif found.top == "receiver":
            module = found.module.removeprefix("receiver.")
            yield from (f"{module}.{name}" for name in found.names)


def in_rooms(*rooms: str) -> list[Path]:
    return [path for path in MODULES if room_of(name_of(path)) in rooms]


def ids(value: object) -> str | None:
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else None


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_imports_only_go_downwards(path):
    room = room_of(name_of(path))
    if room in {"", "__main__"}:  # the package itself, and `python -m receiver`
        return
    others = {room_of(module) for module in own_imports_of(path)} - {room}
    if name_of(path) in SEE_CONFIG:
        others -= {"config"}

    assert others <= ARROWS[room], f"{room} may not import {', '.join(sorted(others - ARROWS[room]))}"


def test_the_arrows_have_no_circle():
    seen: list[str] = []
    while len(seen) < len(ARROWS):
        free = [room for room, below in ARROWS.items() if room not in seen and below <= set(seen)]
        assert free, f"these rooms import each other in a circle: {sorted(set(ARROWS) - set(seen))}"
        seen += free


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_only_commands_the_app_and_the_worker_see_the_settings(path):
    module = name_of(path)
    if any(room_of(other) == "config" for other in own_imports_of(path)):
        assert module in SEE_CONFIG or room_of(module) in SEE_CONFIG


@pytest.mark.parametrize("path", in_rooms("simulator"), ids=ids)
def test_the_simulator_is_an_outside_actor(path):
    assert not {room_of(module) for module in own_imports_of(path)} & {"services", "storage", "web"}


@pytest.mark.parametrize("path", in_rooms(*PURE), ids=ids)
def test_a_pure_room_imports_only_what_computes(path):
    outside = [found for found in imports_of(path) if found.top != "receiver"]
    foreign = {found.module for found in outside if not {found.module, found.top} & COMPUTES}

    assert not foreign


@pytest.mark.parametrize("path", in_rooms(*PURE), ids=ids)
def test_a_pure_room_asks_no_clock_no_file_and_no_chance(path):
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    names = {call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", "") for call in calls}

    assert not names & ACTS


@pytest.mark.parametrize("path", [path for path in MODULES if path not in in_rooms("storage")], ids=ids)
def test_sql_is_written_in_storage_only(path):
    for found in imports_of(path):
        if found.top in SQL:
            assert found.module == "sqlalchemy"
            assert set(found.names) <= HANDLES


@pytest.mark.parametrize("path", [path for path in MODULES if path not in in_rooms("cli")], ids=ids)
def test_the_terminal_belongs_to_the_commands(path):
    assert not {found.top for found in imports_of(path)} & TERMINAL


@pytest.mark.parametrize("path", [*MODULES, *sorted((ROOT / "migrations").rglob("*.py"))], ids=ids)
def test_a_module_is_short_enough_to_be_read(path):
    assert len(path.read_text().splitlines()) <= LONGEST_LINES


def test_the_commands_are_known_without_loading_what_they_work_with():
    heavy = ("sqlalchemy", "alembic", "pyarrow", "uvicorn", "quickjs", "paho")
    load = "from receiver.cli.main import app; import sys, typer.main; dict(typer.main.get_command(app).commands)"
    script = f"{load}; print([name for name in {heavy} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"  # `receiver --help` is to be there at once


def test_a_command_starts_without_the_modules_of_the_others():
    script = "import sys, receiver.cli.main; print([name for name in sys.modules if name.startswith('receiver.')])"

    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)

    assert (
        done.stdout.strip() == "['receiver.cli', 'receiver.cli.lazy_commands', 'receiver.errors', 'receiver.cli.main']"
    )


@pytest.mark.parametrize("path", sorted((ROOT / "migrations" / "versions").glob("*.py")), ids=ids)
def test_a_migration_stands_by_itself(path):
    assert "receiver" not in {found.top for found in imports_of(path)}


@pytest.fixture(scope="session")
def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def settings() -> list[str]:
    return [CONFIG_VARIABLE, *(f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields)]


def commands() -> list[str]:
    from receiver.cli.main import app

    def walk(command: Any, words: tuple[str, ...]) -> Iterator[str]:
        children = getattr(command, "commands", None)
        if children is None:
            yield " ".join(words)
        else:
            for name, child in children.items():
                yield from walk(child, (*words, name))

    return sorted(walk(typer.main.get_command(app), ("receiver",)))


def routes() -> list[str]:
    engine = open_engine("sqlite:///never-opened.db")
    api = api_routes(engine, Keyring(bytes(KEK_BYTES)), lambda: datetime.now(UTC))
    paths = [route.path for route in (*health_routes(None), *api)]
    return [f"{PREFIX}{{connection}}", *(path for path in paths if ":path}" not in path)]  # that one is for 404


@pytest.mark.parametrize("setting", settings())
def test_every_setting_stands_in_the_readme(readme, setting):
    assert re.search(rf"\b{setting}\b", readme)


def test_every_setting_that_the_readme_names_exists(readme):
    # Some commands read a variable of their own, such as a passphrase; each stands in the code by its name.
    in_code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "receiver").rglob("*.py"))
    named = set(re.findall(rf"\b{ENV_PREFIX}[A-Z0-9_]+\b", readme)) - set(settings())
    assert {name for name in named if f'"{name}"' not in in_code} == set()


def test_every_command_stands_in_the_readme(readme):
    assert [command for command in commands() if not re.search(rf"\b{re.escape(command)}\b", readme)] == []


@pytest.mark.parametrize("route", routes())
def test_every_route_stands_in_the_readme(readme, route):
    assert re.search(rf"{re.escape(route)}(?![\w/])", readme)
