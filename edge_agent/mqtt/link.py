"""A connection to the broker that keeps itself up: what the rest of the agent knows of MQTT.

Rules: one network thread connects, serves, waits and connects again until `stop`; every other thread only touches the
queues behind `drain`, `requests`, `ack`, `publish`, `published` and `lost`. While there is no connection `publish` says so
and keeps nothing; a message whose connection ends before the broker confirmed it comes back from `lost`, for the caller to
publish again. QoS 1 arrivals that are not acknowledged are delivered again by the broker, also after a kill.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from edge_agent.clock import Clock
from edge_agent.config.settings import MqttSettings
from edge_agent.errors import LinkError
from edge_agent.mqtt.connection import MAX_QUEUED, Connection, Surroundings
from edge_agent.mqtt.inbox import Inbox, Request
from edge_agent.mqtt.outgoing import Outgoing, UserProperties, Waker
from edge_agent.mqtt.pace import Backoff, Canary, ProtocolChoice, Uniform
from edge_agent.values import Arrival, Message

TICK_S = 1.0
"""The longest time between two looks at the canary."""

log = logging.getLogger(__name__)


class LinkCounters(Struct, frozen=True):
    """What the link did since it was started."""

    received: int
    connects: int
    dropped: dict[str, int]
    """Messages set aside, by reason."""
    disconnects: dict[str, int]
    """Ended connections and failed attempts, by reason."""
    canaries_unheard: int
    refused_subscriptions: dict[str, str]
    """Topic filter to the broker's reason."""


