"""The contents of a release's folder: as they are, or opened where they are sealed; whole and verified, or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edge_agent.contents import Contents
from edge_agent.engines.loading import FACTORY, open_release
from edge_agent.errors import ReleaseError, StorageError
from edge_agent.release.group_keys import GroupKey
from tests.sealed_releases import KEY, factory, seal_factory

OTHER = GroupKey(b"o" * 32)


def test_a_release_in_the_clear_is_read_as_it_is() -> None:
    contents = Contents(FACTORY, factory())
    assert not contents.is_sealed
    for name in contents.manifest.components:
        assert contents.read(name) == (FACTORY / name).read_bytes()


@pytest.mark.parametrize("but", [(), ("lexicon.txt", "writer/config.json")])
def test_what_is_sealed_is_opened_and_what_is_not_is_read(tmp_path: Path, but: tuple[str, ...]) -> None:
    contents = Contents(tmp_path, seal_factory(tmp_path, but=but), {KEY.id: KEY})
    assert contents.is_sealed
    for name in contents.manifest.components:
        assert contents.read(name) == (FACTORY / name).read_bytes()


@pytest.mark.parametrize("name", ["lexicon.txt", "writer/model.bin"])
@pytest.mark.parametrize("clear", [True, False])
def test_what_was_damaged_swapped_or_is_gone_is_refused(tmp_path: Path, name: str, clear: bool) -> None:
    manifest = seal_factory(tmp_path, but=tuple(factory().components) if clear else ())
    contents = Contents(tmp_path, manifest, {KEY.id: KEY})
    path = tmp_path / name
    whole = path.read_bytes()
    for data in (whole[:-1], whole + b"x", whole[:100] + b"?" + whole[101:], (tmp_path / "tokenizer.json").read_bytes(), b""):
        path.write_bytes(data)
        with pytest.raises(ReleaseError, match=name):
            contents.read(name)
    path.unlink()
    with pytest.raises(ReleaseError, match=rf"{name}: cannot be read: No such file"):
        contents.read(name)


def test_without_the_key_or_with_another_nothing_is_read(tmp_path: Path) -> None:
    manifest = seal_factory(tmp_path)
    with pytest.raises(ReleaseError, match=f"sealed with the group key {KEY.id}, which is not at hand"):
        Contents(tmp_path, manifest).read("lexicon.txt")
    with pytest.raises(ReleaseError, match="sealed with another key"):
        Contents(tmp_path, manifest, {KEY.id: OTHER}).read("lexicon.txt")


def test_a_release_in_the_clear_is_made_of_a_sealed_one_for_its_owner_alone(tmp_path: Path) -> None:
    (tmp_path / "sealed").mkdir()
    contents = Contents(tmp_path / "sealed", seal_factory(tmp_path / "sealed", but=("lexicon.txt",)), {KEY.id: KEY})
    contents.write_clear(tmp_path / "clear")
    release = open_release(tmp_path / "clear")
    assert (release.manifest.id, release.manifest.counter) == (factory().id, factory().counter)
    for name in factory().components:
        assert (tmp_path / "clear" / name).read_bytes() == (FACTORY / name).read_bytes()
    for path in [tmp_path / "clear", *(tmp_path / "clear").rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(StorageError, match="not written"):
        contents.write_clear(tmp_path / "clear")


def test_nothing_is_left_where_a_component_is_refused_or_the_folder_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "sealed").mkdir()
    contents = Contents(tmp_path / "sealed", seal_factory(tmp_path / "sealed"), {KEY.id: KEY})
    (tmp_path / "sealed/lexicon.txt").write_bytes(b"x")
    with pytest.raises(ReleaseError, match=r"lexicon.txt"):
        contents.write_clear(tmp_path / "clear")
    assert [path.name for path in tmp_path.iterdir()] == ["sealed"]
    with pytest.raises(StorageError, match="No such file"):
        contents.write_clear(tmp_path / "none" / "clear")
    shutil.rmtree(tmp_path / "sealed")
