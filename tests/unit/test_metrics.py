"""Counters and reservoirs: bounded, exact, readable while written."""

from __future__ import annotations

import threading

from edge_agent.metrics import MAX_LABELS, Conditions, Counter, Levels, Metrics, Reservoir


def test_counts_by_label() -> None:
    counter = Counter()
    counter.add("bad-json")
    counter.add("bad-json", 2)
    counter.add("bad-time")
    assert counter.by_label() == {"bad-json": 3, "bad-time": 1}
    assert counter.get("bad-json") == 3
    assert counter.get("never") == 0
    assert counter.total() == 4


def test_labels_are_bounded_and_no_count_is_lost() -> None:
    counter = Counter()
    for number in range(3 * MAX_LABELS):
        counter.add(f"label-{number}")
    assert len(counter.by_label()) == MAX_LABELS + 1
    assert counter.total() == 3 * MAX_LABELS


def test_threads_lose_no_count() -> None:
    counter = Counter()

    def work() -> None:
        for _ in range(2_000):
            counter.add("step")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.get("step") == 8_000


def test_quantiles_of_the_newest_samples_only() -> None:
    reservoir = Reservoir(max_samples=101)
    assert reservoir.quantiles() is None
    reservoir.extend([1e9] * 50)
    reservoir.extend(float(value) for value in range(101))
    quantiles = reservoir.quantiles()
    assert quantiles is not None
    assert (quantiles.count, quantiles.p50_s, quantiles.p95_s, quantiles.p99_s) == (101, 50.0, 95.0, 99.0)


def test_one_sample_is_every_quantile() -> None:
    reservoir = Reservoir()
    reservoir.add(0.25)
    quantiles = reservoir.quantiles()
    assert quantiles is not None
    assert quantiles.p50_s == quantiles.p99_s == 0.25


def test_two_agents_share_no_metrics() -> None:
    first, second = Metrics(), Metrics()
    first.flow.add("readings")
    assert second.flow.total() == 0


def test_levels_are_replaced() -> None:
    levels = Levels()
    assert levels.get("streams") == 0
    levels.set("streams", 3)
    levels.set("streams", 2)
    assert levels.get("streams") == 2


def test_conditions_last_until_they_are_cleared() -> None:
    conditions = Conditions()
    conditions.set("writer", "cannot be loaded")
    conditions.set("journal", "disk full")
    conditions.set("writer", "failed three times")
    assert conditions.current() == ("journal: disk full", "writer: failed three times")
    conditions.clear("journal")
    conditions.clear("never-raised")
    assert conditions.current() == ("writer: failed three times",)
