"""An ordinary MQTT client for tests: it publishes, and remembers what it heard. Shares no code with the agent's own link."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, NamedTuple

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

WAIT_S = 40.0


class Heard(NamedTuple):
    """One message as it came: MQTT 5 properties are in `correlation` and `response_topic`."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    correlation: bytes
    response_topic: str


def wait_until(condition: Callable[[], bool], timeout_s: float = WAIT_S, what: str = "condition") -> None:
    """Poll until the condition holds; fails the test when it does not within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true within {timeout_s} s"
        time.sleep(0.01)


class MqttClient:
    """Connected and subscribed (QoS 1) for as long as the `with` block lasts."""

    def __init__(
        self,
        port: int,
        filters: Sequence[str] = (),
        *,
        client_id: str = "",
        protocol: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5,
        setup: Callable[[Client], Any] = lambda client: None,
    ) -> None:
        self.heard: list[Heard] = []
        self._port = port
        self._filters = [(name, 1) for name in filters]
        self._ready = threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol)
        setup(self.client)
        self.client.on_connect = self._on_connect
        self.client.on_subscribe = lambda *_: self._ready.set()
        self.client.on_message = self._on_message

    def _on_connect(self, client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        assert not reason.is_failure, str(reason)
        if self._filters:
            client.subscribe(self._filters)
        else:
            self._ready.set()

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        correlation = bytes(getattr(message.properties, "CorrelationData", b""))
        response_topic = str(getattr(message.properties, "ResponseTopic", ""))
        payload = bytes(message.payload)
        self.heard.append(Heard(message.topic, payload, message.qos, message.retain, correlation, response_topic))

    def __enter__(self) -> MqttClient:
        self.client.connect("127.0.0.1", self._port, keepalive=30)
        self.client.loop_start()
        assert self._ready.wait(WAIT_S), "the test's own client could not connect and subscribe"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def publish(
        self,
        topic: str,
        payload: bytes | str,
        qos: int = 0,
        retain: bool = False,
        *,
        response_topic: str = "",
        correlation: bytes = b"",
    ) -> None:
        """Publish; at QoS 1 returns when the broker confirmed it."""
        properties = None
        if response_topic or correlation:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho left it without types
            if response_topic:
                properties.ResponseTopic = response_topic
            if correlation:
                properties.CorrelationData = correlation
        self.client.publish(topic, payload, qos, retain, properties).wait_for_publish(WAIT_S)

    def on(self, topic: str) -> list[bytes]:
        """Payloads heard on exactly this topic, oldest first."""
        return [message.payload for message in list(self.heard) if message.topic == topic]

    def wait_for(self, topic: str, payload: bytes, timeout_s: float = WAIT_S) -> None:
        """Wait until this payload was heard on this topic."""
        wait_until(lambda: payload in self.on(topic), timeout_s, f"{payload!r} on {topic}")
