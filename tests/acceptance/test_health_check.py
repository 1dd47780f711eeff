"""The container's health check asks the running receiver, over TLS or without, and says so by its exit code."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.acceptance.running_receiver import ROOT


def health_check(port: int) -> int:
    environment = dict(os.environ, RECEIVER_HEALTH_CHECK_PORT=str(port))
    command = [sys.executable, "-m", "receiver.web.health_check"]
    return subprocess.run(command, env=environment, cwd=ROOT, timeout=30, check=False).returncode


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_receiver_that_runs_is_healthy_and_one_that_ended_is_not(installation):
    with installation.serve("--without-worker") as served:
        assert health_check(served.port) == 0

    assert health_check(served.port) == 1
