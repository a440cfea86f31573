"""What the kernel writes is counted where there is a disk; nothing is asserted of how much."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from edge_agent.bench import wear
from edge_agent.bench.flash import written_bytes


@pytest.fixture
def on_a_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(wear, "PAUSE_S", 0.0)
    before = written_bytes()
    (tmp_path / "probe").write_bytes(bytes(100_000))
    with (tmp_path / "probe").open("rb+") as probe:
        os.fsync(probe.fileno())
    if written_bytes() == before:
        pytest.skip("the folder for temporary files is in memory")


@pytest.mark.usefixtures("on_a_disk")
def test_every_figure_stands_beside_plain_sqlite_in_the_same_run() -> None:
    *figures, size = wear.measure(60, 5)
    assert [figure.n for figure in figures] == [60, 60, 60, 5]
    assert all(figure.value and figure.against_value and not figure.note for figure in figures)
    assert size.value is not None
    assert 0.6 < size.value < 0.8, "an incident is about 700 bytes"


def test_a_folder_in_memory_has_no_figure_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wear, "written_bytes", lambda: 0)
    monkeypatch.setattr(wear, "PAUSE_S", 0.0)
    figures = list(wear.measure(20, 2))[:-1]
    assert all(figure.value is None and "in memory" in figure.note for figure in figures)
