"""The breaker: after failures in a row the backend is left alone, and one question is tried now and then.

Closed, every question may leave. It opens after so many failures in a row, or at once on a refusal that would meet every other
question too (a wrong key, no money left). Open, none may leave until the pause is over; then it is half-open and one may be
tried. Success closes it. The pause of such a refusal doubles with each one up to a day, because only a person can end it; a
changed configuration (`configured`) is taken for that person's work and closes it.

Rules: pure; the caller keeps the state. A trial begins its pause anew before it is sent, so that a crash in it counts as a
failure and a restart never is another try. A state that cannot be read is half-open: one question shows how things stand.
The pattern is M. Nygard's, "Release It!", 2007, chapter 5.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from edge_agent.escalate.state import DAY_S, MOST, Moment, Timer, read, started

BreakerState: TypeAlias = Literal["closed", "open", "half-open"]

_MAX_DOUBLINGS = 32
"""More doublings lead past a day from any pause."""


class Breaker(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How things stand with one backend."""

    version: Literal[1] = 1
    failures: Annotated[int, Meta(ge=0)] = 0
    """In a row."""
    breaks: Annotated[int, Meta(ge=0)] = 0
    """Refusals of everything, in a row."""
    pause_s: Annotated[float, Meta(ge=0, le=DAY_S)] = 0.0
    timer: Timer | None = None
    """Since the pause began; None while closed."""
    reason: Annotated[str, Meta(max_length=64)] = ""
    """Why the last question failed; a stable word."""
    fingerprint: Annotated[str, Meta(max_length=64)] = ""
    """Of the configuration under which this is so."""


def state(breaker: Breaker, now: Moment) -> BreakerState:
    """Which of the three it is."""
    if breaker.timer is None:
        return "closed"
    return "open" if remaining_s(breaker, now) > 0 else "half-open"


def remaining_s(breaker: Breaker, now: Moment) -> float:
    """How long no question may leave; 0 when one may."""
    if breaker.timer is None:
        return 0.0
    return max(breaker.pause_s - breaker.timer.at(now).elapsed_s, 0.0)


def trying(breaker: Breaker, now: Moment) -> Breaker:
    """A question is about to leave: half-open, this is the trial, and the pause begins anew. To be kept before it is sent."""
    if breaker.timer is None:
        return breaker
    return msgspec.structs.replace(breaker, timer=started(now))


def failed(breaker: Breaker, most: int, pause_s: float, reason: str, now: Moment) -> Breaker:
    """A question got no answer. After `most` in a row, or after a trial, it is open for `pause_s`."""
    failures = min(breaker.failures + 1, MOST)
    opens = failures >= most or breaker.timer is not None
    # A trial that fails for a smaller reason does not shorten the pause of a refusal that only a person can end.
    pause_s = max(pause_s, breaker.pause_s) if breaker.breaks else pause_s
    return msgspec.structs.replace(
        breaker,
        failures=failures,
        pause_s=min(pause_s, DAY_S) if opens else 0.0,
        timer=started(now) if opens else None,
        reason=reason[:64],
    )


def broke(breaker: Breaker, pause_s: float, reason: str, now: Moment) -> Breaker:
    """A refusal that would meet every other question too: open for twice the pause, then four times, up to a day."""
    breaks = min(breaker.breaks + 1, _MAX_DOUBLINGS)
    return msgspec.structs.replace(
        breaker,
        failures=min(breaker.failures + 1, MOST),
        breaks=breaks,
        pause_s=min(pause_s * 2**breaks, DAY_S),
        timer=started(now),
        reason=reason[:64],
    )


def succeeded(breaker: Breaker) -> Breaker:
    """The backend answered, whatever the answer is worth: closed."""
    return Breaker(fingerprint=breaker.fingerprint)


def configured(breaker: Breaker, fingerprint: str) -> Breaker:
    """The breaker under this configuration: as it was, or closed where another one is in force than it opened under."""
    if breaker.fingerprint in (fingerprint, ""):  # without one it is new, or could not be read
        return msgspec.structs.replace(breaker, fingerprint=fingerprint)
    return Breaker(fingerprint=fingerprint)


def fingerprint(parts: Iterable[bytes]) -> str:
    """One word for a configuration made of `parts`, such as the settings as JSON and the content of the key's file.

    SHA-256 over the parts and their lengths, cut to 128 bits; a random key cannot be found from it.
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:32]


def at(breaker: Breaker, now: Moment) -> Breaker:
    """The state with its timer carried on, to be kept again."""
    return breaker if breaker.timer is None else msgspec.structs.replace(breaker, timer=breaker.timer.at(now))


def encode(breaker: Breaker) -> bytes:
    """The state as JSON."""
    return msgspec.json.encode(breaker)


def decode(data: bytes | None, now: Moment) -> Breaker:
    """The state that was kept; closed where there is none, half-open where it cannot be read.

    Half-open is a pause of no length: the first failure opens it.
    """
    if data is None:
        return Breaker()
    breaker = read(data, Breaker) or Breaker(timer=started(now), reason="unreadable")
    return at(breaker, now)
