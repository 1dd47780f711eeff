"""Webhooks to real servers: signed, in order for each device, at least once, and never held up by another device."""

from __future__ import annotations

import json
import threading
from datetime import timedelta

import pytest
from sqlalchemy import select

from receiver.errors import ConflictError, IdentifierError, NotFoundError, SettingsError
from receiver.services.forward_letters import list_dead_letters, replay_dead_letters, replay_history, send_test
from receiver.services.forward_targets import Verdict
from receiver.services.forwarder_settings import WebhookOptions, parse_wants
from receiver.services.forwarders import (
    add_forwarder,
    finish_rotation,
    get_forwarder,
    list_forwarders,
    pause_forwarder,
    remove_forwarder,
    resume_forwarder,
    rotate_secret,
)
from receiver.services.forwarding import Forwarders
from receiver.services.reading import read_batch
from receiver.services.retention import prune
from receiver.services.telling import tell_refused_pushes
from receiver.storage.engine import read, write
from receiver.storage.event_tables import events
from receiver.storage.events import newest_event_id
from receiver.storage.forwarder_tables import forwarder_retries, forwarder_secrets, forwarders
from receiver.storage.rejections import insert_rejections
from receiver.storage.tables import uplinks
from tests.integration.forward_use import Authority, Driven, HookServer, driven, utc_now, wait_until

NAME = "hook"


@pytest.fixture
def hook():
    with HookServer() as server:
        yield server


@pytest.fixture
def network(field):
    return field.connect()


@pytest.fixture
def devices(network):
    return [network.add_device(dev_eui=f"20635F000000000{number}") for number in range(1, 6)]


@pytest.fixture
def add(field, keyring):
    def add(server, **options):
        options.setdefault("options", WebhookOptions())
        secret = add_forwarder(field.engine, keyring, field.now, name=NAME, url=server.url, **options)
        server.secret = secret.reveal()
        return secret.reveal()

    return add


@pytest.fixture
def start(field, keyring):
    return lambda: driven(field.engine, keyring, NAME, field)


@pytest.fixture
def send(field, network):
    """Let devices send an uplink each, which is read at once; give the newest event's id."""

    def send(*devices, **options):
        field.take_and_read(*(network.uplink(device, f_port=5, payload=b"hello", **options) for device in devices))
        return newest(field.engine)

    return send


def newest(engine):
    with read(engine) as connection:
        return newest_event_id(connection)


def retries(field):
    return [(row.event_id, row.attempts, row.dead_at is not None) for row in field.rows(forwarder_retries)]


def test_each_event_is_sent_once_signed_and_in_order(hook, add, start, send, devices):
    add(hook)
    last = [send(*devices) for _ in range(3)][-1]
    with start() as forwarder:
        forwarder.until_passed(last)

    assert len(hook.came) == 15
    assert len({one.message_id for one in hook.came}) == 15
    for device in devices:
        assert hook.ids_of(device.dev_eui) == sorted(hook.ids_of(device.dev_eui))
    assert forwarder.row().delivered == 15


def test_a_webhook_says_what_it_is_and_who_sends_it(hook, add, start, send, devices):
    add(hook)
    last = send(devices[0])
    with start() as forwarder:
        forwarder.until_passed(last)
    [received] = hook.taken

    assert received.headers["content-type"] == "application/json"
    assert received.headers["user-agent"].startswith("lora-receiver/")
    assert (received.event["type"], received.dev_eui) == ("uplink", devices[0].dev_eui)


def test_only_what_is_wanted_is_sent_and_the_rest_is_passed(hook, add, start, send, devices):
    add(hook, wants=parse_wants(["uplink"], [devices[1].dev_eui.lower()], [], [5]))
    last = send(*devices)
    with start() as forwarder:
        forwarder.until_passed(last)

    assert [one.dev_eui for one in hook.came] == [devices[1].dev_eui]


def test_it_begins_with_what_is_told_from_now_on(hook, add, start, send, devices):
    send(devices[0])
    add(hook)
    last = send(devices[1])
    with start() as forwarder:
        forwarder.until_passed(last)

    assert [one.dev_eui for one in hook.came] == [devices[1].dev_eui]


