"""KPN LoRa is connected by one command, wherever it is interrupted: one routing profile, one connection, same keys."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest

from receiver.errors import ConflictError, LoginRefusedError, NoAnswerError, NotFoundError, PlatformRefusedError
from receiver.services.connections import add_connection, remove_connection
from receiver.services.provisioning import ConnectOptions, Step, plan_connect, show_plan
from receiver.services.provisioning_removal import disconnect, plan_removal
from receiver.simulator.management_http import CUT, answered
from receiver.simulator.management_http import LOST as LOST_ANSWER
from receiver.simulator.management_kpn_lora import KpnLoraRules
from receiver.storage.engine import read
from receiver.storage.provisionings import find_provisioning
from tests.integration.provisioning_use import BEFORE, LOST, PUBLIC_URL, PUSH_URL, KpnBench, benches

MOST_REQUESTS = 4  # of connect: find, HSM groups, make, default
MOST_COMMITS = 9


@pytest.fixture
def make_bench(engine, keyring, now):
    with benches(partial(KpnBench, engine, keyring, now)) as make:
        yield make


@pytest.fixture
def bench(make_bench):
    return make_bench()


@pytest.fixture
def connected(bench):
    bench.connect()
    return bench


def posts(bench):
    return [asked for asked in bench.simulated.asked if asked.method != "GET"]


class TestConnect:
    def test_makes_both_sides_with_the_same_keys(self, bench):
        done = bench.connect()

        bench.assert_agrees()
        assert done.step is Step.CREATE
        assert done.remote.id == bench.profile.id
        assert done.standing.connection.platform == "kpn-lora"
        assert done.standing.connection.downlink_url == "https://api.kpn-lora.com/thingpark/lrc/rest/downlink"
        assert done.standing.connection.max_deviation_s == 60

    def test_draws_a_tunnel_key_in_lower_case_that_is_even_enough(self, connected):
        assert connected.profile.as_key == connected.profile.as_key.lower()
        assert len(set(connected.profile.as_key)) >= 8

    def test_run_again_changes_nothing(self, connected):
        before = len(posts(connected))

        done = connected.connect()

        assert done.step is Step.NOTHING
        assert done.done == ()
        assert len(posts(connected)) == before
        connected.assert_agrees()

    def test_becomes_the_default_only_after_its_key_is_stored(self, bench):
        bench.connect(default=True)

        assert [asked.method for asked in posts(bench)] == ["POST", "PUT"]
        assert posts(bench)[0].json["default"] is False
        assert bench.profile.is_default

    def test_takes_the_options_it_is_given(self, bench):
        bench.connect(content_type="XML", max_deviation_s=120)

        assert bench.profile.content_type == "XML"
        assert bench.profile.routes[0]["maxDeviation"] == 120
        assert bench.local.standing().connection.max_deviation_s == 120

    def test_unwraps_a_key_that_comes_as_text(self, make_bench):
        bench = make_bench(rules=KpnLoraRules(wraps_hex_text=True))

        bench.connect()

        bench.assert_agrees()

    def test_finds_its_own_by_reference_though_it_was_renamed_there(self, connected):
        connected.profile.name = "renamed"

        done = connected.connect()

        assert [str(one) for one in done.differences] == ["name: renamed at the network, field is asked for"]
        assert connected.profile.name == "renamed"

    def test_shows_what_differs_and_changes_it_only_if_told(self, connected):
        connected.profile.routes[0]["contentType"] = "XML"
        before = len(posts(connected))

        shown = connected.connect()
        assert [one.what for one in shown.differences] == ["content type"]
        assert len(posts(connected)) == before

        changed = connected.connect(update=True)
        assert changed.step is Step.UPDATE
        assert connected.profile.content_type == "JSON"
        connected.assert_agrees()

    def test_another_public_url_is_a_difference(self, connected):
        done = connected.connect(public_url="https://other.example.com")
        assert [one.what for one in done.differences] == ["address"]
        assert connected.profile.addresses == (PUSH_URL,)

        connected.connect(public_url="https://other.example.com", update=True)
        assert connected.profile.addresses == ("https://other.example.com/push/field",)
        assert connected.profile.as_key == connected.key()

    def test_goes_on_without_being_told_the_url_again(self, connected):
        assert connected.connect(public_url=None).step is Step.NOTHING

    def test_makes_it_anew_where_it_was_deleted_at_the_network(self, connected):
        connected.simulated.profiles.clear()

        connected.connect()

        connected.assert_agrees()

    def test_an_interface_without_hsm_has_no_as_transport_key(self, bench):
        bench.account.settings["api_version"] = "v1.1.1"

        done = bench.connect()

        assert bench.profile.hsm_group_id is None
        assert done.standing.as_transport_keys == ()
        bench.assert_one_connection()

    def test_takes_a_connection_that_was_made_here_by_hand(self, bench, engine, keyring, now):
        key = "17d107c7e4ae7ad8ea64ea25ee6a6b52"
        add_connection(engine, keyring, now, name="field", platform="kpn-lora", as_id="MINE", tunnel_key=key)

        bench.connect()

        assert bench.profile.as_id == "MINE"
        assert bench.profile.as_key == key
        assert bench.as_transport_key() == bench.profile.as_transport_key


class TestDryRun:
    def test_shows_the_requests_without_secrets_and_changes_nothing(self, bench):
        async def plan(network):
            found = await plan_connect(network, bench.local, ConnectOptions(PUBLIC_URL, default=True))
            return show_plan(network, found)

        made, default = bench.run(plan)

        assert made.startswith(f"POST {bench.account.settings['api_url']}/routingProfiles\n")
        assert PUSH_URL in made
        assert '"asKey": "…"' in made
        assert '"default": true' in default
        assert posts(bench) == []
        assert bench.local.standing().connection is None

    def test_shows_that_one_whose_key_was_lost_is_made_anew(self, bench):
        bench.stop_at_request(3, LOST, bench.connecting())

        async def plan(network):
            return show_plan(network, await plan_connect(network, bench.local, ConnectOptions(PUBLIC_URL)))

        deleted, made = bench.run(plan)
        assert deleted.startswith("DELETE ")
        assert made.startswith("POST ")
        assert len(bench.simulated.profiles) == 1


class TestInterruption:
    @pytest.mark.parametrize("when", [BEFORE, LOST])
    @pytest.mark.parametrize("number", range(1, MOST_REQUESTS + 1))
    def test_connect_stopped_at_any_request_is_finished_by_the_next(self, bench, number, when):
        connecting = bench.connecting(default=True)
        assert bench.stop_at_request(number, when, connecting)

        bench.connect(default=True)

        bench.assert_agrees()
        assert bench.profile.is_default
        assert not bench.stop_at_request(MOST_REQUESTS + 1, when, connecting)

    @pytest.mark.parametrize("number", range(1, MOST_COMMITS + 1))
    def test_connect_stopped_at_any_commit_is_finished_by_the_next(self, bench, number):
        assert bench.stop_at_commit(number, bench.connecting(default=True)) or number > 8

        bench.connect(default=True)

        bench.assert_agrees()
        assert bench.profile.is_default

    @pytest.mark.parametrize("number", range(1, 8))
    def test_connect_stopped_while_it_makes_anew_is_finished_by_the_next(self, bench, number):
        bench.stop_at_request(3, LOST, bench.connecting())
        bench.stop_at_request(number, LOST, bench.connecting())

        bench.connect()

        bench.assert_agrees()

    @pytest.mark.parametrize("number", range(1, MOST_REQUESTS + 1))
    @pytest.mark.parametrize("fault", [LOST_ANSWER, CUT, answered(503, retry_after_s=1), answered(429)])
    def test_connect_gets_over_a_lost_or_refused_answer_by_itself(self, bench, number, fault):
        bench.simulated.faults.order(fault, at=number)

        bench.connect(default=True)

        bench.assert_agrees()

    def test_a_device_came_to_it_meanwhile_and_it_is_not_deleted(self, bench):
        bench.stop_at_request(3, LOST, bench.connecting())
        bench.add_device()

        with pytest.raises(ConflictError, match=r"1 device uses it: `receiver kpn-lora rotate-key field --as-tran"):
            bench.connect()
        assert len(bench.simulated.profiles) == 1

        bench.run(bench.renewing())
        bench.assert_agrees()
        assert bench.connect().step is Step.NOTHING

    @pytest.mark.parametrize("when", [BEFORE, LOST])
    @pytest.mark.parametrize("number", [1, 2])
    def test_a_rotation_stopped_at_any_request_is_finished_by_the_next(self, connected, number, when):
        assert connected.stop_at_request(number, when, connected.rotating())
        live = connected.local.standing().live_key_ids
        assert connected.profile.as_key in {connected.key(key_id) for key_id in live}, "pushes would be refused"

        done = connected.rotate()

        connected.assert_agrees()
        assert done.key_id == "k2"
        assert connected.local.standing().live_key_ids == ("k1", "k2")

    @pytest.mark.parametrize("number", range(1, 5))
    def test_a_rotation_stopped_at_any_commit_is_finished_by_the_next(self, connected, number):
        stopped = connected.stop_at_commit(number, connected.rotating())
        live = connected.local.standing().live_key_ids
        assert connected.profile.as_key in {connected.key(key_id) for key_id in live}

        if stopped:
            connected.rotate()

        connected.assert_agrees()
        assert connected.local.standing().live_key_ids == ("k1", "k2")

    @pytest.mark.parametrize("when", [BEFORE, LOST])
    @pytest.mark.parametrize("number", range(1, 4))
    @pytest.mark.parametrize("by", ["renewing", "connecting"])
    def test_another_as_transport_key_stopped_at_any_request_is_finished_by_the_next(self, connected, number, when, by):
        before = connected.as_transport_key()
        assert connected.stop_at_request(number, when, connected.renewing())

        connected.run(getattr(connected, by)())

        connected.assert_agrees()
        if by == "renewing":
            assert connected.as_transport_key() != before

    @pytest.mark.parametrize("number", range(1, 7))
    def test_another_as_transport_key_stopped_at_any_commit_is_finished_by_the_next(self, connected, number):
        connected.stop_at_commit(number, connected.renewing())

        connected.connect()

        connected.assert_agrees()


class TestTwoAtOnce:
    def test_a_second_connect_is_refused_while_one_is_at_it(self, bench):
        refused = []

        def connect_again():
            with pytest.raises(ConflictError, match="Another command is connecting") as found:
                bench.connect()
            refused.append(found.value)

        bench.during_request(3, connect_again)
        bench.connect()

        assert len(refused) == 1
        assert len(posts(bench)) == 1
        bench.assert_agrees()
        assert bench.connect().step is Step.NOTHING

    @pytest.mark.parametrize("other", ["rotating", "renewing"])
    def test_keys_are_not_changed_while_it_is_connected(self, connected, other):
        def change_keys():
            with pytest.raises(ConflictError, match="Another command is connecting"):
                connected.run(getattr(connected, other)())

        connected.simulated.profiles.clear()
        connected.during_request(3, change_keys)
        connected.connect()

        connected.assert_agrees()

    def test_another_connection_is_connected_at_the_same_time(self, bench):
        done = []
        bench.during_request(3, lambda: done.append(bench.connect("other").step))
        bench.connect()

        assert done == [Step.CREATE]
        assert sorted(one.name for one in bench.simulated.profiles.values()) == ["field", "other"]


class TestRotation:
    def test_the_new_key_is_taken_here_before_the_network_has_it_and_the_old_one_after(self, connected):
        old = connected.profile.as_key
        connected.simulated.profiles[connected.profile.ref].routes[0]["strategy"] = "BLAST"

        done = connected.rotate()

        assert connected.slept[0] == 2.0
        assert connected.key("k1") == old
        assert connected.profile.as_key == connected.key("k2") != old
        assert connected.profile.routes[0]["strategy"] == "BLAST", "only the key is changed"
        assert [key_id for key_id, _ in done.kept] == ["k1"]
        connected.assert_agrees()

    def test_a_key_that_was_added_by_hand_is_given_to_the_network(self, connected):
        connected.local.add_key()

        assert connected.rotate().key_id == "k2"
        connected.assert_agrees()

    def test_an_old_key_that_is_not_safe_to_retire_stays(self, connected):
        connected.rotate()

        done = connected.rotate(only_retire=True)

        assert done.retired == ()
        assert dict(done.kept)["k1"] == (
            "keep: the network does not sign with a newer key (k2) yet; 0 of the last 0 reports"
        )
        assert connected.local.standing().live_key_ids == ("k1", "k2")

    def test_an_old_key_that_nothing_is_signed_with_any_more_is_retired_if_told(self, connected, now):
        connected.rotate()
        connected.note_use("k1", now - timedelta(days=8))
        connected.note_use("k2", now)
        assert connected.local.standing().live_key_ids == ("k1", "k2")

        done = connected.rotate(only_retire=True)

        assert done.retired == ("k1",)
        assert connected.local.standing().live_key_ids == ("k2",)
        connected.assert_agrees()

    def test_retiring_begins_no_rotation(self, connected):
        before = len(posts(connected))

        connected.rotate(only_retire=True)

        assert len(posts(connected)) == before
        assert connected.local.standing().live_key_ids == ("k1",)

    def test_another_as_transport_key_leaves_the_old_one_for_what_was_sent_under_it(self, connected):
        old = connected.local.standing().active_check_value

        connected.run(connected.renewing())

        connected.assert_agrees()
        keys = connected.local.standing().as_transport_keys
        assert {(key.state, key.key_check_value == old) for key in keys} == {("active", False), ("replaced", True)}

    @pytest.mark.parametrize("fault", [answered(403, {"code": 403, "message": "Forbidden"}), answered(200, {})])
    def test_another_as_transport_key_that_is_refused_leaves_all_as_it_was(self, connected, fault):
        connected.simulated.faults.order(fault, method="PUT")

        with pytest.raises(PlatformRefusedError):
            connected.run(connected.renewing())

        connected.assert_agrees()
        assert connected.connect().step is Step.NOTHING

    def test_what_was_never_connected_cannot_be_rotated(self, bench, engine, keyring, now):
        add_connection(engine, keyring, now, name="field", platform="kpn-lora", tunnel_key=None)

        with pytest.raises(NotFoundError, match="field was not connected by command"):
            bench.rotate()


class TestRefusals:
    def test_a_wrong_secret_leaves_nothing_behind(self, make_bench):
        bench = make_bench(client_secret="another")

        with pytest.raises(LoginRefusedError, match="does not take this account"):
            bench.connect()
        assert bench.local.standing().connection is None

    def test_a_project_that_is_not_activated(self, make_bench):
        bench = make_bench(is_activated=False)

        with pytest.raises(PlatformRefusedError, match="`receiver kpn-lora activate`"):
            bench.connect()

    @pytest.mark.parametrize(
        ("groups", "sentence"),
        [
            ([], "no HSM group for this account"),
            ([{"id": "A"}, {"id": "B"}], r"several HSM groups: say which with --hsm-group \(A, B\)"),
        ],
    )
    def test_hsm_groups_that_leave_no_choice_or_too_much(self, bench, groups, sentence):
        bench.simulated.faults.order(answered(200, groups), path="/hsmGroups")

        with pytest.raises(Exception, match=sentence):
            bench.connect()
        assert bench.simulated.profiles == {}
        assert bench.local.standing().connection is None

    def test_an_hsm_group_that_is_chosen_must_be_there(self, bench):
        with pytest.raises(NotFoundError, match=r"no HSM group 'X' for you; there are: HSM_KPN-OPE\.1"):
            bench.connect(hsm_group="X")

        bench.connect(hsm_group="HSM_KPN-OPE.1")
        bench.assert_agrees()

    def test_a_name_that_another_server_has_is_left_alone(self, bench):
        bench.connect()
        bench.profile.routes[0]["addresses"] = ["https://elsewhere.example.com/lora"]
        remove_connection(bench.engine, "field")

        with pytest.raises(ConflictError, match=r"pushes to https://elsewhere\.example\.com/lora and not to"):
            bench.connect()
        assert len(bench.simulated.profiles) == 1

    def test_one_that_pushes_here_but_whose_key_nobody_here_knows_is_left_alone_unless_told(self, bench):
        bench.connect()
        ref = bench.profile.ref
        remove_connection(bench.engine, "field")

        with pytest.raises(ConflictError, match="which tunnel key it has cannot be read back"):
            bench.connect()
        assert bench.profile.ref == ref

        bench.connect(update=True)
        bench.assert_agrees()

    def test_one_with_devices_whose_key_nobody_here_knows_gets_a_new_tunnel_key(self, bench):
        bench.connect()
        ref = bench.profile.ref
        bench.add_device()
        remove_connection(bench.engine, "field")

        bench.connect(update=True)

        assert bench.profile.ref == ref
        assert bench.profile.as_key == bench.key()
        bench.run(bench.renewing())
        bench.assert_agrees()

    def test_a_key_that_the_network_takes_for_too_simple_is_replaced_once(self, bench):
        refusal = answered(400, {"code": 400, "message": "Bad request: the entropy of asKey is too low"})
        bench.simulated.faults.order(refusal, method="POST", path="/routingProfiles")

        bench.connect()

        bench.assert_agrees()
        assert bench.local.standing().live_key_ids == ("k2",)

    def test_a_key_that_the_network_repeats_in_its_refusal_is_not_shown(self, connected):
        key = connected.local.open_key(connected.local.add_key())
        refusal = answered(400, {"code": 400, "message": f"Bad request: asKey {key} is not allowed"})
        connected.simulated.faults.order(refusal, method="PUT")

        with pytest.raises(PlatformRefusedError, match="asKey … is not allowed") as raised:
            connected.rotate()
        assert key not in str(raised.value)
        assert key not in raised.value.said

    def test_keys_that_are_all_too_simple_are_told_of(self, make_bench):
        bench = make_bench(rules=KpnLoraRules(least_bits_per_digit=4.1))

        with pytest.raises(PlatformRefusedError, match="entropy"):
            bench.connect()
        assert bench.simulated.profiles == {}

    def test_a_rotation_gets_over_a_key_that_is_too_simple(self, connected):
        refusal = answered(400, {"code": 400, "message": "Bad request: the entropy of asKey is too low"})
        connected.simulated.faults.order(refusal, method="PUT")

        connected.rotate()

        connected.assert_agrees()
        assert connected.local.standing().live_key_ids == ("k1", "k3")

    def test_a_certificate_that_the_network_does_not_trust(self, make_bench):
        bench = make_bench(rules=KpnLoraRules(refused_hosts=frozenset({"lora.example.com"})))

        with pytest.raises(PlatformRefusedError, match="a certificate that the world trusts"):
            bench.connect()

        bench.simulated.rules = bench.simulated._profiles.rules = KpnLoraRules()
        bench.connect()
        bench.assert_agrees()

    def test_a_network_that_is_away_is_told_with_what_is_kept(self, bench):
        bench.simulated.faults.order(CUT, method="POST", path="/routingProfiles", times=100)

        with pytest.raises(NoAnswerError, match=r"nothing is lost: run `receiver kpn-lora connect field --public-url"):
            bench.connect()

        bench.simulated.faults = type(bench.simulated.faults)()
        bench.connect()
        bench.assert_agrees()

    def test_a_connection_of_another_platform_keeps_its_name(self, bench, engine, keyring, now):
        add_connection(engine, keyring, now, name="field", platform="thingpark", tunnel_key=None)

        with pytest.raises(ConflictError, match="field is a connection of thingpark, and not of kpn-lora"):
            bench.connect()

    @pytest.mark.parametrize("url", ["http://lora.example.com", "lora.example.com", "https://", "https://a b.com"])
    def test_a_public_url_that_nobody_can_push_to(self, bench, url):
        with pytest.raises(Exception, match=r"A public URL must|is not a public URL"):
            bench.connect(public_url=url)
        assert bench.simulated.asked == type(bench.simulated.asked)()


class TestDisconnect:
    def test_deletes_it_there_and_keeps_its_keys_here(self, connected):
        done = connected.run(lambda network: take_away(connected, network))

        assert connected.simulated.profiles == {}
        assert done.local is None
        assert connected.local.standing().state == "removed"
        assert connected.local.standing().active_check_value is not None

    def test_is_refused_while_devices_use_it(self, connected):
        connected.add_device()

        with pytest.raises(ConflictError, match=r"1 device uses the routing profile .* \(0059AC0000170311\)"):
            connected.run(lambda network: take_away(connected, network))
        assert len(connected.simulated.profiles) == 1

    def test_removes_it_here_as_well_if_told(self, connected, engine):
        connection_id = connected.local.standing().connection.id

        done = connected.run(lambda network: take_away(connected, network, remove_local=True))

        assert done.local.tunnel_keys == 1
        with read(engine) as tx:
            assert find_provisioning(tx, connection_id) is None

    @pytest.mark.parametrize("when", [BEFORE, LOST])
    @pytest.mark.parametrize("number", range(1, 4))
    def test_stopped_at_any_request_is_finished_by_the_next(self, connected, number, when):
        assert connected.stop_at_request(number, when, lambda network: take_away(connected, network))

        connected.run(lambda network: take_away(connected, network))

        assert connected.simulated.profiles == {}
        assert connected.local.standing().state == "removed"

    def test_what_was_taken_away_is_connected_anew(self, connected):
        first = connected.as_transport_key()
        connected.run(lambda network: take_away(connected, network))

        connected.connect()

        connected.assert_agrees()
        assert connected.as_transport_key() != first


async def take_away(bench, network, **options):
    return await disconnect(network, bench.local, await plan_removal(network, bench.local), **options)
