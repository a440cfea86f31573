"""The deliver worker: the journal's outbox to the broker, in order, until each message is confirmed.

Rules: a message leaves the outbox only when the broker confirmed it. When a connection ends, everything unconfirmed is
sent again on the next one, from the oldest on, so that a later word of the same subject never stands before an earlier one.
A message that the broker refuses is counted and stays until the next connection; the outbox's own caps bound it.
"""

from __future__ import annotations

import threading
from typing import Protocol

from edge_agent.journal import Journal
from edge_agent.metrics import Metrics
from edge_agent.values import Message

MAX_READ = 200
"""Messages taken from the journal at once."""
MAX_IN_FLIGHT = 400
"""Messages that wait for their confirmation: bounds memory; the link has its own, usually smaller, limit."""
CONFIRM_WAIT_S = 0.05
DRAIN_S = 1.0
"""How long a clean stop waits for confirmations."""


class Publisher(Protocol):
    """Where messages are sent; `edge_agent.mqtt.MqttLink` is one."""

    @property
    def connected(self) -> bool:
        """Whether there is an accepted connection."""

    @property
    def session(self) -> int:
        """Number of the connection; grows with every attempt."""

    def publish(self, message: Message) -> int | None:
        """Hand over a message; its token, or None if it cannot be taken now."""

    def published(self, timeout_s: float) -> list[int]:
        """Tokens confirmed since the last call; waits up to `timeout_s` for one."""

    def lost(self) -> list[tuple[int, str]]:
        """Tokens that will not be confirmed, each with its reason."""


class DeliverWorker:
    """Implements `loop.Worker`."""

    name = "deliver"
    max_step_s = 40.0

    def __init__(self, *, link: Publisher, journal: Journal, wake: threading.Event, metrics: Metrics) -> None:
        self._link = link
        self._journal = journal
        self._wake = wake
        self._metrics = metrics
        self._under_way: dict[int, int] = {}
        """Token to number in the outbox."""
        self._after = 0
        self._session = -1
        self._more = True

    def step(self, timeout_s: float) -> bool:
        """Settle confirmations, then send what waits. Raises StorageError."""
        settled = self._settle(min(timeout_s, CONFIRM_WAIT_S) if self._under_way else 0.0)
        if not self._link.connected:
            self._wake.wait(timeout_s)
            self._wake.clear()
            return settled
        if self._link.session != self._session:
            self._session, self._after, self._more = self._link.session, 0, True
        if self._wake.is_set() or (not self._more and not self._under_way and self._wake.wait(timeout_s)):
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
            if not self.step(CONFIRM_WAIT_S) and not self._under_way and not self._wake.is_set():
                return

    def _settle(self, timeout_s: float) -> bool:
        confirmed = self._link.published(timeout_s)
        numbers = [self._under_way.pop(token) for token in confirmed if token in self._under_way]
        if numbers:
            self._journal.delivered(numbers)
            self._metrics.flow.add("messages_delivered", len(numbers))
        lost = self._link.lost()
        for token, reason in lost:
            if self._under_way.pop(token, None) is not None:
                self._metrics.flow.add("messages_resent" if reason == "connection-lost" else f"messages_{reason}")
        return bool(numbers or lost)

    def _send(self) -> bool:
        """Hand over messages until the link or the bound says enough, or nothing is left."""
        under_way = set(self._under_way.values())
        sent = False
        while len(self._under_way) < MAX_IN_FLIGHT:
            rows = self._journal.outbox(self._after, min(MAX_READ, MAX_IN_FLIGHT - len(self._under_way)))
            if not rows:
                self._more = False
                return sent
            for queued in rows:
                number, message = queued.number, queued.message
                if number not in under_way:
                    # What another connection takes waits for the next step, which begins with the oldest again.
                    token = self._link.publish(message) if self._link.session == self._session else None
                    if token is None:
                        return sent
                    self._under_way[token] = number
                    sent = True
                self._after = number
        return sent
