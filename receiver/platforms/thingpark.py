"""The client of ThingPark's Device Manager API (`/thingpark/wireless/rest`), for OAuth accounts and for sessions.

Each write has a `build_…_call` beside it, which asks nothing and gives the request, and a method that sends it.
Sources: Device Manager contract 7.3; the tutorial of docs.thingpark.com (8.1 or later).
"""

from __future__ import annotations

from typing import final

from receiver.platforms.thingpark_alarms import AlarmCalls
from receiver.platforms.thingpark_app_servers import AppServerCalls
from receiver.platforms.thingpark_catalogue import CatalogueCalls
from receiver.platforms.thingpark_devices import DeviceCalls
from receiver.platforms.thingpark_multicast import MulticastCalls
from receiver.platforms.thingpark_routing_profiles import RoutingProfileCalls
from receiver.platforms.thingpark_traffic import TrafficCalls


@final
class ThingParkClient(
    CatalogueCalls, AppServerCalls, RoutingProfileCalls, DeviceCalls, TrafficCalls, AlarmCalls, MulticastCalls
):
    """Asks one subscription: `ThingParkClient(caller)`, or with the number that a session gave.

    All its methods may raise PlatformRefusedError (it does not do it: one sentence that says what to do where that is
    known), LoginRefusedError (it does not let the account in) and NoAnswerError (it is away; `was_sent`: it may have
    done what it was asked).
    """
