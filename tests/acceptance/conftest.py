"""What the acceptance tests share: an installation of the receiver on either database."""

from __future__ import annotations

import pytest

from tests.acceptance.running_receiver import Installation


@pytest.fixture
def installation(tmp_path, database_url):
    installation = Installation(tmp_path, database_url)
    yield installation
    installation.engine.dispose()
