"""Devices and multicast groups to be made at ThingPark, and how the requests that make them are written.

Sources: Device Manager contract 7.3, `DeviceLorawan`, `DeviceCellular`, `MulticastGroup`; the tutorial of
docs.thingpark.com (8.1 or later), which makes cellular devices in another way than 7.3.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from receiver.errors import IdentifierError, SettingsError
from receiver.lorawan.identifiers import parse_dev_addr, parse_dev_eui, shorten

LORAWAN, CELLULAR = "LORAWAN", "CELLULAR"
OTAA, ABP = "OTAA", "ABP"

_IMEI_DIGITS = {14, 15}


@dataclass(frozen=True, slots=True)
class LorawanDeviceWish:
    """A LoRaWAN device to be made. Keys are 32 hex digits and go to ThingPark only.

    An OTAA device without `app_key` joins at an external join server, for all its life; then `join_eui` is needed.
    """

    dev_eui: str
    model_id: str
    name: str | None = None
    activation: str = OTAA
    join_eui: str | None = None
    app_key: str | None = field(default=None, repr=False)
    nwk_key: str | None = field(default=None, repr=False)
    """LoRaWAN 1.1, OTAA."""
    dev_addr: str | None = None
    nwk_s_key: str | None = field(default=None, repr=False)
    """ABP; of LoRaWAN 1.1 FNwkSIntKey."""
    app_s_key: str | None = field(default=None, repr=False)
    s_nwk_s_int_key: str | None = field(default=None, repr=False)
    nwk_s_enc_key: str | None = field(default=None, repr=False)
    app_server_ids: tuple[str, ...] = ()
    routing_profile_id: str | None = None
    """ThingPark Wireless: an AS routing profile, in place of application servers."""
    network_subscription_id: str | None = None
    """The plan, where the subscription's mode is `ADVANCED`: a device without one is made suspended."""
    nw_geolocalization: bool = False
    pr_allowed: bool = False
    """Passive roaming; these two choose the plan where the mode is `BASIC`."""
    handling_mode: str | None = None
    """`BASIC` or `ADVANCED`; None: the subscription's own."""
    admin_data: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    motion: str | None = None
    domains: tuple[tuple[str, str], ...] = ()
    """Group and name of each."""
    verification_code: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class CellularDeviceWish:
    """A cellular device to be made: with `sim_id` as from 8.1 on, with `imei` and `imsi` as in 7.3."""

    model_id: str
    sim_id: str | None = None
    """ICCID or eID."""
    name: str | None = None
    imei: str | None = None
    """14 or 15 digits; from 8.1 on the only one that the SIM may be used in."""
    imsi: str | None = None
    network_subscription_id: str | None = None
    """Without one the device is made suspended."""
    network_context_id: str | None = None
    app_server_ids: tuple[str, ...] = ()
    routing_profile_id: str | None = None
    """7.3: in place of network context and application servers."""


@dataclass(frozen=True, slots=True)
class MulticastGroupWish:
    """A multicast group to be made. Keys are 32 hex digits and go to ThingPark only."""

    eui: str
    dev_addr: str
    nwk_s_key: str = field(repr=False)
    app_s_key: str | None = field(default=None, repr=False)
    name: str | None = None
    device_class: str = "C"
    ping_slot_period_s: int | None = None
    """Class B only, and needed there: 1, 2, 4 … 128."""
    downlink_data_rate: int | None = None
    downlink_frequency_mhz: float | None = None
    tags: tuple[tuple[str, str], ...] = ()
    """Name and namespace (`OPERATOR` or `SUBSCRIBER`) of base-station tags."""
    app_server_ids: tuple[str, ...] = ()
    s_nwk_s_int_key: str | None = field(default=None, repr=False)
    nwk_s_enc_key: str | None = field(default=None, repr=False)
    network_subscription_id: str | None = None
    handling_mode: str | None = None


def write_lorawan_device(wish: LorawanDeviceWish) -> dict[str, object]:
    """Give the body that makes a LoRaWAN device.

    Raises:
        IdentifierError: the DevEUI, JoinEUI or DevAddr is not of its form.
        SettingsError: keys are missing, or do not fit the activation; or there are two ways for its messages.
    """
    body: dict[str, object] = {
        "connectivity": LORAWAN,
        "activation": wish.activation,
        "EUI": parse_dev_eui(wish.dev_eui),
        "model": {"ID": wish.model_id},
    }
    body |= _write_plan(wish)
    if wish.app_server_ids and wish.routing_profile_id is not None:
        raise SettingsError("A device has connections or an AS routing profile, not both.")
    if wish.app_server_ids:
        body["appServers"] = [{"ID": one} for one in wish.app_server_ids]
    if wish.routing_profile_id is not None:
        body["appServersRoutingProfile"] = {"ID": wish.routing_profile_id}
    if wish.join_eui is not None:
        body["appEUI"] = parse_dev_eui(wish.join_eui)
    match wish.activation:
        case "OTAA":
            body |= _write_otaa(wish)
        case "ABP":
            body |= _write_abp(wish)
        case other:
            raise SettingsError(f"{shorten(other)!r} is no activation: choose OTAA or ABP.")
    optional: dict[str, object] = {
        "name": wish.name,
        "customerAdminData": wish.admin_data,
        "adminLat": wish.latitude,
        "adminLon": wish.longitude,
        "motionIndicator": wish.motion,
        "verificationCode": wish.verification_code,
    }
    if wish.domains:
        optional["domains"] = [{"name": name, "group": {"name": group}} for group, name in wish.domains]
    return body | _given(optional)