def test_it_begins_from_the_start_or_from_a_time_if_told_so(hook, add, start, send, devices, field, keyring):
    send(devices[0])
    field.wait(hours=1)
    last = send(devices[1])
    add(hook, begin="start")
    with start() as forwarder:
        forwarder.until_passed(last)
    assert len(hook.came) == 2

    remove_forwarder(field.engine, NAME)
    add(hook, begin=field.now - timedelta(minutes=1))
    with start() as forwarder:
        forwarder.until_passed(last)
    assert [one.dev_eui for one in hook.came[2:]] == [devices[1].dev_eui]


def test_a_device_whose_events_fail_holds_up_no_other(hook, add, start, send, devices, field):
    bad = devices[0].dev_eui
    hook.answer = lambda received: 500 if received.dev_eui == bad else 200
    add(hook)
    last = [send(*devices) for _ in range(3)][-1]
    with start() as forwarder:
        forwarder.until_passed(last)
        assert len(hook.taken) == 12
        assert [(attempts, dead) for _id, attempts, dead in retries(field)] == [(1, False), (0, False), (0, False)]

        hook.answer = lambda _received: 200
        field.wait(seconds=5)
        forwarder.until(lambda: not retries(field))

    assert hook.ids_of(bad) == sorted(hook.ids_of(bad))
    assert len(hook.taken) == 15


def test_a_try_again_has_the_same_id_and_a_new_time(hook, add, start, send, devices, field):
    hook.answer = lambda _received: 200 if len(hook.came) > 1 else 500
    add(hook)
    send(devices[0])
    with start() as forwarder:
        forwarder.until(lambda: hook.came and retries(field))
        field.wait(seconds=5)
        forwarder.until(lambda: hook.taken and not retries(field))
    first, second = hook.came

    assert first.message_id == second.message_id
    assert first.body == second.body


def test_what_comes_while_a_device_waits_goes_behind_it(hook, add, start, send, devices, field):
    hook.answer = lambda _received: 503
    add(hook)
    with start() as forwarder:
        forwarder.until_passed(send(devices[0]))
        forwarder.until_passed(send(devices[0]))
        assert len(hook.came) == 1
        hook.answer = lambda _received: 200
        field.wait(seconds=5)
        forwarder.until(lambda: not retries(field))
        forwarder.until_passed(send(devices[0]))

    assert len(hook.taken) == 3
    assert hook.ids_of(devices[0].dev_eui) == sorted(hook.ids_of(devices[0].dev_eui))


def test_an_event_that_fails_for_a_day_becomes_a_dead_letter_and_its_device_goes_on(
    hook, add, start, send, devices, field
):
    add(hook)
    poison = send(devices[0])
    good = send(devices[0])
    hook.answer = lambda received: 422 if received.event["id"] == poison else 200
    with start() as forwarder:
        for tries in range(1, 6):
            forwarder.until(lambda tries=tries: any(row[1] == tries for row in retries(field)))
            field.wait(hours=7)
        forwarder.until(lambda: hook.taken and len(retries(field)) == 1)
        assert retries(field) == [(poison, 5, True)]
        assert hook.ids_of(devices[0].dev_eui) == [good]
        [letter] = list_dead_letters(field.engine, NAME, 0, 10)
        assert (letter.event_id, letter.error) == (poison, "It was answered 422.")

        hook.answer = lambda _received: 200
        assert replay_dead_letters(field.engine, field.now, NAME, None, dry_run=True).events == 1
        assert replay_dead_letters(field.engine, field.now, NAME, [poison]).events == 1
        forwarder.until(lambda: not retries(field))
    assert hook.ids_of(devices[0].dev_eui) == [good, poison]


def test_an_event_that_is_no_dead_letter_is_not_replayed_as_one(hook, add, field):
    add(hook)
    with pytest.raises(NotFoundError, match="is a dead letter of hook"):
        replay_dead_letters(field.engine, field.now, NAME, [17])


