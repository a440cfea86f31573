"""What escalation may spend in a day: requests, tokens, bytes and money, set aside before a question leaves.

A window of 24 hours begins with the first question that is set aside for; when it is over, the next question begins
another. Up to two limits can so be spent within a day that begins in the middle of a window, never more.

Rules: pure; the caller keeps the state, in the same commit that marks a question as sent. What was set aside stays spent
until it is corrected, so that a crash while a question is under way costs its most and never nothing. A limit of 0 allows
none of it. A state that cannot be read counts as spent: for the 24 hours from then on nothing leaves, and what `decode` made
of it is to be kept, or every restart would begin them anew. No state at all is a first start, with a full budget.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from edge_agent.config.settings import EscalationSettings
from edge_agent.escalate.contract import Usage
from edge_agent.escalate.state import DAY_S, MOST, Moment, Timer, read, started

BudgetReason: TypeAlias = Literal["budget-requests", "budget-tokens", "budget-bytes", "budget-money", "budget-unreadable"]
"""Which limit is in the way. `budget-unreadable`: the state was damaged."""

_Count: TypeAlias = Annotated[int, Meta(ge=0)]
_PENNIES = 1e-9
"""Sums of money are floats; a difference this small is none."""


class Limits(Struct, frozen=True, kw_only=True):
    """What may be spent in one window."""

    requests: int
    tokens: int
    bytes: int
    money: float


class Spent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was spent or set aside in a window. `window` counts them, so that a correction never reaches into another one."""

    version: Literal[1] = 1
    window: _Count = 0
    requests: _Count = 0
    tokens: _Count = 0
    bytes: _Count = 0
    money: Annotated[float, Meta(ge=0)] = 0.0
    unreadable: bool = False
    timer: Timer | None = None
    """Since the window began; None when nothing was spent yet."""


def limits_of(settings: EscalationSettings) -> Limits:
    """The limits that are configured."""
    return Limits(
        requests=settings.requests_per_day,
        tokens=settings.tokens_per_day,
        bytes=settings.bytes_per_day,
        money=settings.money_per_day,
    )


def at(spent: Spent, now: Moment) -> Spent:
    """The state as it stands now: the same window with its timer carried on, or, when that is over, nothing spent."""
    if spent.timer is None:
        return spent
    timer = spent.timer.at(now)
    if timer.elapsed_s >= DAY_S:
        return Spent(window=spent.window)
    return msgspec.structs.replace(spent, timer=timer)


def reserve(spent: Spent, limits: Limits, usage: Usage, now: Moment) -> Spent | BudgetReason:
    """Set one question aside that can take so much; or the first limit that it would go past."""
    current = at(spent, now)
    if current.unreadable:
        return "budget-unreadable"
    tokens, size, money = current.tokens + usage.tokens, current.bytes + usage.bytes, current.money + usage.money
    reason = _beyond(limits, current.requests + 1, Usage(tokens=tokens, bytes=size, money=money))
    if reason is not None:
        return reason
    begins = current.timer is None
    return msgspec.structs.replace(
        current,
        window=current.window + 1 if begins else current.window,
        requests=current.requests + 1,
        tokens=tokens,
        bytes=size,
        money=money,
        timer=started(now) if begins else current.timer,
    )


def never_fits(limits: Limits, usage: Usage) -> BudgetReason | None:
    """The limit that one question alone would go past, so that waiting for another window does not help; None for none."""
    return _beyond(limits, 1, usage)


def correct(spent: Spent, window: int, reserved: Usage, actual: Usage) -> Spent:
    """Put what a question took, more or less, in the place of what was set aside for it in that `window`.

    A window that is over stays as it was. What the other side says it took is believed only as far as it cannot do harm:
    numbers below zero count as zero, and what is no number leaves what was set aside.
    """
    if spent.window != window or spent.timer is None:
        return spent
    money = actual.money if math.isfinite(actual.money) else reserved.money
    return msgspec.structs.replace(
        spent,
        tokens=_corrected(spent.tokens, reserved.tokens, actual.tokens),
        bytes=_corrected(spent.bytes, reserved.bytes, actual.bytes),
        money=min(max(spent.money - reserved.money + max(money, 0.0), 0.0), float(MOST)),
    )


def renews_in_s(spent: Spent, now: Moment) -> float:
    """When the window ends and all limits are open again; 0 where none has begun."""
    timer = at(spent, now).timer
    return 0.0 if timer is None else DAY_S - timer.elapsed_s


def encode(spent: Spent) -> bytes:
    """The state as JSON."""
    return msgspec.json.encode(spent)


def decode(data: bytes | None, now: Moment) -> Spent:
    """The state that was kept; see the module for what stands in for a damaged one. To be kept when it is `unreadable`."""
    if data is None:
        return Spent()
    spent = read(data, Spent) or Spent(window=1, unreadable=True, timer=started(now))
    return at(spent, now)


def _beyond(limits: Limits, requests: int, usage: Usage) -> BudgetReason | None:
    # Written as "is not within", so that a number that is none is never within.
    if not requests <= limits.requests:
        return "budget-requests"
    if not usage.tokens <= min(limits.tokens, MOST):
        return "budget-tokens"
    if not usage.bytes <= min(limits.bytes, MOST):
        return "budget-bytes"
    if not usage.money <= limits.money + _PENNIES:
        return "budget-money"
    return None


def _corrected(spent: int, reserved: int, actual: int) -> int:
    return min(max(spent - reserved + max(actual, 0), 0), MOST)
