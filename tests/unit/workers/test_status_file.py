"""The status file: found while its agent runs, ignored when it was left behind or is another agent's."""

from __future__ import annotations

import os
from pathlib import Path

from msgspec.structs import replace

from edge_agent.workers.host import process_start
from edge_agent.workers.status_file import AgentStatus, choose_path, read_status, remove_status, status_paths, write_status


def _status(state_dir: Path) -> AgentStatus:
    pid = os.getpid()
    return AgentStatus(
        pid=pid,
        pid_start=process_start(pid),
        state_dir=str(state_dir),
        gateway="gw",
        connected=True,
        health={"status": "ok"},
        latency_s={"arrival_to_anomaly": {"p50": 0.1}},
    )


def test_what_was_written_is_read_while_the_process_lives(tmp_path: Path) -> None:
    path, is_runtime = choose_path(str(tmp_path / "run"), str(tmp_path), "gw")
    assert is_runtime
    write_status(path, _status(tmp_path))
    paths = status_paths(str(tmp_path / "run"), str(tmp_path), "gw")
    assert read_status(paths, str(tmp_path)) == _status(tmp_path)
    remove_status(path)
    assert read_status(paths, str(tmp_path)) is None


def test_a_file_left_behind_is_no_running_agents(tmp_path: Path) -> None:
    path = tmp_path / "status-gw.json"
    own = _status(tmp_path)
    assert own.pid_start is not None
    write_status(path, replace(own, pid_start=own.pid_start - 1))
    assert read_status([path], str(tmp_path)) is None


def test_the_file_of_an_agent_on_another_state_folder_is_not_ours(tmp_path: Path) -> None:
    path = tmp_path / "status-gw.json"
    write_status(path, _status(tmp_path / "other"))
    assert read_status([path], str(tmp_path)) is None


def test_a_damaged_file_is_passed_over(tmp_path: Path) -> None:
    damaged, good = tmp_path / "a.json", tmp_path / "b.json"
    damaged.write_bytes(b'{"pid": ')
    write_status(good, _status(tmp_path))
    assert read_status([damaged, good], str(tmp_path)) is not None


def test_without_a_runtime_folder_the_state_folder_takes_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path, is_runtime = choose_path(str(tmp_path / "file" / "run"), str(tmp_path), "gw")
    assert (path.parent, is_runtime) == (tmp_path, False)
