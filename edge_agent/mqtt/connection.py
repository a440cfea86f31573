"""One connection to the broker, from CONNECT to its end, on top of one paho client that lives no longer than it.

Rules:
* paho's client is used here and nowhere else. Everything here runs on the network thread; other threads reach it through the
  inbox and the outgoing messages, never by calling it.
* A callback that raises would end the thread, so each one counts and logs what it caught.
* QoS 1 arrivals are acknowledged when the inbox says so. While too many are unacknowledged, nothing is read, and the
  broker keeps the rest: nothing of QoS 1 is dropped here. QoS 0 beyond the inbox's capacity is dropped and counted.
* paho never holds a message that we do not know of, and none outlives the connection.
"""

from __future__ import annotations

import logging
import select
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_agent.clock import Clock
from edge_agent.config.settings import MqttSettings
from edge_agent.credentials import read_password, tls_context
from edge_agent.errors import LinkError
from edge_agent.mqtt import packets
from edge_agent.mqtt.fates import INVALID, LOST, TOO_LARGE, UNREADABLE, ended_with
from edge_agent.mqtt.inbox import MAX_REQUESTS, Inbox, Request, own_topic
from edge_agent.mqtt.outgoing import Outgoing, UserProperties, Waker
from edge_agent.mqtt.pace import Canary
from edge_agent.values import Arrival, Message

MAX_IN_FLIGHT = 64
"""Limit on publishes that wait for the broker's confirmation, unless the broker sets a lower one."""
MAX_QUEUED = 64
"""Messages that may wait behind these, so that a confirmation is followed by the next one without a hop between threads."""
RESERVED_IN_FLIGHT = 4
"""Room on top of that for the link's own messages of birth and farewell."""
CONNECT_TIMEOUT_S = 10.0
"""For the TCP and TLS handshakes, each."""
READ_BURST = 256
"""Packets read between two looks at everything else."""
FILTERS_A_PACKET = 8
"""Topic filters in one SUBSCRIBE; some hosted brokers refuse more."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Surroundings:
    """What all connections of a link have in common."""

    settings: MqttSettings
    client_id: str
    own: str
    """`<root>/<gateway>/`, the start of the agent's own topics."""
    filters: Mapping[str, int]
    """Topic filter to QoS, the agent's own included."""
    will: Message
    birth: Callable[[], Sequence[Message]]
    clock: Clock
    inbox: Inbox
    outgoing: Outgoing
    waker: Waker
    canary: Canary
    refused: dict[str, str] = field(default_factory=dict)
    """Topic filter to the broker's reason for refusing the subscription."""


