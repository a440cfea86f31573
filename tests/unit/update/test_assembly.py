"""The folder of a release: only paths that stay in it, nothing under its name before it is whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from edge_agent.errors import ReleaseError, StorageError
from edge_agent.update.assembly import Source, assemble
from tests.update.small_releases import sha256

DATA = b"component"


@pytest.fixture
def source(tmp_path: Path) -> Source:
    (tmp_path / "blob").write_bytes(DATA)
    return Source(tmp_path / "blob", sha256(DATA), len(DATA))


def room(size_bytes: int) -> None:
    """There is always room."""


def test_components_and_documents_stand_under_their_paths(tmp_path: Path, source: Source) -> None:
    (tmp_path / "releases").mkdir()
    assemble(tmp_path / "releases" / "x", {"a/b/c": source, "a/d": source, "e": source}, {"manifest.json": b"m"}, room)
    folder = tmp_path / "releases" / "x"
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert files == {"a/b/c": DATA, "a/d": DATA, "e": DATA, "manifest.json": b"m"}
    assert os.listdir(tmp_path / "releases") == ["x"]


@pytest.mark.parametrize(
    "paths",
    [
        ["../out"],
        ["/etc/passwd"],
        ["a/../../out"],
        ["."],
        [".."],
        [""],
        ["a//b"],
        ["a/"],
        ["a\n"],
        ["a\0"],
        ["ä"],
        ["a", "a/b"],
        ["a/b/c", "a/b"],
        ["manifest.json"],
        ["manifest.json/x"],
    ],
)
def test_paths_that_leave_the_folder_or_collide_make_none(tmp_path: Path, source: Source, paths: list[str]) -> None:
    (tmp_path / "releases").mkdir()
    with pytest.raises(ReleaseError, match="build the release anew"):
        assemble(tmp_path / "releases" / "x", dict.fromkeys(paths, source), {"manifest.json": b"m"}, room)
    assert set(os.listdir(tmp_path)) == {"blob", "releases"}
    assert os.listdir(tmp_path / "releases") == []


def test_what_an_earlier_attempt_left_is_in_nobodys_way(tmp_path: Path, source: Source) -> None:
    (tmp_path / ".x.making" / "a").mkdir(parents=True)
    (tmp_path / ".x.making" / "a" / "b").write_bytes(b"left")
    assemble(tmp_path / "x", {"a/c": source}, {}, room)
    assert os.listdir(tmp_path / "x" / "a") == ["c"]


def test_a_blob_that_is_gone_makes_none(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="not in the store"):
        assemble(tmp_path / "x", {"a": Source(tmp_path / "none", "0" * 64, 1)}, {}, room)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", ["mkdir", "chmod", "link", "fsync", "rename", "write"])
def test_a_disk_that_refuses_leaves_nothing_under_the_name_and_the_next_attempt_succeeds(
    tmp_path: Path, source: Source, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, name, refused)
        with pytest.raises(StorageError, match="No space left on device"):
            assemble(tmp_path / "x", {"a": source}, {"m": b"m"}, room)
    assert not (tmp_path / "x").exists()
    assemble(tmp_path / "x", {"a": source}, {"m": b"m"}, room)
    assert set(os.listdir(tmp_path / "x")) == {"a", "m"}
