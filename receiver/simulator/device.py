"""A simulated LoRaWAN device: its identity, its session, its counters and what it measures."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypedDict

from receiver.errors import ConflictError, IdentifierError, NotFoundError
from receiver.lorawan.frame_counter import F_CNT_MAX, F_PORT_MAX
from receiver.lorawan.frm_payload import Direction, decrypt_frm_payload, encrypt_frm_payload
from receiver.lorawan.identifiers import DevAddr, DevEui, parse_dev_addr, parse_dev_eui
from receiver.lorawan.keys import AES_KEY_BYTES, AesKey
from receiver.simulator.sensors import SENSORS
from receiver.thingpark.as_transport_key import wrap_app_s_key

if TYPE_CHECKING:
    from datetime import datetime
    from random import Random

    from receiver.simulator.radio import ComputedFix
    from receiver.simulator.sensors import Reading, Sensor


MAX_HEARD = 1_000
"""Downlinks that a device remembers: more than any test sends to one."""


class Activation(StrEnum):
    """How a device comes by its session."""

    OTAA = "otaa"
    ABP = "abp"


class Payloads(StrEnum):
    """Whether the network decrypts a device's payloads before it pushes them."""

    CLEAR = "clear"
    ENCRYPTED = "encrypted"


class AppSKeyForm(StrEnum):
    """How a report carries a device's AppSKey."""

    WRAPPED = "wrapped"
    """Under the AS transport key (HSM): the usual form of end-to-end encryption."""
    CLEAR = "clear"
    """As it is: from an external join server without a wrapping key."""
    ABSENT = "absent"
    """Not at all: ABP devices whose AppSKey the application server was given by hand; clear payloads."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame on the air: its clear payload, and the session it was sent in.

    None for both FPort and payload: it carries nothing but its header.
    """

    received_at: datetime
    f_port: int | None
    clear_payload: bytes | None = field(repr=False)
    f_cnt_up: int
    dev_addr: DevAddr
    app_s_key: AesKey

    def encrypted_payload(self) -> bytes | None:
        """Give the FRMPayload as it is on the air."""
        if self.clear_payload is None:
            return None
        return encrypt_frm_payload(self.app_s_key, self.dev_addr, self.f_cnt_up, self.clear_payload, Direction.UP)


@dataclass(frozen=True, slots=True)
class HeardDownlink:
    """A downlink as a device took it: the payload in clear, and the session that it was in."""

    f_port: int
    payload: bytes = field(repr=False)
    f_cnt_down: int
    dev_addr: DevAddr
    confirmed: bool


