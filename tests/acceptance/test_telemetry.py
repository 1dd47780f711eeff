"""From the network's push to the measurement, with the commands an operator types and real processes."""

from __future__ import annotations

import json

from receiver.simulator.device_codecs import SCRIPTS
from receiver.simulator.network import SimulatedNetwork
from tests.acceptance.running_receiver import AS_ID, CHILD, KEY, utc_now, wait_until

LOOPS = """
function decodeUplink(input) {
    if (input.bytes[2] === 0xff) while (true);
    return { data: { third: input.bytes[2] } };
}
"""


def network(seed=1):
    return SimulatedNetwork(key=KEY, as_id=AS_ID, clock=utc_now, seed=seed)


def values_of(installation, device):
    told = json.loads(installation.run("telemetry", "list", "--device", device.dev_eui, "--limit", "1000", "--json"))
    return [(one["name"], one["value"]) for one in told]


def test_pushes_become_telemetry_by_the_codec_of_their_model(installation):
    installation.add_connection("field")
    installation.run("codec", "add", str(SCRIPTS / "climate.js"), "--unit", "temperature=Cel")
    installation.run("codec", "assign", "climate", "--model", "SIM/Climate")
    net = network()
    climate, tracker = net.add_device(kind="climate"), net.add_device(kind="tracker")

    with installation.serve() as served:
        pushes = [net.uplink(climate), net.uplink(climate), net.uplink(tracker)]
        assert set(served.push("field", pushes)) == {200}
        wait_until(lambda: len(values_of(installation, climate)) == 10)

    assert values_of(installation, tracker) == []
    [latest] = [
        one for one in json.loads(installation.run("telemetry", "latest", "--json")) if one["name"] == "temperature"
    ]
    assert latest["unit"] == "Cel"
    uplink = json.loads(installation.run("uplinks", "show", str(latest["uplink_id"]), "--json"))
    assert uplink["decoding"]["decoded"]["temperature"] == latest["value"]
    assert uplink["decoding"]["codec"].startswith("climate@")


def test_a_codec_that_loops_holds_up_neither_pushes_nor_reading(installation):
    installation.add_connection("field")
    script = installation.directory / "loops.js"
    script.write_text(LOOPS)
    installation.run("codec", "add", str(script))
    installation.run("codec", "assign", "loops", "--connection", "field")
    net = network()
    device = net.add_device()
    pushes = [
        net.uplink(device, f_port=5, payload=bytes([0, number, third])) for number, third in enumerate((1, 255, 3))
    ]

    with installation.serve() as served:
        assert set(served.push("field", pushes)) == {200}
        installation.wait_for_payloads(pushes)
        wait_until(lambda: len(values_of(installation, device)) == 2)

    assert sorted(values_of(installation, device)) == [("third", 1), ("third", 3)]


def test_what_was_read_before_the_worker_was_killed_is_decoded_after_it(installation):
    installation.add_connection("field")
    installation.run("codec", "add", str(SCRIPTS / "text.js"))
    installation.run("codec", "assign", "text", "--connection", "field")
    net = network()
    device = net.add_device(kind="text")
    pushes = [net.uplink(device) for _ in range(300)]

    with installation.serve() as served:
        for start in range(0, 300, 20):
            served.push("field", pushes[start : start + 20])
            for child in served.children(CHILD):
                child.kill()  # the worker, which is started again
        wait_until(lambda: len(values_of(installation, device)) == 600, within_s=60)

    assert len({(name, value) for name, value in values_of(installation, device)}) <= 600
