"""What the packets that we send hold beside topic and payload: MQTT 5 properties and options, and how large a packet gets.

Rules: pure; nothing here is kept. Numbers in brackets are sections of the OASIS standard MQTT 5.0 (2019).
"""

from __future__ import annotations

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_agent.config.settings import MqttSettings
from edge_agent.mqtt.outgoing import UserProperties
from edge_agent.values import Message

MAX_PACKET_BYTES = 5 + 268_435_455
"""The largest packet that MQTT can express [1.5.5]."""


def connect_properties(settings: MqttSettings, receive_maximum: int) -> Properties:
    """Of CONNECT: how long the session is kept, and how much we take at once [3.1.2.11]."""
    properties = _properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = settings.session_expiry_s
    properties.ReceiveMaximum = receive_maximum
    # Between our limit and this one a payload is received and counted; beyond, the broker keeps it off our memory.
    properties.MaximumPacketSize = 4 * settings.max_payload_bytes + (1 << 20)
    return properties


def publish_properties(message: Message, user_properties: UserProperties) -> Properties | None:
    """Of PUBLISH [3.3.2.3]; None where there are none."""
    if not (message.response_correlation or user_properties):
        return None
    properties = _properties(PacketTypes.PUBLISH)
    if message.response_correlation:
        properties.CorrelationData = message.response_correlation
    if user_properties:
        properties.UserProperty = list(user_properties)
    return properties


def subscribe_options(name: str, qos: int, own: str) -> SubscribeOptions:
    """For the topic filter `name` [3.8.3.1]; the agent's own topics begin with `own`."""
    # Nobody wants to hear himself, except for the canary; the standard forbids the option on shared subscriptions.
    deaf_to_own = not name.startswith(("$share/", own))
    return SubscribeOptions(qos, noLocal=deaf_to_own, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)


def publish_bytes(message: Message, properties: Properties | None, *, is_v5: bool) -> int:
    """How large the PUBLISH packet is, all of it, as a broker's Maximum Packet Size counts it [2.1.4, 3.3]."""
    packed = properties.pack() if properties is not None else bytes(is_v5)  # type: ignore[no-untyped-call]  # paho left it without types
    remaining = 2 + len(message.topic.encode()) + (2 if message.qos else 0) + len(packed) + len(message.payload)
    return 1 + max(1, -(-remaining.bit_length() // 7)) + remaining


def is_larger(message: Message, properties: Properties | None, most_bytes: int, *, is_v5: bool) -> bool:
    """Whether the PUBLISH packet is larger than `most_bytes`, which is rarely worth an exact count."""
    # 1,024 for the header and the user properties, which are our own and short.
    surely_enough = 1_024 + 4 * len(message.topic) + len(message.response_correlation) + len(message.payload)
    return surely_enough > most_bytes and publish_bytes(message, properties, is_v5=is_v5) > most_bytes


def slug(reason: ReasonCode) -> str:
    """A reason code as one word."""
    return str(reason).lower().replace(" ", "-")


def _properties(packet: int) -> Properties:
    return Properties(packet)  # type: ignore[no-untyped-call]  # paho left it without types