@dataclass(slots=True)
class SimulatedDevice:
    """One device as the network knows it.

    `f_cnt_up` and `f_cnt_down` are the *next* counters, 32 bits. `fix` is repeated in every uplink once
    there is one, however old, as networks with geolocation do.
    """

    dev_eui: DevEui
    join_eui: DevEui
    name: str
    sensor: Sensor
    activation: Activation
    payloads: Payloads
    app_s_key_form: AppSKeyForm
    dev_addr: DevAddr
    app_s_key: AesKey
    random: Random = field(repr=False)
    f_cnt_up: int = 0
    f_cnt_down: int = 0
    dev_nonce: int = 0
    fix: ComputedFix | None = None
    held: deque[Frame] = field(default_factory=deque)
    lost_uplinks: int = 0
    """Frames missing before the next report; negative when held ones were recovered (LostUplinksAS)."""
    device_class: str = "A"
    """"A", or "C": it listens all the time."""
    heard: deque[HeardDownlink] = field(default_factory=lambda: deque(maxlen=MAX_HEARD))
    """Downlinks in the order in which they came, over all sessions."""
    last_f_cnt_down: int | None = None
    """The highest counter that the device took in its session."""
    acknowledges_after: datetime | None = None
    """When it took a confirmed downlink that no uplink has acknowledged yet."""

    def read(self) -> Reading:
        """Give the device's next reading, in clear."""
        return self.sensor.read(self.random)

    def frame(
        self,
        received_at: datetime,
        f_port: int | None,
        clear_payload: bytes | None,
        f_cnt_up: int | None = None,
    ) -> Frame:
        """Give a frame with the next counter, or with the one given, which is counted on from if not lower.

        Raises:
            IdentifierError: the FPort or the counter given is out of range.
        """
        if f_port is not None and not 1 <= f_port <= F_PORT_MAX:
            raise IdentifierError(f"An FPort that is reported is 1 to {F_PORT_MAX}, not {f_port}.")
        if f_cnt_up is None:
            f_cnt_up = self.f_cnt_up
        elif not 0 <= f_cnt_up <= F_CNT_MAX:
            raise IdentifierError(f"A frame counter is 0 to {F_CNT_MAX}, not {f_cnt_up}.")
        if f_cnt_up >= self.f_cnt_up:
            self.f_cnt_up = (f_cnt_up + 1) & F_CNT_MAX
        return Frame(received_at, f_port, clear_payload, f_cnt_up, self.dev_addr, self.app_s_key)

    def hold_frame(self, received_at: datetime) -> Frame:
        """Take one frame that will be reported late, and give it."""
        frame = self.frame(received_at, *self.read())
        self.held.append(frame)
        self.lost_uplinks += 1
        return frame

    def take_f_cnt_down(self) -> int:
        """Give the counter of the next downlink."""
        f_cnt_down = self.f_cnt_down
        self.f_cnt_down = (f_cnt_down + 1) & F_CNT_MAX
        return f_cnt_down

    def hear(
        self, f_port: int, frm_payload: bytes, f_cnt_down: int, *, at: datetime, confirmed: bool = False
    ) -> HeardDownlink | None:
        """Take a downlink off the air and decrypt it; None: its counter is none that comes after the last one.

        Source: LoRaWAN L2 1.0.4 section 4.3.1.5, a frame with a counter that was seen is dropped.
        """
        if self.last_f_cnt_down is not None and f_cnt_down <= self.last_f_cnt_down:
            return None
        self.last_f_cnt_down = f_cnt_down
        clear = decrypt_frm_payload(self.app_s_key, self.dev_addr, f_cnt_down, frm_payload, Direction.DOWN)
        downlink = HeardDownlink(f_port, clear, f_cnt_down, self.dev_addr, confirmed)
        self.heard.append(downlink)
        if confirmed:
            self.acknowledges_after = at
        return downlink

    def take_acknowledgement(self, sent_at: datetime) -> bool:
        """Say whether a frame of this time has the ACK bit: the first one after a confirmed downlink has it."""
        if self.acknowledges_after is None or sent_at <= self.acknowledges_after:
            return False
        self.acknowledges_after = None
        return True

    def app_s_key_field(self, app_s_key: AesKey, as_transport_key: AesKey | None) -> str | None:
        """Give `app_s_key` in the form that reports of this device carry it in, 32 hex digits, or None."""
        match self.app_s_key_form:
            case AppSKeyForm.WRAPPED if as_transport_key is not None:
                return wrap_app_s_key(as_transport_key, app_s_key)
            case AppSKeyForm.CLEAR:
                return app_s_key.reveal().hex()
            case _:
                return None

    def join_request(self) -> bytes:
        """Give the raw join request it sends next, with a MIC that is drawn.

        MHDR, JoinEUI, DevEUI and DevNonce with the least significant byte first, MIC: LoRaWAN L2 1.0.4,
        section 6.2.5.
        """
        euis = bytes.fromhex(self.join_eui)[::-1] + bytes.fromhex(self.dev_eui)[::-1]
        return b"\x00" + euis + self.dev_nonce.to_bytes(2, "little") + self.random.randbytes(4)

    def join(self) -> None:
        """Begin a session by OTAA: another DevAddr and AppSKey, counters from 0.

        Raises:
            ConflictError: the device is activated by personalisation.
        """
        if self.activation is not Activation.OTAA:
            raise ConflictError(f"{self.dev_eui} is activated by personalisation (ABP): it does not join.")
        self.dev_nonce = (self.dev_nonce + 1) % 2**16
        self.dev_addr = _draw_dev_addr(self.random)
        self.app_s_key = _draw_app_s_key(self.random)
        self._restart_counters()

    def reset(self) -> None:
        """Begin the counters anew in the same session, as ABP devices do when their battery is changed.

        Raises:
            ConflictError: the device joins, which renews its session as well.
        """
        if self.activation is not Activation.ABP:
            raise ConflictError(f"{self.dev_eui} is activated over the air (OTAA): it joins anew instead.")
        self._restart_counters()

    def _restart_counters(self) -> None:
        self.f_cnt_up = self.f_cnt_down = self.lost_uplinks = 0
        self.last_f_cnt_down = None
        self.acknowledges_after = None


