"""What the workers hand to the network thread to be published, and how each message fared.

Rules: a message gets a token when it is taken; its token comes back exactly once, as published (the broker confirmed it;
at QoS 0: it was sent) or as lost, with the reason. Nothing is kept over the end of a connection: whoever published
decides what to publish again. `take` and the outcomes may be called from any thread, the rest by the network thread.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections import deque
from collections.abc import Iterator

from edge_agent.values import Message

LOST = "connection-lost"


class Waker:
    """Wakes the network thread out of its wait on the socket; any thread may call `wake`."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._pending = False

    def fileno(self) -> int:
        """Readable when somebody called `wake`."""
        return self._reader.fileno()

    def wake(self) -> None:
        """Make the present or next wait return."""
        if not self._pending:
            self._pending = True
            with contextlib.suppress(BlockingIOError):  # the buffer is full: the wait will return anyway
                self._writer.send(b"\0")

    def clear(self) -> None:
        """To be called before looking at the queues: what is queued after that wakes again."""
        with contextlib.suppress(BlockingIOError):  # nobody woke us
            self._reader.recv(256)
        self._pending = False


class Outgoing:
    """Messages under way, with a token each."""

    def __init__(self) -> None:
        self._queue: deque[tuple[int, int, Message]] = deque()
        self._published: deque[int] = deque()
        self._lost: deque[tuple[int, str]] = deque()
        self._token = itertools.count(1)
        self._under_way = 0
        self._lock = threading.Lock()
        self._outcome = threading.Event()

    def __len__(self) -> int:
        """Messages that the network thread has not looked at."""
        return len(self._queue)

    def take(self, message: Message, session: int, limit: int) -> int | None:
        """Queue a message for the connection `session`. Returns its token, or None if `limit` messages are under way."""
        with self._lock:
            if self._under_way >= limit:
                return None
            self._under_way += 1
            token = next(self._token)
        self._queue.append((session, token, message))
        return token

    def next_of(self, session: int) -> Iterator[tuple[int, Message]]:
        """The queued messages of this connection, each with its token; those of earlier connections are lost."""
        while self._queue:
            queued_for, token, message = self._queue.popleft()
            if queued_for == session:
                yield token, message
            else:
                self.resolve(token, LOST)

    def resolve(self, token: int, failure: str = "") -> None:
        """Report how a message fared; an empty `failure` means that it is published."""
        with self._lock:
            self._under_way -= 1
        if failure:
            self._lost.append((token, failure))
        else:
            self._published.append(token)
        self._outcome.set()

    def published(self, timeout_s: float) -> list[int]:
        """Tokens published since the last call; waits up to `timeout_s` for one, or for a lost one. One caller only."""
        self._outcome.clear()
        if timeout_s > 0 and not self._published and not self._lost:
            self._outcome.wait(timeout_s)
        return [self._published.popleft() for _ in range(len(self._published))]

    def lost(self) -> list[tuple[int, str]]:
        """Tokens lost since the last call, each with its reason. One caller only."""
        return [self._lost.popleft() for _ in range(len(self._lost))]
