"""The screen worker with a real journal and real detection: what is acknowledged is durable, what is not durable waits."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from edge_agent.detect import CLASSES
from edge_agent.errors import EngineError, StorageError
from edge_agent.journal import Journal
from edge_agent.metrics import Metrics
from edge_agent.pipeline import SIGNATURE_BYTES, Classified, Classifier, Screened, Screener
from edge_agent.values import Arrival, Closure
from edge_agent.workers.active import ReleaseSlot, Wish
from edge_agent.workers.screen import Core, ScreenWorker, Wakes
from edge_agent.workers.trial import MAX_CLASSIFIER_FAILURES
from tests.journals import waiting
from tests.unit.workers.parts import START_S, TOPICS, MemoryLink, RefusingJournal, StepClock, new_core, open_journal, readings


class Bench:
    """A screen worker and everything around it."""

    def __init__(self, journal: Journal, core: Core) -> None:
        self.refusing = RefusingJournal(journal)
        self.journal = journal
        self.link, self.metrics, self.clock = MemoryLink(), Metrics(), StepClock()
        self.wakes = Wakes(explain=threading.Event(), deliver=threading.Event())
        self.slot = ReleaseSlot()
        self.worker = ScreenWorker(
            link=self.link,
            journal=self.refusing.as_journal(),
            core=core,
            slot=self.slot,
            topics=TOPICS,
            wakes=self.wakes,
            metrics=self.metrics,
            clock=self.clock,
        )

    def arrive(self, arrivals: list[Arrival]) -> None:
        self.link.arrivals += arrivals
        self.clock.s = max(self.clock.s, arrivals[-1].arrived_s)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with open_journal(tmp_path) as journal:
        yield Bench(journal, new_core())


def spiked(bench: Bench) -> str:
    """Take in readings with one spike; the id of the incident that it opens."""
    bench.arrive(readings(200, spike_at=190))
    bench.worker.step(0.0)
    return bench.journal.open_incidents()[0].id


def test_a_quiet_batch_is_acknowledged_and_stores_nothing(bench: Bench) -> None:
    bench.arrive(readings(100))
    assert bench.worker.step(0.0)
    assert len(bench.link.acked) == 100
    assert bench.journal.counts().operations == 0
    assert bench.metrics.flow.get("readings") == 100
    assert bench.metrics.levels.get("streams") == 1
    assert not bench.wakes.deliver.is_set()


def test_a_spike_is_journalled_with_its_messages_before_it_is_acknowledged(bench: Bench) -> None:
    durable: list[int] = []
    bench.link.at_ack = lambda: durable.append(len(bench.journal.open_incidents()))
    incident_id = spiked(bench)
    assert durable == [1]
    assert bench.wakes.explain.is_set()
    assert bench.wakes.deliver.is_set()
    messages = [queued.message for queued in bench.journal.outbox(0, 100)]
    assert {message.topic for message in messages} == {TOPICS.anomaly("pump/level"), TOPICS.incident(incident_id)}
    anomaly = json.loads(next(m.payload for m in messages if m.topic == TOPICS.anomaly("pump/level")))
    assert (anomaly["stream"], anomaly["kind"], anomaly["observed"]) == ("pump/level", "spike", 500.0)
    assert [incident.id for incident in bench.journal.to_explain(10)] == [incident_id]
    assert bench.metrics.anomaly_latency.quantiles() is not None


def test_while_the_journal_refuses_nothing_is_acknowledged_and_nothing_more_taken(bench: Bench) -> None:
    bench.refusing.refusals = 2
    bench.arrive(readings(200, spike_at=190))
    for _ in range(2):
        with pytest.raises(StorageError):
            bench.worker.step(0.0)
        assert not bench.link.acked
        assert bench.metrics.conditions.current() == ("journal: disk full",)
        bench.link.arrivals = readings(5, first_mid=1_000, start_s=START_S + 300)
    bench.worker.step(0.0)
    assert len(bench.link.acked) == 205
    assert bench.metrics.conditions.current() == ()
    assert len(bench.journal.open_incidents()) == 1


def test_an_incident_closes_when_its_stream_is_usual_again(bench: Bench) -> None:
    incident_id = spiked(bench)
    for minute in range(10):
        bench.arrive(readings(60, start_s=START_S + 200 + 60 * minute))
        bench.worker.step(0.0)
    stored = bench.journal.incident(incident_id)
    assert stored is not None
    assert stored.incident.state == "closed"
    assert bench.metrics.kinds.by_label() == {stored.incident.anomalies[0].kind: 1}, "each anomaly is counted once, when it ends"


def test_what_cannot_be_read_is_counted_by_reason_and_acknowledged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bad = [Arrival(topic="s/pump/level", payload=b"not a number", arrived_s=START_S, qos=1, mid=n) for n in range(3)]
    stray = Arrival(topic="elsewhere", payload=b"1", arrived_s=START_S, qos=1, mid=9)
    bench.arrive([*bad, stray])
    bench.worker.step(0.0)
    assert bench.metrics.rejections.total() == 4
    assert len(bench.metrics.rejections.by_label()) == 2
    assert len(bench.link.acked) == 4
    assert len(caplog.records) == 2


def test_a_batch_whose_screening_fails_is_set_aside_and_not_tried_for_ever(tmp_path: Path) -> None:
    class FailingOnce(Screener):
        failed = False

        def screen(self, arrivals: object, now_s: float) -> Screened:
            if not self.failed:
                self.failed = True
                raise ZeroDivisionError("defect")
            return Screened([], [], [], {}, 1)

    with open_journal(tmp_path) as journal:
        core = new_core()
        bench = Bench(journal, Core(FailingOnce(core.screener._router, core.bank, core.book), core.bank, core.book))
        bench.arrive(readings(10))
        with pytest.raises(ZeroDivisionError):
            bench.worker.step(0.0)
        assert not bench.link.acked
        bench.arrive(readings(1, first_mid=50))
        bench.worker.step(0.0)
        assert len(bench.link.acked) == 11
        assert bench.metrics.rejections.by_label() == {"screening-failed": 10}


def test_what_cannot_be_stored_at_all_is_set_aside_and_the_next_is_stored(bench: Bench) -> None:
    bench.arrive(readings(200, spike_at=190))
    bench.refusing.defects = 1
    with pytest.raises(ZeroDivisionError):
        bench.worker.step(0.0)
    assert not bench.link.acked
    bench.arrive(readings(1, first_mid=500, start_s=START_S + 300))
    bench.worker.step(0.0)
    assert bench.metrics.rejections.get("storing-failed") >= 1
    assert len(bench.link.acked) == 201
    assert bench.metrics.conditions.current()[0].startswith("storing: ")


def test_an_operators_closing_is_durable_when_it_is_answered(bench: Bench) -> None:
    incident_id = spiked(bench)
    closure = Closure(incident_id=incident_id, cause="valve stuck", note="", closed_s=bench.clock.s)
    bench.refusing.refusals = 1
    done = bench.worker.close_incident(closure)
    with pytest.raises(StorageError):
        bench.worker.step(0.0)
    assert not done.done()
    bench.worker.step(0.0)
    assert done.result(0) is True
    stored = bench.journal.incident(incident_id)
    assert stored is not None
    assert stored.incident.state == "closed"
    assert stored.closure == closure
    cleared = [message for message in waiting(bench.journal) if message.topic == TOPICS.incident(incident_id)]
    assert (cleared[-1].payload, cleared[-1].retain) == (b"", True)


def test_closing_an_unknown_incident_is_answered_with_no(bench: Bench) -> None:
    done = bench.worker.close_incident(Closure(incident_id="none", cause="x", closed_s=START_S))
    bench.worker.step(0.0)
    assert done.result(0) is False


def test_finish_takes_in_what_has_arrived_and_lets_nobody_wait(bench: Bench) -> None:
    bench.arrive(readings(200, spike_at=190))
    bench.worker.finish()
    assert len(bench.link.acked) == 200
    assert len(bench.journal.open_incidents()) == 1


def heard_for(bench: Bench, seconds: int) -> None:
    """One reading a second for so long, each taken in when it comes."""
    for arrival in readings(seconds):
        bench.arrive([arrival])
        bench.worker.step(0.0)


def silences(bench: Bench) -> list[str]:
    kinds = [json.loads(message.payload)["kind"] for message in waiting(bench.journal) if "/anomaly/" in message.topic]
    return [kind for kind in kinds if kind == "silence"]


def wait(bench: Bench, seconds: int) -> None:
    for _ in range(4 * seconds):
        bench.clock.s += 0.25
        bench.worker.step(0.0)


def test_a_stream_that_stops_while_the_worker_listens_is_silent(bench: Bench) -> None:
    heard_for(bench, 120)
    wait(bench, 15)
    assert silences(bench) == ["silence"]


def test_no_stream_is_silent_because_the_broker_is_away(bench: Bench) -> None:
    heard_for(bench, 120)
    bench.link.connected = False
    wait(bench, 60)
    bench.link.connected = True
    wait(bench, 3)
    assert silences(bench) == []
    wait(bench, 15)
    assert silences(bench) == ["silence"]


def test_no_stream_is_silent_because_the_journal_held_everything_up(bench: Bench) -> None:
    heard_for(bench, 120)
    bench.refusing.refusals = 30
    bench.arrive(readings(1, spike_at=0, first_mid=500, start_s=START_S + 121))
    for _ in range(30):
        bench.clock.s += 1.0
        with pytest.raises(StorageError):
            bench.worker.step(0.0)
    bench.link.arrivals += readings(30, first_mid=501, start_s=START_S + 122)
    bench.worker.step(0.0)
    wait(bench, 1)
    assert silences(bench) == []


class Refusing:
    """A classifier that cannot be opened, and one that can; counts how often."""

    def __init__(self, *, broken: bool = False) -> None:
        self.broken, self.opened = broken, 0

    def __call__(self) -> Classifier:
        self.opened += 1
        if self.broken:
            raise EngineError("classifier.tflite: damaged")
        return FixedClassifier()


class FixedClassifier:
    def classify(self, windows: NDArray[np.float32]) -> Classified:
        kinds = np.zeros((len(windows), len(CLASSES)), dtype=np.float32)
        kinds[:, 0] = 1.0
        return Classified(kinds, np.ones((len(windows), SIGNATURE_BYTES), dtype=np.int8))


def test_a_classifier_is_exchanged_between_two_batches_and_nothing_is_lost(bench: Bench) -> None:
    one, other = Refusing(), Refusing()
    bench.arrive(readings(100))
    number = bench.slot.want(Wish(open_classifier=one, classifier_key="one"))
    bench.worker.step(0.0)
    assert bench.slot.state().taken_by == ("screen",)
    bench.slot.want(Wish(open_classifier=one, classifier_key="one"))
    bench.worker.step(0.0)
    assert one.opened == 1
    number = bench.slot.want(Wish(open_classifier=other, classifier_key="other"))
    bench.arrive(readings(100, first_mid=101, start_s=START_S + 100))
    bench.worker.step(0.0)
    assert (other.opened, bench.slot.state().number, bench.slot.state().problem) == (1, number, "")
    assert bench.metrics.flow.by_label()["readings"] == 200


def test_a_classifier_that_cannot_be_opened_is_told_and_tried_again(bench: Bench) -> None:
    broken, good = Refusing(broken=True), Refusing()
    bench.slot.want(Wish(open_classifier=broken, classifier_key="same"))
    bench.worker.step(0.0)
    assert "damaged" in bench.slot.state().problem
    assert any("classifier" in each for each in bench.metrics.conditions.current())
    bench.slot.want(Wish(open_classifier=good, classifier_key="same"))
    bench.worker.step(0.0)
    assert (good.opened, bench.slot.state().problem) == (1, "")
    assert not any("classifier" in each for each in bench.metrics.conditions.current())


def test_a_classifier_that_fails_while_it_runs_costs_no_anomaly_and_is_told(bench: Bench) -> None:
    class Failing:
        def classify(self, windows: NDArray[np.float32]) -> Classified:
            raise EngineError("gather index out of bounds")

    bench.slot.want(Wish(open_classifier=Failing, classifier_key="failing"))
    assert spiked(bench)
    assert bench.slot.state().classifier_failures == bench.metrics.rejections.by_label()["classifier-failed"] > 0
    for stream in range(MAX_CLASSIFIER_FAILURES):
        told = [each for each in bench.metrics.conditions.current() if each.startswith("classifier: it failed")]
        assert bool(told) == (bench.slot.state().classifier_failures >= MAX_CLASSIFIER_FAILURES)
        spikes = readings(200, spike_at=190, first_mid=1_000 * (stream + 1))
        bench.arrive([replace(each, topic=f"s/pump/more{stream}") for each in spikes])
        bench.worker.step(0.0)
    (said,) = [each for each in bench.metrics.conditions.current() if each.startswith("classifier: it failed")]
    assert "gather index out of bounds; those anomalies keep their statistical kind" in said
    bench.slot.want(Wish(open_classifier=Refusing(), classifier_key="good"))
    bench.worker.step(0.0)
    assert bench.metrics.conditions.current() == ()
