"""What ThingPark's Device Manager API answers, as typed records; `raw` is the object as it came, without secrets.

All of a record may be missing: a restricted account sees less, and releases differ. Times are UTC.
Sources: Device Manager contract 7.3; the tutorial of docs.thingpark.com (8.1 or later).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from receiver.platforms.calls import WITHHELD, withhold
from receiver.platforms.thingpark_subscription import app_server_uid, uid_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from receiver.platforms.members import Members

BASIC, ADVANCED = "BASIC", "ADVANCED"
"""How a subscription chooses the plan of a device: ThingPark by itself, or by the plan's ID."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """The subscription of the account."""

    handling_mode: str | None
    """`BASIC` or `ADVANCED`."""
    state: str | None
    subscriber_id: str | None
    subscriber_name: str | None
    cellular_support: str | None
    license: str | None
    created_at: datetime | None
    raw: Mapping[str, object] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where an application server wants reports of some FPorts."""

    addresses: tuple[str, ...]
    ports: str | None
    strategy: str | None


@dataclass(frozen=True, slots=True)
class IotFlowLink:
    """The connection of DX Core that stands behind an application server."""

    connection_id: str | None
    connector_id: str | None
    flow_id: str | None
    state: str | None


@dataclass(frozen=True, slots=True)
class AppServer:
    """An application server, which ThingPark's pages call a connection. Lists give less of it than `get_app_server`."""

    id: str | None
    """Like `TWA_100000001.568.AS`: what devices name."""
    uid: str | None
    """Its number, by which it is asked for."""
    name: str | None
    type: str | None
    """`HTTP`, `HTTP_CELLULAR` or `KAFKA`, which is IoT Flow."""
    content_type: str | None
    description: str | None
    state: str | None
    validation_state: str | None
    health_state: str | None
    destinations: tuple[Destination, ...]
    header_names: tuple[str, ...]
    """Of the HTTP headers that each push carries; their values may be secrets and are not kept."""
    security_status: str | None
    as_id: str | None
    """As pushes and downlinks carry it in AS_ID."""
    max_timestamp_deviation_s: int | None
    device_count: int | None
    base_station_count: int | None
    multicast_group_count: int | None
    iot_flow: IotFlowLink | None
    href: str | None
    raw: Mapping[str, object] = field(repr=False)


@dataclass(frozen=True, slots=True)
class AppServerSecurity:
    """What signs pushes and downlinks of an application server; the key itself cannot be read back."""

    status: str | None
    as_id: str | None
    max_timestamp_deviation_s: int | None
    raw: Mapping[str, object] = field(repr=False)


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """A model of devices."""

    id: str | None
    commercial_name: str | None
    vendor_name: str | None
    connectivity: str | None
    mac_version: str | None
    """The LoRaWAN version, such as `1.0.4`, where its numbers are known."""
    ism_bands: tuple[str, ...]
    raw: Mapping[str, object] = field(repr=False)


@dataclass(frozen=True, slots=True)
class NetworkSubscription:
    """A connectivity plan with its licences."""

    id: str | None
    commercial_name: str | None
    connectivity: str | None
    communication_type: str | None
    used: int | None
    granted: int | None
    nw_geolocalization: bool | None
    pr_allowed: bool | None
    max_destinations_per_route: int | None
    href: str | None
    raw: Mapping[str, object] = field(repr=False)

    @property
    def free(self) -> int | None:
        """Give how many licences are left."""
        return None if self.used is None or self.granted is None else self.granted - self.used


