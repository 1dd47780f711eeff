"""A management API whose certificate is not trusted is sent no secret, and the sentence says why; over real TLS."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from typer.testing import CliRunner

from receiver.cli import device_manager, kpn_lora, thingpark
from receiver.errors import LoginRefusedError, NoAnswerError
from tests.integration.forward_use import Authority, HookServer

SECRET = "Right#1password"
APPS = {"kpn-lora": kpn_lora.app, "thingpark": thingpark.app, "device-manager": device_manager.app}
COMMANDS = {
    "kpn-lora": ("plans", "list"),
    "thingpark": ("subscription", "show"),
    "device-manager": ("login-test",),
}


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path, "authority")


@pytest.fixture
def serve(authority):
    """Give what serves over TLS with a certificate for an address: whatever is asked for is answered 401."""
    with ExitStack() as stack:

        def serve(address="127.0.0.1"):
            server = stack.enter_context(HookServer(certificate=authority.certify("network", address)))
            server.answer = lambda _received: 401
            return server

        yield serve


@pytest.fixture(params=APPS)
def log_in(request, tmp_path, monkeypatch):
    """Give what runs a command that logs in at a network; what it refuses is raised."""
    monkeypatch.setenv("RECEIVER_DATA_DIR", str(tmp_path / "data"))
    own, url = ("--login", "login_url") if request.param == "device-manager" else ("--client-id", "token_url")

    def run(*arguments, typed=None):
        done = CliRunner().invoke(APPS[request.param], list(arguments), input=typed)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == 0, done.output

    def log_in(network):
        host = ("--host", "network.example") if request.param == "thingpark" else ()
        settings = (*host, "--set", f"api_url={network.url}", "--set", f"{url}={network.url}")
        run("account", "add", "field", own, "me", *settings, typed=f"{SECRET}\n")
        run(*COMMANDS[request.param])

    return log_in


def test_a_certificate_of_an_unknown_authority_is_told_and_sent_nothing(log_in, serve):
    network = serve()

    with pytest.raises(
        NoAnswerError, match=r"^The login of .* at 127\.0\.0\.1: .* its certificate is not trusted here \(.* issuer"
    ) as refused:
        log_in(network)

    assert not refused.value.was_sent
    assert not network.came
    assert SECRET not in str(refused.value)


def test_an_authority_of_one_s_own_is_trusted_by_the_usual_variable(log_in, serve, authority, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    network = serve()

    with pytest.raises(LoginRefusedError, match="does not take this"):
        log_in(network)

    assert len(network.came) == 1


def test_a_certificate_for_another_address_is_told_and_sent_nothing(log_in, serve, authority, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    network = serve("127.0.0.2")

    with pytest.raises(NoAnswerError, match=r"its certificate is not trusted here \(.*not valid for '127\.0\.0\.1'"):
        log_in(network)

    assert not network.came
