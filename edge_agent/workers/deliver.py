"""The deliver worker: the journal's outbox to the broker, in order, until each message is confirmed or refused for good.

Rules: a message leaves the outbox only when the broker confirmed it, or when it never will: then it becomes a dead letter,
with the reason (`poison`). When a connection ends, everything unconfirmed is sent again on the next one, from the oldest on,
so that a later word of the same subject never stands before an earlier one. After a refusal that may pass everything
rests for a while and then begins with the oldest again. What may have been sent before is marked as `replayed`, what has
waited tells since when (`queued`); MQTT 3.1.1 has no place for marks.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Collection
from typing import Protocol

from edge_agent.clock import Clock
from edge_agent.journal import Journal, Queued
from edge_agent.messages import format_time
from edge_agent.metrics import Metrics
from edge_agent.mqtt import Fate, UserProperties, fate
from edge_agent.values import Message
from edge_agent.workers.flight import Flight
from edge_agent.workers.poison import QUIET_S, Suspicion

MAX_READ = 200
"""Messages taken from the journal at once."""
MAX_IN_FLIGHT = 400
"""Messages that wait for their confirmation: bounds memory; the link has its own, usually smaller, limit."""
CONFIRM_WAIT_S = 0.05
DRAIN_S = 1.0
"""How long a clean stop waits for confirmations."""
OLD_NEWS_S = 5.0
"""A message that waited for longer tells since when."""
MIN_REST_S = 5.0
MAX_REST_S = 300.0
"""Bounds of the rest after a refusal that may pass; it doubles until something is confirmed again."""
TOLD_FOR_S = 86_400.0
"""How long the health tells of a dead letter."""
LOST_REPEATEDLY = "connection-lost-repeatedly"

_log = logging.getLogger(__name__)


class Publisher(Protocol):
    """Where messages are sent; `edge_agent.mqtt.MqttLink` is one."""

    @property
    def connected(self) -> bool:
        """Whether there is an accepted connection."""

    @property
    def session(self) -> int:
        """Number of the connection; grows with every attempt."""

    def publish(self, message: Message, properties: UserProperties = ()) -> int | None:
        """Hand over a message; its token, or None if it cannot be taken now."""

    def published(self, timeout_s: float) -> list[int]:
        """Tokens confirmed since the last call; waits up to `timeout_s` for one."""

    def lost(self) -> list[tuple[int, str]]:
        """Tokens that will not be confirmed, each with its reason."""


class DeliverWorker:
    """Implements `loop.Worker`."""

    name = "deliver"
    max_step_s = 40.0

    def __init__(
        self,
        *,
        link: Publisher,
        journal: Journal,
        wake: threading.Event,
        metrics: Metrics,
        clock: Clock,
        timeless: Collection[str] = (),
    ) -> None:
        """`timeless` are topics whose messages never tell when they were queued: what is said there leaves the plant."""
        self._link = link
        self._journal = journal
        self._wake = wake
        self._metrics = metrics
        self._clock = clock
        self._timeless = frozenset(timeless)
        self._flight = Flight()
        self._suspicion = Suspicion()
        self._after = 0
        self._ahead: deque[Queued] = deque()
        """Read from the journal and not handed over."""
        self._more = True
        self._session: int | None = None
        """The connection that is used; None between two."""
        self._fallen: list[int] = []
        """What was under way when the connection ended."""
        self._fate: Fate = "lost"
        """Why."""
        self._sent_s = 0.0
        self._sent_up_to = 0
        """The highest number that was ever handed over: what is below may have been sent before."""
        self._rest_until_s = 0.0
        self._rest_s = MIN_REST_S
        self._to_bury: dict[int, str] = {}
        """Number to reason, until the journal has taken them out of the outbox."""
        self._told_until_s = 0.0

    def step(self, timeout_s: float) -> bool:
        """Settle outcomes, then send what waits. Raises StorageError."""
        settled = self._settle(min(timeout_s, CONFIRM_WAIT_S) if len(self._flight) else 0.0)
        self._follow_connection()
        self._bury()
        resting_s = self._rest_until_s - self._clock.monotonic_s()
        if self._session is None or resting_s > 0:
            if not len(self._flight) and self._wake.wait(min(timeout_s, resting_s) if self._session is not None else timeout_s):
                self._wake.clear()
                self._more = True
            return settled
        if self._wake.is_set() or (not self._more and not len(self._flight) and self._wake.wait(timeout_s)):
            self._wake.clear()
            self._more = True
        sent = self._send() if self._more else False
        if self._more and not sent and not settled:
            settled = self._settle(min(timeout_s, CONFIRM_WAIT_S))
        return settled or sent

    def finish(self) -> None:
        """Send what waits and wait shortly for its confirmation."""
        self._wake.set()
        for _ in range(round(DRAIN_S / CONFIRM_WAIT_S)):
            if not self._link.connected:
                return
            if not self.step(CONFIRM_WAIT_S) and not len(self._flight) and not self._wake.is_set():
                return

    # ---- outcomes --------------------------------------------------------------------------------------------------

    def _settle(self, timeout_s: float) -> bool:
        free: list[int] = []
        for token in self._link.published(timeout_s):
            number = self._flight.number(token)
            if number is not None:
                free += self._flight.confirmed(token)
                self._suspicion.settled(number)
                self._rest_s = MIN_REST_S
        lost = self._link.lost()
        for token, reason in lost:
            number = self._flight.number(token)
            if number is not None:
                free += self._unconfirmed(token, number, reason)
        if free:
            self._journal.delivered(free)
            self._metrics.flow.add("messages_delivered", len(free))
        return bool(free or lost)

    def _unconfirmed(self, token: int, number: int, reason: str) -> list[int]:
        """Settle a message that was not confirmed; returns the numbers that may leave the outbox because of it."""
        what = fate(reason)
        if what in ("lost", "closed", "closed-upon"):
            self._metrics.flow.add("messages_resent")
            self._fallen.append(number)
            # What the link had not sent when the connection ended is lost; what it had sent tells why.
            self._fate = what if what != "lost" else self._fate
            self._flight.refused(token)
            return []
        self._metrics.flow.add(f"messages_{reason}")
        if what == "never" or (what == "unclear" and self._suspicion.refused(number)):
            self._to_bury[number] = reason
            self._suspicion.settled(number)
            return self._flight.removed(token)
        self._flight.refused(token)
        if self._rest_until_s <= self._clock.monotonic_s():
            self._rest_until_s = self._clock.monotonic_s() + self._rest_s
            self._rest_s = min(MAX_REST_S, 2 * self._rest_s)
            _log.warning("deliver: the broker takes no more for now (%s); trying again", reason)
        return []

    # ---- connections -----------------------------------------------------------------------------------------------

    def _follow_connection(self) -> None:
        """Take up a new connection, once everything about the last one is known; begin with the oldest after a rest."""
        now_s = self._clock.monotonic_s()
        session, connected = self._link.session, self._link.connected
        if len(self._flight):
            return
        if self._session is not None and (session != self._session or not connected):
            self._session = None
            condemned = self._suspicion.ended(self._fallen, self._fate, sent_s=self._sent_s, ended_s=now_s)
            if condemned is not None:
                self._to_bury[condemned] = LOST_REPEATEDLY
                self._suspicion.settled(condemned)
        if self._session is None and connected:
            self._session = session
            self._rest_until_s = now_s + QUIET_S if self._suspicion.careful else 0.0
            self._begin()
        elif 0.0 < self._rest_until_s <= now_s:
            self._rest_until_s = 0.0
            self._begin()

    def _begin(self) -> None:
        """From the oldest on, whatever was refused or lost."""
        self._flight.again()
        self._fallen, self._fate = [], "lost"
        self._ahead.clear()
        self._after, self._more = 0, True

    # ---- dead letters ----------------------------------------------------------------------------------------------

    def _bury(self) -> None:
        """Take what the broker will never take out of the outbox."""
        conditions, now_s = self._metrics.conditions, self._clock.monotonic_s()
        for number, reason in list(self._to_bury.items()):
            self._journal.bury(number, reason)
            del self._to_bury[number]
            self._metrics.flow.add("dead_letters")
            self._told_until_s = now_s + TOLD_FOR_S
            count = self._metrics.flow.get("dead_letters")
            conditions.set(
                "deliver",
                f"the broker will not take {count} message{'s' if count > 1 else ''}, the last one because of {reason};"
                " see `edge-agent dead-letters`",
            )
            _log.error("deliver: message %d is a dead letter: %s", number, reason)
        if 0.0 < self._told_until_s <= now_s:
            self._told_until_s = 0.0
            conditions.clear("deliver")

    # ---- sending ---------------------------------------------------------------------------------------------------

    def _send(self) -> bool:
        """Hand over messages until the link or the bound says enough, or nothing is left."""
        limit = 1 if self._suspicion.careful else MAX_IN_FLIGHT
        sent = False
        while len(self._flight) < limit:
            if not self._ahead:
                self._ahead.extend(self._journal.outbox(self._after, MAX_READ))
                if not self._ahead:
                    self._more = False
                    return sent
            queued = self._ahead[0]
            if queued.number not in self._flight:
                if not self._hand_over(queued):
                    return sent
                sent = True
            self._after = queued.number
            self._ahead.popleft()
        return sent

    def _hand_over(self, queued: Queued) -> bool:
        # What another connection takes waits for the next step, which begins with the oldest again.
        token = self._link.publish(queued.message, self._marks(queued)) if self._link.session == self._session else None
        if token is None:
            return False
        self._flight.add(token, queued.number, queued.message.topic)
        self._sent_s = self._clock.monotonic_s()
        self._sent_up_to = max(self._sent_up_to, queued.number)
        return True

    def _marks(self, queued: Queued) -> UserProperties:
        """`replayed`: it may have been sent before; `queued`: it waited, and since when."""
        marks: list[tuple[str, str]] = []
        if queued.before_start or queued.number <= self._sent_up_to:
            marks.append(("replayed", "true"))
        # A clock that was set back makes a wait negative, and hides how long it was.
        waited = queued.before_start or abs(self._clock.now_s() - queued.queued_s) >= OLD_NEWS_S
        if waited and queued.message.topic not in self._timeless:
            marks.append(("queued", format_time(queued.queued_s)))
        return tuple(marks)
