"""How often a key may call, and how often an address may try keys: for one process, in bounded memory.

Times are seconds of a clock that never goes back. Each limit may be asked from several threads.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address
from typing import final

CALLS_PER_SECOND = 20.0
"""What a key may do all day: a dashboard of twenty panels that all ask once a second."""

BURST_S = 5.0
"""A key may use up so many seconds' worth at once, after it was silent for as long: a page that loads, a script that
looks something up for each device."""

MOST_KEYS = 1024
"""Keys whose calls are counted; that which was silent for longest is forgotten, and begins with a full burst again."""

MOST_FAILURES = 20
"""More wrong keys than anybody types by mistake. A key has 256 random bits, so no guessing ever finds one; this keeps
guesses from the database."""

FAILURE_WINDOW_S = 60.0
"""They count within a minute from the first one, and the minute's rest is refused."""

MOST_ADDRESSES = 4096
"""Addresses whose failures are counted, some hundred bytes each; beyond it the one that began first is forgotten."""

_IPV6_NETWORK_BITS = 64
"""Whoever has one address of IPv6 has its whole /64 (RFC 6177), so that counts as one."""


@final
class CallLimit:
    """A token bucket for each key that was let in, known by the digest of its text."""

    def __init__(self, calls_per_second: float = CALLS_PER_SECOND, most_keys: int = MOST_KEYS) -> None:
        """Let each key make `calls_per_second`, and BURST_S as many at once; 0: as many as it likes."""
        self.calls_per_second = calls_per_second
        self._burst = max(1.0, calls_per_second * BURST_S)
        self._most_keys = most_keys
        self._buckets: OrderedDict[bytes, tuple[float, float]] = OrderedDict()  # calls left, and when that was so
        self._lock = threading.Lock()

    def knows(self, digest: bytes) -> bool:
        """Say whether the key was let in before, and not forgotten since."""
        with self._lock:
            return digest in self._buckets

    def wait_s(self, digest: bytes, now: float) -> float:
        """Give how long the key has to wait for its next call; 0: it may call now, and so may one never seen."""
        with self._lock:
            return self._wait_s(self._left(digest, now))

    def take(self, digest: bytes, now: float) -> float:
        """Count a call of a key that is let in, and give 0; or the seconds that it has to wait, and count nothing."""
        with self._lock:
            left = self._left(digest, now)
            wait_s = self._wait_s(left)
            self._buckets[digest] = (left if wait_s else left - 1, now)
            self._buckets.move_to_end(digest)
            if len(self._buckets) > self._most_keys:
                self._buckets.popitem(last=False)
            return wait_s

    def forget(self, digest: bytes) -> None:
        """Count no more calls of a key that was revoked."""
        with self._lock:
            self._buckets.pop(digest, None)

    def _left(self, digest: bytes, now: float) -> float:
        left, since = self._buckets.get(digest, (self._burst, now))
        return min(self._burst, left + max(0.0, now - since) * self.calls_per_second)

    def _wait_s(self, left: float) -> float:
        return 0.0 if self.calls_per_second == 0 or left >= 1 else (1 - left) / self.calls_per_second


@final
class FailureLimit:
    """Counts the wrong keys that came from each address."""

    def __init__(self, most: int = MOST_FAILURES, most_addresses: int = MOST_ADDRESSES) -> None:
        """Let an address try `most` wrong keys within FAILURE_WINDOW_S."""
        self.most = most
        self._most_addresses = most_addresses
        self._windows: OrderedDict[str, tuple[float, int]] = OrderedDict()  # its first failure, and how many
        self._lock = threading.Lock()

    def wait_s(self, address: str, now: float) -> float:
        """Give how long the address has to wait before it may try again; 0: it may now."""
        with self._lock:
            began, failures = self._windows.get(_network_of(address), (now, 0))
            left = began + FAILURE_WINDOW_S - now
            return left if failures >= self.most and left > 0 else 0.0

    def note(self, address: str, now: float) -> None:
        """Count a wrong key."""
        network = _network_of(address)
        with self._lock:
            began, failures = self._windows.get(network, (now, 0))
            if now - began >= FAILURE_WINDOW_S:
                began, failures = now, 0
                self._windows.pop(network, None)  # in order of their beginnings
            self._windows[network] = (began, failures + 1)
            if len(self._windows) > self._most_addresses:
                self._windows.popitem(last=False)


def whole_seconds(wait_s: float) -> int:
    """Give a wait as Retry-After has it: whole seconds, at least one, and never too few."""
    return max(1, math.ceil(wait_s))


def _network_of(address: str) -> str:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address  # a socket of another family
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return f"{int(parsed) >> (128 - _IPV6_NETWORK_BITS):x}/{_IPV6_NETWORK_BITS}"
    return str(parsed)
