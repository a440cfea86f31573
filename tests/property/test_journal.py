"""The journal against a model made of dictionaries: any sequence of calls, restarts and deliveries gives the same answers."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge_agent.chain import first_break
from edge_agent.config.settings import JournalSettings
from edge_agent.journal import Journal
from edge_agent.values import Escalation, EscalationState, Incident, IncidentState, Message, Summary
from tests.journals import SetClock, TwoClocks, closure, escalation, incident, message, open_journal, report_of, summary

SETTINGS = JournalSettings(max_bytes=16 << 20, max_outbox=100_000, keep_incidents=100_000)
NUMBERS = st.integers(0, 7)
REVISIONS = st.integers(1, 4)
TOPICS = st.sampled_from(("a", "b", "c"))
SEVERITIES = st.sampled_from((0.2, 0.5, 0.9))
FATES: st.SearchStrategy[EscalationState] = st.sampled_from(("queued", "sent", "answered", "refused", "dropped"))
FINAL = ("answered", "refused", "dropped")
STATES: st.SearchStrategy[IncidentState] = st.sampled_from(("open", "closed"))


class JournalMachine(RuleBasedStateMachine):
    """`incidents`, `summaries`, `causes`, `escalations` by id; `queue` is what waits, oldest first; `taken` what a reader
    holds; `dead` what was buried; `logs` the bodies of each log; `meters` by name."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.journal: Journal = open_journal(self.folder / "journal.db", SETTINGS, SetClock())
        self.order: list[str] = []
        self.incidents: dict[str, Incident] = {}
        self.summaries: dict[str, Summary] = {}
        self.causes: dict[str, str] = {}
        self.escalations: dict[str, Escalation] = {}
        self.logs: dict[str, list[bytes]] = {"audit": [], "egress": []}
        self.meters: dict[str, bytes] = {}
        self.dead: list[Message] = []
        self.queue: list[Message] = []
        self.handed_out: list[Message] = []
        self.taken: list[tuple[int, Message]] = []
        self.after = 0
        self.serial = 0

    def teardown(self) -> None:
        self.journal.close()
        shutil.rmtree(self.folder)

    def queued(self, topic: str, supersedes: bool) -> Message:
        """A message of unique content, and the model's queue with it."""
        self.serial += 1
        sent = message(topic, str(self.serial), supersedes)
        places = [k for k, m in enumerate(self.queue) if supersedes and m.supersedes and m.topic == topic]
        if places and not any(self.queue[places[-1]] is m for m in self.handed_out):
            self.queue[places[-1]] = sent
        else:
            self.queue.append(sent)
        return sent

    @rule(number=NUMBERS, revision=REVISIONS, state=STATES, topic=TOPICS, supersedes=st.booleans())
    def record(self, number: int, revision: int, state: IncidentState, topic: str, supersedes: bool) -> None:
        one = incident(number, revision, state, bytes([number] * 32))
        self.journal.record([one], [self.queued(topic, supersedes)])
        known = self.incidents.get(one.id)
        if known is None:
            self.order.append(one.id)
        if known is None or revision > known.revision:
            self.incidents[one.id] = one

    @rule(number=NUMBERS, revision=REVISIONS, topic=TOPICS, severity=st.none() | SEVERITIES, logged=st.booleans())
    def explain(self, number: int, revision: int, topic: str, severity: float | None, logged: bool) -> None:
        one = summary(number, revision, f"Text {self.serial}.")
        asked = escalation(number, revision, severity=severity) if severity is not None else None
        entry = b"%d" % self.serial if logged else b""
        explained = self.summaries.get(one.incident_id)
        if explained is not None and explained.revision > revision:
            self.journal.record_summary(one, [message(topic, "ignored")], "critical", escalation=asked, audit=entry)
            return
        self.journal.record_summary(one, [self.queued(topic, True)], "critical", escalation=asked, audit=entry)
        self.logs["audit"] += [entry] if entry else []
        if one.incident_id in self.incidents:
            self.summaries[one.incident_id] = one
            before = self.escalations.get(one.incident_id)
            if asked is not None and (before is None or before.revision <= revision):
                self.escalations[one.incident_id] = asked

    @rule(number=NUMBERS, revision=REVISIONS, state=FATES, topic=TOPICS, answered=st.booleans())
    def settle(self, number: int, revision: int, state: EscalationState, topic: str, answered: bool) -> None:
        one = escalation(number, revision, state)
        revised = summary(number, revision, f"Revised {self.serial}.") if answered else None
        known, before = self.incidents.get(one.incident_id), self.escalations.get(one.incident_id)
        outdated = before is not None and (before.revision > revision or (before.revision == revision and before.state in FINAL))
        explained = self.summaries.get(one.incident_id)
        late = revised is not None and explained is not None and explained.revision > revision
        keeps = known is not None and not outdated and not late
        sent = self.queued(topic, True) if keeps else message(topic, "ignored")
        entry = b"%d" % self.serial
        kept = self.journal.settle(one, messages=[sent], summary=revised, meters={topic: entry}, egress=entry, audit=entry)
        assert kept == keeps
        self.meters[topic] = entry
        if keeps:
            self.escalations[one.incident_id] = one
            self.logs["audit"].append(entry)
            self.logs["egress"].append(entry)
            if revised is not None:
                self.summaries[one.incident_id] = revised

    @rule(number=NUMBERS, cause=st.sampled_from(("", "wear", "leak")))
    def close_by_operator(self, number: int, cause: str) -> None:
        known = f"i-{number:06d}" in self.incidents
        assert self.journal.close_incident(closure(number, cause)) == known
        if known:
            self.causes[f"i-{number:06d}"] = cause

    @rule(limit=st.integers(1, 5))
    def take(self, limit: int) -> None:
        got = self.journal.outbox(self.after, limit)
        if got:
            self.after = got[-1].number
            self.taken += [(queued.number, queued.message) for queued in got]
        for queued in got:
            self.handed_out.append(next(m for m in self.queue if m == queued.message))

    @precondition(lambda self: self.taken)
    @rule(count=st.integers(1, 5))
    def acknowledge(self, count: int) -> None:
        done, self.taken = self.taken[:count], self.taken[count:]
        self.journal.delivered([number for number, _ in done])
        for _, sent in done:
            self.queue.remove(sent)

    @precondition(lambda self: self.taken)
    @rule(place=st.integers(0, 4))
    def bury(self, place: int) -> None:
        number, sent = self.taken.pop(place % len(self.taken))
        self.journal.bury(number, "refused")
        if sent in self.queue:
            self.queue.remove(sent)
            self.dead.append(sent)

    @rule()
    def reconnect(self) -> None:
        self.after, self.taken = 0, []

    @rule()
    def restart(self) -> None:
        self.journal.close()
        self.journal = open_journal(self.folder / "journal.db", SETTINGS, SetClock())
        assert not self.journal.opening.damage
        self.after, self.taken, self.handed_out = 0, [], []

    @invariant()
    def answers_are_the_models(self) -> None:
        ordered = [self.incidents[i] for i in self.order]
        stored = self.journal.incidents(100)
        assert [s.incident for s in stored] == ordered[::-1]
        assert self.journal.open_incidents() == [i for i in ordered if i.state == "open"]
        for one in stored:
            found = self.summaries.get(one.incident.id)
            assert self.journal.summary(one.incident.id) == found
            assert one.explained_revision == (found.revision if found else None)
            assert (one.closure.cause if one.closure else None) == self.causes.get(one.incident.id)
        assert self.journal.to_explain(100) == [
            i for i in ordered if i.id not in self.summaries or self.summaries[i.id].revision < i.revision
        ]
        past = [(p.incident_id, p.cause) for p in self.journal.past_incidents()]
        assert past == [(i.id, self.causes[i.id]) for i in ordered if i.state == "closed" and self.causes.get(i.id)]

    @invariant()
    def escalations_are_the_models(self) -> None:
        pending = [self.escalations[i] for i in self.order if i in self.escalations and self.escalations[i].state not in FINAL]
        assert self.journal.pending_escalations(100) == sorted(pending, key=lambda one: -one.severity)
        assert self.journal.pending_count() == len(pending)
        for incident_id, one in self.escalations.items():
            assert self.journal.escalation(incident_id) == self.journal.escalation_of(one.id) == one

    @invariant()
    def logs_meters_and_dead_letters_are_the_models(self) -> None:
        for name in ("audit", "egress"):
            entries = self.journal.log(name)
            assert [entry.body for entry in entries] == self.logs[name]
            assert first_break(entries, self.journal.log_anchor(name)) is None
        assert {name: self.journal.meter(name) for name in self.meters} == self.meters
        assert [letter.message for letter in self.journal.dead_letters(100)] == self.dead[::-1]

    @invariant()
    def counts_are_the_models(self) -> None:
        # Reading with a number above all does not hand anything out.
        assert self.journal.outbox(1 << 60, 1) == []
        counts = self.journal.counts()
        acknowledged = counts.outbox - len(self.queue)
        assert 0 <= acknowledged <= 100, "delivered messages may stand in the file for a moment"
        assert counts.incidents == len(self.order)
        assert counts.dropped == counts.dead_letters == len(self.dead)
        assert counts.failed_commits == 0

    @rule()
    def everything_that_waits_in_order(self) -> None:
        got = self.journal.outbox(0, 1000)
        assert [queued.message for queued in got] == self.queue
        self.handed_out = list(self.queue)
        numbers = [queued.number for queued in got]
        assert numbers == sorted(set(numbers))


