"""Child processes that misbehave in every way, real ones: the owner is told in words, and nothing is left of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_agent.clock import SystemClock
from edge_agent.errors import ChildFailedError
from edge_agent.update.child import Child, ChildLimits
from edge_agent.update.jobs import Progress
from tests.deadline import eventually
from tests.update.misbehaving import Answer, Misdeed

MODULE = "tests.update.misbehaving"
MIB = 1 << 20
LIMITS = ChildLimits(timeout_s=60.0, silent_s=60.0, max_rss_bytes=256 * MIB)


def start(what: str, note: str = "", limits: ChildLimits = LIMITS) -> Child:
    return Child.start(MODULE, Misdeed(what, note), limits=limits, clock=SystemClock())


def ended(child: Child) -> Child:
    with child:
        eventually(lambda: child.poll(1.0), within_s=60.0)
    return child


def failure(what: str, limits: ChildLimits = LIMITS) -> ChildFailedError:
    child = ended(start(what, limits=limits))
    child.progress()  # is asked for whatever the child said
    with pytest.raises(ChildFailedError) as caught:
        child.result(Answer)
    assert not alive(child.pid), "a zombie, or worse, is left"
    return caught.value


def alive(pid: int) -> bool:
    """Whether there is such a process; one that only waits to be reaped by another parent is gone."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z" or status.rpartition(")")[2].split()[1] == str(os.getpid())


def test_a_child_hands_back_what_it_found() -> None:
    child = ended(start("answers", "found"))
    assert child.result(Answer) == Answer("found")
    assert child.progress() == Progress(what="half", done_bytes=1, total_bytes=2)
    assert child.ended
    assert not alive(child.pid)


def test_a_job_larger_than_a_pipe_arrives_whole() -> None:
    note = "x" * (2 * MIB)
    assert ended(start("answers", note)).result(Answer).note == note


def test_a_poll_returns_although_the_child_goes_on() -> None:
    with start("waits") as child:
        assert not child.poll()
        eventually(lambda: not child.poll(0.05) and child.progress() is not None)
        eventually(lambda: not child.poll(0.05) and child.peak_rss_bytes > 5 * MIB)
        with pytest.raises(ChildFailedError, match="nonsense"):
            child.result(Answer)


def test_a_child_has_a_clean_environment_and_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setenv("PYTHONSTARTUP", "/nowhere")
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere")
    monkeypatch.setenv("OF_THE_IMAGE", "kept")
    seen = ended(start("shows")).result(Answer).seen
    assert "OF_THE_IMAGE" in seen["environment"]
    assert not [name for name in seen["environment"] if name.startswith(("PYTHON", "NOTIFY"))]
    assert "/nowhere" not in seen["path"]
    assert seen["nice"] >= LIMITS.nice
    assert seen["core"] == "0"
    assert seen["group"] is True


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("garbage", "did not end with a result"),
        ("deep", "did not end with a result"),
        ("says-nothing", "said nothing"),
        ("stops-at-progress", "did not end with a result"),
        ("half-a-line", "did not end its last line"),
        ("says-much", "said more than 1000 lines"),
        ("endless-line", "said a line of more than 100000 bytes"),
    ],
)
def test_nonsense_is_no_result(what: str, expected: str) -> None:
    limits = ChildLimits(timeout_s=60, silent_s=60, max_rss_bytes=256 * MIB, max_lines=1_000, max_line_bytes=100_000)
    error = failure(what, limits)
    assert error.reason == "nonsense"
    assert expected in error.detail
    assert MODULE in error.detail


def test_a_child_that_fails_is_quoted() -> None:
    error = failure("complains-much")
    assert error.reason == "killed"
    assert "exit code 3" in error.detail
    assert error.detail.endswith("complaint 199997 | complaint 199998 | complaint 199999")


@pytest.mark.parametrize(
    ("what", "expected"),
    [("answers-then-fails", "exit code 4"), ("answers-then-crashes", "SIGABRT"), ("segfaults", "SIGSEGV")],
)
def test_a_child_that_dies_has_no_result(what: str, expected: str) -> None:
    error = failure(what)
    assert error.reason == "killed"
    assert expected in error.detail