@dataclass(frozen=True, slots=True)
class CellularNetworkContext:
    """How cellular devices are routed (8.1 and later)."""

    id: str | None
    name: str | None
    mode: str | None
    subnet: str | None
    source_port: int | None
    raw: Mapping[str, object] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Device:
    """A device of either connectivity. Lists give less of it than `get_device`; its keys cannot be read back."""

    eui: str | None
    """The DevEUI; of a cellular device an EUI of the network (8.1) or the IMEI (7.3)."""
    uid: str | None
    name: str | None
    connectivity: str | None
    activation: str | None
    join_eui: str | None
    dev_addr: str | None
    model_id: str | None
    model_name: str | None
    health_state: str | None
    suspension: str | None
    app_server_ids: tuple[str, ...]
    routing_profile_id: str | None
    """Its AS routing profile, where a network has these in place of application servers."""
    network_subscription_id: str | None
    network_context_id: str | None
    sim_id: str | None
    imei: str | None
    payload_encryption: bool | None
    alarm_count: int | None
    last_up_at: datetime | None
    last_down_at: datetime | None
    created_at: datetime | None
    href: str | None
    raw: Mapping[str, object] = field(repr=False)


@dataclass(frozen=True, slots=True)
class MulticastGroup:
    """A multicast group. Its keys cannot be read back."""

    eui: str | None
    uid: str | None
    name: str | None
    dev_addr: str | None
    device_class: str | None
    ping_slot_period_s: int | None
    downlink_data_rate: int | None
    downlink_frequency_mhz: float | None
    app_server_ids: tuple[str, ...]
    tags: tuple[str, ...]
    network_subscription_id: str | None
    href: str | None
    raw: Mapping[str, object] = field(repr=False)


MAC_VERSIONS = {3: "1.0", 4: "1.0.2", 5: "1.0.3", 6: "1.0.4", 10: "1.1"}
"""LoRaWAN versions by `macMinorVersion`; 3 stands for 1.0 and 1.0.1. Source: Device Manager contract 7.3."""


def read_subscription(members: Members) -> Subscription:
    """Read a subscription."""
    subscriber, options = members.object("subscriber"), members.object("options")
    return Subscription(
        members.object("networkSubscriptionsHandling").text("mode"),
        members.object("state").text("value") or members.text("state"),
        subscriber.text("ID"),
        subscriber.text("name"),
        options.text("cellularSupport"),
        options.text("license"),
        members.time("creationTimestamp"),
        shown_raw(members),
    )


def read_app_server(members: Members) -> AppServer:
    """Read an application server: whole, or of a list."""
    security, flow = members.object("downlinkSecurity"), members.object("tpxIotFlow")
    return AppServer(
        id=members.text("ID"),
        uid=_app_server_uid(members),
        name=members.text("name"),
        type=members.text("type"),
        content_type=members.text("contentType"),
        description=members.text("description"),
        state=members.text("state"),
        validation_state=members.text("validationState"),
        health_state=members.text("healthState"),
        destinations=tuple(
            Destination(one.texts("addresses"), one.text("ports"), one.text("strategy"))
            for one in members.objects("destinations")
        ),
        header_names=tuple(name for one in members.objects("customHttpHeaders") if (name := one.text("name"))),
        security_status=security.text("status"),
        as_id=security.text("asID"),
        max_timestamp_deviation_s=security.integer("maxTimestampDeviation"),
        device_count=members.integer("deviceCount"),
        base_station_count=members.integer("baseStationCount"),
        multicast_group_count=members.integer("multicastGroupCount"),
        iot_flow=IotFlowLink(*(flow.text(name) for name in ("connectionId", "connectorId", "flowId", "state")))
        if flow.as_dict
        else None,
        href=members.text("href"),
        raw=shown_raw(members),
    )


def read_app_server_security(members: Members) -> AppServerSecurity:
    """Read what signs pushes and downlinks."""
    security = members.object("downlinkSecurity")
    return AppServerSecurity(
        security.text("status"), security.text("asID"), security.integer("maxTimestampDeviation"), shown_raw(members)
    )


def read_device_profile(members: Members) -> DeviceProfile:
    """Read a device profile of a list."""
    vendor = members.object("vendor")
    minor = members.integer("macMinorVersion")
    return DeviceProfile(
        members.text("ID"),
        members.text("commercialName"),
        vendor.text("commercialName") or vendor.text("name"),
        members.text("connectivity"),
        None if minor is None else MAC_VERSIONS.get(minor),
        tuple(name for one in members.objects("defaultIsmBands") if (name := one.text("ID"))),
        shown_raw(members),
    )


