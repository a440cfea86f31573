"""The contents of a release's folder: as they are, or opened where they are sealed; whole and verified, or not at all."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path

import msgspec
import pytest

from edge_agent.contents import Contents
from edge_agent.engines.loading import FACTORY
from edge_agent.errors import ReleaseError
from edge_agent.release.group_keys import GroupKey
from edge_agent.release.manifest import KEYS_NAME, MANIFEST_NAME, MAX_MANIFEST_BYTES, Component, encode_manifest, parse_manifest
from tests.sealed_releases import device_key, factory, seal_factory

OTHER = GroupKey(b"o" * 32)


def test_a_release_in_the_clear_is_read_as_it_is() -> None:
    contents = Contents(FACTORY)
    assert not contents.is_sealed
    for name in contents.manifest.components:
        assert contents.read(name) == (FACTORY / name).read_bytes()


@pytest.mark.parametrize("but", [(), ("lexicon.txt", "writer/config.json")])
def test_what_is_sealed_is_opened_and_what_is_not_is_read(tmp_path: Path, but: tuple[str, ...]) -> None:
    seal_factory(tmp_path, but=but)
    contents = Contents(tmp_path, device_key(tmp_path))
    assert contents.is_sealed
    for name in contents.manifest.components:
        assert contents.read(name) == (FACTORY / name).read_bytes()


@pytest.mark.parametrize("name", ["lexicon.txt", "writer/model.bin"])
@pytest.mark.parametrize("clear", [True, False])
def test_what_was_damaged_swapped_or_is_gone_is_refused(tmp_path: Path, name: str, clear: bool) -> None:
    seal_factory(tmp_path, but=tuple(factory().components) if clear else ())
    contents = Contents(tmp_path, device_key(tmp_path))
    assert contents.is_sealed != clear
    path = tmp_path / name
    whole = path.read_bytes()
    for data in (whole[:-1], whole + b"x", whole[:100] + b"?" + whole[101:], (tmp_path / "tokenizer.json").read_bytes(), b""):
        path.write_bytes(data)
        with pytest.raises(ReleaseError, match=name):
            contents.read(name)
    path.unlink()
    with pytest.raises(ReleaseError, match=rf"{name}: cannot be read: No such file"):
        contents.read(name)


@pytest.mark.parametrize("name", ["lexicon.txt", "writer/model.bin", MANIFEST_NAME, KEYS_NAME])
@pytest.mark.parametrize("kind", ["FIFO", "folder", "device", "link"])
def test_nothing_but_a_regular_file_is_read_and_nothing_is_waited_for(tmp_path: Path, name: str, kind: str) -> None:
    seal_factory(tmp_path, but=("lexicon.txt",))
    path = tmp_path / name
    whole = path.rename(tmp_path / "aside")
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if kind == "device" else whole)

    def read(follow_links: bool) -> bytes:
        contents = Contents(tmp_path, device_key(tmp_path), follow_links=follow_links)
        for each in contents.manifest.components:
            contents.check(each)
        return b"".join(contents.read(each) for each in contents.manifest.components)

    with pytest.raises(ReleaseError, match=rf"{name}: (cannot be read|is a link)"):
        read(follow_links=False)
    if kind == "link":
        assert len(read(follow_links=True)) == sum(each.size_bytes for each in factory().components.values())
    else:
        with pytest.raises(ReleaseError, match=rf"{name}: cannot be read"):
            read(follow_links=True)


def test_a_folder_of_a_release_in_the_store_is_no_link(tmp_path: Path) -> None:
    seal_factory(tmp_path, but=tuple(factory().components))
    (tmp_path / "writer").rename(tmp_path / "aside")
    (tmp_path / "writer").symlink_to("aside")
    Contents(tmp_path).check("writer/model.bin")
    with pytest.raises(ReleaseError, match=r"writer/model\.bin: is a link, or stands behind one"):
        Contents(tmp_path, follow_links=False).check("writer/model.bin")
    (tmp_path / "through").symlink_to(tmp_path)
    Contents(tmp_path / "through", follow_links=False).check("lexicon.txt")


def test_the_folder_that_a_release_was_built_in_needs_no_key(tmp_path: Path) -> None:
    manifest = seal_factory(tmp_path)
    for name in manifest.components:
        (tmp_path / name).write_bytes((FACTORY / name).read_bytes())
    contents = Contents(tmp_path)
    assert not contents.is_sealed
    assert contents.read("lexicon.txt") == (FACTORY / "lexicon.txt").read_bytes()
    (tmp_path / "lexicon.txt").write_bytes(bytes(manifest.components["lexicon.txt"].size_bytes))
    with pytest.raises(ReleaseError, match=r"lexicon.txt"):
        contents.read("lexicon.txt")


def test_it_is_opened_with_the_keys_beside_it_and_the_devices_own(tmp_path: Path) -> None:
    seal_factory(tmp_path)
    contents = Contents(tmp_path, device_key(tmp_path))
    assert contents.read("lexicon.txt") == (FACTORY / "lexicon.txt").read_bytes()
    assert Contents(FACTORY).read("lexicon.txt") == contents.read("lexicon.txt"), "in the clear no key is asked for"
    Path(device_key(tmp_path)).chmod(0o644)
    with pytest.raises(ReleaseError, match=r"device.key: others than its owner may use it; `chmod 600` it"):
        Contents(tmp_path, str(tmp_path / "device.key"))


def test_a_folder_without_a_manifest_or_with_one_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"manifest.json: cannot be read: No such file"):
        Contents(tmp_path)
    (tmp_path / "manifest.json").write_bytes(b" " * (MAX_MANIFEST_BYTES + 1))
    with pytest.raises(ReleaseError, match=r"manifest.json: larger than"):
        Contents(tmp_path)


@pytest.fixture(params=["in a folder", "in memory"])
def below(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where components stand in the clear: what is handed to `in_the_clear`. Either way all is in `tmp_path / "clear"`."""
    (tmp_path / "clear").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "clear"))
    return str(tmp_path / "clear") if request.param == "in a folder" else ""


