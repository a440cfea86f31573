"""What packets hold: sizes as paho writes them, properties only where there are any."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge_agent.config.settings import MqttSettings
from edge_agent.mqtt.packets import connect_properties, is_larger, publish_bytes, publish_properties, subscribe_options
from edge_agent.values import Message

MARKS = (("replayed", "true"), ("queued", "2026-11-22T10:00:00Z"))


def written(message: Message, marks: tuple[tuple[str, str], ...], *, is_v5: bool) -> bytes:
    """What paho puts on the wire for it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        protocol = MQTTProtocolVersion.MQTTv5 if is_v5 else MQTTProtocolVersion.MQTTv311
        client = Client(CallbackAPIVersion.VERSION2, protocol=protocol)
        client._sock = ours  # a client that was never connected writes nowhere
        properties = publish_properties(message, marks) if is_v5 else None
        client.publish(message.topic, message.payload, message.qos, message.retain, properties)
        packet = b""
        while True:
            try:
                packet += theirs.recv(1 << 16)
            except BlockingIOError:
                client._sock = None
                return packet


@settings(max_examples=40, deadline=None)
@given(
    topic=st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="+#"), min_size=1, max_size=50),
    size=st.sampled_from([0, 1, 80, 127, 128, 300, 16_380, 16_384, 20_000]),
    qos=st.sampled_from([0, 1]),
    correlation=st.binary(max_size=20),
    marks=st.sampled_from([(), MARKS[:1], MARKS, (("ключ", "значение"),)]),
    is_v5=st.booleans(),
)
def test_the_size_is_what_goes_over_the_wire(
    topic: str, size: int, qos: int, correlation: bytes, marks: tuple[tuple[str, str], ...], is_v5: bool
) -> None:
    message = Message(topic=topic, payload=bytes(size), qos=qos, response_correlation=correlation)
    properties = publish_properties(message, marks) if is_v5 else None
    size = len(written(message, marks, is_v5=is_v5))
    assert publish_bytes(message, properties, is_v5=is_v5) == size
    assert not is_larger(message, properties, size, is_v5=is_v5)
    assert is_larger(message, properties, size - 1, is_v5=is_v5)
    assert not is_larger(message, properties, 10 * size + 10_000, is_v5=is_v5)


def test_a_message_without_anything_to_add_has_no_properties() -> None:
    assert publish_properties(Message(topic="a", payload=b""), ()) is None


def test_marks_and_correlation_stand_side_by_side() -> None:
    properties = publish_properties(Message(topic="a", payload=b"", response_correlation=b"\x07"), MARKS)
    assert properties is not None
    assert vars(properties)["CorrelationData"] == b"\x07"
    assert vars(properties)["UserProperty"] == list(MARKS)


def test_connect_asks_for_a_session_and_tells_our_limits() -> None:
    properties = vars(connect_properties(MqttSettings(session_expiry_s=77, max_payload_bytes=1_000), 500))
    assert (properties["SessionExpiryInterval"], properties["ReceiveMaximum"]) == (77, 500)
    assert properties["MaximumPacketSize"] > 4_000


@pytest.mark.parametrize(
    ("name", "deaf"), [("plant/#", True), ("edge/gw/canary", False), ("$share/group/plant/#", False), ("edge/gw2/x", True)]
)
def test_only_the_canary_and_shared_subscriptions_hear_what_we_publish(name: str, deaf: bool) -> None:
    assert subscribe_options(name, 1, "edge/gw/").noLocal is deaf
