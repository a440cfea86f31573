"""The update worker with real children and a real repository: from a look to an outcome, and every order on the way."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import Struct
from msgspec.structs import replace

from edge_agent.clock import Clock
from edge_agent.errors import ChildFailedError, StorageError
from edge_agent.update.child import Child, ChildLimits
from edge_agent.update.jobs import ProbeJob
from edge_agent.update.machine import MAX_CUTS, MAX_TRIES, Told
from edge_agent.update.orders import Apply, Cancel, Check, Order, Orders, RollBack
from edge_agent.update.record import Record
from edge_agent.workers.keeper import read_record
from edge_agent.workers.tries import INSTALL, PROBE
from tests.unit.workers.parts import StepClock
from tests.update.whole_updates import Fleet, Gateway, soaking


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    fleet = Fleet(tmp_path_factory.mktemp("fleet"))
    fleet.publish(1)
    return fleet


@pytest.fixture
def gateway(fleet: Fleet, tmp_path: Path) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path / "state", soaking(fleet.settings(), 0.2))
    yield gateway
    gateway.stop()


def ended(record: Record) -> bool:
    return bool(record.ended) and record.stage == "idle"


def on_trial(record: Record) -> bool:
    return record.stage == "trial"


def order(gateway: Gateway, given: Order) -> str:
    done = gateway.worker.ask(given)
    gateway.worker.step(0.0)
    return done.result(0)


def test_a_release_is_looked_at_fetched_installed_probed_tried_and_kept(gateway: Gateway) -> None:
    record = gateway.until(ended)
    assert [each.result for each in record.ended] == ["committed"]
    assert record.active is not None
    assert record.active.release == "fleet-1"
    assert gateway.live is not None
    gateway.until(lambda record: all(each.told and each.reported for each in record.ended))
    assert gateway.live.told == [("fleet-1", "committed")]
    assert gateway.live.spoke == ["fleet-1"]
    state = gateway.worker.state()
    assert (state.state, state.release, state.counter, state.manifest_sha256) == (
        "idle",
        "fleet-1",
        1,
        record.active.manifest_sha256,
    )
    gateway.look()
    again = gateway.until(lambda record: record.looked_count == 2)
    assert again.looked.endswith("it runs already")
    assert len(again.ended) == 1


def test_without_an_agent_it_waits_for_one_to_be_tried(fleet: Fleet, tmp_path: Path) -> None:
    alone = Gateway(tmp_path / "state", fleet.settings(), live=False)
    tries = alone.until(on_trial).tries_left
    for _ in range(5):
        alone.worker.step(0.0)
    assert (alone.record.stage, alone.record.tries_left) == ("trial", tries)
    alone.stop()
    agent = Gateway(tmp_path / "state", soaking(fleet.settings(), 0.1))
    assert agent.until(ended).ended[-1].result == "committed"
    agent.stop()


def test_a_release_on_trial_that_fails_is_taken_back(gateway: Gateway) -> None:
    gateway.until(lambda record: on_trial(record) and record.tries_left < MAX_TRIES)
    assert gateway.live is not None
    gateway.live.now = replace(gateway.live.now, problem="the writer cannot be loaded")
    record = gateway.until(ended)
    assert (record.ended[-1].result, record.ended[-1].reason) == ("rolled-back", "the writer cannot be loaded")
    assert gateway.live.spoke == ["fleet-1", "factory"]
    assert gateway.worker.gave_up == ""


def test_a_worker_that_hangs_on_trial_costs_a_new_start(fleet: Fleet, tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "state", fleet.settings())
    gateway.until(lambda record: on_trial(record) and record.tries_left < MAX_TRIES)
    assert gateway.live is not None
    gateway.live.stale_workers = ["explain"]
    assert gateway.until(ended).ended[-1].result == "rolled-back"
    assert "explain makes no progress" in gateway.worker.gave_up
    gateway.stop()


def test_starts_that_end_in_the_trial_are_counted_and_the_last_one_gives_the_release_up(fleet: Fleet, tmp_path: Path) -> None:
    spoke = []
    for _ in range(MAX_TRIES + 1):
        gateway = Gateway(tmp_path / "state", fleet.settings())
        gateway.until(on_trial)
        gateway.worker.step(0.0)
        assert gateway.live is not None
        spoke += gateway.live.spoke
        # The process is gone without another word.
        gateway.keeper.close()
    assert spoke == [*["fleet-1"] * MAX_TRIES, "factory"]
    record = gateway.record
    assert (record.ended[-1].result, record.stage) == ("rolled-back", "idle")


@pytest.mark.parametrize("stage", ["fetching", "verified", "staged", "probing", "trial"])
def test_it_can_be_given_up_at_every_stage(fleet: Fleet, tmp_path: Path, stage: str) -> None:
    gateway = Gateway(tmp_path / "state", fleet.settings())
    seen = gateway.until(lambda record: record.stage == stage or ended(record)).stage
    if seen == stage:
        assert "given up" in order(gateway, Cancel())
        assert (gateway.record.stage, gateway.record.ended[-1].result) == ("idle", "cancelled")
        assert not gateway.worker.busy
    assert "nothing to give up" in order(gateway, Cancel())
    gateway.look()
    gateway.until(lambda record: record.looked_count == 2)
    assert gateway.record.stage == "idle"
    assert "again" in gateway.record.looked
    gateway.stop()


def test_a_rollback_is_carried_out_once_however_often_it_is_ordered(gateway: Gateway) -> None:
    active = gateway.until(ended).active
    assert active is not None
    given = RollBack(leaves=active.manifest_sha256)
    assert order(gateway, given) == "fleet-1 was left"
    assert gateway.record.active is None
    assert "nothing to go back to" in order(gateway, given)
    assert gateway.live is not None
    assert gateway.live.spoke[-1] == "factory"
    assert "looked at" in order(gateway, Check(again=True))
    assert gateway.until(lambda record: record.active is not None).active == active
    assert order(gateway, RollBack(leaves="f" * 64)) == "that was done before"


def test_orders_of_the_command_line_are_taken_from_their_folder(gateway: Gateway) -> None:
    gateway.until(ended)
    orders = Orders(gateway.keeper.folder)
    name = orders.give(RollBack(), gateway.clock)
    gateway.until(lambda record: record.active is None)
    assert not orders.is_waiting(name)


def test_a_bundle_that_is_none_is_refused_and_harms_nothing(gateway: Gateway, tmp_path: Path) -> None:
    gateway.until(ended)
    (tmp_path / "no.tar").write_bytes(b"no bundle at all" * 100)
    order(gateway, Apply(path=str(tmp_path / "no.tar")))
    looked = gateway.until(lambda record: record.looked_count == 2).looked
    assert looked.startswith("apply: ")
    assert gateway.record.stage == "idle"
    assert gateway.record.active is not None


def test_without_a_group_nothing_is_taken(fleet: Fleet, tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "state", replace(fleet.settings(), group=""), sources=False)
    assert "group" in order(gateway, Apply(path="/x.tar"))
    assert "no source" in order(gateway, Check())
    gateway.stop()


@pytest.fixture(scope="module")
def on_trial_folder(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state of a device whose release waits to be tried; to be copied."""
    folder = tmp_path_factory.mktemp("on-trial") / "state"
    alone = Gateway(folder, fleet.settings(), live=False)
    alone.until(on_trial)
    alone.stop()
    return folder


