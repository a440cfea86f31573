"""What the kernel counts: what is written and synced is in it, at least."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_agent.bench.flash import written_bytes


def test_what_is_written_to_a_disk_is_counted(tmp_path: Path) -> None:
    before = written_bytes()
    with (tmp_path / "x").open("wb") as file:
        file.write(os.urandom(100_000))
        os.fsync(file.fileno())
    if written_bytes() == before:
        pytest.skip("the temporary folder is in memory")
    assert written_bytes() - before >= 100_000
