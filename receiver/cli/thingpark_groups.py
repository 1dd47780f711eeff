"""The groups of commands that ThingPark's Device Manager API has, whoever logs in to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.cli import (
    thingpark_alarms,
    thingpark_catalogue,
    thingpark_connections,
    thingpark_devices,
    thingpark_multicast,
    thingpark_routing_profiles,
)

if TYPE_CHECKING:
    import typer


def add_device_manager_groups(app: typer.Typer) -> None:
    """Put the groups below a command, whose callback says with `reach_by` how they reach the API."""
    app.add_typer(thingpark_catalogue.subscription, name="subscription")
    app.add_typer(thingpark_connections.app, name="connections")
    app.add_typer(thingpark_routing_profiles.app, name="routing-profiles")
    app.add_typer(thingpark_catalogue.device_profiles, name="device-profiles")
    app.add_typer(thingpark_catalogue.network_subscriptions, name="network-subscriptions")
    app.add_typer(thingpark_catalogue.network_contexts, name="network-contexts")
    app.add_typer(thingpark_devices.app, name="devices")
    app.add_typer(thingpark_multicast.app, name="multicast")
    app.add_typer(thingpark_alarms.app, name="alarms")
