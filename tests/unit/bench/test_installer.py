"""The process that is measured: what it takes over is whole, and it holds no more than the agent's own would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from edge_agent.bench.installer import Cost, main
from edge_agent.errors import ReleaseError
from edge_agent.update.store import Store
from tests.unit.bench.test_install import made


def test_a_release_is_taken_over_whole(tmp_path: Path) -> None:
    source, manifest = made(tmp_path)
    assert main(["install", str(source), str(tmp_path / "store"), str(manifest)]) == 0
    store = Store(tmp_path / "store")
    sha256 = store.put_manifest(manifest.read_bytes())
    assert store.verify(sha256) == []
    assert store.release_folder(sha256) is not None


def test_the_floor_is_a_copy(tmp_path: Path) -> None:
    source, manifest = made(tmp_path)
    assert main(["floor", str(source), str(tmp_path / "copy"), str(manifest)]) == 0
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()


def test_children_that_bring_nothing_are_no_figure(tmp_path: Path) -> None:
    _, manifest = made(tmp_path)
    with pytest.raises(ReleaseError, match="there is no such file"):
        main(["children", tmp_path.as_uri(), str(tmp_path / "store"), str(manifest)])


def test_the_process_imports_nothing_of_the_bench(tmp_path: Path) -> None:
    source, manifest = made(tmp_path)
    code = (
        "import sys; from edge_agent.bench import installer; installer.main(sys.argv[1:]);"
        "sys.exit(sum(name in sys.modules for name in ('paho', 'numpy', 'sqlite3', 'tuf')))"
    )
    command = (sys.executable, "-c", code, "install", str(source), str(tmp_path / "store"), str(manifest))
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    cost = msgspec.json.decode(done.stdout, type=Cost)
    assert cost.wall_s > 0
    assert cost.peak_rss_bytes > 0
