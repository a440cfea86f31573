"""The fetching process by itself: what it tells, what it counts, how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from msgspec import Struct
from msgspec.structs import replace

from edge_agent.clock import SystemClock
from edge_agent.release.manifest import MAX_COMPONENT_BYTES, Component, Merged, encode_manifest
from edge_agent.update.fetch import Stop, StoppedError, fetch
from edge_agent.update.jobs import Fetched, FetchJob, Progress, Repository
from edge_agent.update.store import Store
from tests.journals import SetClock
from tests.update import fleet
from tests.update.ranges import ranges

FILES = fleet.contents(1, writer_model_bin=50_000)
BLOBS = {f"targets/blobs/{fleet.digest(data)}.{fleet.digest(data)}": data for data in FILES.values()}
TOTAL = sum(map(len, FILES.values()))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "store").mkdir()
    made = Store(tmp_path / "store")
    made.prepare()
    made.put_manifest(fleet.made(FILES))
    return made


def job(tmp_path: Path, url: str, **more: int) -> FetchJob:
    return FetchJob(
        place=Repository(url=url),
        store_folder=str(tmp_path / "store"),
        manifest_sha256=fleet.digest(fleet.made(FILES)),
        max_bytes=more.get("max_bytes", 1 << 30),
        min_free_bytes=more.get("min_free_bytes", 0),
        timeout_s=10.0,
    )


def run(asked: FetchJob, said: list[Struct] | None = None) -> Fetched:
    return fetch(asked, SetClock(100.0), (said if said is not None else []).append, Stop(), pause_s=0.0)


def test_all_blobs_come_and_it_is_said_how_far_it_is(store: Store, tmp_path: Path) -> None:
    said: list[Struct] = []
    fetched = run(job(tmp_path, fleet.written(BLOBS, tmp_path / "repo")), said)
    assert fetched == Fetched(fetched_bytes=TOTAL, complete=True)
    assert store.missing(store.manifest(fleet.digest(fleet.made(FILES)))) == []
    lines = [line for line in said if isinstance(line, Progress)]
    assert [line.what for line in lines if line.done_bytes == TOTAL] == [lines[-1].what]
    assert {line.total_bytes for line in lines} == {TOTAL}
    assert [line.done_bytes for line in lines] == sorted(line.done_bytes for line in lines)
    # The clock stands still: one line when it begins, and one at the end of each blob.
    assert len(lines) == 1 + len(FILES)


def test_what_is_there_is_not_fetched_again(store: Store, tmp_path: Path) -> None:
    with ranges(BLOBS) as server:
        assert run(job(tmp_path, server.url)).complete
        asked = len(server.asked)
        assert run(job(tmp_path, server.url)) == Fetched(fetched_bytes=0, complete=True)
        assert len(server.asked) == asked


def test_a_blob_that_rotted_since_is_fetched_again_and_no_other(store: Store, tmp_path: Path) -> None:
    url = fleet.written(BLOBS, tmp_path / "repo")
    assert run(job(tmp_path, url)).complete
    rotten = tmp_path / "store/blobs" / fleet.digest(FILES["lexicon.txt"])
    rotten.write_bytes(bytes(len(FILES["lexicon.txt"])))
    assert run(job(tmp_path, url)) == Fetched(fetched_bytes=len(FILES["lexicon.txt"]), complete=True)
    assert rotten.read_bytes() == FILES["lexicon.txt"]


def test_the_bytes_that_may_be_fetched_end_it_before_the_chunk_that_does_not_fit(store: Store, tmp_path: Path) -> None:
    url = fleet.written(BLOBS, tmp_path / "repo")
    fetched = run(job(tmp_path, url, max_bytes=20_000))
    assert fetched.problem is not None
    assert (fetched.problem.kind, fetched.problem.reason) == ("budget", "bytes")
    assert 20_000 - fleet.CHUNK < fetched.fetched_bytes <= 20_000
    rest = run(job(tmp_path, url))
    assert rest.complete
    assert rest.fetched_bytes + fetched.fetched_bytes == TOTAL


def test_nothing_is_fetched_where_there_is_no_room_for_all(store: Store, tmp_path: Path) -> None:
    with ranges(BLOBS) as server:
        fetched = run(job(tmp_path, server.url, min_free_bytes=1 << 60))
        assert server.asked == []
    assert fetched.problem is not None
    assert (fetched.problem.kind, fetched.problem.reason) == ("storage", "disk")


def test_nothing_is_fetched_where_there_is_no_room_for_what_will_be_merged(store: Store, tmp_path: Path) -> None:
    components = {path: fleet.described(data) for path, data in FILES.items()}
    merged = Merged(base="writer/model.bin", adapter="lexicon.txt")
    components["merged.bin"] = Component(sha256="0" * 64, size_bytes=MAX_COMPONENT_BYTES, merged=merged)
    manifest = fleet.manifest_of(components)
    asked = replace(
        job(tmp_path, fleet.written(BLOBS, tmp_path / "repo"), min_free_bytes=store.free_bytes() - (MAX_COMPONENT_BYTES >> 1)),
        manifest_sha256=store.put_manifest(encode_manifest(manifest)),
    )
    for _ in ("first", "with all that is fetched there already"):
        fetched = run(asked)
        assert fetched.problem is not None
        assert (fetched.problem.kind, fetched.fetched_bytes) == ("storage", 0)
        assert run(job(tmp_path, asked.place.url)).complete  # type: ignore[union-attr]  # a repository


def test_a_manifest_that_is_not_in_the_store_is_said(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    fetched = run(job(tmp_path, f"file://{tmp_path}"))
    assert fetched.problem is not None
    assert (fetched.problem.kind, fetched.problem.reason) == ("release", "fetch")


def test_a_stop_waits_for_what_writes_and_for_nothing_else() -> None:
    stop = Stop()
    with pytest.raises(StoppedError):
        stop.asked(signal.SIGTERM, None)
    written = []

    def write() -> None:
        with stop.held_off():
            stop.asked(signal.SIGTERM, None)
            written.append(1)

    stop = Stop()
    with pytest.raises(StoppedError):
        write()
    assert written == [1]


def test_stopped_on_the_way_what_came_is_kept(store: Store, tmp_path: Path) -> None:
    stop = Stop()
    asked = job(tmp_path, fleet.written(BLOBS, tmp_path / "repo"))

    def say(line: Struct) -> None:
        assert isinstance(line, Progress)
        if line.done_bytes:
            stop.asked(signal.SIGTERM, None)

    fetched = fetch(asked, SetClock(100.0), say, stop)
    assert fetched.problem is not None
    assert (fetched.complete, fetched.problem.kind, fetched.problem.reason) == (False, "link", "stopped")
    left = store.missing_bytes(store.manifest(asked.manifest_sha256))
    assert left == TOTAL - fetched.fetched_bytes


def test_as_a_process_it_reads_one_job_and_says_lines(store: Store, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edge_agent.update.fetch"]
    asked = msgspec.json.encode(job(tmp_path, fleet.written(BLOBS, tmp_path / "repo")))
    done = subprocess.run(command, input=asked, capture_output=True, timeout=60, check=True)
    lines = done.stdout.splitlines()
    assert msgspec.json.decode(lines[-1], type=Fetched) == Fetched(fetched_bytes=TOTAL, complete=True)
    assert all(msgspec.json.decode(line, type=Progress).total_bytes == TOTAL for line in lines[:-1])
    done = subprocess.run(command, input=b"[]", capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, b"")


def test_it_does_without_libraries_that_cost_memory() -> None:
    costly = {"tuf", "numpy", "securesystemslib", "cryptography"}
    loaded = f"import sys, edge_agent.update.fetch; print(sorted({costly} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, timeout=60, check=True, env={**os.environ})
    assert done.stdout == b"[]\n"


def test_it_runs_by_the_systems_clock(store: Store, tmp_path: Path) -> None:
    said: list[Struct] = []
    asked = job(tmp_path, fleet.written(BLOBS, tmp_path / "repo"))
    assert fetch(asked, SystemClock(), said.append, Stop()).complete
    assert said
