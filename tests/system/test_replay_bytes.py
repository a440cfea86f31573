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

from tests.series import white

ROOT = Path(__file__).resolve().parents[2]
RECORDING = ROOT / "tests" / "recordings" / "host.csv"
PLAIN = {"PYTHONHASHSEED": "1", "TZ": "UTC", "LC_ALL": "C.UTF-8"}
OTHERWISE = {
    "PYTHONHASHSEED": "4242",
    "TZ": "Asia/Kolkata",
    "LC_ALL": "C",
    "LANG": "C",
    "PYTHONOPTIMIZE": "1",
    "OMP_NUM_THREADS": "2",
}
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


def replayed(source: Path, folder: Path, **environ: str) -> dict[str, bytes]:
    """Everything that a replay of a recording writes, run in `folder` with these variables."""
    outputs = [f"--{what}={folder / what}" for what in OUTPUTS]
    done = edge_agent(folder, "replay", source, *outputs, **environ)
    assert done.returncode == 0, done.stderr
    return {what: (folder / what).read_bytes() for what in OUTPUTS}


def line(path: Path) -> Path:
    """A recording of two pumps, one reading a second, with a spike, a shift, a stuck sensor and one that falls silent."""
    vibration, flow = white(5, 1_500, level=20.0), white(6, 1_500, level=50.0)
    vibration[400] += 25.0
    vibration[700:] += 12.0
    flow[1_000:1_120] = flow[1_000]
    cells = [
        f"{1_790_000_000 + i},{v},{f if not 500 <= i < 620 else ''}" for i, (v, f) in enumerate(zip(vibration, flow, strict=True))
    ]
    path.write_text("\n".join(["time,pump-1/vibration,pump-2/flow", *cells]) + "\n")
    return path


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return replayed(RECORDING, tmp_path_factory.mktemp("first"), **PLAIN)


def test_another_process_hash_seed_time_zone_locale_and_folder_give_the_same_bytes(
    first: dict[str, bytes], tmp_path: Path
) -> None:
    again = replayed(RECORDING, tmp_path / "another ordner ü", **OTHERWISE)
    assert again == first
    assert first["summaries"].count(b"\n") == first["audit"].count(b"\n") >= 2
    assert b'"route":"writer"' in first["summaries"], "the writer wrote nothing, so this shows little"


def test_several_incidents_of_several_kinds_come_again_to_the_byte(tmp_path: Path) -> None:
    source = line(tmp_path / "line.csv")
    once = replayed(source, tmp_path / "once", **PLAIN)
    assert replayed(source, tmp_path / "again", **OTHERWISE) == once
    kinds = {kind for kind in ("spike", "shift", "stuck", "silence") if f'"kind":"{kind}"'.encode() in once["events"]}
    assert len(kinds) >= 3, kinds
    assert once["incidents"].count(b"\n") >= 3


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
