"""What single objects are answered as: the members of the JSON, by their types.

A member that has no value is null; one of type `UnsetType` is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from msgspec import UNSET, UnsetType

# The description of the API reads the types of the members when it is made.
from receiver.services.findings import Finding  # noqa: TC001
from receiver.services.judging import Check  # noqa: TC001
from receiver.storage.devices import Device
from receiver.storage.rejections import RejectionView
from receiver.storage.uplink_details import DecodingView, DeliveryView, ReceptionView  # noqa: TC001

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session of a device: DevAddr and AppSKey since a join, a reset, or first sight. No key is shown."""

    dev_addr: str | None
    began_by: str
    started_at: datetime
    last_at: datetime | None
    last_f_cnt_up: int | None


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a device measures: a name in a unit."""

    name: str
    unit: str | None


@dataclass(frozen=True, slots=True)
class DeviceDetails(Device):
    """One device with its newest sessions, what it measures, and how many of its reports wait for a key."""

    sessions: list[SessionView]
    measurements: list[Measurement]
    reports_waiting_for_key: int


@dataclass(frozen=True, slots=True, repr=False)
class UplinkDetails:
    """One uplink. `frm_payload` is clear hex, null while its key is awaited; receptions best first.

    RSSI, ESP and `tx_power_dbm` are in dBm, SNR in dB; `delivery_count` counts retries too. `m_type` is 0 for a join
    request, 2 for an unconfirmed and 4 for a confirmed frame. `decoding` is null where no codec was assigned.
    """

    id: int
    report_id: int | None
    session_id: int | None
    dev_eui: str
    dev_addr: str | None
    at: datetime
    received_at: datetime
    f_port: int | None
    f_cnt_up: int | None
    payload_state: str
    frm_payload: str | None
    payload_size_bytes: int
    conflicting: bool
    late: bool
    m_type: int | None
    adr: bool | None
    ack: bool | None
    f_cnt_down: int | None
    spreading_factor: int | None
    frequency_mhz: float | None
    sub_band: str | None
    channel: str | None
    rssi_dbm: float | None
    snr_db: float | None
    esp_dbm: float | None
    lrr_id: str | None
    gateway_count: int | None
    lost_uplinks: int | None
    instant_per: float | None
    mean_per: float | None
    tx_power_dbm: float | None
    nb_trans: int | None
    device_class: str | None
    connection: str | None
    device: str | None
    delivery_count: int
    decoding: DecodingView | None
    receptions: list[ReceptionView]
    deliveries: list[DeliveryView]


@dataclass(frozen=True, slots=True)
class ExplanationView:
    """Why a push was refused: today's checks, as of its arrival, and what would make it right."""

    connection: str | None
    is_in_order_now: bool
    verdict: str
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]
    note: str | None


@dataclass(frozen=True, slots=True, repr=False)
class PushView:
    """What a refused push held, without its token; the body as text, or in base64 where it is none."""

    query: str
    headers: tuple[tuple[str, str], ...]
    body: str | UnsetType = UNSET
    body_base64: str | UnsetType = UNSET


@dataclass(frozen=True, slots=True, repr=False)
class RejectionDetails(RejectionView):
    """One refused push with its explanation; what it held is for scope `admin` only."""

    explanation: ExplanationView
    push: PushView | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class StreamedEvent:
    """One server-sent event, by the fields of its text; `data` is JSON."""

    id: str
    event: str
    data: str


@dataclass(frozen=True, slots=True)
class Alive:
    """The process answers."""

    status: Literal["alive"]
    version: str


@dataclass(frozen=True, slots=True)
class SpoolView:
    """What waits beside the database until it is back."""

    reports: int
    bytes: int
    oldest_s: int


@dataclass(frozen=True, slots=True)
class ReadinessView:
    """Whether pushes can be stored: in the database, in the spool (degraded), or not at all (unready)."""

    status: Literal["ready", "degraded", "unready"]
    database: Literal["available", "unavailable"]
    spool: SpoolView | None
    """None: it cannot be read."""