def test_components_stand_in_the_clear_for_their_owner_alone_and_no_longer_than_they_are_used(tmp_path: Path, below: str) -> None:
    manifest = seal_factory(tmp_path / "sealed", but=("lexicon.txt",))
    contents = Contents(tmp_path / "sealed", device_key(tmp_path))
    with contents.in_the_clear(manifest.components, below) as folder:
        for name in manifest.components:
            assert (folder / name).read_bytes() == (FACTORY / name).read_bytes()
            assert (folder / name).is_symlink() == (not below), "without a folder the disk has links to memory alone"
            assert below == "" or (folder / name).stat().st_mode & 0o077 == 0
        assert folder.stat().st_mode & 0o077 == 0
        handles = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(RuntimeError), contents.in_the_clear(["lexicon.txt"], below):
        raise RuntimeError
    assert list((tmp_path / "clear").iterdir()) == []
    assert len(list(Path("/proc/self/fd").iterdir())) <= handles - len(manifest.components), "the memory is given back"


@pytest.mark.parametrize("name", ["lexicon.txt", "tokenizer.json"])
def test_nothing_is_left_in_the_clear_where_a_component_is_refused(tmp_path: Path, below: str, name: str) -> None:
    manifest = seal_factory(tmp_path / "sealed", but=("lexicon.txt",))
    contents = Contents(tmp_path / "sealed", device_key(tmp_path))
    (tmp_path / "sealed" / name).write_bytes(b"x")
    with pytest.raises(ReleaseError, match=name), contents.in_the_clear(manifest.components, below):
        pytest.fail("a block in which a component is missing")
    assert list((tmp_path / "clear").iterdir()) == []


def test_what_a_killed_process_left_in_the_clear_is_removed_and_what_another_uses_is_not(tmp_path: Path) -> None:
    seal_factory(tmp_path / "sealed")
    code = (
        "import os, sys; from pathlib import Path; from edge_agent.contents import Contents\n"
        "with Contents(Path(sys.argv[1]), sys.argv[2]).in_the_clear(['lexicon.txt'], sys.argv[3]):\n"
        "    os.kill(os.getpid(), 9)"
    )
    (tmp_path / "clear").mkdir()
    arguments = [str(tmp_path / "sealed"), device_key(tmp_path), str(tmp_path / "clear")]
    subprocess.run([sys.executable, "-c", code, *arguments], check=False, timeout=60)
    (left,) = (tmp_path / "clear").iterdir()
    contents = Contents(tmp_path / "sealed", arguments[1])
    with contents.in_the_clear(["lexicon.txt"], arguments[2]) as first:
        assert not left.exists()
        with contents.in_the_clear(["lexicon.txt"], arguments[2]) as second:
            assert {path.name for path in (tmp_path / "clear").iterdir()} == {first.name, second.name}


def test_a_large_component_is_compared_without_being_held(tmp_path: Path) -> None:
    size_bytes = 64 << 20
    part = b"weights " * (1 << 17)
    digest = hashlib.sha256()
    with (tmp_path / "large.bin").open("wb") as file:
        for _ in range(size_bytes // len(part)):
            file.write(part)
            digest.update(part)
    manifest = parse_manifest((FACTORY / MANIFEST_NAME).read_bytes(), "factory")
    component = Component(sha256=digest.hexdigest(), size_bytes=size_bytes)
    large = msgspec.structs.replace(manifest, components={**manifest.components, "large.bin": component})
    (tmp_path / MANIFEST_NAME).write_bytes(encode_manifest(large))
    contents = Contents(tmp_path)
    tracemalloc.start()
    contents.check("large.bin")
    with contents.in_the_clear(["large.bin"], str(tmp_path)) as folder:
        assert (folder / "large.bin").stat().st_size == size_bytes
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 8 << 20
    with (tmp_path / "large.bin").open("r+b") as file:
        file.seek(size_bytes // 2)
        file.write(b"x")
    with pytest.raises(ReleaseError, match=r"large\.bin does not have the digest"):
        contents.check("large.bin")


def test_a_file_that_goes_on_for_ever_is_left_where_the_component_ends(tmp_path: Path) -> None:
    seal_factory(tmp_path, but=tuple(factory().components))
    contents = Contents(tmp_path)
    os.truncate(tmp_path / "lexicon.txt", 1 << 40)
    for read in (contents.check, contents.read):
        with pytest.raises(ReleaseError, match=r"lexicon\.txt has [0-9]+ or more bytes instead of"):
            read("lexicon.txt")
