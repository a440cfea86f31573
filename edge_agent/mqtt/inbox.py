"""What the network thread hands to the workers: the bounded queue of arrivals and the small queue of requests.

Rules: the network thread appends, one reader drains; the two share nothing but a deque, whose `append` and `popleft` are
atomic, and an event. Appending never blocks. Draining waits a bounded time for the first message, then lingers shortly
while more come in, because a batch costs less than its messages one by one.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from edge_agent.values import Arrival

MAX_UNACKNOWLEDGED = 10_000
"""Limit on QoS 1 arrivals that wait for their acknowledgement; an MQTT 5 broker is told as its Receive Maximum."""
MAX_REQUESTS = 64
LINGER_S = 0.02
"""The longest time that a batch waits for more messages after its first."""
QUIET_S = 0.002
"""A batch is also ready when nothing came in for this long: brokers hold back until earlier messages are acknowledged."""

_NEVER = 1 << 62
_OUTPUTS = frozenset(
    {
        "status",
        "health",
        "info",
        "anomaly",
        "incident",
        "summary",
        "drops",
        "escalation",
        "question",
        "telemetry",
        "update",
        "response",
    }
)
"""What the agent itself publishes under `<root>/<gateway>/`; ignored when a wide filter brings it back."""


def own_topic(topic: str, own: str) -> tuple[Literal["request", "canary", "output", ""], str]:
    """What a topic is to the agent whose own topics begin with `own`, and the command if it is a request."""
    if not topic.startswith(own):
        return "", ""
    head, _, rest = topic.removeprefix(own).partition("/")
    if head == "request" and rest:
        return "request", rest
    if head == "canary" and not rest:
        return "canary", ""
    return ("output", "") if head in _OUTPUTS else ("", "")


class Request(Struct, frozen=True, gc=False):
    """A request as it arrived on `request/<command>`, to be answered on `response/<command>` or on `response_topic`."""

    command: str
    payload: bytes
    arrived_s: float
    response_topic: str = ""
    """The MQTT 5 response topic, empty for none; then the answer goes to `response/<command>`."""
    correlation: bytes = b""
    """MQTT 5 correlation data, to be copied into the answer."""
    qos: int = 0
    mid: int = 0
    session: int = 0


class Inbox:
    """Arrivals and requests, oldest first, and the acknowledgements that go back.

    `capacity` limits QoS 0 arrivals; those of QoS 1 are limited by `max_unacknowledged`, and then not read at all.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.max_unacknowledged = min(MAX_UNACKNOWLEDGED, capacity)
        self.arrivals: deque[Arrival] = deque()
        self.requests: deque[Request] = deque()
        self.acks: deque[tuple[int, tuple[int, ...]]] = deque()
        """Session and message ids, to be acknowledged by the network thread."""
        self.dropped: Counter[str] = Counter()
        """Messages that were set aside, by reason; counted by the network thread."""
        self.redelivered_from = 0
        """QoS 1 arrivals of earlier sessions than this one are skipped: the broker delivers them once more."""
        self._ready = threading.Event()
        self._wake_at = _NEVER

    def __len__(self) -> int:
        return len(self.arrivals)

    def announce(self) -> None:
        """For the network thread, after it appended: wakes the reader if what it waits for is there."""
        if len(self.arrivals) >= self._wake_at:
            self._wake_at = _NEVER
            self._ready.set()

    def drain(self, max_messages: int, timeout_s: float) -> list[Arrival]:
        """Up to `max_messages`, oldest first; waits up to `timeout_s` for the first, then up to `LINGER_S` for more."""
        arrivals = self.arrivals
        if not arrivals and not self._wait_for(1, timeout_s):
            return []
        until_s = time.monotonic() + LINGER_S
        while (count := len(arrivals)) < max_messages and time.monotonic() < until_s:
            self._wait_for(max_messages, QUIET_S)
            if len(arrivals) == count:
                break
        popleft = arrivals.popleft
        batch = [popleft() for _ in range(min(len(arrivals), max_messages))]
        if batch[0].session < self.redelivered_from:
            floor = self.redelivered_from
            batch = [arrival for arrival in batch if arrival.qos == 0 or arrival.session >= floor]
        return batch

    def drain_requests(self) -> list[Request]:
        """All requests that are there; does not wait."""
        return [self.requests.popleft() for _ in range(len(self.requests))]

    def ack(self, items: Iterable[Arrival | Request], session: int) -> bool:
        """Queue the acknowledgement of the QoS 1 items of this session; True if there were any."""
        mids = tuple(item.mid for item in items if item.qos and item.session == session)
        if mids:
            self.acks.append((session, mids))
        return bool(mids)

    def _wait_for(self, count: int, timeout_s: float) -> bool:
        self._ready.clear()
        self._wake_at = count
        # From here on the network thread wakes us; what it appended just before is seen by looking once more.
        if len(self.arrivals) < count:
            self._ready.wait(timeout_s)
        self._wake_at = _NEVER
        return len(self.arrivals) >= count
