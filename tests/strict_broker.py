"""A small broker that confirms what is published, except for what its rule says: it refuses, closes, resets or keeps silent.

Brokers of MQTT 3.1.1 close the connection on a publish that they forbid; mosquitto, which the other tests use, confirms it
and throws it away. It speaks MQTT 3.1.1 and 5, delivers nothing, and remembers what it took.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

from tests.listening import POLL_S, Listener

Answer: TypeAlias = Literal["confirm", "close", "reset", "silence"] | int
"""What follows a publish; a number is the reason code of an MQTT 5 PUBACK."""


class Published(NamedTuple):
    """One PUBLISH of QoS 1 as it came. `properties` are the raw bytes of MQTT 5."""

    connection: int
    """Numbered from 1."""
    topic: str
    payload: bytes
    properties: bytes
    mid: int

    @property
    def marks(self) -> dict[str, str]:
        """The user properties (MQTT 5.0, 3.3.2.3.7); there may be no others but them."""
        marks, rest = {}, self.properties
        while rest:
            assert rest[0] == 0x26, f"not a user property: {rest!r}"
            name, rest = _text(rest[1:])
            marks[name], rest = _text(rest)
        return marks


Rule: TypeAlias = Callable[[Published], Answer]


class StrictBroker(Listener):
    """Listens on a free loopback port for as long as the `with` block lasts. `rule` runs for every QoS 1 publish.

    It closes as soon as it sees that a packet is larger than `max_packet_bytes`, without reading it.
    """

    def __init__(self, rule: Rule, port: int = 0, max_packet_bytes: int = 1 << 28, receive_maximum: int = 0) -> None:
        super().__init__(port)
        self.taken: list[Published] = []
        """What was confirmed with success."""
        self.heard: list[Published] = []
        """All publishes of QoS 1."""
        self.connections = 0
        self._rule = rule
        self._max_packet_bytes = max_packet_bytes
        self._receive_maximum = receive_maximum
        self._peers: list[socket.socket] = []

    def cut(self) -> None:
        """End all connections."""
        for peer in self._peers:
            with_no_more(peer)

    def accepted(self, peer: socket.socket) -> None:
        """See `Listener.accepted`."""
        self.connections += 1
        self._peers.append(peer)
        self.serve(self._serve, peer, self.connections)

    def _serve(self, peer: socket.socket, connection: int) -> None:
        with peer:
            peer.settimeout(POLL_S)
            received = b""
            is_v5 = False
            while not self._ending.is_set():
                try:
                    more = peer.recv(65_536)
                except TimeoutError:
                    continue
                except OSError:
                    return
                if not more:
                    return
                received += more
                if len(received) > self._max_packet_bytes:
                    return
                while (packet := _packet(received)) is not None:
                    head, body, received = packet
                    if head >> 4 == 1:
                        is_v5 = body[6] == 5
                    if not self._answer(peer, connection, head, body, is_v5=is_v5):
                        return

    def _answer(self, peer: socket.socket, connection: int, head: int, body: bytes, *, is_v5: bool) -> bool:
        """Deal with one packet; False closes the connection."""
        match head >> 4:
            case 1:
                peer.sendall(self._accepted() if is_v5 else b"\x20\x02\x00\x00")
            case 3 if head & 6:
                return self._published(peer, _read_publish(connection, body, is_v5=is_v5), is_v5=is_v5)
            case 8:
                peer.sendall(b"\x90\x04" + body[:2] + b"\x00\x01" if is_v5 else b"\x90\x03" + body[:2] + b"\x01")
            case 12:
                peer.sendall(b"\xd0\x00")
            case 14:
                return False
        return True

    def _accepted(self) -> bytes:
        """CONNACK of MQTT 5, with the Receive Maximum where there is one."""
        if not self._receive_maximum:
            return b"\x20\x03\x00\x00\x00"
        return b"\x20\x06\x00\x00\x03\x21" + struct.pack("!H", self._receive_maximum)

    def _published(self, peer: socket.socket, message: Published, *, is_v5: bool) -> bool:
        self.heard.append(message)
        answer = self._rule(message)
        match answer:
            case "confirm":
                self.taken.append(message)
                peer.sendall(b"\x40\x02" + struct.pack("!H", message.mid))
            case "close" | "reset":
                if answer == "reset":
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            case int():
                assert is_v5, "MQTT 3.1.1 has no reason codes"
                peer.sendall(b"\x40\x03" + struct.pack("!HB", message.mid, answer))
        return True


def with_no_more(peer: socket.socket) -> None:
    """End a connection whoever reads from it."""
    with contextlib.suppress(OSError):  # it has ended already
        peer.shutdown(socket.SHUT_RDWR)


def _packet(received: bytes) -> tuple[int, bytes, bytes] | None:
    """The first packet (first byte, body) and what follows it; None while it is not whole."""
    size = shift = 0
    for position, byte in enumerate(received[1:5], start=1):
        size |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            end = position + 1 + size
            return (received[0], received[position + 1 : end], received[end:]) if len(received) >= end else None
    return None


def _read_publish(connection: int, body: bytes, *, is_v5: bool) -> Published:
    topic, rest = _text(body)
    (mid,) = struct.unpack_from("!H", rest)
    rest = rest[2:]
    properties = b""
    if is_v5:
        assert rest[0] < 128, "longer properties than this broker reads"
        properties, rest = rest[1 : 1 + rest[0]], rest[1 + rest[0] :]
    return Published(connection, topic, rest, properties, mid)


def _text(data: bytes) -> tuple[str, bytes]:
    (size,) = struct.unpack_from("!H", data)
    return data[2 : 2 + size].decode(), data[2 + size :]
