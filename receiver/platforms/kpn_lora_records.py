"""What KPN's LoRa Device Management API gives, as typed records: a member that is missing or odd is None.

Each record has `raw`, the object as it came, less what may never be shown: it is what `--json` prints.
Source: KPN LoRa Device Management API 1.2, schemas; its documentation page for examples.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from receiver.errors import IdentifierError
from receiver.lorawan.identifiers import DevAddr, DevEui, parse_dev_addr, parse_dev_eui
from receiver.platforms.calls import withhold

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from typing import Self

    from receiver.platforms.members import Members


@dataclass(frozen=True, slots=True)
class _Record:
    raw: Mapping[str, object] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class ConnectivityPlan(_Record):
    """What sales granted: how many devices, how many messages a day (only its name tells), positions or not."""

    id: str | None
    ref: str | None
    name: str | None
    granted_connections: int | None
    used_connections: int | None
    communication_type: str | None
    """UNICAST or MULTICAST."""

    @property
    def free_connections(self) -> int | None:
        """How many devices may still be created in it; None: it does not say."""
        if self.granted_connections is None or self.used_connections is None:
            return None
        return max(0, self.granted_connections - self.used_connections)

    @classmethod
    def read(cls, members: Members) -> Self:
        """Give the record of a JSON object."""
        return cls(
            _shown(members),
            members.text("id"),
            members.text("ref"),
            members.text("name"),
            members.integer("grantedConnections"),
            members.integer("usedConnections"),
            members.text("communicationType"),
        )


@dataclass(frozen=True, slots=True)
class KpnDeviceProfile(_Record):
    """A kind of device, as the network treats it."""

    id: str | None
    name: str | None
    type_mac: str | None

    @classmethod
    def read(cls, members: Members) -> Self:
        """Give the record of a JSON object."""
        return cls(_shown(members), members.text("id"), members.text("name"), members.text("typeMAC"))


@dataclass(frozen=True, slots=True)
class HsmGroup(_Record):
    """A group of the network's security modules, which keep root keys and make AS transport keys."""

    id: str | None
    name: str | None

    @classmethod
    def read(cls, members: Members) -> Self:
        """Give the record of a JSON object."""
        return cls(_shown(members), members.text("id"), members.text("name"))


@dataclass(frozen=True, slots=True)
class Route:
    """Where a routing profile sends what comes on some FPorts. The tunnel key is never in an answer."""

    source_ports: str | None
    strategy: str | None
    """SEQUENTIAL: the next address only where one failed. BLAST: all at once."""
    content_type: str | None
    """XML (what KPN takes where none is said) or JSON."""
    as_id: str | None
    max_deviation_s: int | None
    addresses: tuple[str, ...]

    @classmethod
    def read(cls, members: Members) -> Self:
        """Give the record of a JSON object."""
        return cls(
            members.text("sourcePorts"),
            members.text("strategy"),
            members.text("contentType"),
            members.text("asId"),
            members.integer("maxDeviation"),
            members.texts("addresses"),
        )


@dataclass(frozen=True, slots=True)
class RoutingProfile(_Record):
    """A routing profile: KPN's name for the network's side of a connection."""

    id: str | None
    """What devices name it by, such as `TWA_100001135.2647`."""
    ref: str | None
    """What calls name it by: the number at the end of the id."""
    name: str | None
    is_default: bool | None
    """New devices for which nothing is said get it."""
    hsm_group_id: str | None
    rsa_encrypted_as_key: str | None = field(repr=False)
    """The AS transport key under the RSA key that was sent: hex, and only in the answer that made it."""
    routes: tuple[Route, ...]

    @classmethod
    def read(cls, members: Members) -> Self:
        """Give the record of a JSON object."""
        return cls(
            _shown(members),
            members.text("id"),
            members.text("ref"),
            members.text("name"),
            members.flag("default"),
            members.text("hsmGroupId"),
            members.text("rsaEncryptedASKey"),
            tuple(Route.read(route) for route in members.objects("routes")),
        )


@dataclass(frozen=True, slots=True)
class DeviceStatistics:
    """How a device does. Levels in dBm, dB and per cent; only where statistics were asked for."""

    health_state: str | None
    """INIT, ACTIVE or RF_CNX_ERROR."""
    commissioning_state: str | None
    created_at: datetime | None
    first_uplink_at: datetime | None
    last_uplink_at: datetime | None
    last_downlink_at: datetime | None
    last_rssi_dbm: float | None
    last_snr_db: float | None
    last_spreading_factor: int | None
    last_mean_per: float | None
    last_battery_level: int | None
    """1 to 254; 0: fed from outside; 255: could not be measured."""
    uplinks_in_24_h: int | None
    downlinks_in_24_h: int | None
    alarms_not_acknowledged: Mapping[str, int]
    """By state in lower case, such as `major`."""

    @classmethod
    def read(cls, members: Members) -> Self:
        """Give the record of a JSON object."""
        counts = members.object("alarmStatistics")
        states = ("Cleared", "Uncleared", "Warning", "Minor", "Major", "Critical")
        found = ((state.lower(), counts.integer(f"nonAcked{state}Count")) for state in states)
        return cls(
            members.text("healthState"),
            members.text("commissioningState"),
            members.time("creationTime"),
            members.time("firstUplinkTime"),
            members.time("lastUplinkTime"),
            members.time("lastDownlinkTime"),
            members.number("lastRSSI"),
            members.number("lastSNR"),
            members.integer("lastSF"),
            members.number("lastMeanPER"),
            members.integer("lastBatteryLevel"),
            members.integer("last24hUplinkCount"),
            members.integer("last24hDownlinkCount"),
            {state: count for state, count in found if count is not None},
        )