def test_history_is_sent_again_beside_what_is_new(hook, add, start, send, devices, field):
    add(hook)
    begin = field.now
    last = [send(*devices) for _ in range(2)][-1]
    with start() as forwarder:
        forwarder.until_passed(last)
        before = [one.message_id for one in hook.taken]
        assert replay_history(field.engine, field.now, NAME, begin, None, dry_run=True).events == 10
        assert not retries(field)
        assert replay_history(field.engine, field.now, NAME, begin, None).events == 10
        assert replay_history(field.engine, field.now, NAME, begin, None).events == 0  # they wait already
        forwarder.until(lambda: len(hook.taken) == 20)
        forwarder.until(lambda: not retries(field))

    assert sorted(before) == sorted(one.message_id for one in hook.taken[10:])


def test_a_time_without_events_is_nothing_to_replay(hook, add, field):
    add(hook)
    with pytest.raises(SettingsError, match="later one"):
        replay_history(field.engine, field.now, NAME, field.now, field.now)


def test_a_target_that_is_away_costs_no_event_and_fills_no_table(hook, add, start, send, devices, field):
    add(hook)
    port = hook.port
    hook.stop()
    last = [send(*devices) for _ in range(4)][-1]
    with start() as forwarder:
        forwarder.until(lambda: forwarder.row().away_since)
        assert not retries(field)
        assert forwarder.row().position < last
        assert "cannot be reached" in forwarder.row().last_error
        with HookServer(port) as again:
            field.wait(minutes=6)
            forwarder.until_passed(last)
            assert len(again.taken) == 20
            for device in devices:
                assert again.ids_of(device.dev_eui) == sorted(again.ids_of(device.dev_eui))
        assert forwarder.row().away_since is None


def test_when_several_devices_fail_in_a_row_it_is_the_target(hook, add, start, send, devices, field):
    hook.answer = lambda _received: 500
    add(hook)
    last = [send(*devices) for _ in range(4)][-1]
    with start() as forwarder:
        forwarder.until(lambda: forwarder.row().away_since and not forwarder.forwarding._plan.under_way_count)
        parked = len({row.lane for row in field.rows(forwarder_retries)})
        assert parked == 2
        came = len(hook.came)
        forwarder.forwarding.step()
        assert len(hook.came) == came  # a pause

        hook.answer = lambda _received: 200
        field.wait(minutes=6)
        forwarder.until(lambda: len(hook.taken) == 20)
        forwarder.until_passed(last)
    for device in devices:
        assert hook.ids_of(device.dev_eui) == sorted(hook.ids_of(device.dev_eui))


@pytest.mark.parametrize("status", [429, 503])
def test_a_pause_that_is_asked_for_is_kept(hook, add, start, send, devices, field, status):
    hook.answer = lambda _received: (status, {"retry-after": "600"})
    add(hook)
    send(devices[0])
    with start() as forwarder:
        forwarder.until(lambda: forwarder.row().last_error)
        hook.answer = lambda _received: 200
        field.wait(seconds=599)
        forwarder.forwarding._looked_at = 0.0
        forwarder.forwarding.step()
        assert len(hook.came) == 1
        field.wait(seconds=1)
        forwarder.until(lambda: hook.taken)


def test_gone_disables_the_forwarder(hook, add, start, send, devices, field):
    hook.answer = lambda _received: 410
    add(hook)
    send(devices[0])
    with start() as forwarder:
        forwarder.until(lambda: forwarder.forwarding.is_over)
    assert len(hook.came) == 1
    [view] = list_forwarders(field.engine, field.now)

    assert view.state.startswith("disabled since")
    assert "410" in view.state
    resume_forwarder(field.engine, NAME)
    hook.answer = lambda _received: 200
    with start() as forwarder:
        forwarder.until(lambda: hook.taken)


def test_a_redirect_is_not_followed(hook, add, start, send, devices):
    with HookServer() as other:
        hook.answer = lambda _received: (307, {"location": other.url})
        add(hook)
        send(devices[0])
        with start() as forwarder:
            forwarder.until(lambda: forwarder.row().last_error)
        assert not other.came
    assert "redirect" in forwarder.row().last_error


def test_reading_ends_while_the_target_hangs(hook, add, start, send, devices, field, network, keyring):
    may_go_on = threading.Event()
    hook.answer = lambda _received: 200 if may_go_on.wait(20) else 500
    add(hook)
    send(devices[0])
    with start() as forwarder:
        forwarder.until(lambda: hook.came)
        field.take(network.uplink(devices[1], f_port=5, payload=b"hello"))
        assert read_batch(field.engine, keyring, field.now, 10) == 1
        assert field.count(uplinks) == 2
        assert not hook.taken
        may_go_on.set()
        forwarder.until(lambda: len(hook.taken) == 2)


