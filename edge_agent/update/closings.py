"""Last words on actions of a hawkBit server: what is still to be said of each, and which of it the server has taken.

Rules: pure but for the clock. Of one action its parts are said in their order. A part that the server cannot take now is said
again later, within a time that grows; one that it does not want, because it knows of no such action or not in this state, is
passed over. If it offers the action all the same, somebody else said that in its place (a proxy, while it was renewed), and all
is said again.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from typing import Literal

from msgspec import Struct

from edge_agent.clock import Clock
from edge_agent.update.courier import Reply
from edge_agent.update.ddi import Execution, Finished
from edge_agent.update.pace import Uniform, ceiling_s

RETRY_MIN_S = 15.0
RETRY_MAX_S = 3_600.0
MAX_OPEN = 64
"""Actions of which something is said at the same time: a server that names ever new ones has to take the first ones first."""
MAX_TOLD = 64
"""Actions that are remembered as told."""
LATER = frozenset({0, 401, 403, 407, 408, 409, 421, 423, 425, 429})
"""Statuses, besides those from 500 on, that may be others when it is asked again; 0 is none."""
_GONE = frozenset({404, 405, 410})

_log = logging.getLogger(__name__)


class Part(Struct, frozen=True):
    """One feedback, to one of an action's two resources."""

    to: Literal["deployment", "cancel"]
    execution: Execution
    finished: Finished
    details: tuple[str, ...]

    @property
    def closes(self) -> bool:
        """Whether the action is over when the server has taken it."""
        return self.execution == "closed"


class Closing(Struct, frozen=True):
    """What is to be said of the action `id`, until one part that closes it was taken, or none is left."""

    id: str
    parts: tuple[Part, ...]
    may_come_again: bool = False
    """Not remembered as told where the server wanted none of it."""


class _Open:
    """A closing under way."""

    def __init__(self, closing: Closing, now_s: float) -> None:
        self.closing = closing
        self.at = 0
        self.failures = 0
        self.due_s = now_s


class Closings:
    """One owner."""

    def __init__(self, clock: Clock, rng: Uniform) -> None:
        self._clock = clock
        self._rng = rng
        self._open: dict[str, _Open] = {}
        self._told: deque[str] = deque(maxlen=MAX_TOLD)
        self._unknown: dict[str, _Open] = {}
        """Of those told, the ones that the server said it did not know."""

    def add(self, closing: Closing) -> None:
        """Say this of an action, unless something is being said of it already, or of too many: who knows of it says it again."""
        if closing.id not in self._open and len(self._open) < MAX_OPEN:
            self._open[closing.id] = _Open(closing, self._clock.monotonic_s())

    def knows(self, id: str) -> bool:
        """Whether the action is over here."""
        return id in self._open or id in self._told

    def was_told(self, id: str) -> bool:
        """Whether the server knows that, or does not need to."""
        return id in self._told

    def offered(self, id: str) -> None:
        """The server offers this action: if it said that it does not know it, it was not told."""
        if id not in self._unknown or len(self._open) >= MAX_OPEN:
            return
        under_way = self._unknown.pop(id)
        with contextlib.suppress(ValueError):  # it was forgotten meanwhile
            self._told.remove(id)
        under_way.at = 0
        self._later(under_way)
        self._open[id] = under_way

    def next(self) -> tuple[Closing, Part] | None:
        """What is to be said now."""
        now_s = self._clock.monotonic_s()
        due = [each for each in self._open.values() if now_s >= each.due_s]
        if not due:
            return None
        first = min(due, key=lambda each: each.due_s)
        return first.closing, first.closing.parts[first.at]

    def answered(self, closing: Closing, reply: Reply) -> None:
        """What came of saying the part that `next` gave."""
        under_way = self._open.get(closing.id)
        if under_way is None:
            return
        part = closing.parts[under_way.at]
        if reply.status in LATER or reply.status >= 500:
            self._later(under_way, reply.retry_after_s)
            return
        taken = 200 <= reply.status < 300
        if not taken and reply.status not in _GONE:
            _log.error("hawkbit: the server answers %d to the end of action %s: %r", reply.status, closing.id, reply.body[:200])
        under_way.at += 1
        if (taken and part.closes) or under_way.at == len(closing.parts):
            del self._open[closing.id]
            if taken or not closing.may_come_again:
                self._told.append(closing.id)
            if reply.status in _GONE and not closing.may_come_again:
                self._unknown[closing.id] = under_way
                while len(self._unknown) > MAX_TOLD:
                    del self._unknown[next(iter(self._unknown))]

    def _later(self, under_way: _Open, at_least_s: float = 0.0) -> None:
        wait_s = self._rng.uniform(0.0, ceiling_s(under_way.failures, RETRY_MIN_S, RETRY_MAX_S))
        under_way.failures += 1
        under_way.due_s = self._clock.monotonic_s() + max(wait_s, at_least_s)
