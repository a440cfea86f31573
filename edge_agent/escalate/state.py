"""What the small kept states of escalation share: time by two clocks, and JSON that is read whole or not at all.

Budgets and pauses must neither begin anew at every restart nor last for ever because a clock was wrong. A `Moment` therefore
holds both clocks: within one boot the monotonic clock tells how much time passed, whatever happens to the wall clock; from
one boot to another only the wall clock can, and it counts for no less than nothing and no more than a day.

Rules: pure. A wall clock before 2020 has not been set: what it says about the time between two boots counts for nothing, so
that neither a gateway that starts at 1970 nor the day on which its clock is set gets a day as a gift. Whoever can set the
clock gains at most a day with each reboot. While a gateway has no right clock only its running time counts; so that a reboot
does not lose that, a state whose timer is `due_for_saving` is saved again. A state that is read is carried on to that moment at
once: a clock that is set afterwards, in the same boot, no longer counts.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct

DAY_S = 86_400.0
SAVE_EVERY_S = 3_600.0
"""How much of its running time a gateway without a right clock may lose in a reboot."""
CLOCK_SET_S = 1_577_836_800.0
"""2020-01-01: a clock that shows less has not been set."""
MOST = 1 << 53
"""No count grows past this: JSON numbers beyond are not exact everywhere."""

_T = TypeVar("_T")


class Moment(Struct, frozen=True, forbid_unknown_fields=True):
    """Now, by both clocks. `boot` is the kernel's id of this boot: monotonic times compare only where it is the same."""

    wall_s: float
    monotonic_s: float
    boot: str


class Timer(Struct, frozen=True, forbid_unknown_fields=True):
    """How long something lasts: `elapsed_s` had passed at the moment `seen`."""

    elapsed_s: Annotated[float, Meta(ge=0)]
    seen: Moment

    def at(self, now: Moment) -> Timer:
        """The timer as it stands now."""
        return Timer(self.elapsed_s + elapsed_s(self.seen, now), now)

    def due_for_saving(self, now: Moment) -> bool:
        """Whether so much time passed since `seen` that `at(now)` should be kept."""
        return elapsed_s(self.seen, now) >= SAVE_EVERY_S


def started(now: Moment) -> Timer:
    """A timer that begins now."""
    return Timer(0.0, now)


def elapsed_s(earlier: Moment, later: Moment) -> float:
    """How much time passed from one moment to another, as far as the clocks can be believed; see the module. Never negative."""
    if earlier.boot == later.boot and later.monotonic_s >= earlier.monotonic_s:
        return later.monotonic_s - earlier.monotonic_s
    if earlier.wall_s < CLOCK_SET_S or later.wall_s < CLOCK_SET_S:
        return 0.0
    return min(max(later.wall_s - earlier.wall_s, 0.0), DAY_S)


def read(data: bytes, wanted: type[_T]) -> _T | None:
    """The state in `data`; None where it is damaged, of another kind, or of a version that is not known here."""
    try:
        return msgspec.json.decode(data, type=wanted)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