def test_what_was_sent_and_not_committed_is_sent_again(hook, add, send, devices, field, keyring):
    add(hook)
    last = send(*devices)
    first = Driven(field.engine, keyring, NAME, field)
    first.forwarding.step()
    wait_until(lambda: len(hook.taken) == 5)
    first.crash()
    assert first.row().position == 0
    with write(field.engine) as connection:
        connection.execute(forwarders.update().values(lease_holder=None))
    with driven(field.engine, keyring, NAME, field) as second:
        second.until_passed(last)

    assert len({one.message_id for one in hook.taken}) == 5
    assert len(hook.taken) == 10


def test_a_process_that_lost_its_lease_changes_nothing_more(hook, add, send, devices, field, start):
    add(hook)
    send(devices[0])
    with start() as forwarder:
        with write(field.engine) as connection:
            connection.execute(forwarders.update().values(lease_holder="another"))
        forwarder.until(lambda: forwarder.forwarding.is_over)
        assert forwarder.row().position == 0


def test_what_was_deleted_before_it_was_sent_is_passed_over(hook, add, send, devices, field, start):
    add(hook)
    send(devices[0])
    last = send(devices[1])
    with write(field.engine) as connection:
        connection.execute(uplinks.delete().where(uplinks.c.dev_eui == devices[0].dev_eui))
    with start() as forwarder:
        forwarder.until_passed(last)

    assert [one.dev_eui for one in hook.taken] == [devices[1].dev_eui]


def test_a_retry_of_what_was_deleted_meanwhile_ends(hook, add, send, devices, field, start):
    hook.answer = lambda _received: 500
    add(hook)
    last = send(devices[0])
    with start() as forwarder:
        forwarder.until_passed(last)
        with write(field.engine) as connection:
            connection.execute(uplinks.delete())
        field.wait(seconds=5)
        forwarder.until(lambda: not retries(field))
    assert len(hook.came) == 1


def test_both_secrets_sign_during_a_rotation(hook, add, start, send, devices, field, keyring):
    old = add(hook)
    new = rotate_secret(field.engine, keyring, field.now, NAME).reveal()
    with pytest.raises(ConflictError, match="two secrets already"):
        rotate_secret(field.engine, keyring, field.now, NAME)
    for secret in (old, new):
        hook.secret = secret
        last = send(devices[0])
        with start() as forwarder:
            forwarder.until_passed(last)
    finish_rotation(field.engine, NAME)
    last = send(devices[0])
    with start() as forwarder:
        forwarder.until_passed(last)

    assert [len(one.headers["webhook-signature"].split()) for one in hook.taken] == [2, 2, 1]
    with pytest.raises(ConflictError, match="no older secret"):
        finish_rotation(field.engine, NAME)


def test_no_secret_stands_in_the_database_in_clear_or_is_shown(hook, add, field):
    secret = add(hook)
    with read(field.engine) as connection:
        found = [
            repr(tuple(bytes(value) if isinstance(value, memoryview) else value for value in row))
            for table in (forwarders, forwarder_secrets)
            for row in connection.execute(select(table))
        ]
    shown = repr(get_forwarder(field.engine, field.now, NAME))

    assert secret.removeprefix("whsec_") not in "".join([*found, shown])


def test_over_tls_the_authority_that_is_named_is_trusted_and_no_other(
    tmp_path, add, start, send, devices, field, keyring
):
    ours, other = Authority(tmp_path, "ours"), Authority(tmp_path, "other")
    with HookServer(certificate=ours.certify("server")) as server:
        add(server, options=WebhookOptions(ca_file=str(ours.file)))
        last = send(devices[0])
        with start() as forwarder:
            forwarder.until_passed(last)
        assert len(server.taken) == 1

        remove_forwarder(field.engine, NAME)
        add(server, options=WebhookOptions(ca_file=str(other.file)))
        outcome = send_test(field.engine, keyring, utc_now, NAME)
        assert (outcome.verdict, len(server.came)) == (Verdict.AWAY, 1)
        assert "certificate verify failed" in outcome.sentence


