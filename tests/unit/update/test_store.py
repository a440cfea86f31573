"""The store: what is missing is known, what is installed is whole, what is damaged is named, what nobody needs goes."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_agent.errors import ReleaseError, StorageError
from edge_agent.release.manifest import MANIFEST_NAME
from edge_agent.update.store import Store
from tests.update.small_releases import (
    CHUNK_BYTES,
    MODEL,
    SmallRelease,
    adapted,
    fetch,
    put,
    release,
    sealed,
    stored,
)

FIRST, SECOND = release(1), release(2)
BASE, ADAPTER = b"base" * 1_000, b"adapter"


def merge(base: Path, adapter: Path, out: Path) -> None:
    out.write_bytes(base.read_bytes() + adapter.read_bytes())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.prepare()
    return store


def blob(folder: Path, of: SmallRelease, path: str = MODEL) -> Path:
    described = of.manifest.components[path]
    return folder / "blobs" / (described.stored or described).sha256


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    with path.open("r+b") as file:
        file.write(data)


def test_what_is_missing_is_named_once_with_its_bytes(store: Store) -> None:
    missing = [wanted.sha256 for _, wanted in store.missing(FIRST.manifest)]
    assert sorted(missing) == sorted(FIRST.blobs)
    assert store.missing_bytes(FIRST.manifest) == sum(map(len, FIRST.blobs.values()))


def test_what_another_release_brought_is_not_missing(store: Store, tmp_path: Path) -> None:
    put(store, FIRST)
    assert [path for path, _ in store.missing(SECOND.manifest)] == [MODEL]
    assert fetch(store, SECOND) == 2 * CHUNK_BYTES + 100
    assert store.missing(SECOND.manifest) == []


def test_what_stands_in_a_part_is_not_missing_but_a_hole_is(store: Store, tmp_path: Path) -> None:
    (_, wanted), *_ = [each for each in store.missing(FIRST.manifest) if each[0] == MODEL]
    with store.part(wanted) as part:
        part.resume()
        part.append(FIRST.blobs[wanted.sha256][:CHUNK_BYTES])
    whole = sum(map(len, FIRST.blobs.values()))
    assert store.missing_bytes(FIRST.manifest) == whole - CHUNK_BYTES
    with (tmp_path / "parts" / wanted.sha256).open("r+b") as file:
        file.truncate(0)
        file.truncate(1 << 40)
    assert store.missing_bytes(FIRST.manifest) == whole


def test_a_blob_of_another_size_or_kind_is_missing(store: Store, tmp_path: Path) -> None:
    put(store, FIRST)
    path = blob(tmp_path, FIRST)
    makers: list[Callable[[], object]] = [
        lambda: path.write_bytes(b"short"),
        lambda: os.symlink("/dev/zero", path),
        lambda: os.mkfifo(path),
        lambda: path.mkdir(),
    ]
    for make in makers:
        path.unlink()
        make()
        assert [name for name, _ in store.missing(FIRST.manifest)] == [MODEL]
        fetch(store, FIRST)
        assert path.read_bytes() == FIRST.blobs[path.name]


def test_a_release_is_installed_as_hard_links_that_only_the_service_writes(store: Store, tmp_path: Path) -> None:
    folder = put(store, FIRST)
    assert folder == tmp_path / "releases" / FIRST.sha256 == store.release_folder(FIRST.sha256)
    assert (folder / MANIFEST_NAME).read_bytes() == FIRST.data
    for path, described in FIRST.manifest.components.items():
        assert (folder / path).read_bytes() == FIRST.blobs[described.sha256]
        assert (folder / path).stat().st_ino == blob(tmp_path, FIRST, path).stat().st_ino
    for found in (found for place in ("blobs", "manifests", "releases") for found in (tmp_path / place).rglob("*")):
        assert stat.S_IMODE(found.stat().st_mode) == (0o750 if found.is_dir() else 0o640), found


def test_permissions_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        (tmp_path / "update").mkdir()
        folder = put(Store(tmp_path / "update"), FIRST)
    finally:
        os.umask(before)
    for path in (tmp_path / "update").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o750 if path.is_dir() else 0o640), path
    assert folder.is_dir()


def test_installing_again_changes_nothing(store: Store) -> None:
    folder = put(store, FIRST)
    before = folder.stat().st_ino
    assert store.install(FIRST.sha256) == folder
    assert folder.stat().st_ino == before


@pytest.mark.parametrize("damage", ["a file is missing", "a file is shorter", "the manifest is other", "it is a file"])
def test_a_folder_that_is_not_whole_is_made_anew(store: Store, tmp_path: Path, damage: str) -> None:
    folder = put(store, FIRST)
    match damage:
        case "a file is missing":
            (folder / "lexicon.txt").unlink()
        case "a file is shorter":
            (folder / MODEL).unlink()
            (folder / MODEL).write_bytes(b"")
        case "the manifest is other":
            (folder / MANIFEST_NAME).write_bytes(SECOND.data)
        case _:
            store.discard([f"releases/{FIRST.sha256}"])
            folder.write_bytes(b"")
    assert store.install(FIRST.sha256) == folder
    assert store.verify(FIRST.sha256) == []
    assert (folder / "lexicon.txt").exists()


def test_a_release_whose_blobs_are_not_all_there_is_not_installed(store: Store, tmp_path: Path) -> None:
    put(store, FIRST)
    store.put_manifest(SECOND.data)
    with pytest.raises(ReleaseError, match=r"writer/model\.bin: its blob is not in the store"):
        store.install(SECOND.sha256)
    assert os.listdir(tmp_path / "releases") == [FIRST.sha256]


def refuse_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)


def test_where_there_are_no_hard_links_blobs_are_copied(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_links(monkeypatch)
    folder = put(store, FIRST)
    assert store.verify(FIRST.sha256) == []
    assert (folder / MODEL).stat().st_ino != blob(tmp_path, FIRST).stat().st_ino


def test_a_damaged_blob_is_not_copied(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_links(monkeypatch)
    store.put_manifest(FIRST.data)
    fetch(store, FIRST)
    flip(blob(tmp_path, FIRST))
    with pytest.raises(ReleaseError, match="damaged"):
        store.install(FIRST.sha256)
    assert store.release_folder(FIRST.sha256) is None


def test_a_copy_that_would_leave_too_little_free_is_not_made(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_links(monkeypatch)
    store.put_manifest(FIRST.data)
    fetch(store, FIRST)
    with pytest.raises(StorageError, match="must stay free"):
        store.install(FIRST.sha256, min_free_bytes=1 << 60)


def test_a_merged_component_is_made_once_and_is_a_blob(store: Store, tmp_path: Path) -> None:
    offered = adapted(2, BASE, ADAPTER, BASE + ADAPTER)
    assert {path for path, _ in store.missing(offered.manifest)} >= {"base", "adapter"}
    assert MODEL not in {path for path, _ in store.missing(offered.manifest)}
    folder = put(store, offered, merge)
    assert (folder / MODEL).read_bytes() == BASE + ADAPTER
    assert stat.S_IMODE(blob(tmp_path, offered).stat().st_mode) == 0o640
    assert os.listdir(tmp_path / "parts") == []
    store.discard([f"releases/{offered.sha256}"])
    assert store.install(offered.sha256) == folder


@pytest.mark.parametrize(
    ("result", "how", "why"),
    [
        (BASE + b"adaptex", merge, "did not give the bytes"),
        (BASE[:-1], merge, "did not give the bytes"),
        (BASE + ADAPTER, None, "this agent cannot do"),
        (BASE + ADAPTER, lambda base, adapter, out: None, "did not give the bytes"),
        (BASE + ADAPTER, lambda base, adapter, out: os.symlink(base, out), "did not give the bytes"),
    ],
)
def test_what_does_not_come_out_as_declared_is_not_installed(
    store: Store, tmp_path: Path, result: bytes, how: Any, why: str
) -> None:
    offered = adapted(2, BASE, ADAPTER, result)
    with pytest.raises(ReleaseError, match=why):
        put(store, offered, how)
    assert os.listdir(tmp_path / "parts") == os.listdir(tmp_path / "releases") == []
    assert not blob(tmp_path, offered).exists()


def test_merging_leaves_free_what_must_stay_free(store: Store) -> None:
    offered = adapted(2, BASE, ADAPTER, BASE + ADAPTER)
    store.put_manifest(offered.data)
    fetch(store, offered)
    with pytest.raises(StorageError, match="must stay free"):
        store.install(offered.sha256, 1 << 60, merge)


def test_a_sealed_release_is_installed_with_its_keys_as_they_are_now(store: Store, tmp_path: Path) -> None:
    offered = sealed(3, None)
    with pytest.raises(ReleaseError, match="its keys are not in the store"):
        put(store, offered)
    for keys in (b'{"keys":1}', b'{"keys":2}'):
        folder = put(store, sealed(3, keys))
        assert (folder / "keys.json").read_bytes() == keys
        assert (folder / MODEL).read_bytes() == offered.blobs[blob(tmp_path, offered).name]
    assert store.verify(offered.sha256) == []


def test_keys_without_bounds_are_not_kept(store: Store) -> None:
    with pytest.raises(StorageError, match="not kept"):
        store.put_keys("0" * 64, bytes(9 << 20))


def test_an_undamaged_release_has_nothing_damaged(store: Store) -> None:
    put(store, FIRST)
    assert store.verify(FIRST.sha256) == []


def test_what_is_damaged_is_named_removed_and_comes_again(store: Store, tmp_path: Path) -> None:
    put(store, FIRST)
    put(store, SECOND)
    flip(blob(tmp_path, SECOND))
    name = blob(tmp_path, SECOND).name
    assert store.verify(SECOND.sha256) == [f"blobs/{name}", f"releases/{SECOND.sha256}/{MODEL}"]
    store.discard(store.verify(SECOND.sha256))
    assert store.release_folder(SECOND.sha256) is None
    assert [path for path, _ in store.missing(SECOND.manifest)] == [MODEL]
    assert store.verify(FIRST.sha256) == []
    put(store, SECOND)
    assert store.verify(SECOND.sha256) == []


def test_a_release_that_holds_a_damaged_file_of_its_own_is_made_of_the_good_blob(store: Store, tmp_path: Path) -> None:
    folder = put(store, FIRST)
    (folder / MODEL).unlink()
    (folder / MODEL).write_bytes(b"x" * (2 * CHUNK_BYTES + 100))
    assert store.verify(FIRST.sha256) == [f"releases/{FIRST.sha256}/{MODEL}"]
    store.discard(store.verify(FIRST.sha256))
    assert store.missing(FIRST.manifest) == []
    store.install(FIRST.sha256)
    assert store.verify(FIRST.sha256) == []


def test_what_the_disk_does_not_give_back_is_damaged(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, FIRST)
    bad = blob(tmp_path, FIRST)
    inode, read = bad.stat().st_ino, os.read

    def bad_sector(fd: int, count: int) -> bytes:
        if os.fstat(fd).st_ino == inode:
            raise OSError(5, "Input/output error")
        return read(fd, count)

    monkeypatch.setattr(os, "read", bad_sector)
    assert store.verify(FIRST.sha256) == [f"blobs/{bad.name}", f"releases/{FIRST.sha256}/{MODEL}"]


@pytest.mark.parametrize("kept", ["manifests/", "releases/"])
def test_one_good_copy_of_the_manifest_is_enough(store: Store, tmp_path: Path, kept: str) -> None:
    folder = put(store, FIRST)
    paths = {"manifests/": tmp_path / "manifests" / f"{FIRST.sha256}.json", "releases/": folder / MANIFEST_NAME}
    flip(next(path for place, path in paths.items() if place != kept))
    assert store.has_manifest(FIRST.sha256)
    assert store.manifest(FIRST.sha256) == FIRST.manifest
    assert store.install(FIRST.sha256) == folder
    store.put_manifest(FIRST.data)
    assert {path.read_bytes() for path in paths.values()} == {FIRST.data}


def test_without_its_manifest_all_of_a_release_is_damaged(store: Store, tmp_path: Path) -> None:
    folder = put(store, FIRST)
    (tmp_path / "manifests" / f"{FIRST.sha256}.json").write_bytes(b"")
    (folder / MANIFEST_NAME).unlink()
    assert not store.has_manifest(FIRST.sha256)
    with pytest.raises(ReleaseError, match="looked up again"):
        store.manifest(FIRST.sha256)
    store.discard(store.verify(FIRST.sha256))
    assert os.listdir(tmp_path / "releases") == os.listdir(tmp_path / "manifests") == []
    put(store, FIRST)


@pytest.mark.parametrize("name", ["parts/x", "../x", "blobs/..", "blobs/.", "blobs/", "record.a", "/etc/passwd", ""])
def test_only_what_is_in_the_store_is_removed(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="not in the store"):
        store.discard([name])


@pytest.mark.parametrize("digest", ["", "..", "0" * 63, "0" * 65, "A" * 64, "0" * 64 + "\n", "../" + "0" * 61])
def test_what_is_no_digest_is_no_part_of_a_path(store: Store, digest: str) -> None:
    for do in (store.manifest, store.install, store.release_folder, store.has_manifest):
        with pytest.raises(ReleaseError, match="no digest"):
            do(digest)


def test_only_what_a_needed_release_needs_stays(store: Store, tmp_path: Path) -> None:
    put(store, FIRST)
    put(store, SECOND)
    unneeded = release(9)
    with store.part(stored(unneeded.blobs[blob(tmp_path, unneeded).name])) as part:
        part.resume()
    freed = store.collect({SECOND.sha256})
    assert freed == 2 * CHUNK_BYTES + 100 + 2 * len(FIRST.data)
    assert os.listdir(tmp_path / "parts") == []
    assert os.listdir(tmp_path / "releases") == [SECOND.sha256]
    assert os.listdir(tmp_path / "manifests") == [f"{SECOND.sha256}.json"]
    assert set(os.listdir(tmp_path / "blobs")) == set(SECOND.blobs)
    assert store.verify(SECOND.sha256) == []
    assert store.collect({SECOND.sha256}) == 0


def test_a_part_of_a_release_under_way_stays_until_it_is_a_blob(store: Store, tmp_path: Path) -> None:
    store.put_manifest(FIRST.data)
    for _, wanted in store.missing(FIRST.manifest):
        with store.part(wanted) as part:
            part.resume()
    assert store.collect({FIRST.sha256}) == 0
    assert set(os.listdir(tmp_path / "parts")) == set(FIRST.blobs)
    name = blob(tmp_path, FIRST).name
    (tmp_path / "blobs" / name).write_bytes(FIRST.blobs[name])
    store.collect({FIRST.sha256})
    assert name not in os.listdir(tmp_path / "parts")


def test_where_a_needed_manifest_cannot_be_read_no_blob_goes(store: Store, tmp_path: Path) -> None:
    put(store, FIRST)
    put(store, SECOND)
    store.discard([f"releases/{SECOND.sha256}"])
    flip(tmp_path / "manifests" / f"{SECOND.sha256}.json")
    store.collect({SECOND.sha256})
    assert os.listdir(tmp_path / "releases") == []
    assert set(os.listdir(tmp_path / "blobs")) == set(FIRST.blobs) | set(SECOND.blobs)


def test_names_that_are_not_the_stores_are_left_alone(store: Store, tmp_path: Path) -> None:
    for place in ("blobs", "parts", "manifests", "releases"):
        (tmp_path / place / "lost+found").mkdir()
    store.collect(())
    store.prepare()
    assert all((tmp_path / place / "lost+found").is_dir() for place in ("blobs", "parts", "manifests", "releases"))


def test_what_was_interrupted_is_removed_and_no_link_is_followed(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_bytes(b"kept")
    (tmp_path / "releases" / ".x.making" / "writer").mkdir(parents=True)
    os.symlink(outside, tmp_path / "releases" / ".x.making" / "link")
    os.symlink(outside, tmp_path / "blobs" / ".link")
    os.symlink(outside, tmp_path / "releases" / ("1" * 64))
    (tmp_path / "parts" / ".y.merged").write_bytes(b"y")
    store.prepare()
    assert store.release_folder("1" * 64) is None
    store.collect(())
    assert [os.listdir(tmp_path / place) for place in ("blobs", "parts", "releases")] == [[], [], []]
    assert (outside / "kept").read_bytes() == b"kept"


def test_a_store_that_is_a_link_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    os.symlink(tmp_path / "elsewhere", tmp_path / "blobs")
    with pytest.raises(StorageError, match="is no folder"):
        Store(tmp_path).prepare()


def test_room_is_said_with_numbers(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    free = store.free_bytes()
    assert free > 0
    store.room_for(0, 0)
    monkeypatch.setattr(Store, "free_bytes", lambda _: 1_000)
    store.room_for(600, 400)
    with pytest.raises(StorageError, match="601 bytes are to be written and 400 must stay free, but only 1,000 are free"):
        store.room_for(601, 400)


def test_a_store_whose_folder_is_gone_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path / "gone")
    for do in (store.free_bytes, lambda: store.collect(())):
        with pytest.raises(StorageError, match="gone"):
            do()
