"""Starts a command of the receiver as a person does: another process, with settings in its environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


def run(directory, database_url, *arguments, **settings):
    """Run `receiver ARGUMENTS` on the database, with the tests' keyring; `settings` are variables without prefix."""
    environment = {
        "RECEIVER_DATABASE_URL": database_url,
        "RECEIVER_DATA_DIR": str(directory / "data"),
        "RECEIVER_KEK": bytes(range(32)).hex(),
        **{f"RECEIVER_{name.upper()}": str(value) for name, value in settings.items()},
    }
    return subprocess.run(
        [sys.executable, "-m", "receiver", *arguments],
        cwd=directory,
        env={"PYTHONPATH": str(CHECKOUT), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
