"""Updates put together: what speaks stands in the slot, also where another process keeps the record or it was lost."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from edge_agent.config.settings import RepositorySettings, Settings, UpdateSettings
from edge_agent.engines.loading import FACTORY
from edge_agent.errors import RequestError, StorageError
from edge_agent.metrics import Metrics
from edge_agent.pipeline import TEMPLATE_ONLY
from edge_agent.update.orders import Check, Orders
from edge_agent.update.record_file import COPIES
from edge_agent.workers.active import ReleaseSlot
from edge_agent.workers.keeper import FOLDER, Keeper
from edge_agent.workers.late import RETRY_S, LateUpdate
from edge_agent.workers.update import UpdateWorker
from edge_agent.workers.updating import Surroundings, make_update, sources_for
from tests.unit.workers.parts import TOPICS, StepClock, open_journal


class Start:
    """A start of an agent, as far as updates go."""

    def __init__(self, folder: Path, settings: Settings | None = None, factory: Path = FACTORY) -> None:
        self.slot, self.metrics, self.clock = ReleaseSlot(), Metrics(), StepClock()
        with open_journal(folder) as journal:
            self.worker: UpdateWorker | LateUpdate = make_update(
                Surroundings(
                    settings=settings or Settings(state_dir=str(folder)),
                    factory=factory,
                    slot=self.slot,
                    stale=list,
                    journal=journal,
                    topics=TOPICS,
                    deliver=threading.Event(),
                    metrics=self.metrics,
                    clock=self.clock,
                )
            )
        self.worker.finish()


def test_a_new_device_speaks_as_the_factory_release_and_has_no_sources(tmp_path: Path) -> None:
    start = Start(tmp_path)
    assert isinstance(start.worker, UpdateWorker)
    assert start.slot.state().release.startswith("factory-")
    assert start.metrics.conditions.current() == ()


def test_without_any_release_templates_speak(tmp_path: Path) -> None:
    assert Start(tmp_path, factory=tmp_path / "nothing").slot.state().release == TEMPLATE_ONLY.id


def test_beside_another_keeper_the_agent_speaks_and_does_not_update(tmp_path: Path) -> None:
    other = Keeper.open(tmp_path, StepClock())
    start = Start(tmp_path)
    assert isinstance(start.worker, LateUpdate)
    assert start.slot.state().release.startswith("factory-")
    (said,) = start.metrics.conditions.current()
    assert "another agent updates from there" in said
    assert start.worker.state().reason in said
    with pytest.raises(RequestError, match="every 60 s"):
        start.worker.ask(Check())
    start.clock.s += RETRY_S
    start.worker.step(0.0)
    assert start.metrics.conditions.current() == (said,)
    other.close()
    start.worker.step(0.0)
    assert start.slot.state().number == 1
    start.clock.s += RETRY_S
    start.worker.step(0.0)
    assert (start.slot.state().number, start.metrics.conditions.current()) == (2, ())
    assert start.slot.state().release.startswith("factory-")
    done = start.worker.ask(Check())
    start.worker.step(0.0)
    assert "no source" in done.result(0)
    start.worker.finish()
    Keeper.open(tmp_path, StepClock()).close()


def test_what_keeps_the_worker_from_being_made_costs_updates_and_not_the_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(_: Orders) -> None:
        raise StorageError("orders: not listed: Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Orders, "clean", refuses)
        start = Start(tmp_path)
    assert start.slot.state().release.startswith("factory-")
    assert isinstance(start.worker, LateUpdate)
    start.clock.s += RETRY_S
    start.worker.step(0.0)
    assert start.worker.state().reason == ""
    start.worker.finish()


def test_a_record_that_was_lost_is_said(tmp_path: Path) -> None:
    Start(tmp_path)
    for name in (*COPIES, "record.begun"):
        (tmp_path / FOLDER / name).write_bytes(b"")
    start = Start(tmp_path)
    assert isinstance(start.worker, UpdateWorker)
    assert any(each.startswith("updates: ") for each in start.metrics.conditions.current())


@pytest.mark.parametrize(("group", "names"), [("", []), ("fleet", ["inbox", "repository"])])
def test_sources_are_those_that_are_configured(tmp_path: Path, group: str, names: list[str]) -> None:
    update = UpdateSettings(group=group, root_file="/r", repository=RepositorySettings(url="https://r.example"))
    keeper = Keeper.open(tmp_path, StepClock())
    settings = replace(Settings(), update=update)
    sources = sources_for(settings, keeper, StepClock())
    assert [source.name for source in sources] == names
    for source in sources:
        source.close()
    keeper.close()
