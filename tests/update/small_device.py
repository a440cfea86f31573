"""What the agent does with record, store and machine, without its processes: each step is saved before it is acted on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_agent.update import machine
from edge_agent.update.machine import Event, after, needed, why_not
from edge_agent.update.record import Candidate, Record
from edge_agent.update.record_file import RecordFile
from edge_agent.update.store import Merge, Store
from tests.update.small_releases import SmallRelease, fetch


class SmallDevice:
    """A device that takes whatever it is offered. `report` is told every record that was saved."""

    def __init__(self, folder: Path, merge: Merge | None = None, report: Callable[[Record], None] = lambda record: None) -> None:
        self.file = RecordFile(folder)
        self.store = Store(folder, lambda: 0.0)
        self._merge = merge
        self._report = report

    @property
    def record(self) -> Record:
        return self.file.load() or Record()

    def take(self, offered: SmallRelease) -> Record:
        """Go on from wherever the record stands until `offered` is committed, or not wanted."""
        self.store.prepare()
        while True:
            record = self.record
            event = self._step(record, offered)
            if event is None:
                self.store.collect(needed(record))
                return record
            self._save(after(record, event, 1.0))

    def roll_back(self) -> Record:
        """Go back to the release before this one."""
        self.store.prepare()
        record = self._save(after(self.record, machine.RollBack("a person"), 1.0))
        self.store.collect(needed(record))
        return record

    def heal(self) -> Record:
        """Leave the active release if it is damaged, so that it may come again."""
        self.store.prepare()
        record = self.record
        assert record.active is not None
        if damaged := self.store.verify(record.active.manifest_sha256):
            record = self._save(after(record, machine.Rotten(", ".join(damaged)), 1.0))
            self.store.discard(damaged)
        return record

    def _step(self, record: Record, offered: SmallRelease) -> Event | None:
        """Do what the stage asks for; what came of it. None where there is nothing to do."""
        match record.stage:
            case "idle" if why_not(record, offered.held):
                return None
            case "idle":
                return machine.Found(Candidate(held=offered.held, source="test"))
            case "fetching":
                assert self.store.put_manifest(offered.data) == offered.sha256
                self.store.discard(self.store.verify(offered.sha256))
                fetch(self.store, offered)
                return machine.Fetched()
            case "verified":
                self.store.install(offered.sha256, merge=self._merge)
                return machine.Installed()
            case "staged":
                return machine.Begins()
            case "probing":
                return machine.Passed()
            case "trial" if record.tries_left == machine.MAX_TRIES:
                return machine.Begins()
            case "trial":
                return machine.Soaked()

    def _save(self, record: Record) -> Record:
        saved = self.file.save(record)
        self._report(saved)
        return saved
