"""ThingPark is connected by one command, wherever it is interrupted: one connection on each side, and the same key."""

from __future__ import annotations

import json
from functools import partial

import pytest

from receiver.errors import ConflictError, LoginRefusedError, NoAnswerError, PlatformRefusedError, SettingsError
from receiver.services.connections import add_connection, remove_connection
from receiver.services.provisioning import ConnectOptions, Step, plan_connect, show_plan
from receiver.services.provisioning_removal import disconnect, plan_removal
from receiver.services.provisioning_thingpark import parse_headers
from receiver.simulator.management_http import CUT, answered
from receiver.simulator.management_http import LOST as LOST_ANSWER
from tests.integration.provisioning_use import BEFORE, LOST, PUBLIC_URL, PUSH_URL, ThingParkBench, benches

REQUESTS_OF_CONNECT = 3  # find, once more before it is made, make
REQUESTS_OF_ROTATION = 4  # the connection, its security twice, the change
HEADERS = (("Authorization", "Bearer hush"), ("X-Site", "north"))


@pytest.fixture
def make_bench(engine, keyring, now):
    with benches(partial(ThingParkBench, engine, keyring, now)) as make:
        yield make


@pytest.fixture
def bench(make_bench):
    return make_bench()


@pytest.fixture
def connected(bench):
    bench.connect()
    return bench


def writes(bench):
    return [asked for asked in bench.simulated.asked if asked.method != "GET"]


async def take_away(bench, network, **options):
    return await disconnect(network, bench.local, await plan_removal(network, bench.local), **options)


class TestConnect:
    def test_makes_both_sides_with_the_same_key(self, bench):
        done = bench.connect(headers=HEADERS)

        bench.assert_agrees()
        assert done.remote.id == bench.app_server.id
        assert bench.app_server.members["contentType"] == "jsontyped"
        assert bench.app_server.max_timestamp_deviation_s == 60
        assert done.standing.connection.platform == "thingpark"
        assert done.standing.connection.downlink_url == bench.account.settings["downlink_url"]
        assert done.standing.as_transport_keys == ()

    def test_the_key_goes_over_as_it_is_kept(self, connected):
        sent = writes(connected)[0].json["downlinkSecurity"]["downlinkAsKey"]
        assert sent == sent.lower() == connected.key(), "a network that signs as it was given would fit no spelling"

    def test_run_again_changes_nothing(self, connected):
        before = len(writes(connected))

        assert connected.connect().step is Step.NOTHING
        assert len(writes(connected)) == before
        connected.assert_agrees()

    def test_takes_the_options_it_is_given(self, bench):
        bench.connect(content_type="xml", max_deviation_s=10, headers=HEADERS)

        assert bench.app_server.members["contentType"] == "xml"
        assert bench.app_server.max_timestamp_deviation_s == 10
        assert bench.app_server.members["customHttpHeaders"] == [
            {"name": name, "value": value} for name, value in HEADERS
        ]

    def test_values_of_headers_are_not_kept_here(self, bench):
        bench.connect(headers=HEADERS)

        wanted = bench.local.standing().journal.wanted
        assert wanted["header_names"] == ["Authorization", "X-Site"]
        assert "hush" not in json.dumps(wanted)

    def test_headers_of_an_interrupted_run_are_asked_for_again(self, bench):
        bench.stop_at_request(3, BEFORE, bench.connecting(headers=HEADERS))

        with pytest.raises(SettingsError, match="the headers Authorization, X-Site, whose values are not kept"):
            bench.connect()
        bench.connect(headers=HEADERS)
        bench.assert_agrees()

    @pytest.mark.parametrize(
        ("members", "what"),
        [
            ({"contentType": "xml"}, "content type"),
            ({"state": "DEACTIVATED"}, "state"),
            ({"name": "renamed"}, "name"),
        ],
    )
    def test_shows_what_differs_and_changes_it_only_if_told(self, connected, members, what):
        before = len(writes(connected))
        connected.app_server.members.update(members)

        assert [one.what for one in connected.connect().differences] == [what]
        assert len(writes(connected)) == before

        connected.connect(update=True)
        changed = json.loads(writes(connected)[-1].body)
        assert set(changed) == {*members, "occContext"}, "ThingPark refuses more than what changes"
        assert connected.connect().differences == ()
        connected.assert_agrees()

    def test_another_deviation_is_changed_on_both_sides_if_told(self, connected):
        shown = connected.connect(max_deviation_s=90)
        assert [str(one) for one in shown.differences] == [
            "max deviation: 60 s at the network, 90 s is asked for",
            "max deviation: 60 s here, 90 s is asked for",
        ]

        connected.connect(max_deviation_s=90, update=True)

        assert connected.app_server.max_timestamp_deviation_s == 90
        assert connected.local.standing().connection.max_deviation_s == 90
        connected.assert_agrees()

    def test_a_pair_that_was_made_by_hand_is_known_from_now_on_and_not_changed(self, connected, engine, keyring, now):
        key = connected.key()
        remove_connection(engine, "field")
        add_connection(engine, keyring, now, name="field", platform="thingpark", tunnel_key=key)
        connected.note_use("k1", now)
        before = len(writes(connected))

        assert connected.connect().step is Step.ADOPT
        assert len(writes(connected)) == before
        connected.assert_agrees()

    def test_a_dry_run_shows_the_request_without_secrets_and_changes_nothing(self, bench):
        async def plan(network):
            told = ConnectOptions(PUBLIC_URL, headers=HEADERS)
            return show_plan(network, await plan_connect(network, bench.local, told))

        (made,) = bench.run(plan)

        assert made.startswith(f"POST {bench.account.settings['api_url']}/subscriptions/mine/appServers\n")
        assert PUSH_URL in made
        assert '"downlinkAsKey": "…"' in made
        assert "hush" not in made
        assert writes(bench) == []
        assert bench.local.standing().connection is None


