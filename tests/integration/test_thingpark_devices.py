"""Devices, multicast groups, traffic and alarms at ThingPark, by its client."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from receiver.errors import ConflictError, IdentifierError, NotFoundError, PlatformRefusedError, SettingsError
from receiver.platforms.thingpark_wishes import CellularDeviceWish, LorawanDeviceWish, MulticastGroupWish
from receiver.simulator.management_http import CUT, LOST
from receiver.simulator.management_thingpark_book import SimulatedFrame
from tests.integration.thingpark_use import (
    APP_KEY,
    DEV_EUI,
    MINE,
    MODEL,
    NOW,
    OTHER_KEY,
    TUNNEL_KEY,
    ByHeart,
    collected,
    device_wish,
    site_on_a_port,
)

GROUP = "70B3D57ED0FF0001"
SIM = "89310123456789012345"


@pytest.fixture
def site():
    with site_on_a_port() as site:
        yield site


@pytest.fixture
def advanced():
    with site_on_a_port(mode="ADVANCED") as site:
        yield site


@pytest.fixture
def by_heart():
    with ByHeart() as server:
        yield server


# --- LoRaWAN devices


def test_an_otaa_device_is_made_with_its_key_and_its_connection(site):
    connection = site.with_connection()
    made = site.with_device(name="Meter 1", app_server_ids=(connection.id,))

    assert (made.eui, made.name, made.app_server_ids) == (DEV_EUI, "Meter 1", (connection.id,))
    assert site.resources.device(DEV_EUI).app_key == APP_KEY
    assert APP_KEY not in f"{made!r}{made.raw}"


def test_the_plan_is_chosen_by_thingpark_in_the_basic_mode(site):
    site.with_device()

    assert site.last("POST").json["networkSubscription"] == {"nwGeolocalization": False, "prAllowed": False}
    assert site.resources.device(DEV_EUI).members["networkSubscription"]["ID"] == "acme-cs/basic"


def test_the_plan_is_named_in_the_advanced_mode(advanced):
    made = advanced.with_device(network_subscription_id="acme-cs/geo", handling_mode="ADVANCED")

    assert made.network_subscription_id == "acme-cs/geo"
    assert advanced.last("POST").query == {"networkSubscriptionsHandlingMode": "ADVANCED"}


def test_a_device_without_a_plan_is_suspended(advanced):
    made = advanced.with_device(handling_mode="ADVANCED")

    assert made.health_state == "SUSPENDED"
    assert "networkSubscription" not in advanced.last("POST").json


def test_an_abp_device_is_made_with_its_session(site):
    wish = LorawanDeviceWish(
        DEV_EUI, MODEL, activation="ABP", dev_addr="0070c5bb", nwk_s_key=TUNNEL_KEY, app_s_key=OTHER_KEY.lower()
    )
    made = site.run(lambda client: client.create_lorawan_device(wish))

    assert (made.activation, made.dev_addr) == ("ABP", "0070C5BB")
    assert site.last("POST").json["appKeys"] == f'<AppSKeys><AppSKey Port="*">{OTHER_KEY}</AppSKey></AppSKeys>'


@pytest.mark.parametrize(
    ("wish", "error", "word"),
    [
        ({"app_key": None}, SettingsError, "AppKey"),
        ({"app_key": "12"}, IdentifierError, "32 hex digits"),
        ({"activation": "ABP"}, SettingsError, "NwkSKey"),
        ({"activation": "otaa"}, SettingsError, "OTAA or ABP"),
        ({"dev_eui": "12"}, IdentifierError, "DevEUI"),
    ],
)
def test_a_wish_that_cannot_be_written_is_refused_before_it_is_sent(site, wish, error, word):
    with pytest.raises(error, match=word):
        site.run(lambda client: client.create_lorawan_device(device_wish(**wish)))
    assert not site.thingpark.asked


def test_a_key_that_is_not_of_its_form_is_not_shown():
    with pytest.raises(IdentifierError) as refused, site_on_a_port() as site:
        site.with_device(app_key="very-secret-and-wrong")

    assert "secret" not in str(refused.value)


def test_an_external_join_server_needs_the_join_eui(site):
    site.with_device(app_key=None, join_eui="70B3D57ED0000001")

    assert "appKey" not in site.last("POST").json
    assert site.resources.device(DEV_EUI).members["joinServer"] == "EXTERNAL"


def test_a_device_that_is_there_already_is_told_so(site):
    site.with_device()

    with pytest.raises(PlatformRefusedError, match="a device with this DevEUI already") as refused:
        site.with_device()
    assert refused.value.oss_code == 111


@pytest.mark.parametrize(
    ("wish", "code"), [({"model_id": "NO/SUCH"}, 222), ({"network_subscription_id": "no/such"}, 214)]
)
def test_a_profile_or_plan_that_is_not_there_is_told_so(site, wish, code):
    with pytest.raises(PlatformRefusedError, match="choose one from the list") as refused:
        site.with_device(**wish)
    assert refused.value.oss_code == code


def test_a_plan_without_licences_is_told_so(site):
    site.book.plans[0].granted = 1
    site.with_device()

    with pytest.raises(PlatformRefusedError, match="no free licences"):
        site.with_device("70B3D57ED0001A2C")


def test_a_device_is_found_by_its_eui_in_any_spelling(site):
    site.with_device()

    assert site.run(lambda client: client.find_device("70-b3-d5-7e-d0-00-1a-2b")).eui == DEV_EUI
    assert site.last("GET").path == f"{MINE}/devices/e{DEV_EUI}"


def test_a_device_that_is_not_there_is_none_though_thingpark_answers_400(site):
    assert site.run(lambda client: client.find_device(DEV_EUI)) is None
    assert site.thingpark.asked[-1].status == 400
    with pytest.raises(NotFoundError, match=DEV_EUI):
        site.run(lambda client: client.get_device(DEV_EUI))


def test_another_refusal_is_not_taken_for_absence(by_heart):
    by_heart.prepare({"code": 25, "message": "Access denied"}, 403)

    with pytest.raises(PlatformRefusedError, match="403"):
        by_heart.run(lambda client: client.find_device(DEV_EUI))


def test_an_update_of_a_device_sends_what_changes_and_the_version(site):
    site.with_device()
    changed = site.run(lambda client: client.update_device(DEV_EUI, {"name": "Other"}))

    assert changed.name == "Other"
    assert set(site.last("PUT").json) == {"name", "occContext"}


@pytest.mark.parametrize("name", ["EUI", "nwAddress", "activation", "connectivity", "imsi", "occContext"])
def test_an_update_of_a_device_never_carries_what_cannot_be_changed(site, name):
    with pytest.raises(ConflictError, match=name):
        site.run(lambda client: client.update_device(DEV_EUI, {name: "x"}))
    assert not site.thingpark.asked


def test_a_device_is_moved_to_another_connection(site):
    one, other = site.with_connection("one"), site.with_connection("other")
    site.with_device(app_server_ids=(one.id,))

    moved = site.run(lambda client: client.set_device_app_servers(DEV_EUI, (other.id,)))

    assert moved.app_server_ids == (other.id,)


def test_a_device_is_suspended_and_resumed(site):
    site.with_device()

    assert site.run(lambda client: client.suspend_device(DEV_EUI)).health_state == "SUSPENDED"
    assert site.run(lambda client: client.suspend_device(DEV_EUI, resume=True)).health_state == "INIT"


def test_a_device_is_deleted_once_and_its_licence_is_free_again(site):
    site.with_device()
    assert site.book.plans[0].used == 1

    assert site.run(lambda client: client.delete_device(DEV_EUI)) is True
    assert site.run(lambda client: client.delete_device(DEV_EUI)) is False
    assert site.book.plans[0].used == 0


def test_a_deletion_whose_answer_is_lost_is_no_error(site):
    site.with_device()
    site.faults.order(LOST, method="DELETE")

    site.run(lambda client: client.delete_device(DEV_EUI))

    assert not site.book.devices


def test_devices_are_filtered_by_thingpark(site):
    connection = site.with_connection()
    site.with_device(app_server_ids=(connection.id,))
    site.with_device("70B3D57ED0001A2C")

    found = site.run(lambda client: collected(client.list_devices((("appServerID", connection.id),))))

    assert [one.eui for one in found] == [DEV_EUI]


def test_devices_are_counted_by_their_health(site):
    site.with_device()
    site.with_device("70B3D57ED0001A2C")
    site.run(lambda client: client.suspend_device(DEV_EUI))

    assert site.run(lambda client: client.count_devices()) == {"INIT": 1, "SUSPENDED": 1}


def test_tags_are_put_on_and_taken_off(site):
    site.with_device()

    async def use(client):
        await client.add_device_tag(DEV_EUI, "roof")
        [tag] = await client.list_device_tags(DEV_EUI)
        uid = tag.text("href").rpartition("/")[2]
        return tag.text("name"), await client.remove_device_tag(DEV_EUI, uid), await client.list_device_tags(DEV_EUI)

    assert site.run(use) == ("roof", True, [])


def test_a_downlink_is_queued_in_clear(site):
    site.with_device()

    site.run(lambda client: client.send_device_downlink(DEV_EUI, 2, b"\x01\xaf", confirmed=True))

    assert site.last("POST").query == {"payload": "01AF", "fPort": "2", "confirmed": "true"}


def test_a_session_is_reset_and_debug_logs_are_kept(site):
    site.with_device()

    async def use(client):
        await client.reset_device(DEV_EUI)
        await client.set_device_debug(DEV_EUI, lorawan=True)

    site.run(use)

    assert site.last("PUT").json["debug"] == {"lorawan": True}


def test_a_device_that_was_there_long_before_is_not_taken_for_the_one_whose_answer_is_lost(site):
    site.with_device(name="Old")
    site.now += timedelta(days=1)
    site.faults.order(CUT, method="POST")

    with pytest.raises(ConflictError, match="since 2026-11-20 12:00 UTC"):
        site.with_device(name="New")


# --- cellular devices


def test_a_cellular_device_gets_an_eui_from_the_network(site):
    wish = CellularDeviceWish(
        "CUSTOM/LTE_Dongle",
        SIM,
        "Router",
        network_subscription_id="acme-cs/cellular-cp",
        network_context_id="1AF3B",
    )
    made = site.run(lambda client: client.create_cellular_device(wish))

    assert (made.eui, made.sim_id, made.network_context_id) == ("F03D290000000001", SIM, "1AF3B")
    assert site.last("POST").json["sim"] == {"ID": SIM}


def test_a_cellular_device_whose_answer_is_lost_is_found_by_its_sim(site):
    site.faults.order(LOST, method="POST")
    wish = CellularDeviceWish("CUSTOM/LTE_Dongle", SIM, "Router")

    assert site.run(lambda client: client.create_cellular_device(wish)).sim_id == SIM
    assert len(site.book.devices) == 1


def test_a_cellular_device_of_7_3_is_made_by_imei_and_imsi(site):
    wish = CellularDeviceWish("CUSTOM/LTE_Dongle", imei="123456789012347", imsi="204080000000001")
    made = site.run(lambda client: client.create_cellular_device(wish))

    assert made.eui == "12345678901234"
    assert "sim" not in site.last("POST").json
    assert site.run(lambda client: client.get_device("12345678901234")).eui == made.eui


@pytest.mark.parametrize(
    "wish",
    [CellularDeviceWish("m"), CellularDeviceWish("m", imei="123456789012347"), CellularDeviceWish("m", SIM, imei="12")],
)
def test_a_cellular_device_needs_a_sim_or_imei_and_imsi(site, wish):
    with pytest.raises((SettingsError, IdentifierError)):
        site.run(lambda client: client.create_cellular_device(wish))
    assert not site.thingpark.asked


# --- import


def test_an_import_of_good_lines_has_no_errors(site):
    csv = f"CREATE_OTAA,{DEV_EUI},,{MODEL},,{APP_KEY},,,,,Meter\nCREATE_OTAA,70B3D57ED0001A2C,,{MODEL},,{APP_KEY}\n"

    done = site.run(lambda client: client.import_devices(csv))

    assert (done.errors, done.task) == ((), None)
    assert site.resources.device(DEV_EUI).members["name"] == "Meter"
    assert site.thingpark.asked[-1].status == 200


def test_an_import_tells_each_bad_line_though_the_status_is_200(site):
    site.with_device()
    csv = (
        f"CREATE_OTAA,70B3D57ED0001A2C,,{MODEL},,{APP_KEY}\n"
        f"CREATE_OTAA,{DEV_EUI},,{MODEL},,{APP_KEY}\n"
        f"CREATE_OTAA,{DEV_EUI},,NO/SUCH,,{APP_KEY}\n"
        "DELETE,70B3D57ED0001AFF\n"
    )
    done = site.run(lambda client: client.import_devices(csv))

    assert [(one.line, one.dev_eui, one.codes) for one in done.errors] == [
        (2, DEV_EUI, (111,)),
        (3, DEV_EUI, (111, 222)),
        (4, "70B3D57ED0001AFF", (25,)),
    ]
    assert "already" in done.errors[0].said
    assert done.errors[2].said == "Device not found"
    assert len(site.book.devices) == 2


def test_an_import_of_thousands_of_bad_lines_is_told_whole(site):
    csv = "".join(f"DELETE,70B3D57ED{number:07X}\n" for number in range(3000))

    done = site.run(lambda client: client.import_devices(csv))

    assert [one.line for one in done.errors] == list(range(1, 3001))


@pytest.mark.parametrize("csv", ["", "\n\n", 'a,"b\n', "CREATE_OTAA\n", "--boundary\r\n\r\nx"])
def test_an_import_of_anything_is_answered(site, csv):
    assert isinstance(site.run(lambda client: client.import_devices(csv)).errors, tuple)


def test_an_error_that_is_of_no_line_is_told_as_it_came(by_heart):
    by_heart.prepare({"code": 7, "message": "The file is too large"})

    [error] = by_heart.run(lambda client: client.import_devices("x")).errors

    assert (error.line, error.said) == (None, "The file is too large")


def test_a_key_that_an_import_s_answer_repeats_is_withheld(by_heart):
    by_heart.prepare({"code": 1, "message": f"{DEV_EUI},line 1,[9] Invalid key {APP_KEY}\nno line {APP_KEY}\n"})

    errors = by_heart.run(lambda client: client.import_devices("x")).errors

    assert [one.said for one in errors] == ["Invalid key …", "no line …"]


def test_an_import_that_is_done_later_gives_its_task(by_heart):
    by_heart.prepare(None, 202, Location="/thingpark/wireless/rest/subscriptions/32/tasks/9")

    assert by_heart.run(lambda client: client.import_devices("x")).task.endswith("/tasks/9")


# --- traffic


def test_a_traffic_history_has_days_of_its_zone(site):
    site.with_device()
    midnight = datetime(2026, 11, 19, 23, 0, tzinfo=UTC)  # in Amsterdam
    for minutes, size in ((-1, 10), (0, 20), (600, 30)):
        frame = SimulatedFrame(midnight + timedelta(minutes=minutes), 0, size, lost_before=1)
        site.resources.add_frame(DEV_EUI, frame)

    slots = site.run(lambda client: client.list_aggregated_frames(DEV_EUI, "P7D", "P1D", "Europe/Amsterdam"))

    assert [(one.at, one.up_count, one.up_bytes, one.up_lost) for one in slots] == [
        (midnight - timedelta(days=1), 1, 10, 1),
        (midnight, 2, 50, 2),
    ]


def test_a_day_of_summer_time_s_end_has_25_hours():
    with site_on_a_port() as site:
        site.with_device()
        midnight = datetime(2026, 10, 24, 22, 0, tzinfo=UTC)  # in Amsterdam, the day before clocks go back
        for hours in (0, 24, 25):
            site.resources.add_frame(DEV_EUI, SimulatedFrame(midnight + timedelta(hours=hours), 0, 1))

        slots = site.run(
            lambda client: client.list_aggregated_frames(DEV_EUI, "P3D", "P1D", "Europe/Amsterdam", begin=midnight)
        )

    assert [(one.at - midnight, one.up_count) for one in slots] == [(timedelta(0), 2), (timedelta(hours=25), 1)]


def test_a_traffic_history_tells_joins_lateness_and_failures(site):
    site.with_device()
    for frame in (
        SimulatedFrame(NOW - timedelta(minutes=9), 0, 0, subtype=4),
        SimulatedFrame(NOW - timedelta(minutes=8), 1, 17, subtype=1004),
        SimulatedFrame(NOW - timedelta(minutes=5), 0, 12, is_late=True, rssi=-100.0),
        SimulatedFrame(NOW - timedelta(minutes=4), 1, 3, is_sent=False),
    ):
        site.resources.add_frame(DEV_EUI, frame)

    [slot] = site.run(lambda client: client.list_aggregated_frames(DEV_EUI, "PT24H"))

    assert (slot.up_count, slot.up_late, slot.join_requests) == (2, 1, 1)
    assert (slot.down_count, slot.down_failed, slot.join_accepts) == (2, 1, 1)
    assert slot.rssi_dbm_mean == -90.0


@pytest.mark.parametrize("options", [{"timezone": "Mars/Olympus"}, {"step": "PT25H"}, {"duration": "P1Y"}])
def test_a_history_of_no_known_form_is_refused(site, options):
    site.with_device()

    with pytest.raises(PlatformRefusedError, match="400"):
        site.run(lambda client: client.list_aggregated_frames(DEV_EUI, **options))


def test_a_time_is_asked_for_with_its_offset(site):
    site.with_device()
    site.run(lambda client: client.list_frames(DEV_EUI, begin=NOW, duration="P1D", types=(0, 1)))

    assert site.last("GET").query["begin"] == "2026-11-20T12:00:00.000+00:00"


def test_single_frames_are_listed(site):
    site.with_device()
    site.resources.add_frame(DEV_EUI, SimulatedFrame(NOW - timedelta(hours=1), 0, 12, sf=9))
    site.resources.add_frame(DEV_EUI, SimulatedFrame(NOW - timedelta(hours=2), 1, 3, is_sent=False))

    frames = site.run(lambda client: client.list_frames(DEV_EUI))

    assert [(one.type, one.size_bytes, one.spreading_factor, one.is_sent) for one in frames] == [
        (1, 3, 7, False),
        (0, 12, 9, None),
    ]


def test_what_else_is_known_of_a_device_is_listed(site):
    site.with_device()
    site.resources.add_frame(DEV_EUI, SimulatedFrame(NOW, 0, 12, sf=9))

    async def use(client):
        return (
            await client.list_locations(DEV_EUI),
            await client.list_battery_levels(DEV_EUI),
            [one.object("up").integer("count") for one in await client.list_spreading_factors(DEV_EUI)],
        )

    assert site.run(use) == ([], [], [0, 0, 1, 0, 0, 0])


# --- alarms


def test_alarms_of_all_devices_are_paged_by_cursor_and_named(site):
    site.rules.page_size = 2
    site.with_device()
    uids = [site.resources.raise_alarm(DEV_EUI, type_, 3, ("4",)) for type_ in (4, 13, 17)]

    found = site.run(lambda client: collected(client.list_alarms()))

    assert [one.uid for one in found] == sorted(uids)
    assert {one.name for one in found} == {
        "no uplink activity",
        "MAC command blocked: no reply of the device",
        "alarm 17",
    }
    assert (found[0].dev_eui, found[0].state_name, found[0].additional) == (DEV_EUI, "warning", ("4",))


def test_alarms_of_a_release_without_cursors_are_paged_by_number(site):
    site.rules.has_alarm_cursors = False
    site.rules.page_size = 2
    site.with_device()
    uids = [site.resources.raise_alarm(DEV_EUI, type_, 3) for type_ in range(1, 6)]

    assert {one.uid for one in site.run(lambda client: collected(client.list_alarms()))} == set(uids)


def test_alarms_are_acknowledged_and_keep_their_state(site):
    site.with_device()
    uid = site.resources.raise_alarm(DEV_EUI, 4, 5)
    site.run(lambda client: client.acknowledge_alarms([uid]))

    [alarm] = site.run(lambda client: collected(client.list_alarms(DEV_EUI)))

    assert (alarm.is_acknowledged, alarm.state_name, alarm.acknowledged_by) == (True, "major", "John Doe")
    assert site.last("POST").status == 204


def test_an_acknowledgement_whose_answer_is_lost_is_sent_again(site):
    site.with_device()
    uid = site.resources.raise_alarm(DEV_EUI, 4, 5)
    site.faults.order(LOST, method="POST", path="/ack")

    site.run(lambda client: client.acknowledge_alarms([uid]))

    assert site.book.alarms[uid].acked_at is not None


def test_hundreds_of_alarms_are_acknowledged_in_parts(by_heart):
    for _ in range(3):
        by_heart.prepare(None, 204)
    by_heart.run(lambda client: client.acknowledge_alarms([f"{number:024x}" for number in range(1001)]))

    assert [len(by_heart.body(number)["alarmUids"]) for number in range(3)] == [500, 500, 1]


def test_alarms_of_one_device_are_acknowledged_alone_or_all(site):
    site.with_device()
    site.with_device("70B3D57ED0001A2C")
    first, second = (site.resources.raise_alarm(DEV_EUI, type_, 4) for type_ in (4, 5))
    other = site.resources.raise_alarm("70B3D57ED0001A2C", 4, 4)

    site.run(lambda client: client.acknowledge_device_alarm(DEV_EUI, first))
    assert [site.book.alarms[uid].acked_at is None for uid in (first, second, other)] == [False, True, True]
    site.run(lambda client: client.acknowledge_all_of_device(DEV_EUI))
    assert [site.book.alarms[uid].acked_at is None for uid in (first, second, other)] == [False, False, True]


def test_alarms_are_listed_from_a_time_on_and_by_whether_they_are_acknowledged(site):
    site.with_device()
    old = site.resources.raise_alarm(DEV_EUI, 4, 3)
    site.now += timedelta(hours=1)
    new = site.resources.raise_alarm(DEV_EUI, 5, 3)
    site.run(lambda client: client.acknowledge_alarms([old]))

    recent = site.run(lambda client: collected(client.list_alarms(since=NOW + timedelta(minutes=1))))
    still_open = site.run(lambda client: collected(client.list_alarms(acknowledged=False)))

    assert [one.uid for one in recent] == [one.uid for one in still_open] == [new]


def test_alarms_are_counted_and_histories_listed(site):
    site.with_device()
    site.resources.raise_alarm(DEV_EUI, 4, 3)

    assert site.run(lambda client: client.count_alarms()).integer("totalCount") == 1
    assert site.run(lambda client: collected(client.list_alarm_histories())) == []


# --- multicast groups


def test_a_multicast_group_is_made_where_the_contract_has_it(site):
    connection = site.with_connection()
    wish = MulticastGroupWish(
        GROUP,
        "785d25e2",
        TUNNEL_KEY,
        OTHER_KEY,
        name="Valves",
        downlink_data_rate=5,
        downlink_frequency_mhz=869.525,
        tags=(("north", "OPERATOR"),),
        app_server_ids=(connection.id,),
    )
    made = site.run(lambda client: client.create_multicast_group(wish))

    assert (made.eui, made.device_class, made.tags, made.dev_addr) == (GROUP, "C", ("north",), "785D25E2")
    assert site.last("POST").path == f"{MINE}/multicastGroups"
    assert TUNNEL_KEY not in f"{made!r}{made.raw}{wish!r}"


@pytest.mark.parametrize(
    "options", [{"device_class": "A"}, {"device_class": "B"}, {"device_class": "C", "ping_slot_period_s": 8}]
)
def test_ping_slots_belong_to_class_b_alone(site, options):
    wish = MulticastGroupWish(GROUP, "785D25E2", TUNNEL_KEY, **options)

    with pytest.raises(SettingsError):
        site.run(lambda client: client.create_multicast_group(wish))


def test_a_multicast_group_is_listed_changed_and_deleted(site):
    wish = MulticastGroupWish(GROUP, "785D25E2", TUNNEL_KEY, OTHER_KEY, "Valves")

    async def use(client):
        await client.create_multicast_group(wish)
        changed = await client.update_multicast_group(GROUP, {"name": "Locks"})
        listed = await client.list_multicast_groups()
        gone = await client.delete_multicast_group(GROUP), await client.delete_multicast_group(GROUP)
        return changed.name, [one.name for one in listed], gone, await client.find_multicast_group(GROUP)

    assert site.run(use) == ("Locks", ["Locks"], (True, False), None)


def test_a_multicast_group_whose_answer_is_lost_is_made_once(site):
    site.faults.order(LOST, method="POST")
    wish = MulticastGroupWish(GROUP, "785D25E2", TUNNEL_KEY, OTHER_KEY, "Valves")

    assert site.run(lambda client: client.create_multicast_group(wish)).eui == GROUP
    assert len(site.book.groups) == 1


def test_base_station_tags_of_a_group_cannot_be_changed_by_an_update(site):
    with pytest.raises(ConflictError, match="bss"):
        site.run(lambda client: client.update_multicast_group(GROUP, {"bss": {"tags": []}}))


def test_a_group_that_is_not_there_is_told_so(site):
    with pytest.raises(NotFoundError, match=GROUP):
        site.run(lambda client: client.get_multicast_group(GROUP))


def test_a_group_s_history_is_given_as_it_comes(by_heart):
    by_heart.prepare({"briefs": [{"timestamp": 1, "successfulTransmissionValues": []}], "ratioRangeDefinitions": []})

    history = by_heart.run(lambda client: client.get_multicast_history(GROUP))

    assert len(history.objects("briefs")) == 1
