"""What the kernel says, compared with what it says elsewhere."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from edge_agent.workers import host


def test_boot_id_is_the_kernels() -> None:
    assert host.boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert host.boot_id() == host.boot_id()


def test_clock_synced_is_an_answer_or_unknown() -> None:
    assert host.clock_synced() in (True, False, None)


def test_a_clock_that_cannot_be_asked_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no such library")

    monkeypatch.setattr("ctypes.CDLL", refuse)
    assert host.clock_synced() is None


def test_a_process_is_known_by_its_start_until_it_ends() -> None:
    own = host.process_start(os.getpid())
    assert own is not None
    with subprocess.Popen(["sleep", "60"]) as child:
        started = host.process_start(child.pid)
        assert started is not None
        assert started >= own
        child.kill()
        child.wait()
        assert host.process_start(child.pid) is None


def test_the_memory_of_this_process_grows_with_what_it_holds() -> None:
    before = host.rss_bytes()
    held = bytearray(64 << 20)
    held[:: 4 << 10] = b"x" * len(held[:: 4 << 10])
    assert host.rss_bytes() - before > 48 << 20
    assert len(held) == 64 << 20


def test_this_host_has_more_memory_than_this_process() -> None:
    assert host.rss_bytes() < (host.memory_bytes() or 0)
