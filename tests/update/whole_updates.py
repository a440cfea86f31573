"""A fleet for tests of whole updates: an operator with a repository, and gateways with a keeper and an update worker.

The releases are real ones: the factory's files with another threshold, so that every one loads and speaks.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from edge_ota import build, publish
from msgspec.structs import replace

from edge_agent.clock import Clock, SystemClock
from edge_agent.config.settings import RepositorySettings, UpdateSettings
from edge_agent.engines.loading import FACTORY
from edge_agent.metrics import Metrics
from edge_agent.update import Source
from edge_agent.update.polled import PolledRepository
from edge_agent.update.record import Record
from edge_agent.workers.active import TAKERS, Running
from edge_agent.workers.keeper import Keeper
from edge_agent.workers.trial import Live
from edge_agent.workers.tries import Device
from edge_agent.workers.update import UpdateWorker
from tests.ota.repositories import Operator

DEADLINE_S = 120.0


class Fleet:
    """An operator, and where the gateways look."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stdout(io.StringIO()):
            self.operator = Operator(folder)
            self.operator.init()

    @property
    def repository(self) -> Path:
        """The folder that is the repository."""
        return self.operator.repository

    @property
    def root_file(self) -> Path:
        """The factory root."""
        return self.repository / "metadata/1.root.json"

    def release(self, counter: int, changes: Mapping[str, bytes] | None = None, *options: str) -> Path:
        """The folder of a release that loads and speaks, unless `changes` of its files see to that it does not."""
        folder = self.operator.folder / f"release-{counter}"
        shutil.copytree(FACTORY, folder)
        for name in ("certificate.json", "manifest.json"):
            (folder / name).unlink()
        rule = json.loads((folder / "confidence.json").read_bytes())
        rule["threshold"] = 0.9 - counter / 1_000
        (folder / "confidence.json").write_text(json.dumps(rule))
        for name, data in (changes or {}).items():
            (folder / name).write_bytes(data)
        with contextlib.redirect_stdout(io.StringIO()):
            assert build.main([str(folder), "--id", f"fleet-{counter}", "--counter", str(counter), *options]) == 0
        return folder

    def publish(self, counter: int, changes: Mapping[str, bytes] | None = None, *options: str, group: str = "canary") -> None:
        """Make and publish a release."""
        folder = self.release(counter, changes, *options)
        keys = self.operator.with_keys(group, "online")
        with contextlib.redirect_stdout(io.StringIO()):
            assert publish.main([str(self.repository), str(folder), "--group", group, *keys]) == 0

    def settings(self, group: str = "canary") -> UpdateSettings:
        """What a gateway is configured with."""
        return UpdateSettings(
            group=group,
            root_file=str(self.root_file),
            repository=RepositorySettings(url=f"file://{self.repository}"),
            min_free_bytes=0,
            soak_s=60.0,
        )


class StillLive:
    """A running agent that takes every wish at once, as the record has it; what it says of a trial can be set."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self.number = 0
        self.spoke: list[str] = []
        self.told: list[tuple[str, str]] = []
        self.now = Running()
        self.stale_workers: list[str] = []

    def speak(self) -> int:
        """See `Live.speak`."""
        from edge_agent.update.machine import speaks

        held = speaks(self._keeper.record)
        self.number += 1
        self.spoke.append("factory" if held is None else held.release)
        self.now = Running(number=self.number, release=self.spoke[-1], taken_by=TAKERS)
        return self.number

    def running(self) -> Running:
        """See `Live.running`."""
        return self.now

    def stale(self) -> Sequence[str]:
        """See `Live.stale`."""
        return self.stale_workers

    def tell(self, outcomes: Sequence[object]) -> None:
        """See `Live.tell`."""
        self.told += [(getattr(each, "release", ""), getattr(each, "outcome", "")) for each in outcomes]


class Gateway:
    """One gateway's update, in a state folder that outlives it."""

    def __init__(
        self,
        state_dir: Path,
        settings: UpdateSettings,
        *,
        live: bool = True,
        clock: Clock | None = None,
        sources: bool = True,
        device: Device = "cpu",
    ) -> None:
        self.clock = clock or SystemClock()
        self.keeper = Keeper.open(state_dir, self.clock)
        self.live = StillLive(self.keeper) if live else None
        self.source: PolledRepository | None = None
        found: list[Source] = []
        if sources:
            self.source = PolledRepository(settings.repository, self.clock, random.Random(1))
            self.source.hint()
            found.append(self.source)
        self.metrics = Metrics()
        self.worker = UpdateWorker(
            keeper=self.keeper,
            settings=settings,
            sources=found,
            live=self.live,
            gateway="gw",
            device=device,
            metrics=self.metrics,
            clock=self.clock,
        )

    @property
    def record(self) -> Record:
        """What is known."""
        return self.keeper.record

    def until(self, condition: Callable[[Record], bool]) -> Record:
        """Step until `condition` holds of the record. Fails with the record after a deadline."""
        until_s = time.monotonic() + DEADLINE_S
        while not condition(self.record):
            assert time.monotonic() < until_s, f"still {self.record}"
            self.worker.step(0.02)
        return self.record

    def look(self) -> None:
        """Look at the source as soon as it lets itself be looked at."""
        assert self.source is not None
        self.source.hint()

    def stop(self) -> None:
        """Let go, as a clean stop does."""
        self.worker.finish()


def soaking(settings: UpdateSettings, soak_s: float) -> UpdateSettings:
    """The same with another time to soak."""
    return replace(settings, soak_s=soak_s)


__all__ = ["Fleet", "Gateway", "Live", "StillLive", "soaking"]
