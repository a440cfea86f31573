"""A real agent that takes releases over the air, for tests: its settings, and what it and the broker say of an update."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

from edge_agent.engines.loading import FACTORY
from edge_agent.update.record import Record
from edge_agent.workers.keeper import read_record
from edge_agent.workers.status_file import read_status, status_paths
from tests.agent import GATEWAY, AgentProcess, Watcher, eventually, quiet_values
from tests.update.whole_updates import Fleet, Gateway, soaking

READINGS = 130
"""Of one burst, which makes one incident."""
SPIKE_AT = 100
UPDATE_S = 90.0
"""How long a whole update may take on a busy machine."""
OTHER_WRITER = {"writer/config.json": (FACTORY / "writer/config.json").read_bytes() + b"\n"}
"""Changes under which the writer of a release has to be opened anew: else it is the one that runs already."""


class UpdatingAgent(AgentProcess):
    """An agent of the group `canary` of a fleet."""

    def __init__(
        self,
        folder: Path,
        port: int,
        fleet: Fleet,
        *,
        soak_s: float = 1.0,
        update: dict[str, Any] | None = None,
        environ: dict[str, str] | None = None,
        entry: tuple[str, ...] = ("-m", "edge_agent.cli"),
        **settings: Any,
    ) -> None:
        updates = {
            "group": "canary",
            "root_file": str(fleet.root_file),
            "repository": {"url": f"file://{fleet.repository}"},
            "min_free_bytes": 0,
            "soak_s": soak_s,
            **(update or {}),
        }
        # Many incidents at once are no storm here, which would be one incident of the whole site.
        incidents = {"join_within_s": 20.0, "close_after_s": 3.0, "storm_incidents": 10_000}
        super().__init__(folder, port, environ, entry, update=updates, incidents=incidents, **settings)

    def __enter__(self) -> UpdatingAgent:
        return self

    def start(self) -> None:
        """Start the process and wait until it is ready, and until the command line can know that it runs."""
        super().start()
        paths = status_paths(str(self.folder / "run"), str(self.state), GATEWAY)
        eventually(lambda: self.notifications() and read_status(paths, str(self.state)), "the status file is written")

    def record(self) -> Record:
        """What stands on the disk, read beside the agent."""
        return read_record(self.state)

    def until_ended(self, outcomes: int = 1, timeout_s: float = UPDATE_S) -> Record:
        """Wait until so many updates have ended; the record then."""

        def ended() -> bool:
            self.notifications()
            record = self.record()
            return record.stage == "idle" and len(record.ended) >= outcomes

        eventually(ended, f"{outcomes} updates have ended: {self.record()}", timeout_s)
        return self.record()

    def until_tries_left(self, tries: int) -> None:
        """Wait until the trial has so many tries left."""
        eventually(lambda: self.record().tries_left == tries, f"{tries} tries are left: {self.record()}")

    def until_it_dies(self, timeout_s: float = UPDATE_S) -> int:
        """Wait until the process has ended by itself; its exit code."""
        assert self.process is not None
        code = self.process.wait(timeout_s)
        self.process = None
        return code

    def update(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Run `edge-agent update ...` with this agent's configuration."""
        return self.command("update", arguments[0], "--config", str(self.config), *arguments[1:])


def burst(watcher: Watcher, machine: str) -> None:
    """Readings of one machine with one spike, each confirmed by the broker."""
    values = quiet_values(READINGS, time.time() - READINGS)
    values[SPIKE_AT]["value"] = 500.0
    watcher.send_all([(f"sensors/{machine}/level", value) for value in values])


def summaries_of(watcher: Watcher, machine: str) -> list[dict[str, Any]]:
    """What was told of a machine's incidents, in order."""
    return [each for each in watcher.documents("summary/") if each["asset"] == machine]


def until_told(watcher: Watcher, machine: str) -> str:
    """Wait until a machine's incident is told of; the release that wrote the newest sentence."""
    eventually(lambda: summaries_of(watcher, machine), f"{machine} is told of")
    release: str = summaries_of(watcher, machine)[-1]["release"]
    return release


def told_by(watcher: Watcher, machine: str) -> str:
    """Send a burst, and wait for its sentence; the release that wrote it."""
    burst(watcher, machine)
    return until_told(watcher, machine)


def outcomes(watcher: Watcher) -> list[tuple[str, str]]:
    """What was delivered on `update/outcome`: release and outcome."""
    return [(each["release"], each["outcome"]) for each in watcher.documents("update/outcome")]


def brought_to_trial(state: Path, fleet: Fleet) -> Record:
    """Take the newest release, without an agent, up to the trial."""
    gateway = Gateway(state, fleet.settings(), live=False)
    record = gateway.until(lambda record: record.stage == "trial")
    gateway.stop()
    return record


def committed(state: Path, fleet: Fleet) -> Record:
    """Take the newest release, and keep it, beside an agent that takes every wish."""
    gateway = Gateway(state, soaking(fleet.settings(), 0.1))
    before = len(gateway.record.ended)
    record = gateway.until(lambda record: len(record.ended) > before and record.ended[-1].told)
    gateway.stop()
    return record


def copied(source: Path, target: Path) -> Path:
    """A copy of a state folder in which what was one file under two names still is."""
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", str(source), str(target)], check=True, timeout=60)
    return target
