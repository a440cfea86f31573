"""`edge_agent.journal.commits`: who waits for whom, and that every caller gets an answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import wait

import pytest

from edge_agent.errors import StorageError
from edge_agent.journal import commits
from edge_agent.journal.commits import MAX_GROUP, Committer
from edge_agent.journal.operations import Operations
from edge_agent.journal.store import Operation
from tests.deadline import eventually


def numbered(number: int) -> Operation:
    def operation(_: Operations) -> object:
        return number

    return operation


class Disk:
    """Stands for the store: remembers the sizes of its groups; can be held up and can fail."""

    def __init__(self) -> None:
        self.groups: list[int] = []
        self.go = threading.Event()
        self.go.set()
        self.busy = threading.Event()
        self.error: Exception | None = None

    def transact(self, group: Sequence[Operation]) -> list[object]:
        self.busy.set()
        assert self.go.wait(30)
        self.groups.append(len(group))
        if self.error is not None:
            raise self.error
        # None of these operations looks at what it is given.
        return [operation(None) for operation in group]  # type: ignore[arg-type]


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def committer(disk: Disk) -> Iterator[Committer]:
    committer = Committer(disk.transact, "test")
    yield committer
    disk.go.set()
    assert committer.stop(30)


def test_each_caller_gets_its_own_result(committer: Committer) -> None:
    futures = [committer.submit(numbered(n), "soon") for n in range(20)]
    assert [f.result(30) for f in futures] == list(range(20))


def test_callers_that_come_while_a_commit_runs_share_the_next(committer: Committer, disk: Disk) -> None:
    disk.go.clear()
    first = committer.submit(numbered(0), "critical")
    assert disk.busy.wait(30)
    others = [committer.submit(numbered(n), "critical") for n in range(1, 10)]
    disk.go.set()
    wait([first, *others], 30)
    assert disk.groups == [1, 9]


def test_critical_takes_the_patient_along(committer: Committer, disk: Disk) -> None:
    patient = [committer.submit(numbered(n), "relaxed") for n in range(5)]
    committer.submit(numbered(9), "critical").result(30)
    assert all(f.done() for f in patient) or disk.groups[0] == 5


def test_patient_ones_are_committed_without_a_critical_one(committer: Committer) -> None:
    assert committer.submit(numbered(1), "relaxed").result(30) == 1


def test_groups_are_bounded_and_in_order(committer: Committer, disk: Disk) -> None:
    disk.go.clear()
    committer.submit(numbered(0), "critical")
    assert disk.busy.wait(30)
    futures = [committer.submit(numbered(n), "soon") for n in range(2 * MAX_GROUP + 1)]
    disk.go.set()
    assert [f.result(30) for f in futures] == list(range(2 * MAX_GROUP + 1))
    assert disk.groups == [1, MAX_GROUP, MAX_GROUP, 1]


def test_stopping_commits_what_waits_and_then_refuses(disk: Disk) -> None:
    committer = Committer(disk.transact, "test")
    waiting = committer.submit(numbered(3), "relaxed")
    assert committer.stop(30)
    assert waiting.result(0) == 3
    with pytest.raises(StorageError, match="closed"):
        committer.submit(numbered(4), "critical")
    assert committer.stop(30)


def test_stopping_does_not_wait_for_ever_for_a_hanging_disk(disk: Disk) -> None:
    committer = Committer(disk.transact, "test")
    disk.go.clear()
    committer.submit(numbered(1), "critical")
    assert not committer.stop(0.05)
    disk.go.set()
    assert committer.stop(30)


def test_error_answers_are_raised_and_the_thread_goes_on(committer: Committer, disk: Disk) -> None:
    failure = StorageError("no")
    disk.error = RuntimeError("a defect")
    with pytest.raises(StorageError, match="a defect"):
        committer.submit(numbered(1), "critical").result(30)
    disk.error = None

    def fails(_: Operations) -> object:
        return failure

    with pytest.raises(StorageError, match="no"):
        committer.submit(fails, "critical").result(30)
    assert committer.submit(numbered(2), "critical").result(30) == 2


def test_upkeep_is_done_when_nobody_asks_and_callers_are_served_meanwhile(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(commits, "TICK_S", 0.01)
    ticks: list[float] = []

    def tick() -> float:
        ticks.append(0.0)
        if len(ticks) == 2:
            raise ZeroDivisionError("defect")
        return 0.01

    committer = Committer(disk.transact, "test", tick)
    eventually(lambda: len(ticks) >= 4)
    assert committer.submit(numbered(3), "soon").result(30) == 3
    assert committer.stop(30)
    assert "upkeep failed" in caplog.text
