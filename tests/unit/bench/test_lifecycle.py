"""Start and memory are taken on a real agent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from edge_agent.bench import lifecycle
from edge_agent.demo.broker import Broker, start_broker


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with start_broker("mosquitto") as started:
        yield started


def test_start_is_timed_with_and_without_the_model(broker: Broker) -> None:
    figures = list(lifecycle.measure_start(broker, 1))
    assert [figure.n for figure in figures] == [1, 1]
    assert all(figure.value and figure.against_value for figure in figures)


def test_memory_is_taken_idle_under_load_and_after_the_hour(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "IDLE_S", 0.1)
    figures = {figure.name: figure for figure in lifecycle.measure_memory(broker, 40)}
    idle = figures["idle, RSS"]
    assert idle.value is not None
    assert idle.against_value is not None
    assert idle.value > idle.against_value
    growth = figures["growth after the first quarter, PSS"]
    assert growth.n == 3 * 10 * lifecycle.HOUR_STREAMS
    assert growth.note.count(",") == 3
    cpu_s = figures["processor time of that hour"].value
    assert cpu_s is not None
    assert cpu_s > 0
