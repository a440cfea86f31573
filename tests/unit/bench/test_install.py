"""The cost of taking a release over is measured beside the floor, by the same process otherwise."""

from __future__ import annotations

from pathlib import Path

from edge_agent.bench import install
from edge_agent.bench.install import measure
from edge_agent.bench.installer import main
from edge_agent.release.manifest import CHUNK_BYTES, parse_manifest
from edge_agent.update.store import Store


def made(folder: Path) -> tuple[Path, Path]:
    """A release's large file and manifest."""
    return folder / "source", install._release(folder / "source", CHUNK_BYTES + 1)


def test_the_release_that_is_measured_is_one(tmp_path: Path) -> None:
    source, manifest = made(tmp_path)
    model = parse_manifest(manifest.read_bytes(), "bench").components["writer/model.bin"]
    assert model.stored is not None
    assert (model.size_bytes, len(model.stored.chunks)) == (CHUNK_BYTES + 1, 2)
    assert source.stat().st_size == CHUNK_BYTES + 1


def test_each_figure_is_taken_and_has_its_aim(tmp_path: Path) -> None:
    figures = list(measure(CHUNK_BYTES, 1))
    for wall in figures[0], *figures[3:5]:
        assert wall.value is not None
        assert wall.against_value is not None
        assert min(wall.value, wall.against_value) > 0
    for memory in figures[1], figures[5]:
        assert memory.value is not None
        assert memory.value > 1
    for flash in figures[2], figures[6]:
        assert flash.value is None or flash.value >= 1
    assert all(figure.aim for figure in figures)


def test_the_repository_holds_every_blob(tmp_path: Path) -> None:
    source, manifest = made(tmp_path)
    repository = install._repository(tmp_path / "repository", source, manifest)
    assert main(["children", repository.as_uri(), str(tmp_path / "store"), str(manifest)]) == 0
    store = Store(tmp_path / "store")
    assert store.verify(store.put_manifest(manifest.read_bytes())) == []