def test_a_module_that_is_not_there_is_told() -> None:
    child = ended(Child.start("edge_agent.update.no_such_module", Misdeed(""), limits=LIMITS, clock=SystemClock()))
    with pytest.raises(ChildFailedError, match="no_such_module"):
        child.result(Answer)


@pytest.mark.parametrize("what", ["eats-memory", "child-eats-memory"])
def test_a_child_that_eats_memory_is_killed(what: str) -> None:
    child = start(what, limits=ChildLimits(timeout_s=60, silent_s=60, max_rss_bytes=100 * MIB))
    ended(child)
    with pytest.raises(ChildFailedError, match="at most 100 MiB") as caught:
        child.result(Answer)
    assert caught.value.reason == "memory"
    assert child.peak_rss_bytes < 2_000 * MIB


def test_memory_that_is_asked_for_at_once_is_refused() -> None:
    error = failure("asks-for-much")
    assert error.reason == "memory"
    assert "MemoryError" in error.detail


def test_a_child_that_takes_too_long_is_killed() -> None:
    error = failure("waits", ChildLimits(timeout_s=0.5, silent_s=60, max_rss_bytes=256 * MIB))
    assert error.reason == "timeout"
    assert "not done after 0.5 s" in error.detail


def test_a_child_that_falls_silent_is_killed() -> None:
    error = failure("waits", ChildLimits(timeout_s=60, silent_s=0.5, max_rss_bytes=256 * MIB))
    assert error.reason == "timeout"
    assert "said nothing for 0.5 s" in error.detail


def test_a_grandchild_that_holds_the_pipes_goes_with_the_child(tmp_path: Path) -> None:
    child = ended(start("forks", str(tmp_path / "pid")))
    assert child.result(Answer) == Answer("forked")
    grandchild = int((tmp_path / "pid").read_text())
    eventually(lambda: not alive(grandchild))


@pytest.mark.parametrize("what", ["waits", "ignores-term"])
def test_a_child_is_stopped_even_against_its_will(what: str) -> None:
    child = start(what)
    with child:
        eventually(lambda: not child.poll(0.05) and child.progress() is not None)
        child.stop()
        eventually(lambda: child.poll(0.05))
        with pytest.raises(ChildFailedError) as caught:
            child.result(Answer)
    assert caught.value.reason == "stopped"
    assert not alive(child.pid)


def test_what_was_found_before_the_stop_stands() -> None:
    child = ended(start("answers", "found"))
    child.stop()
    assert child.result(Answer) == Answer("found")


def test_leaving_the_block_leaves_nothing_behind() -> None:
    with start("ignores-term") as child:
        eventually(lambda: not child.poll(0.05) and child.progress() is not None)
    assert child.ended
    assert not alive(child.pid)
    child.close()
    assert child.poll(0.0)


def test_a_child_does_not_outlive_an_owner_that_is_killed(tmp_path: Path) -> None:
    owner = f"""
import time
from edge_agent.clock import SystemClock
from edge_agent.update.child import Child, ChildLimits
from tests.update.misbehaving import Misdeed
limits = ChildLimits(timeout_s=60, silent_s=60, max_rss_bytes={256 * MIB})
child = Child.start("{MODULE}", Misdeed("ignores-term", {str(tmp_path / "pid")!r}), limits=limits, clock=SystemClock())
while True:
    child.poll(1.0)
"""
    root = Path(__file__).parents[3]
    process = subprocess.Popen((sys.executable, "-c", owner), cwd=root)
    try:
        eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "", within_s=30.0)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    child = int((tmp_path / "pid").read_text())
    eventually(lambda: not alive(child))


def test_no_descriptor_is_left_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        ended(start("answers"))
    assert len(os.listdir("/proc/self/fd")) <= before


def test_the_time_that_counts_is_the_clocks() -> None:
    began = time.monotonic()
    clock = Ahead()
    with Child.start(MODULE, Misdeed("waits"), limits=LIMITS, clock=clock) as child:
        eventually(lambda: not child.poll() and child.progress() is not None)
        clock.ahead_s = LIMITS.timeout_s + 1
        eventually(lambda: child.poll(0.05))
        with pytest.raises(ChildFailedError, match="timeout"):
            child.result(Answer)
    assert time.monotonic() - began < LIMITS.timeout_s


class Ahead(SystemClock):
    ahead_s = 0.0

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.ahead_s
