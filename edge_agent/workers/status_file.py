"""The status file: how a running agent is, for `edge-agent status` on the same machine.

Rules: it belongs into a folder that is lost at shutdown (the runtime folder); where there is none it stands in the state
folder and is written seldom. It says whose it is by process id and start, so that a file left behind is recognised.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from edge_agent.atomic import write_atomic
from edge_agent.errors import StorageError
from edge_agent.workers.host import process_start

MAX_BYTES = 1 << 20


class AgentStatus(Struct, frozen=True, kw_only=True):
    """The content of the status file."""

    pid: int
    pid_start: int | None
    state_dir: str
    gateway: str
    connected: bool
    health: Mapping[str, object]
    """The document of the topic `health`."""
    latency_s: Mapping[str, Mapping[str, float]]
    """Quantiles by what was measured."""
    kinds: Mapping[str, int] = {}
    """Anomalies that ended, by kind."""
    running_s: float = 0.0
    """For how long the agent runs, by a clock that nobody sets."""


def status_paths(runtime_dir: str, state_dir: str, gateway: str) -> tuple[Path, Path]:
    """Where the file may stand: first choice, second choice."""
    name = f"status-{gateway}.json"
    return Path(runtime_dir) / name, Path(state_dir) / name


def choose_path(runtime_dir: str, state_dir: str, gateway: str) -> tuple[Path, bool]:
    """Where to write the file, and whether that is the runtime folder, which is made if possible."""
    first, second = status_paths(runtime_dir, state_dir, gateway)
    try:
        first.parent.mkdir(parents=True, exist_ok=True)
    except OSError:
        return second, False
    return (first, True) if os.access(first.parent, os.W_OK) else (second, False)


def write_status(path: Path, status: AgentStatus) -> None:
    """Replace the file. Raises StorageError."""
    write_atomic(path, msgspec.json.encode(status), mode=0o644)


def read_status(paths: Iterable[Path], state_dir: str) -> AgentStatus | None:
    """The status of the agent that runs on `state_dir`; None if none of the files is a running agent's."""
    for path in paths:
        try:
            with path.open("rb") as file:
                status = msgspec.json.decode(file.read(MAX_BYTES), type=AgentStatus)
        except (OSError, msgspec.DecodeError):
            continue
        alive = status.pid_start is not None and process_start(status.pid) == status.pid_start
        if alive and os.path.realpath(status.state_dir) == os.path.realpath(state_dir):
            return status
    return None


def remove_status(path: Path) -> None:
    """Take the file away at a clean stop. Raises StorageError."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{path}: not removed: {error.strerror}; remove it by hand") from error