TestJournal = JournalMachine.TestCase
TestJournal.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("queue"), st.integers(1, 40), st.integers(0, 2), st.sampled_from((0, 300, 3_000, 200_000))),
        st.tuples(st.just("queue"), st.integers(1, 10), st.integers(0, 2), st.just(15_000)),
        st.tuples(st.just("deliver"), st.integers(1, 30), st.none(), st.none()),
        st.tuples(st.just("bury"), st.integers(1, 5), st.none(), st.none()),
        st.tuples(st.just("pass"), st.sampled_from((10, 1_800, 4_000)), st.none(), st.none()),
        st.tuples(st.just("restart"), st.none(), st.none(), st.none()),
    ),
    min_size=3,
    max_size=15,
)


@given(steps=STEPS)
@example(steps=[("queue", 10, 2, 15_000)] * 12 + [("deliver", 9, None, None), ("pass", 4_000, None, None)] * 2)
@example(steps=[("queue", 1, 0, 200_000), ("queue", 1, 0, 15_000), ("bury", 2, None, None), ("pass", 4_000, None, None)])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_message_is_delivered_or_waits_or_is_counted(steps: list[tuple[str, Any, Any, Any]]) -> None:
    """Whatever caps strike, over restarts; and the newest report of what was given up is told or waits to be."""
    limits = JournalSettings(max_bytes=1 << 20, max_outbox=100, max_message_age_s=3_600.0)
    clock, queued, delivered, told = TwoClocks(), 0, 0, b""
    with tempfile.TemporaryDirectory() as folder:
        journal = open_journal(Path(folder) / "journal.db", limits, clock, report_of)
        for what, count, priority, size in steps:
            match what:
                case "queue":
                    journal.record([], [message(f"t/{queued + k}", "x" * size, priority=priority) for k in range(count)])
                    queued += count
                case "deliver":
                    taken = journal.outbox(0, count)
                    delivered += sum(one.message.topic != "drops" for one in taken)
                    told = next((one.message.payload for one in reversed(taken) if one.message.topic == "drops"), told)
                    journal.delivered([one.number for one in taken])
                case "bury":
                    for one in journal.outbox(0, count):
                        if one.message.topic != "drops":
                            journal.bury(one.number, "refused")
                case "pass":
                    clock.pass_s(count)
                    journal.record([], [])
                case _:
                    journal.close()
                    journal = open_journal(Path(folder) / "journal.db", limits, clock, report_of)
        with journal:
            journal.record([], [])
            waiting = journal.outbox(0, 1_000)
            counted = {drop.reason: drop.count for drop in journal.drops()}
            reports = [one.message.payload for one in waiting if one.message.topic == "drops"]
            assert len(journal.dead_letters(1_000)) == counted.get("buried", 0) - counted.pop("dead-letter-expired", 0)
            assert queued == delivered + len(waiting) - len(reports) + sum(counted.values())
            if counted:
                assert reports[-1:] == [report_of(journal.drops()).payload] or told
                assert len(waiting) <= 100 + len(reports)
