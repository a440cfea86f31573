"""MQTT 3.1.1 packets as bytes, for a load generator that encodes everything before its clock starts.

Rules: pure; just the packets that the bench sends or counts. Numbers in brackets are sections of the OASIS standard
MQTT 3.1.1 (2014).
"""

from __future__ import annotations

PUBACK_BYTES = 4
CONNACK_BYTES = 4


def connect(client_id: str, keepalive_s: int = 600) -> bytes:
    """CONNECT with a clean session [3.1]."""
    body = _text("MQTT") + bytes((4, 0b10)) + keepalive_s.to_bytes(2, "big") + _text(client_id)
    return b"\x10" + _length(len(body)) + body


def publish(topic: str, payload: bytes, packet_id: int = 0) -> bytes:
    """PUBLISH [3.3]: QoS 1 where `packet_id` is not 0, else QoS 0."""
    body = _text(topic) + (packet_id.to_bytes(2, "big") if packet_id else b"") + payload
    return bytes((0x32 if packet_id else 0x30,)) + _length(len(body)) + body


def disconnect() -> bytes:
    """DISCONNECT [3.14]."""
    return b"\xe0\x00"


def _text(text: str) -> bytes:
    """A string with its length before it [1.5.3]."""
    data = text.encode()
    return len(data).to_bytes(2, "big") + data


def _length(size: int) -> bytes:
    """The remaining length, seven bits a byte [2.2.3]."""
    out = bytearray()
    while True:
        size, seven = divmod(size, 128)
        out.append(seven | (0x80 if size else 0))
        if not size:
            return bytes(out)
