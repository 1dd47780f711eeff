"""What there is to be chosen at a simulated ThingPark: the subscription, profiles, plans, cellular network contexts.

Sources: Device Manager contract 7.3; the tutorial of docs.thingpark.com (8.1 or later), whose names these have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.simulator.management_thingpark_book import SimulatedPlan, ThingParkRefusalError, to_ms
from receiver.simulator.management_thingpark_paging import list_page

if TYPE_CHECKING:
    from receiver.simulator.management_thingpark_book import Json, ThingParkBook
    from receiver.simulator.management_thingpark_paging import Query


def stock(book: ThingParkBook) -> None:
    """Give a subscription device profiles, plans and a cellular network context, named as ThingPark's examples are."""
    vendor: Json = {"ID": "generic", "name": "Generic", "commercialName": "Generic"}
    band = [{"name": "EU863-870 (EU868)", "ID": "eu868"}]
    for id_, name, minor in (
        ("SMTC/LoRaMoteA.1_EU", "LoRaMote EU fw4 - class A", 3),
        ("LORA/GenericA.1.0.4a_ETSI", "LoRaWAN 1.0.4 revA - class A", 6),
        ("LORA/GenericC.1.0.4a_ETSI", "LoRaWAN 1.0.4 revA - class C", 6),
    ):
        lorawan: Json = {"typeMAC": "LoRaMAC", "macMajorVersion": 0, "macMinorVersion": minor, "defaultIsmBands": band}
        book.profiles.append({"ID": id_, "commercialName": name, "vendor": vendor, "connectivity": "LORAWAN"} | lorawan)
    book.profiles.append(
        {"ID": "CUSTOM/LTE_Dongle", "commercialName": "LTE Dongle", "vendor": vendor, "connectivity": "CELLULAR"}
    )
    book.plans += [
        SimulatedPlan(97, "acme-cs/basic", "Basic Unicast", 20_000),
        SimulatedPlan(96, "acme-cs/geo", "Unicast with geolocation", 100, nw_geolocalization=True),
        SimulatedPlan(98, "acme-cs/cellular-cp", "Cellular CP", 100, connectivity="CELLULAR"),
        SimulatedPlan(99, "acme-cs/multicast", "Basic Multicast", 100, communication_type="MULTICAST"),
    ]
    context: Json = {"ID": "1AF3B", "name": "My cellular network context", "mode": "MIXED"}
    context |= {"messageRouting": {"sourcePort": 45826}, "occContext": book.new_occ().show()}
    book.network_contexts.append(context)


def find_plan(book: ThingParkBook, uid: str) -> SimulatedPlan:
    """Give a plan by its number, or refuse it."""
    for plan in book.plans:
        if str(plan.uid) == uid:
            return plan
    raise ThingParkRefusalError("Network subscription not found")


def list_resource(book: ThingParkBook, resource: str, query: Query) -> Json:
    """Answer a list of what there is to be chosen."""
    connectivity = query.one("connectivity")
    entries: list[Json]
    match resource:
        case "deviceProfiles":
            entries = [one for one in book.profiles if connectivity in {None, one["connectivity"]}]
        case "networkSubscriptions":
            entries = [show_plan(book, one) for one in book.plans if connectivity in {None, one.connectivity}]
        case "cellularNetworkContexts" if book.rules.has_network_contexts:
            entries = book.network_contexts
        case "deviceVendors":
            entries = [dict(vendor) for one in book.profiles if isinstance(vendor := one["vendor"], dict)]
        case "ismBands":
            entries = [{"name": "EU863-870 (EU868)", "ID": "eu868"}]
        case _:
            raise ThingParkRefusalError("Resource not found", 404)
    return list_page(query, book.rules, entries, lambda one: one)


def show_plan(book: ThingParkBook, plan: SimulatedPlan) -> Json:
    """Give a plan as answers show it."""
    return {
        "ID": plan.id,
        "commercialName": plan.name,
        "supplier": {"ID": plan.id.partition("/")[0], "commercialName": "ACME Connectivity Supplier"},
        "used": plan.used,
        "granted": plan.granted,
        "href": book.href("networkSubscriptions", plan.uid),
        "connectivity": plan.connectivity,
        "communicationType": plan.communication_type,
        "nwGeolocalization": plan.nw_geolocalization,
        "prAllowed": plan.pr_allowed,
        "maxDestinationPerRoute": 5,
    }


def show_subscription(book: ThingParkBook) -> Json:
    """Give the subscription itself."""
    return {
        "networkSubscriptionsHandling": {"mode": book.mode, "supportedNetworkSubscriptions": []},
        "state": {"value": "ACTIVE", "timestamp": to_ms(book.created_at)},
        "subscriber": {"ID": book.subscriber_id, "name": book.who},
        "options": {
            "cellularSupport": "SPR",
            "devAddrValidation": "DEACTIVATED",
            "devEUIValidation": "DEACTIVATED",
            "license": "ACTIVATED",
        },
        "creationTimestamp": to_ms(book.created_at),
        "twaExchangeKeyVersion": "TWK1",
        "occContext": {"version": 0, "lastUpdate": to_ms(book.created_at), "who": book.who},
    }
