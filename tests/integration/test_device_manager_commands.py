"""`receiver device-manager` and `receiver kpn-things`, as a person starts them, against emulators over real HTTP."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from receiver.cli import connection as connection_commands
from receiver.cli import device_manager as device_manager_commands
from receiver.cli import kpn_things as kpn_things_commands
from receiver.errors import LoginRefusedError, NotFoundError, PlatformRefusedError, ReceiverError, SettingsError
from receiver.http_client import HttpClient
from receiver.platforms.device_manager_refusals import RejectedLoginError
from receiver.services import device_manager_accounts
from receiver.services.platform_accounts import add_account, open_account, set_account_secret
from receiver.simulator.loopback_server import HttpReply
from receiver.simulator.management_http import ManagementFault
from tests.integration.command_line import run as run_process
from tests.integration.device_manager_use import APP_KEY, DEV_EUI, LOGIN, PASSWORD, device_manager_site
from tests.integration.test_kpn_things_client import SECRET as KEY_SECRET
from tests.integration.test_kpn_things_client import Side, add

GROUPS = {
    "device-manager": device_manager_commands.app,
    "kpn-things": kpn_things_commands.app,
    "connection": connection_commands.app,
}


@pytest.fixture
def receiver(tmp_path, monkeypatch):
    """Run a command within this process; give its output, and let what it refuses be raised."""
    monkeypatch.setenv("RECEIVER_DATA_DIR", str(tmp_path / "data"))

    def run(group, *arguments, typed=None):
        done = CliRunner().invoke(GROUPS[group], list(arguments), input=typed)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return run


@pytest.fixture
def site():
    with device_manager_site() as site:
        yield site


def add_login(receiver, site, name="kpn", password=PASSWORD, form="html", **changed):
    chosen = {key: value for key, value in site.settings(form, **changed).items() if value and key != "login"}
    pairs = [part for key, value in chosen.items() for part in ("--set", f"{key}={value}")]
    return receiver("device-manager", "account", "add", name, "--login", LOGIN, *pairs, typed=password)


@pytest.fixture
def manager(receiver, site):
    """Run a command of the Device Manager, for which there is an account."""
    add_login(receiver, site)
    return lambda *arguments, typed=None: receiver("device-manager", *arguments, typed=typed)


def as_json(done):
    return json.loads(done.stdout)


# --- logins


def test_a_login_is_tested_and_ended(site, manager):
    told = as_json(manager("login-test", "--json"))
    assert (told["login"], told["subscription"], told["granted_permissions"]) == ("good", "32", "x a")
    assert (told["user"], told["has_session_token"], told["bad_passwords_before"]) == ("Ada Vermeer", True, 0)
    assert site.manager.sessions == 0
    assert site.paths()[-1] == ("GET", "/customers/logout")
    assert "Ada Vermeer" in manager("login-test").stdout


@pytest.mark.parametrize("form", ["json", "xml", "digest"])
def test_every_form_of_login_can_be_had_by_the_settings_of_the_account(receiver, site, form):
    add_login(receiver, site, form=form)
    assert as_json(receiver("device-manager", "login-test", "--json"))["login"] == "good"


def test_a_refused_password_is_not_sent_by_the_next_command_either_until_a_person_says_so(receiver, site):
    add_login(receiver, site, password="Wrong#1password")
    for _ in range(3):
        with pytest.raises(RejectedLoginError, match=r"error 108.*login-test --again") as refused:
            receiver("device-manager", "devices", "list")
        assert "Wrong#1password" not in str(refused.value)
    assert site.manager.login.attempts == 1
    assert "It said so at" in str(refused.value)
    with pytest.raises(RejectedLoginError, match="error 108"):
        receiver("device-manager", "login-test", "--again")
    assert site.manager.login.attempts == 2


def test_a_new_password_is_sent_though_the_old_one_was_refused(receiver, site):
    add_login(receiver, site, password="Wrong#1password")
    with pytest.raises(RejectedLoginError):
        receiver("device-manager", "login-test")
    receiver("device-manager", "account", "set-secret", "kpn", typed=PASSWORD)
    assert as_json(receiver("device-manager", "login-test", "--json"))["login"] == "good"


def test_a_login_that_is_good_again_is_forgotten_to_have_been_refused(receiver, site, manager):
    site.manager.login.is_associated = False
    with pytest.raises(RejectedLoginError, match="not associated"):
        manager("login-test")
    site.manager.login.is_associated = True
    with pytest.raises(RejectedLoginError, match="not associated"):
        manager("login-test")
    manager("login-test", "--again")
    assert as_json(manager("login-test", "--json"))["login"] == "good"
    assert "rejected_login" not in as_json(manager("account", "list", "--json"))[0]["settings"]


def test_a_wrong_setting_is_not_kept_as_a_refused_password(receiver, site):
    add_login(receiver, site, login_url=f"{site.server.origin}/other")
    for _ in range(2):
        with pytest.raises(LoginRefusedError, match="login_url, login_field") as refused:
            receiver("device-manager", "login-test")
        assert not isinstance(refused.value, RejectedLoginError)


def test_without_an_account_it_is_said_how_to_add_one(receiver):
    with pytest.raises(NotFoundError, match="receiver device-manager account add NAME"):
        receiver("device-manager", "devices", "list")


def test_a_page_whose_address_is_not_known_is_asked_for(receiver, site):
    add_login(receiver, site, login_url="")
    with pytest.raises(SettingsError, match="The account needs login_url"):
        receiver("device-manager", "login-test")


def test_of_several_accounts_one_is_to_be_named(receiver, site):
    add_login(receiver, site, "one")
    add_login(receiver, site, "two")
    with pytest.raises(SettingsError, match=r"say which with --account \(one, two\)"):
        receiver("device-manager", "login-test")
    assert as_json(receiver("device-manager", "login-test", "--account", "two", "--json"))["login"] == "good"


# --- what the account remembers, on both databases


@pytest.fixture
def stored(engine, keyring, now, site):
    chosen = {name: value for name, value in site.settings().items() if value}
    add_account(engine, keyring, now, name="kpn", surface="device-manager", settings=chosen, secret="Wrong#1password")
    return open_account(engine, keyring, "device-manager")


def test_a_refusal_is_remembered_for_the_secret_that_was_refused(engine, keyring, now, stored):
    assert device_manager_accounts.find_rejection(engine, "kpn") is None
    device_manager_accounts.keep_rejection(engine, "kpn", "It was refused.", now)
    said = device_manager_accounts.find_rejection(engine, "kpn")
    assert said.startswith("It was refused. (It said so at 2026-11-20 12:00:00Z")
    set_account_secret(engine, keyring, "kpn", PASSWORD)
    assert device_manager_accounts.find_rejection(engine, "kpn") is None


def test_a_refused_password_is_not_sent_by_another_process(tmp_path, database_url, site):
    password = tmp_path / "password"
    password.write_text("Wrong#1password")
    chosen = {key: value for key, value in site.settings().items() if value and key != "login"}
    pairs = [part for key, value in chosen.items() for part in ("--set", f"{key}={value}")]
    added = run_process(
        *(tmp_path, database_url, "device-manager", "account", "add", "kpn", "--login", LOGIN),
        *("--password-file", str(password), *pairs),
    )
    assert added.returncode == 0, added.stderr
    for command in (("login-test",), ("devices", "list"), ("call", "GET", "/subscriptions/mine")):
        done = run_process(tmp_path, database_url, "device-manager", *command)
        assert done.returncode == 1
        assert done.stderr.startswith("receiver: The Device Manager does not take this login and password (error 108).")
        assert "Traceback" not in done.stderr
        assert "Wrong#1password" not in done.stdout + done.stderr
    assert site.manager.login.attempts == 1


def test_a_refusal_can_be_forgotten_and_the_settings_stay(engine, keyring, now, stored):
    device_manager_accounts.keep_rejection(engine, "kpn", "It was refused.", now)
    device_manager_accounts.forget_rejection(engine, "kpn")
    assert device_manager_accounts.find_rejection(engine, "kpn") is None
    assert open_account(engine, keyring, "device-manager").settings == stored.settings


def test_nobody_can_set_a_refusal_as_a_setting(engine, keyring, now):
    with pytest.raises(SettingsError, match="'rejected_login' is not a setting"):
        add_account(
            *(engine, keyring, now),
            name="kpn",
            surface="device-manager",
            settings={"login": LOGIN, "rejected_login": "x"},
            secret="x",
        )


# --- any call


def test_any_call_is_made_in_the_session_s_own_subscription(site, manager):
    done = as_json(manager("call", "get", f"/subscriptions/mine/devices/e{DEV_EUI}?language-tag=nl", "--json"))
    assert (done["status"], done["value"]["name"]) == (200, "Pump 1")
    asked = list(site.manager.asked)[-2]
    assert asked.path == f"/thingpark/wireless/rest/subscriptions/32/devices/e{DEV_EUI}"
    assert asked.query["language-tag"] == "nl"
    assert (
        '"name": "Pump 1"'
        in manager("call", "GET", f"/thingpark/wireless/rest{asked.path.partition('rest')[2]}").stdout
    )


def test_a_call_prints_xml_where_the_account_has_it(receiver, site):
    add_login(receiver, site, answers="xml")
    shown = receiver("device-manager", "call", "GET", f"/subscriptions/mine/devices/e{DEV_EUI}").stdout
    assert "<name>Pump 1</name>" in shown


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (f'{{"EUI":"{DEV_EUI}","appKey":"{APP_KEY}"}}', "application/json"),
        (f"<device><EUI>{DEV_EUI}</EUI><appKey>{APP_KEY}</appKey></device>", "application/xml"),
    ],
    ids=["json", "xml"],
)
@pytest.mark.parametrize("command", [("call", "GET", "/subscriptions/mine/devices/e1"), ("devices", "show", DEV_EUI)])
def test_keys_that_a_network_gives_are_withheld_in_what_is_printed(site, manager, body, kind, command):
    for options in ((), ("--json",)):
        given = ManagementFault(is_done=False, reply=HttpReply(200, body.encode(), kind))
        site.manager.faults.order(given, path=command[-1].rpartition("/")[2])
        shown = manager(*command, *options).stdout
        assert DEV_EUI in shown
        assert APP_KEY not in shown


@pytest.mark.parametrize(
    ("body", "kind", "sent"),
    [
        ('{"name": "A", "routes": []}', "application/json", b'{"name":"A","routes":[]}'),
        ("<profile><name>A</name></profile>", "application/xml", b"<profile><name>A</name></profile>"),
    ],
    ids=["json", "xml"],
)
def test_a_body_is_sent_as_what_it_is(site, manager, tmp_path, body, kind, sent):
    file = tmp_path / "body"
    file.write_text(body)
    arguments = ("call", "POST", "/subscriptions/mine/appServersRoutingProfiles", "--body-file", str(file))
    if kind.endswith("xml"):  # the emulator takes JSON alone
        with pytest.raises(PlatformRefusedError, match="status 400"):
            manager(*arguments)
    else:
        assert as_json(manager(*arguments, "--json"))["location"].partition("/appServersRoutingProfiles/")[2].isdigit()
    asked = next(asked for asked in site.manager.asked if asked.path.endswith("Profiles"))
    assert (asked.headers["content-type"], asked.body) == (kind, sent)


def test_a_call_without_an_answer_says_that_it_is_done(manager):
    assert manager("call", "DELETE", f"/subscriptions/mine/devices/e{DEV_EUI}").stdout == "Done (status 204).\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("PATCH", "/x"), "'PATCH' is no method"),
        (("GET", "https://other.example/x"), "is no path of this API"),
        (("GET", "//other.example/x"), "is no path of this API"),
        (("GET", "/subscriptions/../../x"), "is no path of this API"),
        (("GET", "/subscriptions/%2e%2e/x"), "is no path of this API"),
        (("GET", "/x y"), "is no path of this API"),
    ],
)
def test_a_call_that_there_cannot_be_is_refused_before_anything_is_asked(site, manager, arguments, told):
    with pytest.raises(SettingsError, match=told):
        manager("call", *arguments)
    assert not site.manager.asked


def test_a_body_that_is_neither_json_nor_xml_is_refused(manager, tmp_path):
    file = tmp_path / "body"
    file.write_text("name=A")
    with pytest.raises(SettingsError, match="neither JSON nor XML"):
        manager("call", "POST", "/x", "--body-file", str(file))


def test_the_session_is_ended_also_where_the_network_refuses(site, manager):
    with pytest.raises(PlatformRefusedError, match="Subscription not found"):
        manager("call", "GET", "/subscriptions/99/devices")
    assert site.manager.sessions == 0


# --- KPN Things


@pytest.fixture
def things(receiver):
    with HttpClient() as http:
        side = Side(http)
        receiver("connection", "add", "things", "--platform", "kpn-things", "--new-secret")
        yield side
        side.server.stop()


def set_account(receiver, side, *more):
    origin = side.server.origin
    receiver(
        *("connection", "set-things-account", "things", "--tenant", "tenant", "--key-id", "key"),
        *("--application", "application", "--api-url", origin, "--token-url", f"{origin}/api/v3/idp/oidc/token", *more),
        typed=KEY_SECRET,
    )


def test_devices_at_kpn_things_are_listed(receiver, things):
    add(things, 3)
    set_account(receiver, things)
    assert "Device 002" in receiver("kpn-things", "devices", "list").stdout
    options = ("--search", "Device", "--descending", "--page-size", "2", "--json")
    listed = as_json(receiver("kpn-things", "devices", "list", *options))
    assert [one["name"] for one in listed] == ["Device 002", "Device 001", "Device 000"]
    assert listed[0]["deviceSpecificationUUID"]


def test_one_device_at_kpn_things_is_shown_by_its_name_or_uuid(receiver, things):
    add(things, 3)
    set_account(receiver, things)
    shown = as_json(receiver("kpn-things", "devices", "show", "Device 001", "--json"))
    assert shown["name"] == "Device 001"
    assert "Device 001" in receiver("kpn-things", "devices", "show", shown["uuid"]).stdout
    with pytest.raises(NotFoundError, match=r"no device 'Device'; there are: .*Device 000"):
        receiver("kpn-things", "devices", "show", "Device")


def test_access_to_the_account_s_sub_customer_is_asked_for_without_naming_it_in_a_header(receiver, things):
    add(things, 1, "customer-7")
    set_account(receiver, things, "--client-id", "customer-7")
    with pytest.raises(PlatformRefusedError, match="receiver kpn-things context-switch"):
        receiver("kpn-things", "devices", "list")
    assert "has access to customer-7" in receiver("kpn-things", "context-switch").stdout
    assert "x-client-id" not in things.came[-1].headers
    assert "Device 000" in receiver("kpn-things", "devices", "list", "--connection", "things").stdout
    assert as_json(receiver("kpn-things", "context-switch", "customer-7", "--json"))["status"] == 200


def test_a_sub_customer_has_to_be_named(receiver, things):
    set_account(receiver, things)
    with pytest.raises(SettingsError, match="Say which sub-customer"):
        receiver("kpn-things", "context-switch")


def test_an_account_of_kpn_things_is_shown_without_its_secret_or_pointed_at(receiver, things):
    assert "receiver connection set-things-account things" in receiver("kpn-things", "account", "show").stdout
    assert as_json(receiver("kpn-things", "account", "show", "--json"))["account"] is None
    with pytest.raises(NotFoundError, match="set-things-account things"):
        receiver("kpn-things", "devices", "list")
    set_account(receiver, things)
    shown = receiver("kpn-things", "account", "show").stdout
    assert "tenant" in shown
    assert KEY_SECRET not in shown


def test_without_a_connection_of_kpn_things_it_is_said_how_to_add_one(receiver):
    with pytest.raises(NotFoundError, match="connection add NAME --platform kpn-things"):
        receiver("kpn-things", "devices", "list")


def test_of_several_connections_of_kpn_things_one_is_to_be_named(receiver, things):
    receiver("connection", "add", "second", "--platform", "kpn-things", "--new-secret")
    with pytest.raises(SettingsError, match=r"say which with --connection \(second, things\)"):
        receiver("kpn-things", "devices", "list")


def test_a_connection_of_another_platform_has_no_account_of_kpn_things(receiver):
    receiver("connection", "add", "lora", "--platform", "thingpark", "--new-tunnel-key")
    with pytest.raises(ReceiverError, match="this is for those of kpn-things"):
        receiver("kpn-things", "devices", "list", "--connection", "lora")