class TestInterruption:
    @pytest.mark.parametrize("when", [BEFORE, LOST])
    @pytest.mark.parametrize("number", range(1, REQUESTS_OF_CONNECT + 1))
    def test_connect_stopped_at_any_request_is_finished_by_the_next(self, bench, number, when):
        assert bench.stop_at_request(number, when, bench.connecting())

        bench.connect()

        bench.assert_agrees()

    @pytest.mark.parametrize("when", [BEFORE, LOST])
    @pytest.mark.parametrize("number", range(1, 6))
    def test_finding_its_own_again_stopped_at_any_request_is_finished_by_the_next(self, bench, number, when):
        bench.stop_at_request(REQUESTS_OF_CONNECT, LOST, bench.connecting())
        bench.stop_at_request(number, when, bench.connecting())

        bench.connect()

        bench.assert_agrees()

    @pytest.mark.parametrize("number", range(1, 7))
    def test_connect_stopped_at_any_commit_is_finished_by_the_next(self, bench, number):
        assert bench.stop_at_commit(number, bench.connecting()) or number > 5

        bench.connect()

        bench.assert_agrees()

    @pytest.mark.parametrize("number", range(1, REQUESTS_OF_CONNECT + 1))
    @pytest.mark.parametrize("fault", [LOST_ANSWER, CUT, answered(503, retry_after_s=1), answered(429)])
    def test_connect_gets_over_a_lost_or_refused_answer_by_itself(self, bench, number, fault):
        bench.simulated.faults.order(fault, at=number)

        bench.connect()

        bench.assert_agrees()

    @pytest.mark.parametrize("when", [BEFORE, LOST])
    @pytest.mark.parametrize("number", range(1, REQUESTS_OF_ROTATION + 1))
    def test_a_rotation_stopped_at_any_request_is_finished_by_the_next(self, connected, number, when):
        assert connected.stop_at_request(number, when, connected.rotating())
        live = connected.local.standing().live_key_ids
        assert connected.tunnel_key_there in {connected.key(key_id) for key_id in live}, "pushes would be refused"

        connected.rotate()

        connected.assert_agrees()
        assert connected.local.standing().live_key_ids == ("k1", "k2")

    @pytest.mark.parametrize("number", range(1, 5))
    def test_a_rotation_stopped_at_any_commit_is_finished_by_the_next(self, connected, number):
        stopped = connected.stop_at_commit(number, connected.rotating())
        live = connected.local.standing().live_key_ids
        assert connected.tunnel_key_there in {connected.key(key_id) for key_id in live}

        if stopped:
            connected.rotate()

        connected.assert_agrees()


