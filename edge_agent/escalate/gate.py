"""Whether a question may leave now: windows, backoff, breaker and budget of one backend, taken together and kept.

Rules: one owner, the escalate worker. What changes is handed out as meters, to be kept in the same commit as what it belongs
to, and counts only once the owner says so (`Reservation`): a commit that failed has spent nothing. Whether the other side can
be reached is judged by outcomes; nothing is ever sent to find out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from edge_agent.clock import Clock
from edge_agent.config.settings import EscalationSettings
from edge_agent.errors import BackendRefusalError, TryLaterError
from edge_agent.escalate import backoff, breaker, budget, windows
from edge_agent.escalate.contract import Usage
from edge_agent.escalate.state import Moment

BREAKER, BACKOFF, BUDGET = "escalation-breaker", "escalation-backoff", "escalation-budget"
"""Names of the meters."""

NOTHING_LEFT: Final = frozenset({"connection", "credentials", "tls", "folder", "journal"})
"""Reasons of a failure before anything was sent: what was set aside is given back whole, or an outage would use up the day."""

FORMAT_UNSUPPORTED: Final = "format-unsupported"
"""The reason of a failure after which the backend encodes the same question differently."""


class Held(Struct, frozen=True, kw_only=True):
    """Why no question may leave now, and for how long at least."""

    reason: str
    for_s: float


class Reservation(Struct, frozen=True, kw_only=True):
    """A question set aside for: the states as they are once it is kept, and what they were before."""

    usage: Usage
    before: budget.Spent
    spent: budget.Spent
    breaker: breaker.Breaker

    def meters(self) -> dict[str, bytes]:
        """To be kept before the question leaves."""
        return {BUDGET: budget.encode(self.spent), BREAKER: breaker.encode(self.breaker)}


class Gate:
    """The bounds of one backend. `kept` gives a meter's bytes by name; `boot` is the kernel's id of this boot."""

    def __init__(
        self,
        settings: EscalationSettings,
        *,
        fingerprint: str,
        kept: Callable[[str], bytes | None],
        clock: Clock,
        boot: str,
        rng: backoff.Uniform,
    ) -> None:
        self._settings = settings
        self._limits = budget.limits_of(settings)
        self._windows = windows.parse(settings.windows)
        self._zone = ZoneInfo(settings.timezone)
        self._clock = clock
        self._boot = boot
        self._rng = rng
        self._started_s = clock.monotonic_s()
        now = self._now()
        self._spent = budget.decode(kept(BUDGET), now)
        self._breaker = breaker.configured(breaker.decode(kept(BREAKER), now), fingerprint)
        self._backoff = backoff.decode(kept(BACKOFF), settings.backoff_max_s, now)

    @property
    def broken(self) -> str:
        """Why every question is refused, as a stable word, until a person changes something; empty otherwise."""
        return self._breaker.reason if self._breaker.breaks else ""

    @property
    def failing(self) -> str:
        """Why the last questions got no answer, while the breaker is open for it; empty otherwise."""
        return self._breaker.reason if self._breaker.timer is not None and not self._breaker.breaks else ""

    def held(self, severity: float) -> Held | None:
        """What is in the way of a question about an incident of that severity; None if nothing but the budget can be."""
        now = self._now()
        paused_s = breaker.remaining_s(self._breaker, now)
        if paused_s > 0:
            return Held(reason="breaker-open", for_s=paused_s)
        waiting_s = backoff.remaining_s(self._backoff, now)
        if waiting_s > 0:
            return Held(reason="backoff", for_s=waiting_s)
        if severity < self._settings.critical_severity:
            running_s = now.monotonic_s - self._started_s
            closed_s = windows.opens_in_s(self._windows, self._zone, now.wall_s, running_s)
            if closed_s > 0:
                return Held(reason="window-closed", for_s=closed_s)
        return None

    def reserve(self, usage: Usage) -> Reservation | Held | budget.BudgetReason:
        """Set a question aside, to be kept and then `take`n; why it has to wait, or the limit that it can never fit in."""
        now = self._now()
        too_large = budget.never_fits(self._limits, usage)
        if too_large is not None:
            return too_large
        spent = budget.reserve(self._spent, self._limits, usage, now)
        if isinstance(spent, str):
            return Held(reason=spent, for_s=budget.renews_in_s(self._spent, now))
        return Reservation(usage=usage, before=self._spent, spent=spent, breaker=breaker.trying(self._breaker, now))

    def take(self, reservation: Reservation) -> None:
        """The reservation is kept: from here on it counts."""
        self._spent, self._breaker = reservation.spent, reservation.breaker

    def give_back(self, reservation: Reservation) -> None:
        """Nothing left the device after all."""
        if self._spent == reservation.spent:
            self._spent = reservation.before

    def answered(self, reservation: Reservation | None, actual: Usage | None) -> None:
        """The other side answered, whatever the answer is worth. `actual` is what it says that it took."""
        self._backoff = backoff.succeeded()
        self._breaker = breaker.succeeded(self._breaker)
        if reservation is not None and actual is not None:
            self._spent = budget.correct(self._spent, reservation.spent.window, reservation.usage, actual)

    def failed(self, reservation: Reservation, error: TryLaterError) -> None:
        """There was no answer, or one that says "later"."""
        now, settings = self._now(), self._settings
        if error.reason in NOTHING_LEFT:
            self.give_back(reservation)
        elif error.reason.startswith("status-") or error.reason == FORMAT_UNSUPPORTED:
            # An error is not charged for; its bytes were sent.
            sent = Usage(bytes=reservation.usage.bytes)
            self._spent = budget.correct(self._spent, reservation.spent.window, reservation.usage, sent)
        if error.reason == FORMAT_UNSUPPORTED:
            # The same question in another form, at once: nothing is wrong with the other side.
            return
        self._backoff = backoff.failed(
            self._backoff, settings.backoff_min_s, settings.backoff_max_s, now, self._rng, error.retry_after_s
        )
        self._breaker = breaker.failed(self._breaker, settings.breaker_failures, settings.breaker_pause_s, error.reason, now)

    def refused(self, reservation: Reservation, error: BackendRefusalError) -> None:
        """The question was refused for good; `error.breaks`: and so would every other be."""
        was = self._breaker
        # A status says that nothing was done for us; an answer of the model that is none (cut, filtered) is charged for.
        rejected = error.reason.startswith("status-")
        self.answered(reservation, Usage(bytes=reservation.usage.bytes) if rejected else None)
        if error.breaks:
            self._breaker = breaker.broke(was, self._settings.breaker_pause_s, error.reason, self._now())

    def meters(self) -> Mapping[str, bytes]:
        """Everything to be kept, as it stands now."""
        now = self._now()
        return {
            BUDGET: budget.encode(budget.at(self._spent, now)),
            BREAKER: breaker.encode(breaker.at(self._breaker, now)),
            BACKOFF: backoff.encode(backoff.at(self._backoff, now)),
        }

    def due_for_saving(self) -> bool:
        """Whether so much running time passed that `meters` should be kept although nothing else happened."""
        now = self._now()
        timers = (self._spent.timer, self._breaker.timer, self._backoff.timer)
        return any(timer is not None and timer.due_for_saving(now) for timer in timers)

    def saved(self) -> None:
        """What `meters` gave was kept."""
        now = self._now()
        self._spent, self._breaker = budget.at(self._spent, now), breaker.at(self._breaker, now)
        self._backoff = backoff.at(self._backoff, now)

    def _now(self) -> Moment:
        return Moment(self._clock.now_s(), self._clock.monotonic_s(), self._boot)
