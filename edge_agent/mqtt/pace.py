"""Decisions of the MQTT link that need no network: how long to wait, which protocol to speak, whether the link is deaf.

Rules: no I/O, no clock and no chance of its own; time (monotonic seconds) and the random generator come in as arguments.
"""

from __future__ import annotations

from typing import Literal, Protocol

ANSWER_TIMEOUT_S = 10.0


class Uniform(Protocol):
    """The one method of `random.Random` that the backoff needs."""

    def uniform(self, a: float, b: float) -> float:
        """A number between `a` and `b`."""


class Backoff:
    """Exponential backoff with full jitter: the wait is uniform between zero and a ceiling that doubles with each failure.

    Full jitter spreads a fleet that lost the same broker at the same second (M. Brooker, "Exponential Backoff And
    Jitter", AWS Architecture Blog, 2015). Only a connection that lasted `stable_after_s` resets the ceiling, so that a
    broker that accepts and then drops connections is not hammered.
    """

    def __init__(self, minimum_s: float, maximum_s: float, stable_after_s: float) -> None:
        self._minimum_s = minimum_s
        self._maximum_s = max(minimum_s, maximum_s)
        self._stable_after_s = stable_after_s
        self.failures = 0

    def ended(self, lasted_s: float) -> None:
        """A connection ended that had been accepted for `lasted_s`; 0 for one that never was accepted."""
        self.failures = 1 if lasted_s >= self._stable_after_s else self.failures + 1

    def ceiling_s(self) -> float:
        """The longest wait that may be drawn now; 0 before the first failure."""
        if not self.failures:
            return 0.0
        doublings = min(self.failures - 1, 62)  # beyond, a float has no use for more, and 2**n would only grow
        return float(min(self._maximum_s, self._minimum_s * 2**doublings))

    def wait_s(self, rng: Uniform) -> float:
        """How long to wait before the next attempt."""
        return rng.uniform(0.0, self.ceiling_s())


class ProtocolChoice:
    """Which MQTT version to speak: what is configured, or MQTT 5 until the broker shows that it only knows 3.1.1.

    Brokers without MQTT 5 answer CONNECT with return code 1, close the connection, or wait for ever because they read the
    properties as something else. The first is proof. The others may also be a broker that is just going down, so they
    count only as long as nothing worked here, and the versions take turns until one of them does.
    """

    def __init__(self, configured: Literal["auto", "5", "3.1.1"]) -> None:
        self._fixed = configured != "auto"
        self._proven = self._fixed
        self.is_v5 = configured != "3.1.1"

    def answer_timeout_s(self) -> float:
        """How long to wait for the answer to CONNECT: shorter while the silence may mean the wrong version."""
        return ANSWER_TIMEOUT_S if self._proven or not self.is_v5 else ANSWER_TIMEOUT_S / 2

    def accepted(self) -> None:
        """The broker accepted a connection in the present version: stay with it."""
        self._proven = True

    def refused_version(self) -> bool:
        """The broker refused the present version by name. True if the next attempt should use another, at once."""
        if self._fixed or not self.is_v5:
            return False
        self.is_v5, self._proven = False, False
        return True

    def unanswered(self) -> bool:
        """The connection ended without an answer to CONNECT. True if the next attempt should use 3.1.1, at once."""
        if self._proven:
            return False
        self.is_v5 = not self.is_v5
        return not self.is_v5


class Canary:
    """Notices a link that is connected but deaf, by a message to ourselves that has to come back.

    A socket can look healthy for hours while no subscription delivers: a frozen broker, a half-open path, a session
    that lost its subscriptions. Anything that arrives after the canary was sent shows that the link hears. A broker may
    forbid the canary's topic; so silence counts only after a canary came back once, else a link with rare messages and a
    strict access list would be torn down over and over.
    """

    def __init__(self, interval_s: float, timeout_s: float) -> None:
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._due_s = 0.0
        self._sent_s: float | None = None
        self._received_when_sent = 0
        self.proven = False
        self.unheard = 0
        """Canaries that did not come back in time."""

    def connected(self, now_s: float) -> None:
        """A new connection begins: what was under way on the old one does not count. The first canary is due at once."""
        self._sent_s = None
        self._due_s = now_s

    def due(self, now_s: float) -> bool:
        """Whether a canary should be sent now."""
        return self._sent_s is None and now_s >= self._due_s

    def sent(self, now_s: float, received: int) -> None:
        """A canary was sent; `received` messages had arrived on this connection until then."""
        self._sent_s = now_s
        self._received_when_sent = received

    def heard(self, now_s: float) -> None:
        """A canary came back."""
        self.proven = True
        self._rest(now_s)

    def deaf(self, now_s: float, received: int) -> bool:
        """Whether the canary is overdue and nothing else arrived since it was sent: True means, tear the link down."""
        if self._sent_s is None or now_s - self._sent_s < self._timeout_s:
            return False
        self._rest(now_s)
        if received != self._received_when_sent:
            return False
        self.unheard += 1
        return self.proven

    def _rest(self, now_s: float) -> None:
        self._sent_s = None
        self._due_s = now_s + self._interval_s
