"""Memory of this process as the kernel tells it."""

from __future__ import annotations

from pathlib import Path

from edge_agent.probe.memory import peak_rss_bytes, rss_bytes


def test_memory_that_is_taken_is_seen() -> None:
    before = rss_bytes()
    held = bytearray(b"x" * (32 << 20))
    assert rss_bytes() - before > 24 << 20
    peak = peak_rss_bytes()
    assert peak >= rss_bytes()
    del held
    assert peak_rss_bytes() >= peak


def test_kibibytes_are_read_as_bytes(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n")
    assert (peak_rss_bytes(status), rss_bytes(status)) == (2 << 20, 1 << 20)


def test_what_cannot_be_read_is_nothing(tmp_path: Path) -> None:
    assert rss_bytes(tmp_path / "none") == 0
    (tmp_path / "status").write_text("Name:\tx\n")
    assert peak_rss_bytes(tmp_path / "status") == 0
