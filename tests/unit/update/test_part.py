"""A blob on its way in: only verified chunks are written, and only what is verified anew is gone on from."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import ReleaseError, RepositoryRefusedError, StorageError
from edge_agent.release.manifest import Stored
from edge_agent.update import part as module
from edge_agent.update.part import Part
from tests.deadline import eventually
from tests.update.crash_states import MODELS, Model, Recorder, after_a_cut
from tests.update.small_releases import CHUNK_BYTES, sha256, stored

DATA = os.urandom(3 * CHUNK_BYTES + 5)
CHUNKS = [DATA[at : at + CHUNK_BYTES] for at in range(0, len(DATA), CHUNK_BYTES)]
WANTED = stored(DATA)


def part_in(folder: Path, wanted: Stored = WANTED, monotonic_s: Callable[[], float] = lambda: 0.0) -> Part:
    for name in ("parts", "blobs"):
        (folder / name).mkdir(exist_ok=True)
    return Part(wanted, folder / "parts" / wanted.sha256, folder / "blobs" / wanted.sha256, monotonic_s)


def standing(folder: Path) -> bytes:
    return (folder / "parts" / WANTED.sha256).read_bytes()


def finish(part: Part) -> None:
    with part:
        for chunk in CHUNKS[part.resume() :]:
            part.append(chunk)
        part.finish()


def blob(folder: Path) -> bytes:
    assert os.listdir(folder / "parts") == []
    return (folder / "blobs" / WANTED.sha256).read_bytes()


def test_chunks_become_a_blob(tmp_path: Path) -> None:
    finish(part_in(tmp_path))
    assert blob(tmp_path) == DATA
    assert (tmp_path / "blobs" / WANTED.sha256).stat().st_mode & 0o777 == 0o640


def test_a_blob_without_bytes_is_one(tmp_path: Path) -> None:
    wanted = stored(b"")
    with part_in(tmp_path, wanted) as part:
        assert part.resume() == 0
        part.finish()
    assert (tmp_path / "blobs" / wanted.sha256).read_bytes() == b""


@pytest.mark.parametrize(
    "chunk",
    [b"", CHUNKS[1], CHUNKS[0][:-1], CHUNKS[0] + b"x", bytes(CHUNK_BYTES)],
    ids=["none", "next", "short", "long", "other"],
)
def test_what_is_not_the_next_chunk_is_not_written(tmp_path: Path, chunk: bytes) -> None:
    with part_in(tmp_path) as part:
        part.resume()
        with pytest.raises(RepositoryRefusedError, match="mismatch"):
            part.append(chunk)
        assert standing(tmp_path) == b""
        part.append(CHUNKS[0])
    assert standing(tmp_path) == CHUNKS[0]


def test_there_is_no_chunk_after_the_last(tmp_path: Path) -> None:
    with part_in(tmp_path) as part:
        part.resume()
        for chunk in CHUNKS:
            part.append(chunk)
        with pytest.raises(RepositoryRefusedError):
            part.append(b"")
        assert (part.chunks, part.size_bytes) == (4, len(DATA))


def test_a_part_is_resumed_first_and_finished_last(tmp_path: Path) -> None:
    part = part_in(tmp_path)
    with pytest.raises(ValueError, match="resumed"):
        part.append(CHUNKS[0])
    with pytest.raises(ValueError, match="resumed"):
        part.finish()
    part.resume()
    with part, pytest.raises(ValueError, match="0 of 4"):
        part.finish()


@pytest.mark.parametrize("count", range(5))
def test_it_goes_on_after_the_chunks_that_stand(tmp_path: Path, count: int) -> None:
    with part_in(tmp_path) as part:
        part.resume()
        for chunk in CHUNKS[:count]:
            part.append(chunk)
    again = part_in(tmp_path)
    assert again.resume() == count
    finish(again)
    assert blob(tmp_path) == DATA


@given(
    kept=st.integers(0, len(DATA)),
    more=st.one_of(st.binary(max_size=50), st.just(bytes(2 * CHUNK_BYTES)), st.just(DATA)),
    flip=st.one_of(st.none(), st.integers(0, len(DATA) - 1)),
)
def test_whatever_stands_there_only_its_good_beginning_is_kept(
    tmp_path_factory: pytest.TempPathFactory, kept: int, more: bytes, flip: int | None
) -> None:
    folder = tmp_path_factory.mktemp("part")
    part = part_in(folder)
    found = bytearray(DATA[:kept] + more)
    if flip is not None and flip < len(found):
        found[flip] ^= 1
    (folder / "parts" / WANTED.sha256).write_bytes(found)
    good = 0
    while good < 4 and CHUNKS[good] == found[good * CHUNK_BYTES : (good + 1) * CHUNK_BYTES][: len(CHUNKS[good])]:
        good += 1
    assert part.resume() == good
    assert standing(folder) == DATA[: good * CHUNK_BYTES]
    finish(part)
    assert blob(folder) == DATA


def test_a_part_that_claims_gigabytes_and_is_a_hole_is_cut_off_at_once(tmp_path: Path) -> None:
    part = part_in(tmp_path)
    with (tmp_path / "parts" / WANTED.sha256).open("wb") as file:
        file.truncate(5 << 30)
    assert part.resume() == 0
    assert standing(tmp_path) == b""
    part.close()


def test_whatever_is_no_file_of_its_own_is_put_out_of_the_way(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(DATA)
    path = tmp_path / "parts" / WANTED.sha256
    path.parent.mkdir()
    makers: list[Callable[[], object]] = [
        lambda: os.symlink(outside, path),
        lambda: os.link(outside, path),
        lambda: os.mkfifo(path),
        lambda: os.makedirs(path / "deeper"),
    ]
    for make in makers:
        make()
        with part_in(tmp_path) as part:
            assert part.resume() == 0
            part.append(CHUNKS[0])
        assert standing(tmp_path) == CHUNKS[0]
        assert outside.read_bytes() == DATA
        path.unlink()


def test_what_stands_where_the_blob_goes_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "blobs" / WANTED.sha256
    makers: list[Callable[[], object]] = [lambda: target.write_bytes(b"damaged"), lambda: os.makedirs(target / "folder")]
    for make in makers:
        part = part_in(tmp_path)
        make()
        finish(part)
        assert blob(tmp_path) == DATA
        target.unlink()


def test_a_manifest_whose_chunks_are_not_its_blob_puts_nothing_under_that_name(tmp_path: Path) -> None:
    lying = Stored(sha256="0" * 64, size_bytes=len(DATA), chunk_bytes=CHUNK_BYTES, chunks=WANTED.chunks)
    with part_in(tmp_path, lying) as part:
        part.resume()
        for chunk in CHUNKS:
            part.append(chunk)
        with pytest.raises(ReleaseError, match="do not make it up"):
            part.finish()
    assert os.listdir(tmp_path / "parts") == os.listdir(tmp_path / "blobs") == []


@pytest.mark.parametrize("model", MODELS)
def test_what_a_killed_process_wrote_and_did_not_sync_is_a_blob_only_once_it_is_on_the_disk(tmp_path: Path, model: Model) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    part_in(folder)
    recorder = Recorder(folder)
    with recorder.recording():
        fd = os.open(folder / "parts" / WANTED.sha256, os.O_WRONLY | os.O_CREAT)
        os.write(fd, DATA)
        os.close(fd)
        finish(part_in(folder))
    found = {state.disk.get(f"blobs/{WANTED.sha256}") for state in after_a_cut(recorder, model)}
    assert found == {None, DATA}


def syncs(folder: Path, monkeypatch: pytest.MonkeyPatch, seconds_a_chunk: float) -> int:
    """How often the file is synced while all chunks are appended."""
    now = 0.0
    count = 0
    fsync = os.fsync

    def counted(fd: int) -> None:
        nonlocal count
        count += 1
        fsync(fd)

    with part_in(folder, monotonic_s=lambda: now) as part:
        part.resume()
        monkeypatch.setattr(os, "fsync", counted)
        for chunk in CHUNKS:
            now += seconds_a_chunk
            part.append(chunk)
        return count


def test_on_a_slow_link_every_chunk_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert syncs(tmp_path, monkeypatch, seconds_a_chunk=52.0) == 4


def test_on_a_fast_link_the_disk_is_not_waited_for_after_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert syncs(tmp_path, monkeypatch, seconds_a_chunk=0.01) == 0


def test_after_many_bytes_it_is_synced_however_fast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SYNC_BYTES", CHUNK_BYTES + 1)
    assert syncs(tmp_path, monkeypatch, seconds_a_chunk=0.0) == 2


def test_an_orderly_end_syncs_what_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0

    def counted(fd: int) -> None:
        nonlocal count
        count += 1

    part = part_in(tmp_path)
    part.resume()
    part.append(CHUNKS[0])
    monkeypatch.setattr(os, "fsync", counted)
    part.close()
    part.close()
    assert count == 1


def fail(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    def failing(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, name, failing)


def test_a_sync_that_fails_takes_back_what_it_may_have_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    part = part_in(tmp_path, monotonic_s=lambda: now)
    part.resume()
    now = 5.0
    part.append(CHUNKS[0])
    part.append(CHUNKS[1])
    now = 10.0
    with monkeypatch.context() as patched:
        fail(patched, "fsync", 5)
        with pytest.raises(StorageError, match="Input/output error"):
            part.append(CHUNKS[2])
    assert standing(tmp_path) == CHUNKS[0]
    finish(part)
    assert blob(tmp_path) == DATA


def test_a_disk_that_is_full_in_the_middle_of_a_chunk_keeps_those_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = part_in(tmp_path)
    part.resume()
    part.append(CHUNKS[0])
    pwrite = os.pwrite

    def half(fd: int, data: memoryview, at: int) -> int:
        if len(data) < 100:
            raise OSError(28, "No space left on device")
        return pwrite(fd, data[: len(data) // 2], at)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", half)
        with pytest.raises(StorageError, match="No space left on device"):
            part.append(CHUNKS[1])
    assert standing(tmp_path) == CHUNKS[0]
    assert part.resume() == 1
    finish(part)


def test_what_cannot_be_read_any_more_is_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with part_in(tmp_path) as part:
        part.resume()
        for chunk in CHUNKS[:3]:
            part.append(chunk)
    pread = os.pread

    def bad_sector(fd: int, count: int, at: int) -> bytes:
        if at >= CHUNK_BYTES:
            raise OSError(5, "Input/output error")
        return pread(fd, count, at)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", bad_sector)
        assert part.resume() == 1
    finish(part)
    assert blob(tmp_path) == DATA


def test_chunks_larger_than_one_read_are_hashed_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_READ_BYTES", 1_000)
    with part_in(tmp_path) as part:
        part.resume()
        for chunk in CHUNKS:
            part.append(chunk)
        assert part.resume() == 4
        part.finish()
    assert sha256(blob(tmp_path)) == WANTED.sha256


LARGE = os.urandom(300_000)


@pytest.mark.parametrize("threads", ["allowed", "not allowed"])
def test_large_chunks_are_hashed_whole_whether_or_not_there_may_be_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: str
) -> None:
    start, started = threading.Thread.start, []

    def asked(thread: threading.Thread) -> None:
        if threads == "not allowed":
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", asked)
    wanted = stored(LARGE, chunk_bytes=150_000)
    with part_in(tmp_path, wanted) as part:
        part.resume()
        for chunk in (LARGE[:150_000], LARGE[150_000:]):
            with pytest.raises(RepositoryRefusedError, match="mismatch"):
                part.append(bytes(150_000))
            part.append(chunk)
        part.finish()
    assert (tmp_path / "blobs" / wanted.sha256).read_bytes() == LARGE
    assert len(started) == (threads == "allowed")
    eventually(lambda: not any(thread.is_alive() for thread in started))


def test_what_goes_wrong_beside_is_raised_and_ends_nothing() -> None:
    adder, added = module._Adder(), []

    def fails() -> None:
        raise MemoryError

    with pytest.raises(MemoryError), adder.adding(fails):
        pass
    with adder.adding(lambda: added.append(1)):
        pass
    adder.end()
    assert added == [1]
