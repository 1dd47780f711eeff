"""Sends downlinks through the tunnel interface: everything in a signed query, in version 1 or 2 by the URL.

*Which key signs:* the one that the network was seen to sign its pushes with last, for that is the one it has; without
any push yet the newest. A token that the network takes for bad is tried once more with another live key or with another
spelling of a key, and what it took is kept to. A bad token never reaches a device, so nothing is sent twice.

*The body:* KPN's own programs send `a=1`, since proxies may refuse an empty one, and its servers take it; others are
documented with an empty body. So each gets what it is known to take. Redirects are answers: status 350 is the
network's way to refuse.
Source: ThingPark LRC–AS tunnel interface, downlink; KPN LoRa reference (downlink).
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from receiver.errors import NoAnswerError, SettingsError
from receiver.services.downlink_transport import MOST_REQUESTS, DownlinkOutcome
from receiver.services.forward_backoff import parse_retry_after
from receiver.services.tunnel_keys import open_tunnel_key
from receiver.storage.downlink_transports import TIME_BARE
from receiver.thingpark.downlink import DownlinkRequest, downlink_time, sign_downlink
from receiver.thingpark.downlink_answers import DownlinkAnswer, Verdict, read_downlink_answer
from receiver.thingpark.token import key_spellings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from receiver.http_client import HttpClient
    from receiver.keyring import Keyring
    from receiver.services.downlink_transport import DownlinkToSend
    from receiver.services.downlink_transport_directory import TransportSettings

HEADERS = {"Content-Type": "application/x-www-form-urlencoded"}

KPN_BODY = b"a=1"

MOST_TOLD = 500
"""Characters of an answer's text that are kept beside its status: the network's are one sentence."""


def make_tunnel_transport(settings: TransportSettings, keyring: Keyring, http: HttpClient) -> TunnelTransport:
    """Give the transport of a connection of the tunnel interface.

    Raises:
        SettingsError: it has no downlink URL or no tunnel key.
        KeyringError: its tunnel key does not open.
    """
    connection = settings.connection
    if connection.downlink_url is None:
        raise SettingsError(f"Connection {connection.name} has no downlink URL.")
    spellings = [key_spellings(open_tunnel_key(keyring, key).reveal()) for key in settings.tunnel_keys]
    usual = [of_key[0] for of_key in spellings]
    others = [spelling for of_key in spellings for spelling in of_key[1:]]
    return TunnelTransport(
        http,
        connection.downlink_url,
        connection.as_id,
        list(dict.fromkeys([*usual, *others])),
        body=KPN_BODY if connection.platform == "kpn-lora" else b"",
        is_time_bare=settings.time_form == TIME_BARE,
    )


class TunnelTransport:
    """A `DownlinkTransport`; its keys are texts as they are hashed, the likeliest first."""

    def __init__(
        self,
        http: HttpClient,
        url: str,
        as_id: str,
        keys: Sequence[bytes],
        *,
        body: bytes = b"",
        is_time_bare: bool = False,
    ) -> None:
        if not keys:
            raise SettingsError(
                "The connection has no live tunnel key to sign downlinks with: `receiver connection add-key` gives one."
            )
        self._http = http
        self._url = url
        self._as_id = as_id
        self._keys = list(keys)
        self._keys_lock = threading.Lock()
        self._body = body
        self._is_time_bare = is_time_bare

    @property
    def version(self) -> int:
        """Which version of the interface is spoken: 2 where the URL's path says so."""
        return 2 if "/v2/" in urlsplit(self._url).path else 1

    def send(self, downlink: DownlinkToSend, now: datetime) -> DownlinkOutcome:
        """Ask the network to take it, with another key if it does not take the first one's token."""
        with self._keys_lock:
            keys = self._keys[:MOST_REQUESTS]
        outcome = self._send(downlink, now, keys[0])
        first = outcome
        for key in keys[1:]:
            if outcome.answer.cause != "bad-token":
                break
            outcome = self._send(downlink, now, key)
            if outcome.answer.verdict in {Verdict.ACCEPTED, Verdict.COUNTER}:
                self._prefer(key)
        if outcome.answer.cause == "bad-token":
            self._put_last(keys)
            return first
        return outcome

    def _prefer(self, key: bytes) -> None:
        with self._keys_lock:
            self._keys.remove(key)
            self._keys.insert(0, key)

    def _put_last(self, keys: Sequence[bytes]) -> None:
        """Let the next try, which is a probe, begin with those that were not tried."""
        with self._keys_lock:
            self._keys = [*(key for key in self._keys if key not in keys), *keys]

    def _send(self, downlink: DownlinkToSend, now: datetime, key: bytes) -> DownlinkOutcome:
        time_text = downlink_time(now, with_offset=not self._is_time_bare)
        signed = sign_downlink(_request(downlink), self._as_id, time_text, key)
        shown = f"POST {self._url}?{signed.shown}"
        try:
            answer = self._http.send("POST", f"{self._url}?{signed.query}", HEADERS, self._body)
        except NoAnswerError as exc:
            if exc.was_sent:
                text = f"{exc} It may or may not have been taken."
                return DownlinkOutcome(DownlinkAnswer(Verdict.UNKNOWN, "no-answer", text), shown)
            return DownlinkOutcome(DownlinkAnswer(Verdict.AWAY, "away", str(exc)), shown)
        token = signed.query.rpartition("=")[2]
        body = answer.body.replace(token.encode(), b"...")  # what echoes a request must not show it
        read = read_downlink_answer(answer.status, body)
        retry_after_s = parse_retry_after(answer.headers.get("retry-after"), now)
        return DownlinkOutcome(read, shown, _told(answer.status, body), retry_after_s)


def _request(downlink: DownlinkToSend) -> DownlinkRequest:
    return DownlinkRequest(
        dev_eui=downlink.dev_eui,
        f_port=downlink.f_port,
        payload=downlink.payload,
        f_cnt_down=downlink.f_cnt_down,
        is_lorawan_1_1=downlink.is_lorawan_1_1,
        confirmed=downlink.confirmed,
        flush=downlink.flush,
        validity=downlink.expires_at,
        correlation_id=int(downlink.correlation_id, 16),
    )


def _told(status: int, body: bytes) -> str:
    text = body[: 4 * MOST_TOLD].decode("utf-8", "replace").replace("\x00", "�").strip()[:MOST_TOLD]
    return f"{status} {text}".strip()
