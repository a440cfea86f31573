"""Latencies are matched to what was published, and taken on a real agent."""

from __future__ import annotations

import json

import pytest

from edge_agent.bench import latency
from edge_agent.bench.latency import TOPICS, _Heard
from edge_agent.demo.broker import start_broker


def test_each_stream_and_each_incident_counts_once_and_others_do_not() -> None:
    heard = _Heard()
    heard.published("asset-1/s0", 10.0)
    heard.take(TOPICS.anomaly("asset-2/s0"), b"{}", 10.1)
    heard.take(TOPICS.anomaly("asset-1/s0"), b"{}", 10.2)
    heard.take(TOPICS.anomaly("asset-1/s0"), b"{}", 10.9)
    opened = json.dumps({"revision": 1}).encode()
    heard.take(TOPICS.incident("i"), opened, 11.0)
    heard.take(TOPICS.incident("j"), json.dumps({"revision": 2}).encode(), 11.0)
    heard.take(TOPICS.summary_of("i"), b"{}", 11.5)
    heard.take(TOPICS.summary_of("i"), b"{}", 12.5)
    heard.take(TOPICS.summary_of("j"), b"{}", 12.5)
    heard.take(TOPICS.summary, b"{}", 12.5)
    assert heard.anomalies_ms == [pytest.approx(200.0)]
    assert heard.sentences_ms == [pytest.approx(500.0)]


def test_spikes_are_heard_from_a_real_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "STREAMS", 20)
    monkeypatch.setattr(latency, "WARM_S", 8.0)
    monkeypatch.setattr(latency, "BACKGROUND_HZ", 400.0)
    monkeypatch.setattr(latency, "SETTLE_S", 2.0)
    with start_broker("mosquitto") as broker:
        figures = list(latency.measure(broker, 2))
    assert [figure.name.rpartition(" ")[2] for figure in figures] == ["p50", "p95", "p99", "p50", "p95"]
    assert all(figure.value is not None and figure.against_value is not None for figure in figures)
    assert figures[0].n == 2