def test_a_test_is_an_event_of_its_own(hook, add, field, keyring):
    add(hook)
    outcome = send_test(field.engine, keyring, utc_now, NAME)
    [received] = hook.taken

    assert outcome.verdict is Verdict.TAKEN
    assert (received.event["type"], received.event["data"]["forwarder"]) == ("test", NAME)


def test_a_forwarder_keeps_the_events_it_has_not_passed(hook, add, start, send, devices, field):
    add(hook)
    last = [send(*devices) for _ in range(2)][-1]
    field.wait(days=30)
    ages = {"events": timedelta(days=7)}

    def kept():
        list(prune(field.engine, field.now, ages))
        return field.count(events)

    assert kept() == 10
    hook.answer = lambda received: 500 if received.dev_eui == devices[0].dev_eui else 200
    with start() as forwarder:
        forwarder.until_passed(last)
    waiting = {row[0] for row in retries(field)}
    kept()
    assert {row.id for row in field.rows(events)} == waiting | {last}
    remove_forwarder(field.engine, NAME)
    assert kept() == 1


def test_a_paused_forwarder_keeps_them_for_a_week_only(hook, add, send, devices, field, keyring):
    add(hook)
    send(*devices)
    pause_forwarder(field.engine, field.now, NAME)
    field.wait(days=6)
    for expected in (5, 1):
        one = Forwarders(field.engine, keyring, lambda: field.now)
        one.look()
        list(prune(field.engine, field.now, {"events": timedelta(days=1)}))
        assert field.count(events) == expected
        field.wait(days=2)
    assert resume_forwarder(field.engine, NAME) == 4


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"name": "Bad Name"}, IdentifierError, "cannot be a forwarder's name"),
        ({"url": "ftp://127.0.0.1/"}, SettingsError, "must begin with https:// or http://"),
        ({"url": "https://user:pw@example.org/"}, SettingsError, "no user name, password"),
        ({"url": "http://example.org/"}, SettingsError, "--plain-http"),
        ({"url": "https://[::1"}, SettingsError, "not a URL"),
        ({"secret": "whsec_short"}, IdentifierError, "base64"),
        ({"secret": "whsec_c2hvcnQ="}, IdentifierError, "24 to 64 bytes"),
        ({"options": WebhookOptions(ca_file="/nowhere.pem")}, SettingsError, "CA file"),
        ({"give_up_after": timedelta(days=31)}, SettingsError, "30 days"),
        ({"wants": parse_wants([], [], ["nobody"], [])}, NotFoundError, "no connection named 'nobody'"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(field, keyring, options, error, sentence):
    given = {"name": NAME, "url": "https://example.org/", "options": WebhookOptions()} | options
    with pytest.raises(error, match=sentence):
        add_forwarder(field.engine, keyring, field.now, **given)
    assert list_forwarders(field.engine, field.now) == []


def test_a_name_is_taken_once(hook, add):
    add(hook)
    with pytest.raises(ConflictError, match="already"):
        add(hook)


def test_a_list_says_how_far_each_is(hook, add, send, devices, field):
    add(hook)
    send(*devices)
    field.wait(seconds=90)
    [view] = list_forwarders(field.engine, field.now)

    assert (view.lag_events, view.lag_s, view.delivered) == (5, 90.0, 0)
    assert view.state.startswith("waits for a worker")


def test_the_body_is_json_as_the_api_has_it(hook, add, start, send, devices):
    add(hook)
    last = send(devices[0])
    with start() as forwarder:
        forwarder.until_passed(last)

    assert json.loads(hook.taken[0].body)["data"]["f_port"] == 5


def test_refused_pushes_are_sent_on_in_the_order_of_their_connection(hook, add, start, field, new_rejection):
    add(hook, wants=parse_wants(["rejection"], [], [], []))
    with write(field.engine) as connection:
        insert_rejections(connection, [new_rejection(bytes([number])) for number in range(3)])
    tell_refused_pushes(field.engine, field.now)
    with start() as forwarder:
        forwarder.until_passed(newest(field.engine))

    assert [one.event["type"] for one in hook.taken] == ["rejection"] * 3
    ids = [one.event["data"]["id"] for one in hook.taken]
    assert ids == sorted(ids)
