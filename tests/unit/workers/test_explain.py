"""The explain worker with a real journal: whatever fails, each incident gets a sentence, and the journal knows it."""

from __future__ import annotations

import json
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from msgspec.structs import replace

from edge_agent import pipeline
from edge_agent.confidence import FEATURES, ConfidenceRule
from edge_agent.config.settings import WriterSettings
from edge_agent.detect.contract import FIRST_SIGNER
from edge_agent.engines.loading import OpenRelease, open_release
from edge_agent.engines.memory import IncidentMemory
from edge_agent.errors import EngineError, StorageError
from edge_agent.journal import Journal
from edge_agent.metrics import Metrics
from edge_agent.pipeline import SIGNATURE_BYTES, SpeakingRelease, Writer
from edge_agent.values import Closure, Draft, Evidence, Incident, PastIncident, Prompt, Summary
from edge_agent.workers import explain as explain_module
from edge_agent.workers.active import ClosedMemory, ReleaseSlot, Wish
from edge_agent.workers.explain import MAX_WRITER_FAILURES, ExplainWorker
from edge_agent.workers.speaking import wish_for
from tests.unit.workers.parts import TOPICS, RefusingJournal, StepClock, open_journal
from tests.writing import ONSET_S, anomaly, draft, incident

GOOD = "at <at:0> , <stream:0> <moved:0> sharply to <peak:0> , against a usual <base:0> , and was back to normal after <for:0> ."
SURE = ConfidenceRule(features=FEATURES, weights=(0.0,) * 4, intercept=2.0, threshold=0.5)
RELEASE = SpeakingRelease("test-1", frozenset(w for w in GOOD.split() if not w.startswith("<")), SURE)
SIGNATURE = bytes(range(1, SIGNATURE_BYTES + 1))