@pytest.fixture
def waiting(fleet: Fleet, on_trial_folder: Path, tmp_path: Path) -> Iterator[Gateway]:
    shutil.copytree(on_trial_folder, tmp_path / "waiting")
    gateway = Gateway(tmp_path / "waiting", soaking(fleet.settings(), 0.2))
    yield gateway
    gateway.stop()


def refuses(*_: object) -> None:
    raise StorageError("the disk is full")


def step(gateway: Gateway) -> None:
    with contextlib.suppress(StorageError):
        gateway.worker.step(0.0)


def test_an_outcome_that_the_disk_refuses_holds_nothing_up_and_is_told_once_it_can_be(
    waiting: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.workers.outcomes.RETRY_S", 0.1)
    assert waiting.live is not None
    with monkeypatch.context() as patch:
        patch.setattr(waiting.live, "tell", refuses)
        waiting.until(ended)
        waiting.look()
        assert not waiting.until(lambda record: record.looked_count == 2).ended[-1].told
    waiting.until(lambda record: record.ended[-1].told)
    assert waiting.live.told == [("fleet-1", "committed")]


def test_an_outcome_in_the_outbox_is_not_put_there_again_while_the_record_cannot_say_so(
    waiting: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.workers.outcomes.RETRY_S", 0.0)
    waiting.until(ended)
    apply = waiting.keeper.apply
    monkeypatch.setattr(waiting.keeper, "apply", lambda event: refuses() if isinstance(event, Told) else apply(event))
    for _ in range(5):
        waiting.worker.step(0.0)
    monkeypatch.undo()
    waiting.until(lambda record: record.ended[-1].told)
    assert waiting.live is not None
    assert waiting.live.told == [("fleet-1", "committed")]


def test_what_was_rolled_back_is_silenced_also_where_the_disk_refuses_at_first(
    waiting: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting.until(lambda record: on_trial(record) and record.tries_left < MAX_TRIES)
    assert waiting.live is not None
    waiting.live.now = replace(waiting.live.now, problem="the writer cannot be loaded")
    with monkeypatch.context() as patch:
        patch.setattr(waiting.live, "speak", refuses)
        for _ in range(3):
            step(waiting)
        assert ended(waiting.record)
        assert waiting.live.spoke == ["fleet-1"]
    step(waiting)
    assert waiting.live.spoke == ["fleet-1", "factory"]


def test_restarts_in_order_cost_a_trial_nothing_however_many_there_are(
    fleet: Fleet, on_trial_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(on_trial_folder, tmp_path / "state")
    for _ in range(MAX_TRIES + 2):
        gateway = Gateway(tmp_path / "state", fleet.settings())
        gateway.until(lambda record: on_trial(record) and record.tries_left < MAX_TRIES)
        gateway.worker.step(0.0)
        gateway.stop()
        assert (gateway.record.stage, gateway.record.tries_left) == ("trial", MAX_TRIES)
    gateway = Gateway(tmp_path / "state", soaking(fleet.settings(), 0.1))
    assert gateway.until(ended).ended[-1].result == "committed"
    gateway.stop()


def test_a_device_that_is_always_stopped_before_the_soak_is_over_ends_its_trial_all_the_same(
    fleet: Fleet, on_trial_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.workers.update.WATCH_S", 0.0)
    shutil.copytree(on_trial_folder, tmp_path / "state")
    clock, day, days = StepClock(), soaking(fleet.settings(), 86_400.0), 0
    while not ended(read_record(tmp_path / "state")):
        gateway = Gateway(tmp_path / "state", day, clock=clock, sources=False)
        for _ in range(4):
            gateway.worker.step(0.0)
        clock.s += 7_200.0
        gateway.worker.step(0.0)
        gateway.stop()
        days += 1
        assert days <= 12
    assert (days, gateway.record.ended[-1].result) == (12, "committed")


def test_a_release_with_which_the_device_goes_down_is_given_up_later_than_one_that_crashes(
    fleet: Fleet, on_trial_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(on_trial_folder, tmp_path / "state")
    for number in range(MAX_CUTS + 1):
        gateway = Gateway(tmp_path / "state", fleet.settings(), sources=False)
        assert gateway.record.stage == "trial"
        gateway.keeper.boot = f"boot {number}"
        gateway.worker.step(0.0)
        gateway.keeper.close()  # the power is gone
    assert gateway.record.ended[-1].result == "rolled-back"
    assert "the power went, or the device was reset, 10 times with it" in gateway.record.ended[-1].reason


def test_a_trial_that_cannot_begin_keeps_its_tries_and_begins_when_it_can(
    waiting: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.workers.tries.RETRY_S", 0.0)
    assert waiting.live is not None
    with monkeypatch.context() as patch:
        patch.setattr(waiting.live, "speak", refuses)
        for _ in range(2 * MAX_TRIES):
            step(waiting)
        assert (waiting.record.stage, waiting.record.tries_left) == ("trial", MAX_TRIES)
    assert waiting.until(ended).ended[-1].result == "committed"


def test_a_probe_that_cannot_be_started_costs_no_try(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.workers.tries.RETRY_S", 0.0)
    gateway.until(lambda record: record.stage == "staged")
    with monkeypatch.context() as patch:
        patch.setattr(Child, "start", no_process)
        for _ in range(2 * MAX_TRIES):
            gateway.worker.step(0.0)
        assert (gateway.record.stage, gateway.record.tries_left) == ("probing", MAX_TRIES)
        assert any("no process" in each for each in gateway.metrics.conditions.current())
    assert gateway.until(ended).ended[-1].result == "committed"
    assert gateway.metrics.conditions.current() == ()


def test_while_a_release_waits_sources_are_looked_at_and_it_goes_on_afterwards(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.until(lambda record: record.stage == "verified")
    with monkeypatch.context() as patch:
        patch.setattr(Child, "start", no_process)
        patch.setattr("edge_agent.workers.tries.RETRY_S", 3_600.0)
        gateway.worker.step(0.0)
    assert any("no process is left" in each for each in gateway.metrics.conditions.current())
    gateway.look()
    record = gateway.until(lambda record: record.looked_count == 2)
    gateway.until(lambda record: not gateway.worker.busy)
    assert (gateway.record.stage, record.candidate) == ("verified", gateway.record.candidate)
    gateway.worker.ask(Check())
    gateway.until(lambda record: record.stage == "staged")
    gateway.stop()
    assert gateway.record.tries_left == MAX_TRIES


def test_a_release_is_probed_on_the_device_that_its_writer_is_to_run_on(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Struct, ChildLimits]] = []

    def start(module: str, job: Struct, *, limits: ChildLimits, clock: Clock) -> Child:
        asked.append((job, limits))
        raise ChildFailedError("killed", "no process is left")

    gateway = Gateway(tmp_path / "state", fleet.settings(), device="cuda")
    gateway.until(lambda record: record.stage == "staged")
    monkeypatch.setattr(Child, "start", start)
    gateway.worker.step(0.0)
    ((job, limits),) = asked
    assert isinstance(job, ProbeJob)
    assert (job.device, limits.bounds_data) == ("cuda", False)
    gateway.stop()


def no_process(*_: object, **__: object) -> Child:
    raise ChildFailedError("killed", "no process is left")


@pytest.mark.parametrize(
    ("made", "number", "why"),
    [(PROBE, signal.SIGKILL, "which was not ours"), (INSTALL, signal.SIGBUS, "SIGBUS")],
)
def test_what_the_system_ends_is_made_again_until_no_try_is_left(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, made: str, number: signal.Signals, why: str
) -> None:
    monkeypatch.setattr("edge_agent.workers.tries.RETRY_S", 0.0)
    tries = 0
    start = Child.start

    def ended_at_once(module: str, job: Struct, *, limits: ChildLimits, clock: Clock) -> Child:
        nonlocal tries
        child = start(module, job, limits=limits, clock=clock)
        if module == made:
            tries += 1
            os.kill(child.pid, number)
        return child

    monkeypatch.setattr(Child, "start", ended_at_once)
    record = gateway.until(ended)
    assert tries == MAX_TRIES
    assert record.ended[-1].result == "refused"
    assert why in record.ended[-1].reason
    assert gateway.metrics.conditions.current() == ()


def test_what_is_not_needed_goes_before_a_release_is_fetched_and_not_only_when_all_is_over(fleet: Fleet, tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "state", fleet.settings())
    gateway.until(lambda record: record.stage == "fetching")
    gateway.stop()
    left = gateway.keeper.folder / "parts" / ("e" * 64)
    left.write_bytes(b"of a release that was given up")
    gateway = Gateway(tmp_path / "state", fleet.settings())
    gateway.until(lambda record: record.stage != "fetching")
    assert not left.exists()
    gateway.stop()


def test_a_store_that_cannot_be_cleared_holds_no_release_up(waiting: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting.keeper.store, "collect", refuses)
    assert waiting.until(ended).ended[-1].result == "committed"


def test_who_ordered_what_cannot_be_done_is_told_so(waiting: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting.keeper, "apply", refuses)
    done = waiting.worker.ask(Cancel())
    step(waiting)
    assert isinstance(done.exception(0), StorageError)
