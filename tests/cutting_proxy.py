"""A TCP proxy that cuts connections: after so many bytes in either direction, between any two of them.

What was forwarded before a cut has arrived on the other side or not, as with a real network; both sides then see the
end of the connection or a reset.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading

from tests.listening import POLL_S, Listener

CHUNK_BYTES = 4_096


class CuttingProxy(Listener):
    """Forwards to `port` on loopback. `cut_after`: the bounds of how many bytes a connection lives; None: for ever."""

    def __init__(self, port: int, seed: int, cut_after: tuple[int, int] | None) -> None:
        super().__init__()
        self.cuts = 0
        self.cut_after = cut_after
        self._target = port
        self._rng = random.Random(seed)

    def accepted(self, peer: socket.socket) -> None:
        """See `Listener.accepted`."""
        try:
            broker = socket.create_connection(("127.0.0.1", self._target), timeout=5.0)
        except OSError:
            peer.close()
            return
        connection = _Connection(peer, broker, self._rng.randint(*self.cut_after) if self.cut_after else None)
        reset = self._rng.random() < 0.5
        for source, sink in ((peer, broker), (broker, peer)):
            self.serve(self._forward, connection, source, sink, reset)

    def _forward(self, connection: _Connection, source: socket.socket, sink: socket.socket, reset: bool) -> None:
        source.settimeout(POLL_S)
        with contextlib.suppress(OSError):  # the other direction has ended it
            while not self._ending.is_set():
                try:
                    data = source.recv(CHUNK_BYTES)
                except TimeoutError:
                    continue
                allowed = connection.take(len(data))
                sink.sendall(data[:allowed])
                if not data or allowed < len(data):
                    break
        if connection.end(reset=reset):
            self.cuts += 1


class _Connection:
    """Both sockets and the bytes that may still pass."""

    def __init__(self, client: socket.socket, broker: socket.socket, left: int | None) -> None:
        self._sockets = (client, broker)
        self._left = left
        self._lock = threading.Lock()
        self._ended = False

    def take(self, size: int) -> int:
        """How many of `size` bytes may still pass."""
        with self._lock:
            if self._left is None:
                return size
            allowed = min(size, self._left)
            self._left -= allowed
            return allowed

    def end(self, *, reset: bool) -> bool:
        """Close both; True for the first caller, if the reason was a cut."""
        with self._lock:
            if self._ended:
                return False
            self._ended = True
            for each in self._sockets:
                with contextlib.suppress(OSError):  # closed by its peer
                    if reset:
                        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    each.shutdown(socket.SHUT_RDWR)
                each.close()
            return self._left == 0
