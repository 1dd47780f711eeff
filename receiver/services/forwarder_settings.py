"""What a forwarder is told at its creation: checked, written into its row, and read back from there."""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from receiver.errors import IdentifierError, SettingsError
from receiver.http_client import tls_context
from receiver.lorawan.identifiers import parse_device, shorten
from receiver.services.event_contents import EventFilter
from receiver.services.forward_topics import DEFAULT_TOPIC, check_topic
from receiver.storage.events import EventKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from receiver.storage.forwarders import StoredForwarder

DEFAULT_GIVE_UP_AFTER = timedelta(hours=24)
"""An event that fails alone for a day fails for itself: a person should look at it. An absent target costs none."""

LONGEST_GIVE_UP_AFTER = timedelta(days=30)
"""As long as dead letters are kept."""

MOST_LISTED = 1000
"""Devices, connections or ports that one forwarder may name: each event is held against them."""

MQTT_PORTS = {"mqtt": 1883, "mqtts": 8883}
"""Source: the registry of service names of IANA (mqtt, secure-mqtt)."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\Z")  # as a connection's
_CLIENT_ID = re.compile(r"[\x21-\x7e]{1,128}\Z")  # printable; the length is ours
_MOST_URL = 2048


class Wants(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which events a forwarder sends on; an empty list: all."""

    types: list[str] = []
    devices: list[str] = []
    connections: list[str] = []
    ports: list[int] = []

    def as_filter(self) -> EventFilter:
        """Give the same as what events are held against."""
        return EventFilter(
            frozenset(EventKind(each) for each in self.types),
            frozenset(self.devices),
            frozenset(self.connections),
            frozenset(self.ports),
        )


class WebhookOptions(msgspec.Struct, frozen=True):
    """What a webhook has besides its URL and secrets."""

    ca_file: str | None = None
    plain_http: bool = False


class MqttOptions(msgspec.Struct, frozen=True):
    """What a broker has besides its URL and password; without a client id one is made of the forwarder's own."""

    topic: str = DEFAULT_TOPIC
    client_id: str | None = None
    username: str | None = None
    version: str = "3.1.1"
    retain: bool = False
    plain_mqtt: bool = False
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None


def check_name(name: str) -> None:
    """Return if a forwarder may have that name.

    Raises:
        IdentifierError: it may not.
    """
    if not _NAME.match(name):
        raise IdentifierError(
            f"{shorten(name)!r} cannot be a forwarder's name: it must be 1 to 63 lower-case letters, digits, dots,"
            " dashes and underscores, and begin with a letter or digit."
        )


def parse_wants(
    types: Iterable[str], devices: Iterable[str], connections: Iterable[str], ports: Iterable[int]
) -> Wants:
    """Give what a forwarder sends on.

    Raises:
        SettingsError: a type or a port is none, or too many are named.
        IdentifierError: a DevEUI is not of its form.
    """
    kinds = [kind.value for kind in EventKind]
    for kind in types:
        if kind not in kinds:
            raise SettingsError(f"{shorten(kind)!r} is not a type of event: there are {', '.join(kinds)}.")
    for port in ports:
        if not 0 <= port <= 255:
            raise SettingsError(f"{port} is not an FPort: it must be 0 to 255.")
    wants = Wants(
        sorted(set(types)),
        sorted({parse_device(each) for each in devices}),
        sorted(set(connections)),
        sorted(set(ports)),
    )
    if max(len(wants.devices), len(wants.connections)) > MOST_LISTED:
        raise SettingsError(
            f"A forwarder may name at most {MOST_LISTED} devices or connections: leave them out for all."
        )
    return wants


