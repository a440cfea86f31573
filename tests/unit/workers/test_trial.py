"""The trial: what counts against a release on trial, what does not, and when it has soaked."""

from __future__ import annotations

from typing import Any

import pytest

from edge_agent.release.manifest import Limits
from edge_agent.workers.active import TAKERS, Running
from edge_agent.workers.trial import (
    MAX_CLASSIFIER_FAILURES,
    MAX_WRITER_FAILURES,
    MIN_JUDGED,
    SPARE_RSS_BYTES,
    TAKE_S,
    UNBROKEN_S,
    Trial,
    Watched,
)

LIMITS = Limits(max_rss_bytes=100 << 20, max_sentence_s=1.0)
BEFORE = 50 << 20
MOST = BEFORE + LIMITS.max_rss_bytes + SPARE_RSS_BYTES


def trial(soak_s: float = 60.0, soaked_s: float = 0.0) -> Trial:
    return Trial(number=7, began_s=100.0, rss_before_bytes=BEFORE, limits=LIMITS, soak_s=soak_s, soaked_s=soaked_s)


def seen(rss_bytes: int = BEFORE, stale: tuple[str, ...] = (), **running: Any) -> Watched:
    return Watched(running=Running(**{"number": 7, "taken_by": TAKERS, **running}), rss_bytes=rss_bytes, stale=stale)


@pytest.mark.parametrize(
    ("watched", "said"),
    [
        (seen(problem="the writer cannot be loaded"), "cannot be loaded"),
        (seen(stale=("explain",)), "explain makes no progress"),
        (seen(stale=("deliver", "screen")), "screen makes no progress"),
        (seen(writer_failures=MAX_WRITER_FAILURES), "the writer failed 3 times"),
        (seen(classifier_failures=MAX_CLASSIFIER_FAILURES), "the classifier failed 3 times"),
        (seen(sentences=MIN_JUDGED, refused=MIN_JUDGED // 2 + 1), "refused the writer in 5 of 8"),
        (seen(rss_bytes=MOST + 1), "MiB of memory"),
    ],
)
def test_what_is_held_against_a_release(watched: Watched, said: str) -> None:
    assert said in trial().fault(watched, 101.0)


@pytest.mark.parametrize(
    "watched",
    [
        seen(),
        seen(stale=("deliver",)),
        seen(writer_failures=MAX_WRITER_FAILURES - 1, classifier_failures=MAX_CLASSIFIER_FAILURES - 1),
        seen(sentences=MIN_JUDGED - 1, refused=MIN_JUDGED - 1),
        seen(sentences=100, refused=50),
        seen(rss_bytes=MOST),
        seen(number=6, problem="of an earlier wish"),
        seen(taken_by=()),
    ],
)
def test_what_is_not(watched: Watched) -> None:
    assert trial().fault(watched, 101.0) == ""


def test_engines_that_are_never_opened_are_held_against_it() -> None:
    assert "not opened" in trial().fault(seen(taken_by=("screen",)), 100.0 + TAKE_S + 1)
    assert trial().fault(seen(), 100.0 + TAKE_S + 1) == ""


def test_it_soaks_from_when_every_worker_has_taken_it() -> None:
    watched = trial()
    assert not watched.soaked(seen(taken_by=("screen",)), 1_000.0)
    assert not watched.soaks
    assert not watched.soaked(seen(), 1_000.0)
    assert watched.soaks
    assert not watched.soaked(seen(), 1_059.0)
    assert watched.soaked(seen(), 1_060.0)
    assert not watched.soaked(seen(number=8), 2_000.0)


@pytest.mark.parametrize(
    ("soak_s", "soaked_s", "ends_s"),
    [
        (60.0, 0.0, 60.0),
        (60.0, 1_000.0, 60.0),
        (86_400.0, 0.0, 86_400.0),
        (86_400.0, 80_000.0, 6_400.0),
        (86_400.0, 86_300.0, UNBROKEN_S),
    ],
)
def test_earlier_runs_count_but_the_last_one_is_never_a_short_one(soak_s: float, soaked_s: float, ends_s: float) -> None:
    watched = trial(soak_s, soaked_s)
    assert not watched.soaked(seen(), 1_000.0)
    assert not watched.soaked(seen(), 1_000.0 + ends_s - 1.0)
    assert watched.soaked_s == ends_s - 1.0
    assert watched.soaked(seen(), 1_000.0 + ends_s)
