"""A recorded day again, in other processes: the same input and release give the same bytes, whatever else is different.

The expected head is not written down here: the writer's INT8 arithmetic may differ from one family of processors to another, and
then its log-probabilities, and in rare cases its words, do.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECORDING = ROOT / "tests" / "recordings" / "host.csv"
OUTPUTS = ("summaries", "audit", "incidents", "events", "scores")


def edge_agent(folder: Path, *arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, in `folder`."""
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", "edge_agent", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def replayed(folder: Path, **environ: str) -> dict[str, bytes]:
    """Everything that a replay of the recording writes, run in `folder` with these variables."""
    outputs = [f"--{what}={folder / what}" for what in OUTPUTS]
    done = edge_agent(folder, "replay", RECORDING, *outputs, **environ)
    assert done.returncode == 0, done.stderr
    return {what: (folder / what).read_bytes() for what in OUTPUTS}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return replayed(tmp_path_factory.mktemp("first"), PYTHONHASHSEED="1", TZ="UTC", LC_ALL="C.UTF-8")


def test_another_process_hash_seed_time_zone_locale_and_folder_give_the_same_bytes(
    first: dict[str, bytes], tmp_path: Path
) -> None:
    other = tmp_path / "another ordner ü"
    again = replayed(
        other, PYTHONHASHSEED="4242", TZ="Asia/Kolkata", LC_ALL="C", LANG="C", PYTHONOPTIMIZE="1", OMP_NUM_THREADS="2"
    )
    assert again == first
    assert first["summaries"].count(b"\n") == first["audit"].count(b"\n") >= 2
    assert b'"route":"writer"' in first["summaries"], "the writer wrote nothing, so this shows little"


def test_the_recorded_log_is_verified_and_comes_again(first: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").write_bytes(first["audit"])
    verified = edge_agent(tmp_path, "audit", "verify", "audit.jsonl")
    assert verified.returncode == 0, verified.stderr
    again = edge_agent(tmp_path, "audit", "replay", RECORDING, "audit.jsonl", PYTHONHASHSEED="7")
    assert again.returncode == 0, again.stdout + again.stderr
    head = again.stdout.split()[-1]
    assert head in verified.stdout
    noted = edge_agent(tmp_path, "audit", "verify", "--head", head, "audit.jsonl")
    assert noted.returncode == 0, noted.stdout


def test_a_recorded_log_that_was_touched_is_told(first: dict[str, bytes], tmp_path: Path) -> None:
    lines = first["audit"].splitlines(keepends=True)
    (tmp_path / "audit.jsonl").write_bytes(b"".join([lines[0].replace(b"writer", b"template", 1), *lines[1:]]))
    told = edge_agent(tmp_path, "audit", "verify", "audit.jsonl")
    assert told.returncode == 1
    assert "entry 1" in told.stdout
    again = edge_agent(tmp_path, "audit", "replay", RECORDING, "audit.jsonl")
    assert again.returncode == 1
