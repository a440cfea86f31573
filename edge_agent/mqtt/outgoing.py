"""What the workers hand to the network thread to be published, and how each message fared.

Rules: a message gets a token when it is taken; its token comes back exactly once, as published (the broker confirmed it;
at QoS 0: it was sent) or as lost, with the reason (`fates`). Nothing is kept over the end of a connection: whoever published
decides what to publish again. `take` and the outcomes may be called from any thread, the rest by the network thread.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections import deque
from typing import NamedTuple, TypeAlias

from edge_agent.mqtt.fates import LOST
from edge_agent.values import Message

UserProperties: TypeAlias = tuple[tuple[str, str], ...]
"""MQTT 5 user properties, name and value; MQTT 3.1.1 has none."""


class Taken(NamedTuple):
    """A message that waits for the network thread."""

    token: int
    message: Message
    properties: UserProperties = ()


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
    """Messages under way on the present connection, with a token each."""

    def __init__(self) -> None:
        self._queue: deque[Taken] = deque()
        self._published: deque[int] = deque()
        self._lost: deque[tuple[int, str]] = deque()
        self._token = itertools.count(1)
        self._under_way = 0
        self._limit = 0
        self._lock = threading.Lock()
        self._outcome = threading.Event()

    def __len__(self) -> int:
        """Messages that the network thread has not looked at."""
        return len(self._queue)

    def begin(self, limit: int) -> None:
        """A connection was accepted: from now on up to `limit` messages may be under way."""
        with self._lock:
            self._limit = limit

    def end(self) -> None:
        """Nothing more is taken until the next `begin`. What is queued may still be sent, or is lost with `drop`."""
        with self._lock:
            self._limit = 0

    def take(self, message: Message, properties: UserProperties = ()) -> int | None:
        """Queue a message. Returns its token, or None: there is no connection, or too much is under way."""
        with self._lock:
            if self._under_way >= self._limit:
                return None
            self._under_way += 1
            token = next(self._token)
            self._queue.append(Taken(token, message, properties))
        return token

    def next(self) -> Taken | None:
        """The oldest queued message, None if there is none; whoever takes one from here resolves it."""
        return self._queue.popleft() if self._queue else None

    def drop(self) -> None:
        """The connection is over: all that is queued is lost."""
        while taken := self.next():
            self.resolve(taken.token, LOST)

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
