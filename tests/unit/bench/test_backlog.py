"""The backlog is built, timed and delivered to a real broker, small enough to take seconds; nothing is asserted of speed."""

from __future__ import annotations

from edge_agent.bench import backlog
from edge_agent.demo.broker import start_broker


def test_every_figure_is_taken_and_everything_is_delivered() -> None:
    with start_broker("mosquitto") as broker:
        figures = list(backlog.measure(broker, 200, 5))
    by_unit = {unit: [figure for figure in figures if figure.unit == unit] for unit in ("ms", "MB", "bytes each", "msg/s")}
    assert [len(found) for found in by_unit.values()] == [8, 2, 1, 1]
    assert all(figure.value and figure.against_value and figure.n == 5 for figure in by_unit["ms"])
    (rate,) = by_unit["msg/s"]
    assert rate.value
    assert rate.against_value
    assert rate.n == 205, "the timed ones wait too"
    assert rate.note.endswith("; 0 lost")