@dataclass(frozen=True, slots=True)
class KpnDevice(_Record):
    """A device. A list gives `ref`, `name`, `dev_eui` and `dev_addr` alone, unless more is asked for."""

    ref: str | None
    name: str | None
    dev_eui: DevEui | None
    dev_addr: DevAddr | None
    activation_type: str | None
    device_class: str | None
    device_profile_id: str | None
    connectivity_plan_id: str | None
    processing_strategy_id: str | None
    """DATAFLOW, IOT_FLOW, NOAS or DEFAULTRP: with any but the last no push comes to an own server."""
    routing_profile_id: str | None
    join_eui: DevEui | None
    hsm_group_id: str | None
    motion_indicator: str | None
    administrative_info: str | None
    latitude: float | None
    longitude: float | None
    statistics: DeviceStatistics | None

    @classmethod
    def read(cls, members: Members) -> Self:
        """Give the record of a JSON object."""
        return cls(
            _shown(members),
            members.text("ref"),
            members.text("name"),
            _eui(members.text("EUI")),
            _dev_addr(members.text("networkAddress")),
            members.text("activationType"),
            members.text("deviceClass"),
            members.text("deviceProfileId"),
            members.text("connectivityPlanId"),
            members.text("processingStrategyId"),
            members.text("routingProfileId"),
            _eui(members.text("applicationEUI")),
            members.text("hsmGroupId"),
            members.text("motionIndicator"),
            members.text("administrativeInfo"),
            members.number("geoLatitude"),
            members.number("geoLongitude"),
            DeviceStatistics.read(members.object("statistics")) if "statistics" in members else None,
        )


@dataclass(frozen=True, slots=True)
class KpnAlarm(_Record):
    """An alarm of a device; its type is a number of ThingPark's (`receiver.platforms.alarm_types`)."""

    ref: str | None
    state: str | None
    """CLEARED, UNCLEARED, WARNING, MINOR, MAJOR or CRITICAL."""
    occurrence: int | None
    acked: bool | None
    created_at: datetime | None
    updated_at: datetime | None
    acked_at: datetime | None
    acked_by: str | None
    additional_info: tuple[str, ...]
    device_ref: str | None
    alarm_type_id: int | None
    alarm_object_id: str | None

    @classmethod
    def read(cls, members: Members) -> Self:
        """Give the record of a JSON object."""
        info = (members.text(f"additionalInfo{number}") for number in range(1, 6))
        return cls(
            _shown(members),
            members.text("ref"),
            members.text("alarmState"),
            members.integer("occurrence"),
            members.flag("acked"),
            members.time("creationTime"),
            members.time("lastUpdateTime"),
            members.time("lastAckTime"),
            members.text("ackAuthor"),
            tuple(one for one in info if one is not None),
            members.text("deviceRef"),
            members.integer("deviceAlarmTypeId"),
            members.text("deviceAlarmObjectId"),
        )


@dataclass(frozen=True, slots=True)
class FrameStatistics(_Record):
    """Frames of one direction in one slot of time. Sizes in bytes; RSSI in dBm, SNR in dB: of uplinks alone."""

    type: str | None
    """UPLINK or DOWNLINK."""
    at: datetime | None
    frame_count: int | None
    payload_bytes: int | None
    """Of the frame, or the average of an aggregated slot."""
    rssi_dbm: float | None
    snr_db: float | None
    average_per: float | None
    on_time: int | None
    late: int | None
    on_time_bytes: int | None
    late_bytes: int | None
    sent: int | None
    not_sent: int | None
    sent_bytes: int | None
    not_sent_bytes: int | None

    @classmethod
    def read(cls, members: Members) -> Self:
        """Give the record of a JSON object."""
        return cls(
            _shown(members),
            members.text("type"),
            members.time("date"),
            members.integer("frameCount"),
            members.integer("payloadSize"),
            members.number("baseStationRSSI"),
            members.number("baseStationSNR"),
            members.number("averagePER"),
            members.integer("payloadReceivedOnTime"),
            members.integer("payloadReceivedLate"),
            members.integer("payloadReceivedOnTimeSize"),
            members.integer("payloadReceivedLateSize"),
            members.integer("payloadSentWithSuccess"),
            members.integer("payloadSentWithFailure"),
            members.integer("payloadSentWithSuccessSize"),
            members.integer("payloadSentWithFailureSize"),
        )


@dataclass(frozen=True, slots=True)
class HealthStatistics(_Record):
    """How many devices of the subscription are in which health."""

    init: int | None
    active: int | None
    rf_connection_error: int | None
    total: int | None

    @classmethod
    def read(cls, members: Members) -> Self:
        """Give the record of a JSON object."""
        return cls(
            _shown(members),
            members.integer("initCount"),
            members.integer("activeCount"),
            members.integer("rfConnectionErrorCount"),
            members.integer("totalCount"),
        )


def _shown(members: Members) -> Mapping[str, object]:
    shown = withhold(members.as_dict)
    return shown if isinstance(shown, dict) else {}


def _eui(text: str | None) -> DevEui | None:
    """Give an EUI in the house's spelling: KPN's examples have both cases, and one with 17 digits."""
    try:
        return None if text is None else parse_dev_eui(text)
    except IdentifierError:
        return None


def _dev_addr(text: str | None) -> DevAddr | None:
    try:
        return None if text is None else parse_dev_addr(text)
    except IdentifierError:
        return None