class TestRotationAndEnd:
    def test_the_new_key_is_taken_here_before_the_network_has_it(self, connected):
        old = connected.tunnel_key_there

        done = connected.rotate()

        assert connected.slept[0] == 2.0
        assert connected.key("k1") == old
        assert done.key_id == "k2"
        connected.assert_agrees()

    def test_there_is_no_as_transport_key_to_renew(self, connected):
        with pytest.raises(SettingsError, match="hands out no AS transport keys"):
            connected.run(connected.renewing())
        assert connected.local.standing().as_transport_keys == ()
        connected.assert_agrees()

    def test_is_not_taken_away_while_devices_use_it(self, connected):
        connected.add_device()

        with pytest.raises(ConflictError, match=r"1 device uses the connection .* \(70B3D5E756000999\)"):
            connected.run(lambda network: take_away(connected, network))
        assert len(connected.app_servers) == 1

    @pytest.mark.parametrize("when", [BEFORE, LOST])
    @pytest.mark.parametrize("number", range(1, 4))
    def test_taking_away_stopped_at_any_request_is_finished_by_the_next(self, connected, number, when):
        assert connected.stop_at_request(number, when, lambda network: take_away(connected, network))

        connected.run(lambda network: take_away(connected, network))

        assert connected.app_servers == {}
        assert connected.local.standing().state == "removed"


class TestRefusals:
    def test_a_wrong_secret_leaves_nothing_behind(self, make_bench):
        bench = make_bench(client_secret="another")

        with pytest.raises(LoginRefusedError, match="does not take this account"):
            bench.connect()
        assert bench.local.standing().connection is None

    def test_a_name_that_another_server_has_is_left_alone(self, connected, engine):
        connected.app_server.members["destinations"][0]["addresses"] = ["https://elsewhere.example.com/lora"]
        remove_connection(engine, "field")

        with pytest.raises(ConflictError, match=r"pushes to https://elsewhere\.example\.com/lora and not to"):
            connected.connect()
        assert len(connected.app_servers) == 1

    def test_one_whose_key_nobody_here_knows_gets_a_new_one_only_if_told(self, connected, engine):
        uid = connected.app_server.uid
        remove_connection(engine, "field")

        with pytest.raises(ConflictError, match="which tunnel key it has cannot be read back"):
            connected.connect()

        connected.connect(update=True)
        assert connected.app_server.uid == uid
        connected.assert_agrees()

    def test_a_key_that_the_network_takes_for_too_simple_is_replaced_once(self, bench):
        refusal = answered(400, {"code": 25, "message": "The entropy of downlinkAsKey is too low"})
        bench.simulated.faults.order(refusal, method="POST", path="/appServers")

        bench.connect()

        bench.assert_agrees()
        assert bench.local.standing().live_key_ids == ("k2",)

    def test_a_certificate_that_the_network_does_not_trust(self, bench):
        bench.simulated.rules.refused_hosts = frozenset({"lora.example.com"})

        with pytest.raises(PlatformRefusedError, match="certificate"):
            bench.connect()
        assert bench.app_servers == {}

    def test_a_network_that_is_away_is_told_with_what_is_kept(self, bench):
        bench.simulated.faults.order(CUT, method="POST", path="/appServers", times=100)

        with pytest.raises(NoAnswerError, match="nothing is lost: run `receiver thingpark connect field --public-url"):
            bench.connect()

    @pytest.mark.parametrize(
        ("given", "sentence"),
        [
            (["no colon"], "A header must be like"),
            (["X-Bad: ä"], "A header must be like"),
            (["Host: elsewhere"], "the network's own"),
            (["X-A: 1", "x-a: 2"], "can be given once"),
            ([f"X-{number}: 1" for number in range(6)], "at most 5 headers; 6 are given"),
        ],
    )
    def test_headers_that_the_network_would_not_take(self, given, sentence):
        with pytest.raises(SettingsError, match=sentence):
            parse_headers(given)
