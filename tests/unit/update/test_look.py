"""The looking process by itself: its job, its one line, and what it says where it cannot even begin."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from edge_agent.clock import SystemClock
from edge_agent.update.floor import ROOT, Floor, RoleFloor
from edge_agent.update.jobs import Bundle, Looked, LookJob, Place, Repository
from edge_agent.update.look import look

KNOWN = Floor(roles={ROOT: RoleFloor(version=3)})
NOW_S = 1.9e9


def job(folder: Path, place: Place | None = None, known: Floor = KNOWN) -> LookJob:
    return LookJob(
        place=place or Repository(url=f"file://{folder}/none"),
        group="a",
        trust_folder=str(folder / "trust"),
        root_file=str(folder / "root.json"),
        now_s=NOW_S,
        build_time_s=1.0,
        known=known,
        timeout_s=5.0,
    )


def told(asked: LookJob) -> tuple[str, str]:
    """Kind and reason, where nothing was found out."""
    looked = look(asked, SystemClock())
    assert looked.problem is not None
    assert (looked.manifest, looked.keys, looked.floor, looked.time_s) == (None, None, asked.known, NOW_S)
    return looked.problem.kind, looked.problem.reason


@pytest.mark.parametrize("root", [None, b"", b"{}", b"not json", b"x" * (2 << 20)])
def test_a_factory_root_that_is_none_is_lost_trust(tmp_path: Path, root: bytes | None) -> None:
    if root is not None:
        (tmp_path / "root.json").write_bytes(root)
    assert told(job(tmp_path, known=Floor())) == ("trust-lost", "root")
    assert not list((tmp_path / "trust").glob("*")) if root is not None else True


def test_a_bundle_that_is_none_is_refused_and_one_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "root.json").write_bytes(b"only read")
    assert told(job(tmp_path, Bundle(path=str(tmp_path / "none")))) == ("link", "link")
    (tmp_path / "stick.tar").write_bytes(b"x" * 4_096)
    assert told(job(tmp_path, Bundle(path=str(tmp_path / "stick.tar")))) == ("refused", "bundle")


def test_a_folder_that_cannot_be_made_is_the_disk(tmp_path: Path) -> None:
    (tmp_path / "root.json").write_bytes(b"only read")
    (tmp_path / "trust").write_bytes(b"in the way")
    assert told(job(tmp_path)) == ("storage", "disk")


@pytest.mark.parametrize(("now_s", "build_time_s"), [(0.0, NOW_S), (NOW_S, 0.0)])
def test_where_nothing_is_trusted_yet_it_is_no_earlier_than_the_agent_was_built(
    tmp_path: Path, now_s: float, build_time_s: float
) -> None:
    assert told(replace(job(tmp_path), now_s=now_s, build_time_s=build_time_s)) == ("trust-lost", "root")


def test_as_a_process_it_reads_one_job_and_says_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edge_agent.update.look"]
    done = subprocess.run(command, input=msgspec.json.encode(job(tmp_path)), capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.count(b"\n")) == (0, 1)
    looked = msgspec.json.decode(done.stdout, type=Looked)
    assert looked.problem is not None
    assert looked.problem.kind == "trust-lost"
    done = subprocess.run(command, input=b"{}", capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"not a job" in done.stderr
