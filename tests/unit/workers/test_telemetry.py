"""The telemetry worker on a real journal: when a document is due, what is kept, and that each one stands in the egress log."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from edge_agent.chain import first_break
from edge_agent.errors import EgressError, StorageError
from edge_agent.escalate.state import CLOCK_SET_S
from edge_agent.journal import Journal
from edge_agent.metrics import Metrics
from edge_agent.workers import telemetry
from edge_agent.workers.telemetry import LOOK_S, METER, TelemetryWorker
from tests.unit.messages.values import HEALTH
from tests.unit.workers.parts import TOPICS, StepClock, open_journal

PERIOD_S = 600.0


class Bench:
    """A worker on a journal, and a clock to move."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = StepClock()
        self.metrics = Metrics()
        self.deliver = threading.Event()
        self.health = replace(HEALTH, version="0.2.0")
        self.journal = open_journal(folder)
        self.start()

    def start(self, **changes: Any) -> None:
        """A new worker, as after a restart."""
        options: dict[str, Any] = {
            "journal": self.journal,
            "topics": TOPICS,
            "period_s": PERIOD_S,
            "health": lambda: self.health,
            "boot": "boot-1",
            "deliver": self.deliver,
            "metrics": self.metrics,
            "clock": self.clock,
        }
        self.worker = TelemetryWorker(**{**options, **changes})

    def step(self, seconds: float = LOOK_S) -> bool:
        self.clock.s += seconds
        return self.worker.step(0.0)

    @property
    def sent(self) -> list[bytes]:
        return [queued.message.payload for queued in self.journal.outbox(0, 100)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.journal.close()


def test_nothing_leaves_before_a_whole_period_and_then_one_a_period(bench: Bench) -> None:
    assert not bench.step()
    assert not bench.step(PERIOD_S - LOOK_S - 1)
    assert bench.sent == []
    assert bench.step(LOOK_S + 1)
    assert len(bench.sent) == 1
    assert not bench.step()
    assert len(bench.sent) == 1
    assert bench.step(PERIOD_S)
    assert len(bench.sent) == 2
    assert bench.deliver.is_set()


def test_each_document_stands_in_the_egress_log_with_its_hash_and_number(bench: Bench) -> None:
    bench.step()
    for _ in range(2):
        assert bench.step(PERIOD_S)
    log = bench.journal.log("egress")
    assert first_break(log) is None
    entries = [json.loads(entry.body) for entry in log]
    assert [(entry["kind"], entry["id"], entry["backend"]) for entry in entries] == [
        ("telemetry", "1", "mqtt"),
        ("telemetry", "2", "mqtt"),
    ]
    assert [entry["destination"] for entry in entries] == [TOPICS.telemetry] * 2
    assert [entry["sha256"] for entry in entries] == [hashlib.sha256(body).hexdigest() for body in bench.sent]
    assert bench.journal.log("audit") == []


def test_the_document_holds_what_the_agent_counted(bench: Bench) -> None:
    bench.metrics.kinds.add("spike", 3)
    bench.metrics.anomaly_latency.extend([0.010, 0.020])
    bench.health = replace(bench.health, counts={"readings": 77}, drops={"bad-json": 1})
    bench.step()
    bench.step(7_199 - LOOK_S)
    document = json.loads(bench.sent[0])
    assert (document["readings"], document["anomalies"], document["drops"]) == (77, {"spike": 3}, {"bad-json": 1})
    assert document["uptime_hours"] == 2
    assert set(document["latency_ms"]) == {"arrival_to_anomaly"}
    assert b"gw" not in bench.sent[0]


def test_a_restart_neither_forgets_the_time_that_passed_nor_the_number(bench: Bench) -> None:
    bench.step()
    bench.step(PERIOD_S)
    bench.step(400.0)
    bench.start(boot="boot-2")
    assert bench.step(150.0) is False
    bench.start(boot="boot-3")
    assert bench.step(100.0) is True
    assert [json.loads(entry.body)["id"] for entry in bench.journal.log("egress")] == ["1", "2"]


def test_a_clock_that_is_set_makes_no_flood_and_no_silence(bench: Bench) -> None:
    bench.clock.s = 100.0  # monotonic and wall clock alike: a gateway that starts at 1970
    bench.start()
    bench.step()
    for _ in range(4):
        bench.start(boot="other")
        bench.clock.s = CLOCK_SET_S + 86_400 * 365
        assert bench.step() is False
        bench.clock.s = 100.0
    assert bench.sent == []


def test_running_time_is_kept_now_and_then_although_nothing_is_due(bench: Bench) -> None:
    bench.start(period_s=86_400.0)
    bench.step()
    before = bench.journal.meter(METER)
    bench.step(600.0)
    assert bench.journal.meter(METER) == before
    bench.step(3_700.0)
    assert bench.journal.meter(METER) != before


def test_a_damaged_state_begins_a_new_period(bench: Bench) -> None:
    bench.journal.record_meters({METER: b"{}"})
    assert bench.step() is False
    assert bench.step(PERIOD_S) is True


def test_what_may_not_leave_does_not_and_is_a_problem_until_it_may(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bytes:
        raise EgressError("telemetry: it did not leave")

    bench.step()
    with monkeypatch.context() as patched:
        patched.setattr(telemetry, "telemetry_body", refuse)
        bench.step(PERIOD_S)
    assert bench.sent == []
    assert bench.journal.log("egress") == []
    assert bench.metrics.conditions.current() == ("telemetry: telemetry: it did not leave",)
    bench.step(PERIOD_S)
    assert len(bench.sent) == 1
    assert bench.metrics.conditions.current() == ()


def test_a_disk_that_refuses_leaves_it_due(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise StorageError("disk full")

    bench.step()
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "record_log", refuse)
        with pytest.raises(StorageError):
            bench.step(PERIOD_S)
    assert bench.step(0.0) is True
    assert [json.loads(entry.body)["id"] for entry in bench.journal.log("egress")] == ["1"]


def test_between_looks_a_step_waits_and_does_nothing(bench: Bench) -> None:
    bench.step()
    bench.step(PERIOD_S - 1)
    assert bench.step(1.0) is False, "it is due now, but was just looked at"
    assert bench.step(LOOK_S - 1) is True
    bench.worker.finish()
