"""What becomes of a try: the release is blamed for what is its own, and this device for the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import replace

from edge_agent.config.settings import UpdateSettings
from edge_agent.errors import ChildFailedError
from edge_agent.metrics import Metrics
from edge_agent.update.child import ChildLimits
from edge_agent.update.jobs import Installed, InstallJob, Problem
from edge_agent.update.machine import MAX_TRIES, Fetched, Found
from edge_agent.update.record import Candidate, Held
from edge_agent.workers.keeper import Keeper
from edge_agent.workers.tries import INSTALL, MAX_RETRY_S, RETRY_S, Tries
from tests.unit.workers.parts import StepClock

HELD = Held(release="pump-7", counter=7, manifest_sha256="7" * 64)


class Bench:
    """Tries of a release whose blobs are all there, and the child that they started, which ends as the test says."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.metrics = StepClock(), Metrics()
        self.keeper = Keeper.open(folder, self.clock)
        self.keeper.apply(Found(Candidate(held=HELD, source="server")))
        self.keeper.apply(Fetched())
        self.started: list[tuple[str, Struct]] = []
        self.has_process = True
        self._then: Callable[[Any], None] | None = None
        self.tries = Tries(
            keeper=self.keeper,
            settings=UpdateSettings(min_free_bytes=5),
            device="cpu",
            apply=self.keeper.apply,
            start=self._start,
            metrics=self.metrics,
            clock=self.clock,
        )

    def _start(self, module: str, job: Struct, limits: ChildLimits, then: Callable[[Any], None]) -> None:
        if not self.has_process:
            raise ChildFailedError("killed", "no process is left")
        self.started.append((module, job))
        self._then = then

    def ends(self, found: Struct | ChildFailedError) -> None:
        """The child ends, with what it found or why it found nothing."""

        class Child:
            def result(self, kind: type[Struct]) -> Struct:
                if isinstance(found, ChildFailedError):
                    raise found
                assert isinstance(found, kind)
                return found

        assert self._then is not None
        self._then(Child())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_try_is_counted_before_it_is_made(bench: Bench) -> None:
    bench.tries.install()
    assert bench.keeper.record.tries_left == MAX_TRIES - 1
    folder = str(bench.keeper.folder)
    assert bench.started == [(INSTALL, InstallJob(store_folder=folder, manifest_sha256="7" * 64, min_free_bytes=5))]
    bench.ends(Installed(folder="there"))
    assert (bench.keeper.record.stage, bench.keeper.record.tries_left) == ("staged", MAX_TRIES)


def test_a_try_that_no_process_can_make_is_given_back_and_put_off(bench: Bench) -> None:
    bench.has_process = False
    bench.tries.install()
    assert bench.keeper.record.tries_left == MAX_TRIES
    assert bench.tries.are_put_off
    assert any("no process is left" in each for each in bench.metrics.conditions.current())
    bench.clock.s += RETRY_S
    assert not bench.tries.are_put_off


def test_a_disk_that_refuses_is_this_devices_fault(bench: Bench) -> None:
    for attempt in range(2 * MAX_TRIES):
        bench.tries.install()
        bench.ends(Installed(problem=Problem(kind="storage", reason="storage", detail="the disk is full")))
        assert bench.keeper.record.candidate is not None
        assert (bench.keeper.record.stage, bench.keeper.record.candidate.attempts) == ("verified", attempt + 1)
        assert bench.tries.are_put_off
    assert bench.keeper.record.reason == "the disk is full"


def test_what_is_put_off_again_and_again_waits_longer_until_somebody_asks(bench: Bench) -> None:
    pauses_s = []
    for _ in range(7):
        bench.tries.install()
        bench.ends(Installed(problem=Problem(kind="storage", reason="storage", detail="the disk is full")))
        began_s = bench.clock.s
        while bench.tries.are_put_off:
            bench.clock.s += RETRY_S
        pauses_s.append(bench.clock.s - began_s)
    assert pauses_s == [RETRY_S, 2 * RETRY_S, 4 * RETRY_S, 8 * RETRY_S, MAX_RETRY_S, MAX_RETRY_S, MAX_RETRY_S]
    bench.tries.put_off()
    bench.tries.hurry()
    assert not bench.tries.are_put_off
    assert bench.tries.put_off() == RETRY_S
    bench.tries.hurry()
    assert bench.tries.are_put_off  # asked for again too soon
    bench.keeper.apply(Found(Candidate(held=replace(HELD, counter=8, manifest_sha256="8" * 64), source="server")))
    assert not bench.tries.are_put_off


def test_a_release_that_cannot_be_installed_is_refused(bench: Bench) -> None:
    bench.tries.install()
    bench.ends(Installed(problem=Problem(kind="release", reason="mismatch", detail="merging gave something else")))
    assert [(each.result, each.reason) for each in bench.keeper.record.ended] == [
        ("refused", "it could not be installed: merging gave something else")
    ]


def test_a_child_that_is_killed_again_and_again_is_the_releases_fault_in_the_end(bench: Bench) -> None:
    for _ in range(MAX_TRIES):
        bench.tries.install()
        bench.ends(ChildFailedError("killed", "was killed"))
    assert bench.keeper.record.ended[-1].result == "refused"
    assert "was killed" in bench.keeper.record.ended[-1].reason
