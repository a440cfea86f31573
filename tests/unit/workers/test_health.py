"""The health worker: what it says, when it says it, and what a new connection is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.journal import Journal
from edge_agent.messages import UpdateState
from edge_agent.metrics import Metrics
from edge_agent.mqtt import LinkCounters
from edge_agent.workers.health import PERIOD_S, UPDATE_S, About, HealthWorker, Speaking
from edge_agent.workers.status_file import read_status
from tests.unit.workers.parts import TOPICS, MemoryLink, StepClock, open_journal
from tests.writing import anomaly, incident


class Bench:
    """A health worker and everything around it."""

    def __init__(self, journal: Journal, folder: Path) -> None:
        self.journal, self.link, self.metrics, self.clock = journal, MemoryLink(), Metrics(), StepClock()
        self.update = UpdateState(gateway="gw", release="test-1")
        self.path = folder / "status-gw.json"
        about = About(
            topics=TOPICS,
            speaking=lambda: Speaking(release="test-1"),
            update=lambda: self.update,
            boot_id="boot",
            started_s=self.clock.s,
            config={"gateway": {"id": "gw"}},
            schema={"type": "object"},
            state_dir=str(folder),
            status_path=self.path,
            status_period_s=PERIOD_S,
        )
        self.worker = HealthWorker(link=self.link, journal=journal, about=about, metrics=self.metrics, clock=self.clock)

    def told(self) -> list[dict[str, Any]]:
        return [json.loads(message.payload) for message in self.link.sent if message.topic == TOPICS.health]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with open_journal(tmp_path) as journal:
        yield Bench(journal, tmp_path)


def test_health_is_published_at_the_start_and_then_every_period(bench: Bench) -> None:
    assert bench.worker.step(0.0)
    assert not bench.worker.step(0.0)
    bench.clock.s += PERIOD_S
    assert bench.worker.step(0.0)
    assert [health["status"] for health in bench.told()] == ["ok", "ok"]
    assert bench.told()[0]["boot_id"] == "boot"


def test_a_problem_is_told_at_once_and_so_is_its_end(bench: Bench) -> None:
    bench.worker.step(0.0)
    bench.metrics.conditions.set("writer", "damaged")
    bench.worker.step(0.0)
    bench.metrics.conditions.clear("writer")
    bench.worker.step(0.0)
    assert [health["status"] for health in bench.told()] == ["ok", "degraded", "ok"]
    assert bench.told()[1]["problems"] == ["writer: damaged"]


def test_the_state_of_updates_is_published_when_it_changes_and_not_all_the_time(bench: Bench) -> None:
    def told() -> list[str]:
        return [json.loads(sent.payload)["candidate"] for sent in bench.link.sent if sent.topic == TOPICS.update]

    bench.worker.step(0.0)
    for number in range(3):
        bench.update = UpdateState(gateway="gw", release="test-1", state="fetching", candidate=f"test-{number}")
        bench.worker.step(0.0)
    assert told() == ["test-0"]
    bench.clock.s += UPDATE_S
    bench.worker.step(0.0)
    bench.worker.step(0.0)
    assert told() == ["test-0", "test-2"]
    assert json.loads(bench.worker.retained()[-1].payload)["state"] == "fetching"


def test_figures_come_from_their_owners(bench: Bench) -> None:
    bench.metrics.flow.add("readings", 7)
    bench.metrics.rejections.add("bad-json", 2)
    bench.metrics.fallbacks.add("no-writer")
    bench.link.counters = LinkCounters(9, 1, {"queue-full": 3}, {"deaf": 1}, 0, {"s/#": "not authorized"})
    bench.link.queued = 4
    bench.journal.record([incident(anomaly())], [])
    health = bench.worker.health()
    assert health.queues == {"arrivals": 4, "to_explain": 1, "outbox": 0, "escalations": 0}
    assert health.drops == {"queue-full": 3, "bad-json": 2}
    assert health.counts["readings"] == 7
    assert health.counts["messages_received"] == 9
    assert health.counts["summaries_because_no-writer"] == 1
    assert health.problems == ("mqtt: the broker refuses the subscription s/#: not authorized",)


def test_what_hinders_the_journal_is_a_problem_before_a_write_fails(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(bench.journal), "trouble", property(lambda _: "no space left"))
    assert "journal: no space left" in bench.worker.health().problems


def test_the_heads_of_the_logs_are_told_so_that_they_are_known_elsewhere(bench: Bench) -> None:
    assert bench.worker.health().heads == {}
    bench.journal.record_log("audit", b"one")
    bench.journal.record_log("audit", b"two")
    assert bench.worker.health().heads == {"audit": bench.journal.log("audit")[-1].hash.hex()}


def test_a_new_connection_is_told_everything_that_is_retained(bench: Bench) -> None:
    bench.worker.step(0.0)
    retained = {message.topic: message for message in bench.worker.retained()}
    assert set(retained) == {TOPICS.status, TOPICS.health, TOPICS.info, TOPICS.update}
    assert all(message.retain for message in retained.values())
    assert retained[TOPICS.status].payload == b"online"
    assert json.loads(retained[TOPICS.update].payload)["release"] == "test-1"
    assert json.loads(retained[TOPICS.info].payload)["config"] == {"gateway": {"id": "gw"}}


def test_the_status_file_stands_while_the_agent_runs(bench: Bench, tmp_path: Path) -> None:
    bench.metrics.summary_latency.add(0.5)
    bench.metrics.kinds.add("dip", 2)
    bench.clock.s += 60.0
    bench.worker.step(0.0)
    status = read_status([bench.path], str(tmp_path))
    assert status is not None
    assert status.health["status"] == "ok"
    assert status.latency_s["incident_to_summary"]["p50"] == 0.5
    assert (status.kinds, status.running_s) == ({"dip": 2}, 60.0)
    bench.worker.finish()
    assert not bench.path.exists()


def test_without_a_broker_the_file_says_so(bench: Bench, tmp_path: Path) -> None:
    bench.link.disconnect()
    bench.worker.step(0.0)
    status = read_status([bench.path], str(tmp_path))
    assert status is not None
    assert (status.connected, status.health["status"]) == (False, "degraded")
