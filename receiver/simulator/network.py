"""The network (the LRC) of a simulation: it knows devices, writes their reports and signs them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, TypedDict, Unpack

from receiver.errors import ConflictError
from receiver.simulator import report_bodies
from receiver.simulator.body_writer import ContentType, write_body
from receiver.simulator.device import AppSKeyForm, Payloads, make_device
from receiver.simulator.push import Fault, Push, TimeEncoding, WireOrder
from receiver.simulator.radio import compute_fix, make_gateways, receive
from receiver.simulator.report_bodies import CustomerDataForm, Letterhead, to_milliseconds
from receiver.simulator.sensors import Reading
from receiver.simulator.signer import LOCATION, Signer
from receiver.thingpark.body import UPLINK

if TYPE_CHECKING:
    from collections.abc import Callable

    from receiver.lorawan.keys import AesKey
    from receiver.simulator.device import DeviceOptions, Frame, SimulatedDevice
    from receiver.simulator.radio import ComputedFix, Reception
    from receiver.simulator.report_bodies import Members


class Sending(TypedDict, total=False):
    """What every report takes: its content type ("xml", "jsontyped", "json") and the moment of sending."""

    content_type: str
    at: datetime


class SimulatedNetwork:
    """A network that signs reports of its devices as ThingPark does, for one connection.

        network = SimulatedNetwork(key="17d1…4233", as_id="TWA_100000001.1.AS", seed=1, clock=lambda: now)
        device = network.add_device()
        push = network.uplink(device, content_type="xml", f_port=2, payload=bytes.fromhex("00d7"))
        response = client.post(push.url("/push/field"), content=push.body, headers=push.headers)
        assert (response.status_code == 200) == push.should_be_accepted
        assert stored_frm_payload == push.clear_payload

    The same seed, clock and calls give the same pushes, byte for byte. Each method gives one `Push`:
    `.query` and `.body` as they go over the wire, `.headers`, `.kind`, `.clear_payload` (uplinks only),
    `.should_be_accepted`, `.fault`, `.number`, `.received_at` (the report's Time), `.sent_at` (the query's).

    **Devices.** `add_device(kind="climate" | "tracker" | "parking" | "meter" | "text", dev_eui=…, name=…,
    activation="otaa" | "abp", dev_addr=…, app_s_key=…, f_cnt_up=…)`, all of it optional. With an
    `as_transport_key`, payloads are end-to-end encrypted and reports carry the AppSKey wrapped under it;
    without one, payloads are in clear. By device: `payloads="clear" | "encrypted"` and
    `app_s_key_form="wrapped" | "clear" | "absent"` (ABP devices: absent, to be set by hand).

    **Reports.** `uplink`, `empty_uplink` (no FPort, no payload), `late_uplink` (of what `hold` took),
    `join_request`, `join` (new DevAddr and AppSKey, counters from 0), `reset` (ABP), `downlink_sent`,
    `downlink_rejected`, `location` (later uplinks repeat its fix), `device_status`, `multicast_summary`,
    `alarm`, `cellular`, `never_seen`. All take `content_type` ("xml", "jsontyped", "json") and `at`, the
    moment of sending instead of the clock's.

    **Faults.** `again` (the same delivery), `again_in_a_new_delivery` (the same frame), `forge` (bad token),
    `skewed` (a clock that is off). They take a push and give another.

    Args:
        key: the tunnel key, 32 hex digits, with dashes or not; hashed in lower case without dashes.
        clock: gives the aware time of sending; called once for each push made without `at`.
        as_id: what AS_ID the queries carry.
        as_transport_key: wraps AppSKeys; None: payloads are in clear.
        seed: of everything that is drawn.
        content_type: of reports for which none is named.
        customer_data: in which form reports carry CustomerData.
        tells_payload_encryption: reports carry PayloadEncryption, as newer networks do.
        wire_order: of the query; None draws one for each push.
        time_encoding: of the query's Time; None draws one for each push.
        skew: how far the clock that signs is ahead of `clock`.
        max_deviation: what the receiver tolerates of it; decides `should_be_accepted`.
        customer_id: the subscriber's number.
        utc_offset: of the times the network writes.
    """

    def __init__(
        self,
        *,
        key: str,
        clock: Callable[[], datetime],
        as_id: str = "TWA_100000001.1.AS",
        as_transport_key: AesKey | None = None,
        seed: int = 0,
        content_type: str = ContentType.TYPED_JSON,
        customer_data: str = CustomerDataForm.OBJECT,
        tells_payload_encryption: bool = True,
        wire_order: WireOrder | None = None,
        time_encoding: TimeEncoding | None = None,
        skew: timedelta = timedelta(0),
        max_deviation: timedelta = timedelta(seconds=60),
        customer_id: str = "100000001",
        utc_offset: timedelta = timedelta(hours=1),
    ) -> None:
        self.random = Random(seed)  # noqa: S311 - repeatable on purpose; it simulates and protects nothing
        self.clock = clock
        self.key, self.as_id = key, as_id
        self.devices: list[SimulatedDevice] = []
        self.gateways = make_gateways(self.random)
        self._content_type = ContentType(content_type)
        self._as_transport_key = as_transport_key
        self._tells_payload_encryption = tells_payload_encryption
        self.letterhead = Letterhead(customer_id, "00000201", utc_offset, CustomerDataForm(customer_data))
        self._signer = Signer(key, as_id, self.letterhead, self.random, wire_order, time_encoding, skew, max_deviation)

    def __repr__(self) -> str:
        return f"SimulatedNetwork(as_id={self.as_id!r}, {len(self.devices)} devices, key=…)"

    def add_device(self, **options: Unpack[DeviceOptions]) -> SimulatedDevice:
        """Give a new device of the network, with a session; what is not named is drawn.

        Raises:
            NotFoundError: there is no such kind of device.
            IdentifierError: the DevEUI, DevAddr or counter is not of its form.
            ConflictError: its AppSKey is to be wrapped, and the network has no AS transport key.
        """
        payloads = Payloads.CLEAR if self._as_transport_key is None else Payloads.ENCRYPTED
        device = make_device(self.random, len(self.devices) + 1, payloads, options)
        if device.app_s_key_form is AppSKeyForm.WRAPPED and self._as_transport_key is None:
            raise ConflictError("An AppSKey is wrapped under the AS transport key, and this network was given none.")
        self.devices.append(device)
        return device

    def uplink(
        self,
        device: SimulatedDevice,
        *,
        payload: bytes | None = None,
        f_port: int | None = None,
        f_cnt_up: int | None = None,
        received_at: datetime | None = None,
        late: bool = False,
        confirmed: bool = False,
        gateways: int | None = None,
        lrr_as_object: bool = False,
        **sending: Unpack[Sending],
    ) -> Push:
        """Give an uplink: of the device's next reading, or of `payload` (which may be empty) in clear.

        Args:
            device: whose uplink it is.
            payload: FRMPayload in clear; pushed encrypted if the device's payloads are.
            f_port: 1 to 255; the device's own if None.
            f_cnt_up: the device's next if None; a lower one leaves the device's counter as it is.
            received_at: when gateways received it (the report's Time); a moment before `at` if None.
            late: the report says that it comes late.
            confirmed: the device wants an acknowledgement.
            gateways: how many heard it, 0 to 10.
            lrr_as_object: one gateway stands in the report as an object instead of an array of one.
            sending: `content_type` and `at`, as in every report.

        Raises:
            IdentifierError: the counter, the FPort or the number of gateways is out of range.
        """
        at = self._at(sending)
        reading = device.read() if payload is None else Reading(device.sensor.f_port, payload)
        frame = device.frame(
            to_milliseconds(received_at) if received_at else self._moments_before(at),
            reading.f_port if f_port is None else f_port,
            reading.payload,
            f_cnt_up,
        )
        return self._uplink(
            device,
            frame,
            at,
            sending,
            late=late,
            confirmed=confirmed,
            reception=receive(self.random, self.gateways, gateways),
            lrr_as_object=lrr_as_object,
        )

    def empty_uplink(self, device: SimulatedDevice, **sending: Unpack[Sending]) -> Push:
        """Give an uplink without FPort and payload: it only acknowledges a downlink."""
        at = self._at(sending)
        return self._uplink(device, device.frame(self._moments_before(at), None, None), at, sending, ack=True)

    def hold(self, device: SimulatedDevice, *, at: datetime | None = None) -> None:
        """Let a gateway receive the device's next frame and keep it for `late_uplink`."""
        device.hold_frame(to_milliseconds(at or self.clock()))

    def late_uplink(self, device: SimulatedDevice, **sending: Unpack[Sending]) -> Push:
        """Give the oldest frame that is held, as it is delivered now: Late, with its own Time and counter.

        Raises:
            ConflictError: none is held.
        """
        if not device.held:
            raise ConflictError(f"No frame of {device.dev_eui} is held; `hold` takes one.")
        device.lost_uplinks -= 1
        return self._uplink(device, device.held.popleft(), self._at(sending), sending, late=True)

    def join_request(self, device: SimulatedDevice, **sending: Unpack[Sending]) -> Push:
        """Give the join-request form of an uplink: the raw frame, no counter, no payload."""
        at = self._at(sending)
        members = report_bodies.join_request(
            self.letterhead,
            device,
            at=self._moments_before(at),
            raw=device.join_request(),
            reception=receive(self.random, self.gateways),
        )
        return replace(self.report(UPLINK, device, members, at, sending), detail="join request")

    def join(self, device: SimulatedDevice, **sending: Unpack[Sending]) -> Push:
        """Let an OTAA device join: new DevAddr and AppSKey, counters from 0. Give the notification of it."""
        device.join()
        key_field = device.app_s_key_field(device.app_s_key, self._as_transport_key)
        return self._notification(device, sending, "join", key_field or "")

    def reset(self, device: SimulatedDevice, *, automatic: bool = True, **sending: Unpack[Sending]) -> Push:
        """Let an ABP device begin its counters anew in the same session. Give the notification of it."""
        device.reset()
        return self._notification(device, sending, "reset", "automatic_reset" if automatic else "admin_reset")

    def device_status(
        self,
        device: SimulatedDevice,
        *,
        battery_level: int = 254,
        margin_db: int = 7,
        **sending: Unpack[Sending],
    ) -> Push:
        """Give the notification of a DevStatusAns: battery 0 to 255 (254 full), margin −32 to 31 dB."""
        return self._notification(device, sending, "devstatusans", str(battery_level), str(margin_db))

    def downlink_sent(
        self,
        device: SimulatedDevice,
        *,
        f_port: int = 1,
        slot: int = 1,
        correlation_id: str | None = None,
        **sending: Unpack[Sending],
    ) -> Push:
        """Give the report that the device's next downlink went out in RX1 or RX2 (`slot`), or (0) did not."""
        at = self._at(sending)
        members = report_bodies.downlink_sent(
            self.letterhead,
            device,
            at=at,
            f_port=f_port,
            f_cnt_down=device.take_f_cnt_down(),
            reception=receive(self.random, self.gateways, 1),
            slot=slot,
            correlation_id=correlation_id,
        )
        return self.report("DevEUI_downlink_Sent", device, members, at, sending, f_port)

    def downlink_rejected(
        self,
        device: SimulatedDevice,
        *,
        f_port: int = 1,
        cause: str = "Downlink counter value already used. Expected=1238",
        correlation_id: str | None = None,
        **sending: Unpack[Sending],
    ) -> Push:
        """Give the report that the network took a downlink and refused it later."""
        at = self._at(sending)
        members = report_bodies.downlink_rejected(
            self.letterhead, device, at=at, f_port=f_port, cause=cause, correlation_id=correlation_id
        )
        return self.report("DevEUI_downlink_Rejected", device, members, at, sending, f_port)

    def location(self, device: SimulatedDevice, *, fix: ComputedFix | None = None, **sending: Unpack[Sending]) -> Push:
        """Give the report of a position, drawn if None. Later uplinks repeat it until `device.fix` is None."""
        at = self._at(sending)
        device.fix = fix or compute_fix(self.random, at, max(0, device.f_cnt_up - 1))
        members = report_bodies.location(self.letterhead, device, device.fix, at=at)
        return self.report(LOCATION, device, members, at, sending)

    def multicast_summary(
        self,
        group: SimulatedDevice,
        *,
        f_port: int = 1,
        failed_gateways: int = 0,
        correlation_id: str | None = None,
        **sending: Unpack[Sending],
    ) -> Push:
        """Give the report of a multicast to a group; `failed_gateways` of the network's did not send it."""
        at = self._at(sending)
        members = report_bodies.multicast_summary(
            self.letterhead,
            group,
            at=at,
            f_port=f_port,
            f_cnt_down=group.take_f_cnt_down(),
            gateways=len(self.gateways),
            failed=failed_gateways,
            correlation_id=correlation_id,
        )
        return self.report("DevEUI_multicast_summary", group, members, at, sending, f_port)

    def alarm(self, device: SimulatedDevice, **sending: Unpack[Sending]) -> Push:
        """Give an alarm about the device."""
        at = self._at(sending)
        return self.report("DevEUI_alarm", device, report_bodies.alarm(self.letterhead, device, at=at), at, sending)

    def cellular(self, device: SimulatedDevice, **sending: Unpack[Sending]) -> Push:
        """Give a session report of a cellular device: a stand-in, since real bodies are not public."""
        at = self._at(sending)
        members = report_bodies.cellular_session(self.letterhead, device, at=at)
        return self.report("DevEUI_session", device, members, at, sending)

    def never_seen(self, device: SimulatedDevice, **sending: Unpack[Sending]) -> Push:
        """Give a report of a kind that no receiver knows."""
        at = self._at(sending)
        members = report_bodies.never_seen(self.letterhead, device, at=at)
        return self.report("DevEUI_never_seen", device, members, at, sending)

    def again(self, push: Push) -> Push:
        """Give the same delivery once more, byte for byte, as a retry sends it."""
        return replace(push, fault=Fault.SAME_DELIVERY)

    def again_in_a_new_delivery(self, push: Push, *, at: datetime | None = None) -> Push:
        """Give the same frame in a delivery of its own, as another route or a fail-over sends it."""
        return self._signer.again_in_a_new_delivery(push, to_milliseconds(at or self.clock()))

    def forge(self, push: Push, fault: Fault = Fault.WRONG_TOKEN) -> Push:
        """Give `push` as somebody without the key sends it: `WRONG_TOKEN`, `WRONG_KEY` or `WRONG_AS_ID`."""
        return self._signer.forge(push, fault)

    def skewed(self, push: Push, skew: timedelta) -> Push:
        """Give `push` signed, validly, by a clock that is ahead by `skew` (behind, if negative)."""
        return self._signer.skewed(push, skew)

    def _uplink(
        self,
        device: SimulatedDevice,
        frame: Frame,
        at: datetime,
        sending: Sending,
        *,
        late: bool = False,
        confirmed: bool = False,
        ack: bool = False,
        reception: Reception | None = None,
        lrr_as_object: bool = False,
    ) -> Push:
        encrypted = device.payloads is Payloads.ENCRYPTED
        members = report_bodies.uplink(
            self.letterhead,
            device,
            frame,
            payload=frame.encrypted_payload() if encrypted else frame.clear_payload,
            mic_hex=self.random.randbytes(4).hex(),
            reception=reception or receive(self.random, self.gateways),
            late=late,
            confirmed=confirmed,
            ack=device.take_acknowledgement(frame.received_at) or ack,
            lrr_as_object=lrr_as_object,
            app_s_key_field=device.app_s_key_field(frame.app_s_key, self._as_transport_key),
            payload_encryption=encrypted if self._tells_payload_encryption else None,
        )
        device.lost_uplinks = 0
        return replace(
            self.report(UPLINK, device, members, at, sending, frame.f_port),
            received_at=frame.received_at,
            f_cnt_up=frame.f_cnt_up,
            dev_addr=frame.dev_addr,
            clear_payload=frame.clear_payload or b"",
            fault=Fault.LATE if late else Fault.NONE,
        )

    def _notification(
        self, device: SimulatedDevice, sending: Sending, type_: str, var1: str, var2: str | None = None
    ) -> Push:
        at = self._at(sending)
        members = report_bodies.notification(self.letterhead, device, at=at, type_=type_, var1=var1, var2=var2)
        return replace(self.report("DevEUI_notification", device, members, at, sending), detail=type_)

    def report(
        self,
        kind: str,
        device: SimulatedDevice,
        members: Members,
        at: datetime,
        sending: Sending,
        f_port: int | None = None,
    ) -> Push:
        """Give a report made of `members`, as a new delivery, signed."""
        form = ContentType(sending.get("content_type", self._content_type))
        body = write_body(kind, members, form)
        return self._signer.deliver(Push(kind, form, device.dev_eui, body, at, at, f_port))

    def _at(self, sending: Sending) -> datetime:
        return to_milliseconds(sending.get("at") or self.clock())

    def _moments_before(self, at: datetime) -> datetime:
        """Give when gateways received what is sent at `at`: some 0.2 to 0.9 s earlier."""
        return at - timedelta(milliseconds=self.random.randint(200, 900))