def write_cellular_device(wish: CellularDeviceWish) -> dict[str, object]:
    """Give the body that makes a cellular device.

    Raises:
        SettingsError: neither `sim_id` nor `imei` and `imsi` are given.
        IdentifierError: the IMEI is not of its form.
    """
    if wish.imei is not None and not (wish.imei.isascii() and wish.imei.isdigit() and len(wish.imei) in _IMEI_DIGITS):
        raise IdentifierError(f"{shorten(wish.imei)!r} is no IMEI: it must have 14 or 15 digits.")
    body: dict[str, object] = {"connectivity": CELLULAR}
    if wish.sim_id is not None:
        body |= _given({"enforcedIMEI": wish.imei})
    elif wish.imei is not None and wish.imsi is not None:
        body |= {"EUI": wish.imei, "imsi": wish.imsi}
    else:
        raise SettingsError(
            "A cellular device needs the SIM's identifier (ICCID or eID); at a network before release 8.1 its IMEI and"
            " IMSI."
        )
    body["model"] = {"ID": wish.model_id}
    references = {
        "networkSubscription": wish.network_subscription_id,
        "networkContext": wish.network_context_id,
        "appServersRoutingProfile": wish.routing_profile_id,
    }
    body |= {name: {"ID": value} for name, value in references.items() if value is not None}
    if wish.app_server_ids:
        body["appServers"] = [{"ID": one} for one in wish.app_server_ids]
    body |= _given({"name": wish.name})
    if wish.sim_id is not None:
        body["sim"] = {"ID": wish.sim_id}
    return body


def write_multicast_group(wish: MulticastGroupWish) -> dict[str, object]:
    """Give the body that makes a multicast group.

    Raises:
        IdentifierError: the EUI or DevAddr is not of its form.
        SettingsError: the class is not B or C, or the ping slots do not fit it.
    """
    if wish.device_class not in {"B", "C"}:
        raise SettingsError(f"{shorten(wish.device_class)!r} is no class of a multicast group: choose B or C.")
    if (wish.device_class == "B") != (wish.ping_slot_period_s is not None):
        raise SettingsError("A ping-slot period is needed in class B and forbidden in class C.")
    body: dict[str, object] = {
        "EUI": parse_dev_eui(wish.eui),
        "nwAddress": parse_dev_addr(wish.dev_addr),
        "nwKey": _key(wish.nwk_s_key),
        "class": wish.device_class,
    }
    optional: dict[str, object] = {
        "name": wish.name,
        "pingSlotPeriod": wish.ping_slot_period_s,
        "downlinkDataRate": wish.downlink_data_rate,
        "downlinkFrequency": wish.downlink_frequency_mhz,
        "appKeys": None if wish.app_s_key is None else app_s_keys_xml(wish.app_s_key),
        "sNwkSIntKey": None if wish.s_nwk_s_int_key is None else _key(wish.s_nwk_s_int_key),
        "nwkSEncKey": None if wish.nwk_s_enc_key is None else _key(wish.nwk_s_enc_key),
    }
    if wish.tags:
        optional["bss"] = {"tags": [{"name": name, "namespace": namespace} for name, namespace in wish.tags]}
    if wish.app_server_ids:
        optional["appServers"] = [{"ID": one} for one in wish.app_server_ids]
    if wish.network_subscription_id is not None:
        optional["networkSubscription"] = {"ID": wish.network_subscription_id}
    return body | _given(optional)


def app_s_keys_xml(app_s_key: str) -> str:
    """Give an AppSKey for all FPorts in the XML that ThingPark wants it in."""
    return f'<AppSKeys><AppSKey Port="*">{_key(app_s_key)}</AppSKey></AppSKeys>'


def _write_plan(wish: LorawanDeviceWish) -> dict[str, object]:
    if wish.network_subscription_id is not None:
        return {"networkSubscription": {"ID": wish.network_subscription_id}}
    if wish.handling_mode == "ADVANCED":
        return {}
    return {
        "networkSubscription": {"nwGeolocalization": wish.nw_geolocalization, "prAllowed": wish.pr_allowed},
    }


def _write_otaa(wish: LorawanDeviceWish) -> dict[str, object]:
    if wish.app_key is None and wish.join_eui is None:
        raise SettingsError(
            "An OTAA device needs its AppKey; without one it joins at an external join server, which its JoinEUI names."
        )
    return _given(
        {
            "appKey": None if wish.app_key is None else _key(wish.app_key),
            "nwkKey": None if wish.nwk_key is None else _key(wish.nwk_key),
        }
    )


def _write_abp(wish: LorawanDeviceWish) -> dict[str, object]:
    if wish.dev_addr is None or wish.nwk_s_key is None or wish.app_s_key is None:
        raise SettingsError("An ABP device needs its DevAddr, NwkSKey and AppSKey.")
    return _given(
        {
            "nwAddress": parse_dev_addr(wish.dev_addr),
            "nwKey": _key(wish.nwk_s_key),
            "appKeys": app_s_keys_xml(wish.app_s_key),
            "sNwkSIntKey": None if wish.s_nwk_s_int_key is None else _key(wish.s_nwk_s_int_key),
            "nwkSEncKey": None if wish.nwk_s_enc_key is None else _key(wish.nwk_s_enc_key),
        }
    )


def _key(text: str) -> str:
    """Give a key in upper case. Raises IdentifierError, which does not show it."""
    key = text.strip().replace("-", "").upper()
    if len(key) != 32 or not set(key) <= set("0123456789ABCDEF"):
        raise IdentifierError("A key is not of its form: it must have 32 hex digits.")
    return key


def _given(members: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in members.items() if value is not None}
