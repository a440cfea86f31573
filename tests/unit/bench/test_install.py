"""The cost of taking a release over is measured beside the floor, by the same process otherwise."""

from __future__ import annotations

from pathlib import Path

from edge_agent.bench import install
from edge_agent.bench.install import measure
from edge_agent.release.manifest import CHUNK_BYTES, parse_manifest


def made(folder: Path) -> tuple[Path, Path]:
    """A release's large file and manifest."""
    return folder / "source", install._release(folder / "source", CHUNK_BYTES + 1)


def test_the_release_that_is_measured_is_one(tmp_path: Path) -> None:
    source, manifest = made(tmp_path)
    model = parse_manifest(manifest.read_bytes(), "bench").components["writer/model.bin"]
    assert model.stored is not None
    assert (model.size_bytes, len(model.stored.chunks)) == (CHUNK_BYTES + 1, 2)
    assert source.stat().st_size == CHUNK_BYTES + 1


def test_three_figures_each_with_its_aim(tmp_path: Path) -> None:
    wall, memory, flash = measure(CHUNK_BYTES, 1)
    assert wall.value is not None
    assert wall.against_value is not None
    assert min(wall.value, wall.against_value) > 0
    assert memory.value is not None
    assert memory.value > 1
    assert flash.value is None or flash.value >= 1
    assert all(figure.aim for figure in (wall, memory, flash))
