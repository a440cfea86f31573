"""Updates that are kept later than the agent started; `test_updating` has them with a real keeper beside them."""

from __future__ import annotations

from edge_agent.errors import StorageError
from edge_agent.messages import UpdateState
from edge_agent.metrics import Metrics
from edge_agent.workers.late import RETRY_S, LateUpdate
from edge_agent.workers.update import UpdateWorker
from tests.unit.workers.parts import StepClock


def test_it_is_tried_again_now_and_then_and_says_what_stands_in_the_way_now() -> None:
    asked: list[float] = []

    def refuses() -> UpdateWorker:
        asked.append(clock.s)
        raise StorageError("the disk is full")

    clock, metrics = StepClock(), Metrics()
    began_s = clock.s
    late = LateUpdate(
        refuses, lambda why: UpdateState(gateway="gw", release="factory", reason=why), "another agent has it", metrics, clock
    )
    for _ in range(int(2.5 * RETRY_S)):
        clock.s += 1.0
        assert not late.step(0.0)
    assert asked == [began_s + RETRY_S, began_s + 2 * RETRY_S]
    assert late.state() == UpdateState(gateway="gw", release="factory", reason="the disk is full")
    assert [each.split(";")[0] for each in metrics.conditions.current()] == ["updates: the disk is full"]
    assert late.gave_up == ""
    late.finish()