class Connection:
    """One connection. `open`, then `turn` while `is_open`, then `settle`."""

    def __init__(self, around: Surroundings, session: int, *, is_v5: bool, subscribed: bool) -> None:
        self.session = session
        self.is_v5 = is_v5
        self.subscribed = subscribed
        """Whether this process subscribed already, so that a session the broker kept has the right subscriptions."""
        self.accepted_s: float | None = None
        self.answered = False
        self.end_reason = ""
        self.received = 0
        self.max_in_flight = MAX_IN_FLIGHT
        self._max_packet_bytes = packets.MAX_PACKET_BYTES
        self._around = around
        self._confirmed = 0
        self._unacknowledged = 0
        self._set_aside: list[int] = []
        """Message ids of QoS 1 arrivals that were set aside, to be acknowledged once the callback has returned."""
        self._tokens: dict[int, int] = {}
        """Message id of an unconfirmed publish to its token; 0 for the link's own messages."""
        self._subscribing: dict[int, tuple[str, ...]] = {}
        self._poll = select.poll()
        self._events = 0
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=around.client_id,
            clean_session=None if is_v5 else around.settings.session_expiry_s == 0,
            protocol=MQTTProtocolVersion.MQTTv5 if is_v5 else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )

    # ---- life ------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Send CONNECT. Raises LinkError when the broker cannot be reached or a secret cannot be read."""
        settings, will, client = self._around.settings, self._around.will, self._client
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_inflight_messages = MAX_IN_FLIGHT + RESERVED_IN_FLIGHT
        client.will_set(will.topic, will.payload, will.qos, will.retain)
        self._attach()
        where = f"{settings.host}:{settings.port}"
        try:
            self._authenticate()
        except (OSError, ValueError) as error:
            self.end_reason = "credentials"
            raise LinkError(f"cannot use the certificates or the password file for {where}: {error}") from error
        try:
            if self.is_v5:
                clean, properties = (
                    settings.session_expiry_s == 0,
                    packets.connect_properties(settings, self._around.inbox.max_unacknowledged),
                )
                client.connect(settings.host, settings.port, settings.keepalive_s, clean_start=clean, properties=properties)
            else:
                client.connect(settings.host, settings.port, settings.keepalive_s)
        except (OSError, ValueError) as error:  # ValueError: a host name that cannot be encoded
            self.end_reason = "tls-failed" if isinstance(error, ssl.SSLError) else "connect-failed"
            raise LinkError(f"cannot connect to {where}: {error}") from error
        self._poll.register(self._around.waker.fileno(), select.POLLIN)

    def _authenticate(self) -> None:
        settings = self._around.settings
        if settings.username:
            self._client.username_pw_set(settings.username, read_password(settings))
        if settings.tls is not None:
            self._client.tls_set_context(tls_context(settings.tls))
            self._client.tls_insecure_set(settings.tls.insecure_skip_hostname)

    @property
    def is_open(self) -> bool:
        """Whether there is a socket; False once the connection has ended in whatever way."""
        return self._client.socket() is not None

    @property
    def is_reading(self) -> bool:
        """False while too many arrivals are unacknowledged."""
        return self._unacknowledged < self._around.inbox.max_unacknowledged

    def abort(self, reason: str) -> None:
        """End without DISCONNECT, so that the broker, if it is there, publishes the will. No `turn` may follow."""
        self.end_reason = self.end_reason or reason
        transport = self._client.socket()
        if transport is not None:
            transport.close()

    def close(self, farewell: Sequence[Message], until_s: float) -> None:
        """End cleanly: what is under way is confirmed first, then the farewell, as far as `until_s` allows."""
        self.end_reason = self.end_reason or "stopped"
        around = self._around
        if self.accepted_s is None:
            self.abort("stopped")
            return
        self._flush(until_s)
        for message in farewell:
            self.send(0, message)
        self._flush(until_s)
        self._client.disconnect()
        while self.is_open and around.clock.monotonic_s() < until_s:
            self.turn(0.1)
        if self.is_open:
            self.abort("stopped")

    def _flush(self, until_s: float) -> None:
        """Go on until nothing is under way, or until `until_s`."""
        around = self._around
        while self.is_open and (self._tokens or len(around.outgoing) or around.inbox.acks):
            left_s = until_s - around.clock.monotonic_s()
            if left_s <= 0:
                break
            self.turn(left_s)

    def settle(self) -> None:
        """After the end: everything under way that the broker did not confirm is lost."""
        self._around.outgoing.end()
        reason = ended_with(self.end_reason, own_confirmed=self.accepted_s is not None and 0 not in self._tokens.values())
        for token in self._tokens.values():
            self._resolve(token, reason)
        self._around.outgoing.drop()

    # ---- turns -----------------------------------------------------------------------------------------------------

    def turn(self, timeout_s: float) -> None:
        """Wait for the socket or the waker, then read, hand on, acknowledge, publish and write. Raises LinkError."""
        client, around = self._client, self._around
        transport = client.socket()
        if transport is None:
            return
        reading = self.is_reading
        events = (select.POLLIN if reading else 0) | (select.POLLOUT if client.want_write() else 0)
        if events != self._events:
            self._poll.register(transport.fileno(), events)
            self._events = events
        buffered = reading and isinstance(transport, ssl.SSLSocket) and transport.pending() > 0
        self._poll.poll(0 if buffered else timeout_s * 1000)
        around.waker.clear()
        if reading:
            self._read()
        around.inbox.announce()
        self._acknowledge()
        while len(self._tokens) < self.max_in_flight and (taken := around.outgoing.next()):
            self.send(*taken)
        if client.want_write():
            client.loop_write()
        client.loop_misc()

    def _read(self) -> None:
        """Read until nothing more comes: one wait for many packets, where paho's own loop waits before each."""
        read = self._client.loop_read
        try:
            for _ in range(READ_BURST):
                before = self.received + self._confirmed
                if read() != MQTTErrorCode.MQTT_ERR_SUCCESS or self.received + self._confirmed == before or not self.is_reading:
                    break
        except (LookupError, ValueError) as error:  # paho 2.0 and 2.1 on what later ones end the connection for
            self.abort(UNREADABLE)
            raise LinkError(f"the broker sent a packet that cannot be read: {error!r}") from error

    def _acknowledge(self) -> None:
        ack, acks = self._client.ack, self._around.inbox.acks
        for mid in self._set_aside:
            ack(mid, 1)
        self._set_aside.clear()
        while acks:
            session, mids = acks.popleft()
            if session == self.session:
                self._unacknowledged -= len(mids)
                for mid in mids:
                    ack(mid, 1)

    def send(self, token: int, message: Message, user_properties: UserProperties = ()) -> None:
        """Publish; the token, if it is not 0, is resolved with the outcome."""
        properties = packets.publish_properties(message, user_properties) if self.is_v5 else None
        try:
            if packets.is_larger(message, properties, self._max_packet_bytes, is_v5=self.is_v5):
                # The broker would end the connection, and again when it is sent again.
                log.warning("mqtt: %s: %d bytes are more than the broker takes", message.topic, len(message.payload))
                self._resolve(token, TOO_LARGE)
                return
            info = self._client.publish(message.topic, message.payload, message.qos, message.retain, properties)
        except ValueError as error:
            log.warning("mqtt: %s cannot be published: %s", message.topic, error)
            self._resolve(token, INVALID)
            return
        if message.qos and info.rc != MQTTErrorCode.MQTT_ERR_NO_CONN:
            # Also where writing it ended the connection: `settle` then says with which reason.
            self._tokens[info.mid] = token
        else:
            self._resolve(token, "" if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else LOST)

    def _resolve(self, token: int, failure: str) -> None:
        if token:
            self._around.outgoing.resolve(token, failure)
        elif failure.startswith("refused"):
            self._around.inbox.dropped[f"own-message-{failure}"] += 1

    # ---- callbacks of paho -----------------------------------------------------------------------------------------

    def _attach(self) -> None:
        def on_connect(_client: Client, _data: Any, flags: ConnectFlags, reason: ReasonCode, more: Properties | None) -> None:
            self._guarded(lambda: self._on_connect(flags.session_present, reason, more))

        def on_disconnect(_client: Client, _data: Any, flags: DisconnectFlags, reason: ReasonCode, _more: Any) -> None:
            source = "broker" if flags.is_disconnect_packet_from_server else "lost"
            self.end_reason = self.end_reason or f"{source}-{packets.slug(reason)}"

        def on_subscribe(_client: Client, _data: Any, mid: int, reasons: list[ReasonCode], _more: Any) -> None:
            self._guarded(lambda: self._on_subscribe(self._subscribing.pop(mid, ()), reasons))

        def on_publish(_client: Client, _data: Any, mid: int, reason: ReasonCode, _more: Any) -> None:
            self._confirmed += 1
            token = self._tokens.pop(mid, None)
            if token is not None:
                self._resolve(token, f"refused-{packets.slug(reason)}" if reason.is_failure else "")

        client = self._client
        client.on_connect, client.on_disconnect = on_connect, on_disconnect
        client.on_subscribe, client.on_publish = on_subscribe, on_publish
        client.on_message = self._receiver()

    def _guarded(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception:  # outermost guard of the callbacks: one that raises would end the thread
            self._around.inbox.dropped["callback-error"] += 1
            log.exception("mqtt: error in a callback")
            return None

    def _receiver(self) -> Callable[[Client, Any, MQTTMessage], None]:
        """The callback that runs for every message: it appends an `Arrival` and does as little else as it can."""
        inbox, session, own = self._around.inbox, self.session, self._around.own
        append, size, capacity, dropped = inbox.arrivals.append, inbox.arrivals.__len__, inbox.capacity, inbox.dropped
        now_s, max_bytes = self._around.clock.now_s, self._around.settings.max_payload_bytes

        def on_message(_client: Client, _data: Any, message: MQTTMessage) -> None:
            self.received += 1
            try:
                topic, qos = message.topic, message.qos
                payload: bytes = message.payload  # type: ignore[assignment]  # what arrives is never a bytearray
                if (len(payload) > max_bytes or topic.startswith(own)) and self._is_special(topic, message):
                    return
                if qos:
                    self._unacknowledged += 1
                elif size() >= capacity:
                    dropped["queue-full"] += 1
                    return
                append(Arrival(topic, payload, now_s(), qos, message.mid, session, message.retain))
            except UnicodeDecodeError:
                self._put_aside(message, "bad-topic")
            except Exception:  # noqa: BLE001 - outermost guard of the callbacks: one that raises would end the thread
                self._put_aside(message, "callback-error")

        return on_message

    def _is_special(self, topic: str, message: MQTTMessage) -> bool:
        """Deal with what is not an ordinary arrival: too large, or on one of the agent's own topics."""
        around = self._around
        kind, command = own_topic(topic, around.own)
        if len(message.payload) > around.settings.max_payload_bytes:
            self._put_aside(message, "too-large")
        elif kind == "request":
            self._on_request(command, message)
        elif kind:
            if kind == "canary":
                around.canary.heard(around.clock.monotonic_s())
            self._put_aside(message, "")
        else:
            return False
        return True

    def _put_aside(self, message: MQTTMessage, reason: str) -> None:
        if reason:
            self._around.inbox.dropped[reason] += 1
        if message.qos:
            self._set_aside.append(message.mid)

    def _on_request(self, command: str, message: MQTTMessage) -> None:
        inbox = self._around.inbox
        if message.retain:  # it would be carried out anew on every subscription
            self._put_aside(message, "retained-request")
        elif len(inbox.requests) >= MAX_REQUESTS:
            self._put_aside(message, "request-queue-full")
        else:
            now_s, payload = self._around.clock.now_s(), bytes(message.payload)
            topic = str(getattr(message.properties, "ResponseTopic", ""))
            correlation = bytes(getattr(message.properties, "CorrelationData", b""))
            self._unacknowledged += min(message.qos, 1)
            inbox.requests.append(Request(command, payload, now_s, topic, correlation, message.qos, message.mid, self.session))

    def _on_connect(self, resumed: bool, reason: ReasonCode, properties: Properties | None) -> None:
        around, settings = self._around, self._around.settings
        self.answered = True
        if reason.is_failure:
            self.end_reason = f"refused-{packets.slug(reason)}"
            log.warning("mqtt: %s:%d refused the connection: %s", settings.host, settings.port, reason)
            return
        receive_maximum = getattr(properties, "ReceiveMaximum", MAX_IN_FLIGHT + RESERVED_IN_FLIGHT)
        self.max_in_flight = max(1, min(MAX_IN_FLIGHT, receive_maximum - RESERVED_IN_FLIGHT))
        self._max_packet_bytes = getattr(properties, "MaximumPacketSize", packets.MAX_PACKET_BYTES)
        if resumed:
            around.inbox.redelivered_from = self.session
        # MQTT 5 can subscribe again without having retained messages sent again; 3.1.1 cannot, so only where it must.
        if self.is_v5 or not resumed or not self.subscribed:
            self._subscribe()
        for message in self._guarded(around.birth) or ():
            self.send(0, message)
        self.accepted_s = around.clock.monotonic_s()
        version, kept = "5" if self.is_v5 else "3.1.1", "kept" if resumed else "new"
        log.info("mqtt: connected to %s:%d, MQTT %s, session %s", settings.host, settings.port, version, kept)

    def _subscribe(self) -> None:
        filters = list(self._around.filters.items())
        for start in range(0, len(filters), FILTERS_A_PACKET):
            part = filters[start : start + FILTERS_A_PACKET]
            wanted = (
                [(name, packets.subscribe_options(name, qos, self._around.own)) for name, qos in part] if self.is_v5 else part
            )
            _, mid = self._client.subscribe(wanted)
            self._subscribing[mid or 0] = tuple(name for name, _ in part)
        self.subscribed = True

    def _on_subscribe(self, filters: tuple[str, ...], reasons: list[ReasonCode]) -> None:
        refused = self._around.refused
        for name, reason in zip(filters, reasons, strict=False):
            refused.pop(name, None)
            if reason.is_failure:
                refused[name] = str(reason)
                log.error("mqtt: the broker refused the subscription to %s: %s; nothing will arrive there", name, reason)
