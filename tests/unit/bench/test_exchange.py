"""Releases are really exchanged on threads, over a real broker, and nothing is lost; nothing is asserted of how long it takes."""

from __future__ import annotations

import pytest

from edge_agent.bench import exchange, swap
from edge_agent.demo.broker import start_broker


def test_every_exchange_on_threads_gets_a_sentence_and_loses_no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "READINGS", 100)
    monkeypatch.setattr(swap, "measure", lambda *_: iter(()))  # has its own test
    with start_broker("mosquitto") as broker:
        figures = {figure.name: figure for figure in exchange.measure(broker, 1, 3_000_000)}
    lost = figures["readings lost on threads"]
    assert (lost.value, lost.n) == (0.0, (1 + exchange.FIRST) * 100)
    assert "0 set aside, 0 steps failed" in lost.note
    assert figures["pause on threads, median"].n == 1
    assert (figures["memory after all exchanges"].value or 0.0) > 10.0