def read_network_subscription(members: Members) -> NetworkSubscription:
    """Read a connectivity plan: whole, or of a list."""
    return NetworkSubscription(
        members.text("ID"),
        members.text("commercialName"),
        members.text("connectivity"),
        members.text("communicationType"),
        members.integer("used"),
        members.integer("granted"),
        members.flag("nwGeolocalization"),
        members.flag("prAllowed"),
        members.integer("maxDestinationPerRoute"),
        members.text("href"),
        shown_raw(members),
    )


def read_cellular_network_context(members: Members) -> CellularNetworkContext:
    """Read a network context of cellular devices."""
    return CellularNetworkContext(
        members.text("ID"),
        members.text("name"),
        members.text("mode"),
        members.object("gtpTunnel").text("subnet"),
        members.object("messageRouting").integer("sourcePort"),
        shown_raw(members),
    )


def read_device(members: Members) -> Device:
    """Read a device: whole, or of a list."""
    model = members.object("model")
    return Device(
        eui=members.text("EUI"),
        uid=_uid(members),
        name=members.text("name"),
        connectivity=members.text("connectivity") or model.text("connectivity"),
        activation=members.text("activation"),
        join_eui=members.text("appEUI"),
        dev_addr=members.text("nwAddress"),
        model_id=model.text("ID"),
        model_name=model.text("commercialName"),
        health_state=members.text("healthState"),
        suspension=members.text("suspension"),
        app_server_ids=_ids(members),
        routing_profile_id=members.object("appServersRoutingProfile").text("ID"),
        network_subscription_id=members.object("networkSubscription").text("ID"),
        network_context_id=members.object("networkContext").text("ID"),
        sim_id=members.object("sim").text("ID"),
        imei=members.text("enforcedIMEI"),
        payload_encryption=members.flag("payloadEncryption"),
        alarm_count=members.integer("alarmCount"),
        last_up_at=members.time("lastUpTimestamp"),
        last_down_at=members.time("lastDwTimestamp"),
        created_at=members.time("creationDate"),
        href=members.text("href"),
        raw=shown_raw(members),
    )


def read_multicast_group(members: Members) -> MulticastGroup:
    """Read a multicast group: whole, or of a list."""
    tags = members.object("bss").objects("tags")
    return MulticastGroup(
        eui=members.text("EUI"),
        uid=_uid(members),
        name=members.text("name"),
        dev_addr=members.text("nwAddress"),
        device_class=members.text("class"),
        ping_slot_period_s=members.integer("pingSlotPeriod"),
        downlink_data_rate=members.integer("downlinkDataRate"),
        downlink_frequency_mhz=members.number("downlinkFrequency"),
        app_server_ids=_ids(members),
        tags=tuple(name for one in tags if (name := one.text("name"))),
        network_subscription_id=members.object("networkSubscription").text("ID"),
        href=members.text("href"),
        raw=shown_raw(members),
    )


def shown_raw(members: Members) -> dict[str, object]:
    """Give an object as it came, with `…` for secrets, and for the values of HTTP headers, which may be some."""
    raw = withhold(members.as_dict)
    shown = raw if isinstance(raw, dict) else {}
    if isinstance(shown.get("customHttpHeaders"), list):
        names = [one.text("name") for one in members.objects("customHttpHeaders")]
        shown["customHttpHeaders"] = [{"name": name, "value": WITHHELD} for name in names]
    return shown


def _ids(members: Members) -> tuple[str, ...]:
    return tuple(found for one in members.objects("appServers") if (found := one.text("ID")))


def _uid(members: Members) -> str | None:
    return uid_of(members.text("href") or "")


def _app_server_uid(members: Members) -> str | None:
    """Give the number: the second part of the ID, or where there is none the end of the address."""
    for reference in (members.text("ID"), members.text("href")):
        if reference:
            try:
                return app_server_uid(reference)
            except ValueError:
                continue
    return None