class SayingWriter:
    """Says the same to every prompt; fails as often as `failures` says."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures

    def write(self, prompts: Sequence[Prompt]) -> list[Draft]:
        if self.failures:
            self.failures -= 1
            raise EngineError("the runtime failed")
        return [draft(GOOD) for _ in prompts]


class FailingMemory:
    def add(self, past: PastIncident) -> None:
        raise EngineError("memory: index damaged")

    def nearest(self, signature: bytes, before_s: float, asset: str = "") -> Evidence | None:
        raise EngineError("memory: index damaged")

    def save(self) -> None:
        raise AssertionError("a memory that failed is not saved")


def refuse_to_open() -> Writer:
    raise EngineError("model.bin: damaged")


class Bench:
    """An explain worker and everything around it."""

    def __init__(
        self,
        journal: Journal,
        writer: Callable[[], Writer] | None = None,
        memory: Callable[[], ClosedMemory] | None = None,
    ) -> None:
        self.journal = journal
        self.refusing = RefusingJournal(journal)
        self.metrics, self.clock = Metrics(), StepClock()
        self.wake, self.deliver = threading.Event(), threading.Event()
        self.slot = ReleaseSlot()
        self.slot.want(Wish(speaking=RELEASE, open_writer=writer, open_memory=memory))
        self.worker = ExplainWorker(
            journal=self.refusing.as_journal(),
            topics=TOPICS,
            slot=self.slot,
            zone=UTC,
            wake=self.wake,
            deliver=self.deliver,
            metrics=self.metrics,
            clock=self.clock,
        )

    def explain(self, *incidents: Incident) -> list[Summary]:
        self.journal.record(incidents, [])
        self.wake.set()
        self.worker.step(0.0)
        found = [self.journal.summary(each.id) for each in incidents]
        assert None not in found
        return [each for each in found if each is not None]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with open_journal(tmp_path) as opened:
        yield opened


def spike(number: int = 1, revision: int = 1, signature: bytes = b"") -> Incident:
    return incident(anomaly(end_s=ONSET_S + 3, signature=signature), id=f"pump-3-{number}", revision=revision)


def test_the_writers_sentence_is_journalled_and_queued_on_both_topics(journal: Journal) -> None:
    bench = Bench(journal, SayingWriter)
    (summary,) = bench.explain(spike())
    assert (summary.route, summary.release, summary.reasons) == ("writer", "test-1", ())
    assert "rose sharply to 7.25 mm/s" in summary.text
    messages = [queued.message for queued in journal.outbox(0, 10)]
    assert [message.topic for message in messages] == [TOPICS.summary, TOPICS.summary_of("pump-3-1")]
    assert json.loads(messages[0].payload)["text"] == summary.text
    assert bench.deliver.is_set()
    assert journal.to_explain(10) == []
    assert bench.metrics.routes.by_label() == {"writer": 1}


def test_a_later_revision_is_explained_again_and_an_explained_one_is_not(journal: Journal) -> None:
    bench = Bench(journal, SayingWriter)
    bench.explain(spike())
    assert bench.explain(spike(revision=2))[0].revision == 2
    bench.wake.set()
    assert not bench.worker.step(0.0)
    assert bench.metrics.flow.get("summaries") == 2


def test_an_event_that_was_missed_costs_time_only(journal: Journal) -> None:
    bench = Bench(journal, SayingWriter)
    bench.worker.step(0.0)
    journal.record([spike()], [])
    assert not bench.worker.step(0.0)
    bench.clock.s += 60
    assert bench.worker.step(0.0)
    assert journal.to_explain(10) == []


def test_a_writer_that_cannot_be_opened_leaves_the_template(journal: Journal) -> None:
    bench = Bench(journal, refuse_to_open)
    (summary,) = bench.explain(spike())
    assert (summary.route, summary.verdict) == ("template", "local")
    assert bench.metrics.fallbacks.get("writer-not-loaded") == 1
    assert bench.metrics.conditions.current() == ("writer: model.bin: damaged; sentences are the template's",)


def test_a_writer_that_fails_once_is_used_again(journal: Journal) -> None:
    bench = Bench(journal, lambda: SayingWriter(failures=1))
    first, second = bench.explain(spike(1), spike(2))
    assert (first.route, second.route) == ("template", "writer")
    assert bench.metrics.fallbacks.get("writer-failed") == 1
    assert bench.metrics.conditions.current() == ()


def test_a_writer_that_keeps_failing_is_given_up(journal: Journal) -> None:
    writer = SayingWriter(failures=100)
    bench = Bench(journal, lambda: writer)
    summaries = bench.explain(*(spike(number) for number in range(6)))
    assert {summary.route for summary in summaries} == {"template"}
    assert writer.failures == 100 - MAX_WRITER_FAILURES
    assert "given up" in bench.metrics.conditions.current()[0]


def test_while_the_journal_refuses_the_incident_stays_to_be_explained(journal: Journal) -> None:
    bench = Bench(journal, SayingWriter)
    bench.refusing.refusals = 1
    journal.record([spike()], [])
    bench.wake.set()
    with pytest.raises(StorageError):
        bench.worker.step(0.0)
    assert len(journal.to_explain(10)) == 1
    assert bench.worker.step(0.0)
    assert journal.to_explain(10) == []


def test_a_disk_that_is_full_for_long_costs_the_sentence_nothing(journal: Journal) -> None:
    bench = Bench(journal, SayingWriter)
    bench.refusing.refusals = 5
    journal.record([spike()], [])
    bench.wake.set()
    for _ in range(5):
        with pytest.raises(StorageError):
            bench.worker.step(0.0)
    bench.worker.step(0.0)
    summary = journal.summary("pump-3-1")
    assert summary is not None
    assert (summary.route, summary.verdict, summary.reasons) == ("writer", "local", ())


def test_an_incident_that_nothing_can_phrase_does_not_hold_up_the_next(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(each: Incident, *rest: object) -> Summary:
        if each.id == "pump-3-1":
            raise ZeroDivisionError("defect")
        return pipeline.explain(each, *rest)  # type: ignore[arg-type]  # the same arguments

    monkeypatch.setattr(explain_module, "explain", failing)
    bench = Bench(journal)
    journal.record([replace(spike(1), asset="a\n\u202eb. c"), spike(2)], [])
    bench.wake.set()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            bench.worker.step(0.0)
    bench.worker.step(0.0)
    bare, usual = journal.summary("pump-3-1"), journal.summary("pump-3-2")
    assert bare is not None
    assert usual is not None
    assert (bare.text, bare.reasons) == ('1 anomaly on "a b. c".', ("explaining-failed",))
    assert usual.route == "template"
    assert "explaining-failed" not in usual.reasons


def test_a_closed_incident_becomes_evidence_for_the_next_of_its_kind(journal: Journal, tmp_path: Path) -> None:
    def open_memory() -> ClosedMemory:
        return IncidentMemory.open(tmp_path / "memory", "digest", journal.past_incidents)

    bench = Bench(journal, SayingWriter, open_memory)
    before = replace(spike(1, signature=SIGNATURE), opened_s=ONSET_S - 86_400)
    bench.explain(before)
    closed = replace(before, state="closed", revision=2, closed_s=ONSET_S)
    journal.close_incident(Closure(incident_id=before.id, cause="bearing wear", closed_s=ONSET_S), (), closed)
    bench.worker.remember(before.id)
    (summary,) = bench.explain(spike(2, signature=SIGNATURE))
    assert summary.evidence is not None
    assert (summary.evidence.incident_id, summary.evidence.cause) == (before.id, "bearing wear")
    assert "bearing wear" in summary.text
    bench.worker.finish()
    assert (tmp_path / "memory.json").exists()


def test_a_memory_that_fails_costs_the_evidence_only(journal: Journal) -> None:
    bench = Bench(journal, SayingWriter, FailingMemory)
    (summary,) = bench.explain(spike(1, signature=SIGNATURE))
    assert (summary.route, summary.evidence) == ("writer", None)
    assert bench.metrics.fallbacks.get("memory-failed") == 1
    assert bench.metrics.conditions.current()[0].startswith("memory: ")
    bench.worker.finish()


class Tracking:
    """Opens writers, and knows how many stand in memory at once."""

    def __init__(self) -> None:
        self.alive: weakref.WeakSet[SayingWriter] = weakref.WeakSet()
        self.opened = 0
        self.most = 0

    def __call__(self) -> Writer:
        writer = SayingWriter()
        self.alive.add(writer)
        self.opened += 1
        self.most = max(self.most, len(self.alive))
        return writer


def wish(name: str, opens: Callable[[], Writer] | None, key: str = "") -> Wish:
    return Wish(speaking=replace(RELEASE, id=name), open_writer=opens, writer_key=key)


def test_releases_are_exchanged_between_two_incidents_and_each_sentence_names_its_own(journal: Journal) -> None:
    bench, writers = Bench(journal), Tracking()
    for number in range(6):
        name = f"test-{number}"
        bench.slot.want(wish(name, writers, name))
        (summary,) = bench.explain(spike(number))
        assert (summary.route, summary.release) == ("writer", name)
    assert (writers.opened, writers.most) == (6, 1)
    assert bench.slot.state().taken_by == ("explain",)


def test_a_release_that_is_wanted_in_the_middle_of_a_batch_writes_the_next_sentence(journal: Journal) -> None:
    bench = Bench(journal)

    class Last(SayingWriter):
        def write(self, prompts: Sequence[Prompt]) -> list[Draft]:
            bench.slot.want(wish("new", SayingWriter))
            return super().write(prompts)

    bench.slot.want(wish("old", Last))
    first, second = bench.explain(spike(1), spike(2))
    assert (first.release, second.release) == ("old", "new")


def test_a_writer_made_of_the_same_files_is_kept(journal: Journal) -> None:
    bench, writers = Bench(journal), Tracking()
    for name in ("test-1", "test-2"):
        bench.slot.want(wish(name, writers, "same"))
        assert bench.explain(spike(int(name[-1])))[0].release == name
    assert writers.opened == 1


def test_a_release_whose_writer_cannot_be_opened_is_told_and_the_next_one_speaks(journal: Journal) -> None:
    bench = Bench(journal, SayingWriter)
    bench.slot.want(wish("broken", refuse_to_open))
    (summary,) = bench.explain(spike(1))
    assert (summary.route, summary.release) == ("template", "broken")
    assert "damaged" in bench.slot.state().problem
    bench.slot.want(wish("good", SayingWriter))
    (summary,) = bench.explain(spike(2))
    assert (summary.route, summary.release, bench.slot.state().problem) == ("writer", "good", "")
    assert bench.metrics.conditions.current() == ()


def test_what_a_release_does_is_counted_for_its_trial(journal: Journal) -> None:
    bench = Bench(journal)
    bench.slot.want(wish("good", SayingWriter))
    bench.explain(spike(1))
    assert (bench.slot.state().sentences, bench.slot.state().refused) == (1, 0)
    bench.slot.want(Wish(speaking=replace(RELEASE, lexicon=frozenset()), open_writer=SayingWriter))
    bench.explain(spike(2))
    assert (bench.slot.state().sentences, bench.slot.state().refused) == (1, 1)
    bench.slot.want(wish("failing", lambda: SayingWriter(failures=MAX_WRITER_FAILURES)))
    for number in range(3, 3 + MAX_WRITER_FAILURES):
        bench.explain(spike(number))
    assert bench.slot.state().writer_failures == MAX_WRITER_FAILURES
    assert "given up" in bench.slot.state().problem


def test_a_writer_that_fails_as_nobody_thought_of_is_given_up_like_any_other(journal: Journal) -> None:
    class Odd(SayingWriter):
        def write(self, prompts: Sequence[Prompt]) -> list[Draft]:
            raise OverflowError("intermediate overflow in fsum")

    bench = Bench(journal, Odd)
    for number in range(MAX_WRITER_FAILURES):
        with pytest.raises(OverflowError):
            bench.explain(spike(number))
        bench.worker.step(0.0)
        summary = journal.summary(f"pump-3-{number}")
        assert summary is not None
        assert summary.route == "template"
    assert bench.slot.state().writer_failures == MAX_WRITER_FAILURES
    assert "given up" in bench.slot.state().problem


def test_a_slow_writer_is_no_worker_that_hangs(journal: Journal) -> None:
    """Every incident is one sentence of 20 s here; a step of sixteen would last longer than a step may."""

    class Slow(SayingWriter):
        def write(self, prompts: Sequence[Prompt]) -> list[Draft]:
            bench.clock.s += 20.0 * len(prompts)
            return super().write(prompts)

    bench = Bench(journal, Slow)
    journal.record([spike(number) for number in range(explain_module.MAX_BATCH)], [])
    for _ in range(explain_module.MAX_BATCH):
        began_s = bench.clock.s
        assert bench.worker.step(0.0)
        assert bench.clock.s - began_s < bench.worker.max_step_s
    assert journal.to_explain(10) == []


def test_signatures_of_two_classifiers_are_never_compared(journal: Journal, tmp_path: Path) -> None:
    bench = Bench(journal)
    cases = {"c" * 64: "c" * 16, "d" * 64: "d" * 16, FIRST_SIGNER + "0" * 48: ""}
    for number, signed_by in enumerate(cases.values()):
        before = signed(replace(spike(number, signature=SIGNATURE), opened_s=ONSET_S - 86_400), signed_by)
        journal.record([before], [])
        closed = replace(before, state="closed", revision=2, closed_s=ONSET_S)
        journal.close_incident(Closure(incident_id=before.id, cause=f"cause {number}", closed_s=ONSET_S), (), closed)
        bench.wake.set()
        bench.worker.step(0.0)
        bench.worker.remember(before.id)
    for number, key in enumerate(cases):
        bench.slot.want(Wish(speaking=RELEASE, open_memory=memory_of(key, journal, tmp_path), classifier_key=key))
        for other, name in enumerate(cases.values()):
            (summary,) = bench.explain(signed(spike(100 + 10 * number + other, signature=SIGNATURE), name))
            found = summary.evidence
            assert (found.cause if found is not None else None) == (f"cause {number}" if other == number else None)
    bench.worker.remember("pump-3-0")  # of another classifier than the memory's
    (summary,) = bench.explain(signed(spike(200, signature=SIGNATURE), ""))
    assert summary.evidence is not None
    assert summary.evidence.cause == "cause 2"


def signed(one: Incident, signed_by: str) -> Incident:
    return replace(one, anomalies=tuple(replace(each, signed_by=signed_by) for each in one.anomalies))


def memory_of(key: str, journal: Journal, folder: Path) -> Callable[[], ClosedMemory]:
    opened = open_release()
    components = opened.manifest.components
    manifest = replace(
        opened.manifest,
        components=components | {"classifier.tflite": replace(components["classifier.tflite"], sha256=key)},
    )
    fake = SimpleNamespace(manifest=manifest, speaking=opened.speaking, certified="", open_writer=None, open_classifier=None)
    wish = wish_for(cast("OpenRelease", fake), WriterSettings(enabled=False), journal, folder)
    assert wish.open_memory is not None
    return wish.open_memory


def test_an_exchange_that_fails_unexpectedly_leaves_templates_of_the_new_release_and_is_told(journal: Journal) -> None:
    def broken() -> Writer:
        raise ZeroDivisionError("defect")

    bench = Bench(journal, SayingWriter)
    bench.worker.step(0.0)
    bench.slot.want(wish("defective", broken))
    with pytest.raises(ZeroDivisionError):
        bench.worker.step(0.0)
    assert bench.slot.state().problem
    (summary,) = bench.explain(spike(1))
    assert (summary.route, summary.release) == ("template", "defective")