def check_webhook(url: str, options: WebhookOptions) -> WebhookOptions:
    """Give the options with full paths, if webhooks can be sent so.

    Raises:
        SettingsError: they cannot, or would go over the network in clear.
    """
    scheme, host, _port = _split(url, ("https", "http"), "https://example.org/hooks/lora")
    if scheme == "http" and not (options.plain_http or _is_loopback(host)):
        raise SettingsError(
            "A webhook over http:// can be read by everybody on its way: give an https:// URL, or --plain-http if the"
            " network between is your own."
        )
    tls_context(options.ca_file)
    return msgspec.structs.replace(options, ca_file=_full(options.ca_file))


def check_mqtt(url: str, options: MqttOptions) -> MqttOptions:
    """Give the options with full paths, if there can be such a broker.

    Raises:
        SettingsError: there cannot, or all would go over the network in clear.
    """
    scheme, host, _port = _split(url, tuple(MQTT_PORTS), "mqtts://broker.example.org")
    if scheme == "mqtt" and not (options.plain_mqtt or _is_loopback(host)):
        raise SettingsError(
            "Over mqtt:// everybody on the way can read the events and the password: give mqtts://, or --plain-mqtt if"
            " the network between is your own."
        )
    parts = urlsplit(url)
    if parts.path not in {"", "/"} or parts.query:
        raise SettingsError("A broker's URL has neither path nor query: give the topic with --topic.")
    if options.client_id is not None and not _CLIENT_ID.match(options.client_id):
        raise SettingsError("A client id must have 1 to 128 printable ASCII characters without spaces.")
    if options.username is not None and not 1 <= len(options.username) <= 1000:
        raise SettingsError("A user name must have 1 to 1000 characters.")
    if options.version not in {"3.1.1", "5"}:
        raise SettingsError(f"{shorten(options.version)!r} is not a version of MQTT that is known here: 3.1.1 or 5.")
    if (options.cert_file is None) != (options.key_file is None):
        raise SettingsError("A client certificate needs both --cert-file and --key-file.")
    if scheme == "mqtt" and (options.ca_file or options.cert_file):
        raise SettingsError("Certificates are for TLS: give an mqtts:// URL with them.")
    check_topic(options.topic)
    tls_context(options.ca_file, options.cert_file, options.key_file)
    return msgspec.structs.replace(
        options,
        ca_file=_full(options.ca_file),
        cert_file=_full(options.cert_file),
        key_file=_full(options.key_file),
    )


def read_wants(forwarder: StoredForwarder) -> Wants:
    """Give what a forwarder sends on."""
    return msgspec.json.decode(forwarder.wants, type=Wants)


def read_options(forwarder: StoredForwarder) -> WebhookOptions | MqttOptions:
    """Give the options of a forwarder."""
    if forwarder.kind == "webhook":
        return msgspec.json.decode(forwarder.options, type=WebhookOptions)
    return msgspec.json.decode(forwarder.options, type=MqttOptions)


def split_broker(url: str) -> tuple[str, int, bool]:
    """Give host, port and whether it is TLS, of a URL that was checked."""
    scheme, host, port = _split(url, tuple(MQTT_PORTS), "mqtts://broker.example.org")
    return host, port or MQTT_PORTS[scheme], scheme == "mqtts"


def _split(url: str, schemes: tuple[str, ...], example: str) -> tuple[str, str, int | None]:
    """Take a URL apart. What it may hold of secrets is not repeated."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host.encode("idna" if not host.isascii() else "ascii")
        usable = parts.scheme in schemes and bool(host) and port != 0 and len(host) <= 253
    except ValueError:
        usable = False
    if not usable or len(url) > _MOST_URL or not url.isprintable() or " " in url:
        kinds = " or ".join(f"{scheme}://" for scheme in schemes)
        raise SettingsError(f"That is not a URL to forward to: it must begin with {kinds}, like {example}.")
    if parts.username is not None or parts.fragment:
        raise SettingsError(
            "A forwarder's URL has no user name, password or fragment: secrets are sealed, and are given apart."
        )
    return parts.scheme, host, port


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _full(path: str | None) -> str | None:
    """Give a path that holds wherever the worker is started."""
    return None if path is None else str(Path(path).absolute())
