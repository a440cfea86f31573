"""The harness runs the real agent: it becomes ready, answers, counts, and is gone afterwards."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.bench import harness
from edge_agent.bench.harness import BenchError, child, configuration, cpu_s_of, memory_of, running
from edge_agent.bench.publisher import encode, flood
from edge_agent.config.load import load_text
from edge_agent.demo.broker import Broker, start_broker


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with start_broker("mosquitto") as started:
        yield started


def test_memory_and_processor_time_of_a_process_grow_with_what_it_does() -> None:
    before, before_s = memory_of(os.getpid()), cpu_s_of(os.getpid())
    ballast = bytearray(os.urandom(1 << 20)) * 60
    until_s = time.process_time() + 0.1
    while time.process_time() < until_s:
        pass
    after = memory_of(os.getpid())
    assert after.rss_mb - before.rss_mb > 40
    assert after.pss_mb <= after.rss_mb
    assert cpu_s_of(os.getpid()) > before_s
    del ballast


def test_the_configuration_is_one_that_the_agent_takes(tmp_path: Path) -> None:
    settings = load_text(configuration(Broker(host="127.0.0.1", port=1, kind="mosquitto"), tmp_path, qos=1, writer=False))
    assert settings.routes[0].qos == 1
    assert not settings.writer.enabled


def test_the_agent_becomes_ready_counts_readings_and_ends_with_its_block(broker: Broker) -> None:
    with running(broker, writer=False) as agent:
        assert agent.started_in_s > 0
        flood(broker.port, encode(10, 300, 0))
        assert agent.wait_for_readings(300, 20.0)
        assert not agent.wait_for_readings(301, 0.2)
        assert sum(agent.drops().values()) == 0
        pid = agent.pid
    assert not Path(f"/proc/{pid}").exists()


def test_an_agent_that_does_not_become_ready_is_reported_with_its_log(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "configuration", lambda *_, **__: "mqtt: {prot: 1}")
    with pytest.raises(BenchError, match=r"did not become ready(.|\n)*mqtt\.prot"), running(broker):
        pass


def test_a_child_that_ends_early_is_reported_and_one_that_goes_on_is_ended() -> None:
    with child("timeit", "-n", "1", "pass") as process:
        harness.read_line(process)
        with pytest.raises(BenchError, match="ended early"):
            harness.read_line(process)
    with child("http.server", "0", "--bind", "127.0.0.1") as process:
        pid = process.pid
    assert not Path(f"/proc/{pid}").exists()
    assert sys.executable in str(process.args)
