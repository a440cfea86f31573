"""The update worker with real children and a real repository: from a look to an outcome, and every order on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from edge_agent.update.machine import MAX_TRIES, Record
from edge_agent.update.orders import Apply, Cancel, Check, Order, Orders, RollBack
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