class MqttLink:
    """A connection to the broker that keeps itself up.

    `will` is published by the broker when the link dies, `birth()` by the link on every connect, `farewell()` before a
    clean end; both are called on the network thread. `subscriptions` are (topic filter, QoS 0 or 1); the agent's own
    topics for requests and the canary are added to them.
    """

    def __init__(
        self,
        settings: MqttSettings,
        gateway_id: str,
        subscriptions: Sequence[tuple[str, int]],
        will: Message,
        birth: Callable[[], Sequence[Message]],
        clock: Clock,
        rng: Uniform,
        farewell: Callable[[], Sequence[Message]] = tuple,
    ) -> None:
        own = f"{settings.root}/{gateway_id}/"
        self._settings, self._clock, self._rng, self._farewell = settings, clock, rng, farewell
        self._inbox, self._outgoing, self._waker = Inbox(settings.max_queued_arrivals), Outgoing(), Waker()
        self._backoff = Backoff(settings.backoff_min_s, settings.backoff_max_s, settings.stable_after_s)
        self._protocol = ProtocolChoice(settings.protocol)
        self._canary = Canary(settings.canary_interval_s, settings.canary_timeout_s)
        self._around = Surroundings(
            settings=settings,
            client_id=settings.client_id or f"edge-agent-{gateway_id}",
            own=own,
            filters={**dict(subscriptions), f"{own}request/+": 1, f"{own}canary": 0},
            will=will,
            birth=birth,
            clock=clock,
            inbox=self._inbox,
            outgoing=self._outgoing,
            waker=self._waker,
            canary=self._canary,
        )
        self._connected = threading.Event()
        self._stopping = threading.Event()
        self._stop_by_s = 0.0
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._current: Connection | None = None
        self._session = 0
        self._subscribed = False
        self._received_before = 0
        self._connects = 0
        self._disconnects: Counter[str] = Counter()

    # ---- for every thread ------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether the broker accepted the present connection."""
        return self._connected.is_set()

    @property
    def session(self) -> int:
        """Number of the present connection, or of the last one; grows with every attempt."""
        return self._session

    @property
    def queued(self) -> int:
        """Arrivals that wait to be drained."""
        return len(self._inbox)

    @property
    def counters(self) -> LinkCounters:
        """A copy of all counters."""
        current = self._current
        return LinkCounters(
            received=self._received_before + (current.received if current else 0),
            connects=self._connects,
            dropped=dict(self._inbox.dropped),
            disconnects=dict(self._disconnects),
            canaries_unheard=self._canary.unheard,
            refused_subscriptions=dict(self._around.refused),
        )

    def start(self) -> None:
        """Start the network thread; it connects, and connects again, until `stop`."""
        self._thread.start()

    def stop(self, timeout_s: float = 3.0) -> bool:
        """Confirm what is under way, publish the farewell, disconnect. False if that took longer than `timeout_s`."""
        self._stop_by_s = self._clock.monotonic_s() + timeout_s
        self._outgoing.end()
        self._stopping.set()
        self._waker.wake()
        if self._thread.is_alive():
            self._thread.join(timeout_s + 0.5)
        return not self._thread.is_alive()

    def wait_connected(self, timeout_s: float) -> bool:
        """Wait until there is an accepted connection; False if there is none after `timeout_s`."""
        return self._connected.wait(timeout_s)

    def drain(self, max_messages: int, timeout_s: float) -> list[Arrival]:
        """Up to `max_messages` arrivals, oldest first; waits up to `timeout_s` for the first. One reader only."""
        return self._inbox.drain(max_messages, timeout_s)

    def requests(self) -> list[Request]:
        """All requests that arrived, oldest first; does not wait. To be given to `ack` once carried out. One reader only."""
        return self._inbox.drain_requests()

    def ack(self, items: Iterable[Arrival | Request]) -> None:
        """Acknowledge the QoS 1 items of the present connection; others are skipped, the broker delivers them again."""
        if self._inbox.ack(items, self._session):
            self._waker.wake()

    def publish(self, message: Message, properties: UserProperties = ()) -> int | None:
        """Hand a message to the network thread. Returns its token, or None: not connected, or too much under way.

        The token comes back once, from `published` or from `lost`. `properties` are left out in MQTT 3.1.1.
        """
        token = self._outgoing.take(message, properties)
        if token is not None:
            self._waker.wake()
        return token

    def published(self, timeout_s: float = 0.0) -> list[int]:
        """Tokens that the broker confirmed (QoS 0: that were sent). Waits up to `timeout_s` for one, or for a lost one."""
        return self._outgoing.published(timeout_s)

    def lost(self) -> list[tuple[int, str]]:
        """Tokens that will not be confirmed, each with its reason, which `fate` understands."""
        return self._outgoing.lost()

    # ---- the network thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._session += 1
            connection = Connection(self._around, self._session, is_v5=self._protocol.is_v5, subscribed=self._subscribed)
            try:
                connection.open()
                self._serve(connection)
            except LinkError as error:
                log.warning("mqtt: %s", error)
            except Exception:  # outermost guard of the thread: one bad connection must not end all later ones
                log.exception("mqtt: internal error")
                connection.abort("internal-error")
            if not self._ended(connection):
                self._stopping.wait(self._backoff.wait_s(self._rng))

    def _serve(self, connection: Connection) -> None:
        """Keep one connection going until it ends or the link is stopped."""
        opened_s = self._clock.monotonic_s()
        while connection.is_open and not self._stopping.is_set():
            connection.turn(TICK_S)
            now_s = self._clock.monotonic_s()
            if connection.accepted_s is not None:
                if self._current is None:
                    self._accepted(connection)
                if self._is_deaf(connection, now_s):
                    connection.abort("deaf")
                    return
            elif now_s - opened_s > self._protocol.answer_timeout_s():
                connection.abort("no-answer")
                return
        if self._stopping.is_set():
            connection.close(self._farewell(), self._stop_by_s)

    def _accepted(self, connection: Connection) -> None:
        self._protocol.accepted()
        self._canary.connected(self._clock.monotonic_s())
        self._subscribed = connection.subscribed
        self._connects += 1
        self._current = connection
        self._outgoing.begin(connection.max_in_flight + MAX_QUEUED)
        self._connected.set()

    def _is_deaf(self, connection: Connection, now_s: float) -> bool:
        """Send the canary when it is due and judge it when it is overdue; while reading pauses nothing can be concluded."""
        canary = self._canary
        if not connection.is_reading:
            canary.connected(now_s)
        elif canary.due(now_s):
            connection.send(0, Message(topic=f"{self._around.own}canary", payload=b"%d" % connection.session, qos=0))
            canary.sent(now_s, connection.received)
        return canary.deaf(now_s, connection.received)

    def _ended(self, connection: Connection) -> bool:
        """Settle a connection that is over. True if the next attempt should follow at once, in another protocol."""
        self._connected.clear()
        connection.settle()  # before anything shows that the connection is over: its tokens are all known by then
        self._current = None
        self._received_before += connection.received
        reason = connection.end_reason or "lost"
        self._disconnects[reason] += 1
        accepted_s = connection.accepted_s
        self._backoff.ended(0.0 if accepted_s is None else self._clock.monotonic_s() - accepted_s)
        log.info("mqtt: connection %d ended: %s", connection.session, reason)
        if reason == "refused-unsupported-protocol-version":
            return self._protocol.refused_version()
        if connection.answered or reason in ("credentials", "connect-failed", "tls-failed", "internal-error", "stopped"):
            return False
        return self._protocol.unanswered()
