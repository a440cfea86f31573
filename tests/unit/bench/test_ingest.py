"""Ingest is measured against a real broker and agent, small enough to take seconds; nothing is asserted of speed."""

from __future__ import annotations

import pytest

from edge_agent.bench import ingest
from edge_agent.demo.broker import start_broker


def test_every_figure_is_taken_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "STREAMS", 20)
    monkeypatch.setattr(ingest, "BURST_MESSAGES", 100)
    with start_broker("mosquitto") as broker:
        figures = list(ingest.measure(broker, 500, 1))
    rates = [figure for figure in figures if figure.unit == "msg/s"]
    (bursts,) = [figure for figure in figures if figure.unit == "messages"]
    assert len(rates) == 4, "two levels of service beside two protocols of the bare loop"
    assert all(figure.value and figure.against_value and figure.n == 500 for figure in rates)
    assert all("0 dropped" in figure.note for figure in rates)
    assert bursts.value == 0.0
