"""A broker that answers with prepared bytes, for what a real one would never send."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

from tests.listening import Listener

CONNACK = b"\x20\x02\x00\x00"
"""MQTT 3.1.1: accepted, no session."""
CONNACK_V5 = b"\x20\x03\x00\x00\x00"


def length(count: int) -> bytes:
    """The variable byte integer of MQTT 5.0, section 1.5.5."""
    out = bytearray()
    while True:
        count, digit = divmod(count, 128)
        out.append(digit | (128 if count else 0))
        if not count:
            return bytes(out)


def publish(topic: bytes, payload: bytes, qos: int = 0, mid: int = 1, retain: bool = False) -> bytes:
    """A PUBLISH packet of MQTT 3.1.1."""
    body = struct.pack("!H", len(topic)) + topic + (struct.pack("!H", mid) if qos else b"") + payload
    return bytes([0x30 | qos << 1 | retain]) + length(len(body)) + body


class Closing(bytes):
    """A script after which the broker closes the connection."""


class ScriptedBroker(Listener):
    """Answers the CONNECT of the n-th connection with the n-th script, the last one for all later; None closes at once.

    `sent_to_us` collects what each connection sent, CONNECT included.
    """

    def __init__(self, scripts: Sequence[bytes | None]) -> None:
        super().__init__()
        self.sent_to_us: list[bytearray] = []
        self._scripts = list(scripts)

    def accepted(self, peer: socket.socket) -> None:
        """See `Listener.accepted`."""
        script = self._scripts[min(len(self.sent_to_us), len(self._scripts) - 1)]
        self.sent_to_us.append(bytearray())
        self.serve(self._serve, peer, script, self.sent_to_us[-1])

    def _serve(self, peer: socket.socket, script: bytes | None, received: bytearray) -> None:
        with peer:
            peer.settimeout(0.1)
            received += peer.recv(65_536)
            if script is None:
                return
            peer.sendall(script)
            while not self._ending.is_set() and not isinstance(script, Closing):
                try:
                    more = peer.recv(65_536)
                except (TimeoutError, ConnectionError):
                    continue
                if not more:
                    return
                received += more