class DeviceOptions(TypedDict, total=False):
    """What can be chosen of a device; the rest is drawn."""

    kind: str
    """What it measures: a name in `SENSORS`."""
    dev_eui: str
    name: str
    activation: str
    """"otaa" or "abp"."""
    payloads: str
    """"clear" or "encrypted"; the network's if not chosen."""
    app_s_key_form: str
    """"wrapped", "clear" or "absent"; wrapped for OTAA devices with encrypted payloads, else absent."""
    dev_addr: str
    app_s_key: AesKey
    f_cnt_up: int
    """The next counter, 0 if not chosen."""
    device_class: str
    """"A" or "C"; A if not chosen."""


def make_device(random: Random, number: int, payloads: Payloads, chosen: DeviceOptions) -> SimulatedDevice:
    """Give the `number`th device of a network, with a session; `payloads` is what the network does by itself.

    Raises:
        NotFoundError: there is no such kind of device.
        IdentifierError: the DevEUI, the DevAddr or the counter is not of its form.
    """
    kind = chosen.get("kind", "climate")
    if kind not in SENSORS:
        raise NotFoundError(f"{kind!r} is no kind of simulated device; there are {', '.join(SENSORS)}.")
    f_cnt_up = chosen.get("f_cnt_up", 0)
    if not 0 <= f_cnt_up <= F_CNT_MAX:
        raise IdentifierError(f"A frame counter is 0 to {F_CNT_MAX}, not {f_cnt_up}.")
    activation = Activation(chosen.get("activation", Activation.OTAA))
    payloads = Payloads(chosen.get("payloads", payloads))
    carries = activation is Activation.OTAA and payloads is Payloads.ENCRYPTED
    form = AppSKeyForm.WRAPPED if carries else AppSKeyForm.ABSENT
    dev_eui, dev_addr = chosen.get("dev_eui"), chosen.get("dev_addr")
    return SimulatedDevice(
        dev_eui=parse_dev_eui(dev_eui) if dev_eui else _draw_dev_eui(random),
        join_eui=_draw_dev_eui(random),
        name=chosen.get("name", f"{kind}-{number:02d}"),
        sensor=SENSORS[kind](),
        activation=activation,
        payloads=payloads,
        app_s_key_form=AppSKeyForm(chosen.get("app_s_key_form", form)),
        dev_addr=parse_dev_addr(dev_addr) if dev_addr else _draw_dev_addr(random),
        app_s_key=chosen.get("app_s_key") or _draw_app_s_key(random),
        random=random,
        f_cnt_up=f_cnt_up,
        device_class=chosen.get("device_class", "A"),
    )


def _draw_dev_eui(random: Random) -> DevEui:
    """Give a locally administered EUI-64, which no manufacturer's device has (IEEE 802, U/L bit set)."""
    return DevEui(f"02{random.getrandbits(56):014X}")


def _draw_dev_addr(random: Random) -> DevAddr:
    """Give a DevAddr of NetID 000000, which is for private and experimental networks."""
    return DevAddr(f"{random.getrandbits(25):08X}")


def _draw_app_s_key(random: Random) -> AesKey:
    """Give an AppSKey. Repeatable from the seed, so it protects nothing but simulated readings."""
    return AesKey(random.randbytes(AES_KEY_BYTES))
