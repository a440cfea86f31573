"""A socket within bounds, for an HTTP library: no call on it lasts beyond a deadline, and no more than so much is received.

The timeouts of sockets and of HTTP libraries are for one call each: a server that sends one byte now and then keeps them happy
for ever. Here the deadline is one for the whole exchange.

Rules: one owner; nothing is believed of what comes in, and nothing is held beyond the limit.
"""

from __future__ import annotations

import io
import socket
from typing import TYPE_CHECKING

from edge_agent.clock import Clock
from edge_agent.errors import TryLaterError

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Deadline:
    """The end of an exchange, on the clock that never goes back."""

    def __init__(self, clock: Clock, timeout_s: float) -> None:
        self._clock = clock
        self._end_s = clock.monotonic_s() + timeout_s

    def left_s(self) -> float:
        """Seconds until then, more than 0. Raises TimeoutError when there are none."""
        left_s = self._end_s - self._clock.monotonic_s()
        if left_s <= 0:
            raise TimeoutError("no time is left")
        return left_s

    def renew(self, timeout_s: float) -> None:
        """The exchange goes on with another part, which has a time of its own."""
        self._end_s = self._clock.monotonic_s() + timeout_s


class Wire:
    """What the HTTP library sees of a socket: `sendall`, `makefile`, `settimeout`, `close`. `max_bytes` None: no limit."""

    def __init__(self, raw: socket.socket, deadline: Deadline, max_bytes: int | None = None) -> None:
        self._raw = raw
        self._deadline = deadline
        self._max_bytes = max_bytes

    def sendall(self, data: Buffer) -> None:
        """See `socket.sendall`, whose timeout is for all of it."""
        self._raw.settimeout(self._deadline.left_s())
        self._raw.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        """The receiving side, as a file."""
        return io.BufferedReader(_Received(self._raw, self._deadline, self._max_bytes))

    def settimeout(self, timeout_s: float | None) -> None:
        """Nothing: how long a call may last is decided at the call."""

    def close(self) -> None:
        """Close the socket, as soon as the file is closed too."""
        self._raw.close()


class _Received(io.RawIOBase):
    """The receiving side of a socket, within the deadline and the limit."""

    def __init__(self, raw: socket.socket, deadline: Deadline, max_bytes: int | None) -> None:
        super().__init__()
        self._raw = raw
        self._file = raw.makefile("rb", buffering=0)
        self._deadline = deadline
        self._left = max_bytes

    def readable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def readinto(self, buffer: Buffer) -> int | None:
        """See `io.RawIOBase`. Raises TimeoutError beyond the deadline, TryLaterError (`too-long`) beyond the limit."""
        self._raw.settimeout(self._deadline.left_s())
        count = self._file.readinto(buffer)
        if self._left is not None:
            self._left -= count or 0
            if self._left < 0:
                raise TryLaterError("too-long", "the answer is longer than `max_answer_bytes`")
        return count

    def close(self) -> None:
        """See `io.RawIOBase`."""
        self._file.close()
        super().close()
