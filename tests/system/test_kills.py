"""kill -9 of agent, broker and model server at moments drawn by a seed, under load: what was acknowledged arrives, whole.

Acknowledged is: an incident that stands in the journal or was published, readings that the agent confirmed to the broker, a
closing that was answered, a fate of an escalation. Readings of a burst that is cut in two by a kill may give no incident: the
detectors know nothing of before the start. Every sentence of this agent is uncertain, so that each incident is escalated.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import pytest
from msgspec import Struct

from edge_agent.config.settings import JournalSettings
from edge_agent.journal import JOURNAL_NAME, Journal, StoredIncident
from edge_agent.journal.reader import Reader
from edge_agent.values import Escalation, Summary
from edge_agent.workers.fates import FINAL
from tests.agent import AgentProcess, eventually
from tests.journals import SetClock
from tests.mosquitto import Mosquitto
from tests.system import hasty_agent
from tests.system.model_server import ModelServer
from tests.system.turmoil import BACKLOG, BROKER_SETTINGS, BrokerRecord, Heard, Listener, Operator, Responder, Sensors, pause
from tests.unsure_agent import ENTRY

SEED = 20_261_122
KILLS, SLOW_KILLS = 10, 500
REST_S = 110.0
SETTINGS: dict[str, Any] = {
    "incidents": {"join_within_s": 20.0, "close_after_s": 1.0, "storm_incidents": 10_000, "max_open_incidents": 1_024},
    "detect": {"silence_min_s": 3600.0},
    "journal": {"max_bytes": 256 << 20},
}
ESCALATION: dict[str, Any] = {
    "backend": "openai",
    "backoff_min_s": 0.05,
    "backoff_max_s": 0.2,
    "breaker_pause_s": 0.2,
    "critical_severity": 0.0,
    "max_attempts": 1_000,
    "requests_per_day": 100_000,
    "tokens_per_day": 1_000_000_000,
    "bytes_per_day": 1_000_000_000,
    "money_per_day": 1_000.0,
}
FAULTS = ("good", "good", "status:503", "close", "reset", "cut-body", "number")
"""What the server does with its first questions: some answers, some failures, a wrong answer."""

T = TypeVar("T")
Backend: TypeAlias = Literal["openai", "mqtt"]


class Figures(Struct):
    """What happened in one run."""

    agent: int = 0
    """Kills of the agent; so on for the others."""
    while_starting: int = 0
    """Of these, before it was ready."""
    broker: int = 0
    server: int = 0
    incidents: int = 0
    confirmed_bursts: int = 0
    closings: int = 0
    questions: int = 0
    """Arrivals at the server, repeated ones included."""
    answered: int = 0
    refused: int = 0
    messages: int = 0
    repeated: int = 0
    """Messages that came more than once, byte for byte."""
    seconds: float = 0.0


class Turmoil:
    """The parts of one run, and what they must agree on."""

    def __init__(self, folder: Path, seed: int, stack: ExitStack, entry: tuple[str, ...], backend: Backend) -> None:
        self.dice = random.Random(seed)
        self.backend = backend
        self.broker = stack.enter_context(Mosquitto(folder, persistence=True, extra=BROKER_SETTINGS))
        self.server = stack.enter_context(ModelServer(folder))
        escalation = {**ESCALATION, "backend": backend, "openai": {"url": self.server.url, "model": "large-1"}}
        self.temporary = folder / "tmp"
        self.agent = stack.enter_context(
            AgentProcess(
                folder / "agent",
                self.broker.port,
                {"TMPDIR": str(self.temporary)},
                entry,
                escalation=escalation,
                **SETTINGS,
            )
        )
        self.record = BrokerRecord(self.broker.log_path)
        self.listener = stack.enter_context(Listener(self.broker.port))
        self.operator = stack.enter_context(Operator(self.broker.port))
        self.responder = stack.enter_context(Responder(self.broker.port))
        self.sensors = stack.enter_context(Sensors(self.broker.port, pause_s=0.5))
        self.broker.save()
        self.known: dict[str, StoredIncident] = {}
        self.forgotten = 0
        """Messages that were heard before the broker was killed last: what it retained of them it may not know any more."""
        self.figures = Figures()

    def round(self) -> None:
        """One life of the agent, which ends by a kill; in every sixth the broker is killed, in every fourth the server.

        Where questions and answers go through the broker it lives on: it would forget some that nobody gives it again.
        """
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.temporary.mkdir()
        if self.dice.random() < 0.2:
            self.agent.launch()
            self.figures.while_starting += 1
        else:
            self.agent.start()
        self._close_some()
        if self.backend == "openai" and self.dice.random() < 1 / 6:
            self._kill_broker()
        if self.backend == "openai" and self.dice.random() < 1 / 4:
            self.server.kill()
            self.figures.server += 1
            self.server.start(self.dice.choices(FAULTS, k=5))
        pause(self.dice, 0.8)
        self.agent.kill()
        self.figures.agent += 1
        self.record.agent_ended()
        self.sensors.allowed = self.record.newest + BACKLOG
        self.check_what_stands()

    def _kill_broker(self) -> None:
        # Whatever the life before queued for the listener is on its way: only what this broker confirmed is at stake.
        eventually(self.listener.connected.is_set, "the listener is connected")
        pause(self.dice, 0.4)
        self.broker.kill()
        self.record.broker_ended(self.sensors.machine)
        self.forgotten = len(self.listener.messages(""))
        self.figures.broker += 1
        pause(self.dice, 0.2)
        self.broker.start()

    def check_what_stands(self) -> None:
        """What was published, confirmed or seen before is in the journal, no older than it was."""
        stored = self.journalled()
        published = {(each.document["id"], each.document["revision"]) for each in self._incidents()}
        for incident_id, revision in published:
            assert incident_id in stored, f"{incident_id} was published and is not in the journal"
            assert stored[incident_id].incident.revision >= revision, f"{incident_id} was published in a newer revision"
        for incident_id, before in self.known.items():
            assert incident_id in stored, f"{incident_id} is no longer in the journal"
            assert stored[incident_id].incident.revision >= before.incident.revision
            assert (stored[incident_id].explained_revision or 0) >= (before.explained_revision or 0)
        lost = self.record.whole - {each.incident.asset for each in stored.values()}
        assert not lost, f"readings of {lost} were confirmed, and their incident is not in the journal"
        for incident_id in self.operator.closed:
            closure = stored[incident_id].closure
            assert closure is not None, f"the closing of {incident_id} was answered and is not in the journal"
            assert closure.cause in self.operator.causes[incident_id]
        for request_id, state in self.responder.fates.items():
            fate = self._read(partial(Reader.escalation_of, request_id=request_id))
            assert fate is None or fate.state == state, f"the answer to {request_id} was taken: {state}, and it is {fate}"
        self.known = stored

    def finish(self) -> None:
        """Let everything come to rest and stop the agent cleanly."""
        self.agent.start()
        self.sensors.stop()
        for machine in sorted(self.record.uncertain):
            self.sensors.calm(machine)
        eventually(self._at_rest, "everything is closed, explained and delivered", REST_S)
        assert self.agent.stop() == 0
        eventually(lambda: self.listener.messages("status")[-1].payload == b"stopped", "the last message")
        self.record.agent_ended()
        self.check_what_stands()

    def check_what_arrived(self) -> None:
        """Every incident of the journal was told to its end, as the journal has it, and nothing is told in two versions."""
        with Journal.open(self.agent.state / JOURNAL_NAME, JournalSettings(), SetClock()) as journal:
            assert not journal.opening.damage
            assert journal.counts().dropped == 0
            assert not journal.outbox(0, 1)
            summaries = {each: summary for each in self.known if (summary := journal.summary(each)) is not None}
            fates = [fate for each in self.known if (fate := journal.escalation(each)) is not None]
            left = [json.loads(entry.body) for entry in journal.log("egress", 0, 1_000_000)]
        assert not _two_versions(self._incidents(), "id", "revision")
        assert not _two_versions(self._summaries(), "incident", "revision", "revised")
        self._check_incidents(summaries)
        self._check_escalations(summaries, fates)
        self._check_questions(left)
        for log in ("audit", "egress"):
            verified = self.agent.command(log, "verify", "--config", str(self.agent.config))
            assert verified.returncode == 0, verified.stderr

    def _check_incidents(self, summaries: dict[str, Summary]) -> None:
        closed = {(each.document["id"], each.document["revision"]) for each in self._incidents() if _is_closed(each)}
        cleared = {each.topic for each in self.listener.messages("incident/") if not each.payload}
        told = {(each.document["incident"], each.document["revision"], each.document["text"]) for each in self._summaries()}
        for incident_id, stored in self.known.items():
            revision = stored.incident.revision
            assert (incident_id, revision) in closed, f"that {incident_id} is closed did not arrive"
            assert f"incident/{incident_id}" in cleared, f"{incident_id} was not taken back"
            last = (incident_id, revision, summaries[incident_id].text)
            assert last in told, f"the last summary of {incident_id} did not arrive"
        cleared = {each.topic for each in self.listener.messages("")[self.forgotten :] if not each.payload}
        with Listener(self.broker.port, "late-listener", retained=True) as late:
            eventually(lambda: late.messages("status"), "what is retained arrives")
            retained = {each.topic for each in late.messages("incident/")}
        assert not retained & cleared, "incidents that are over stay retained"

    def _check_escalations(self, summaries: dict[str, Summary], fates: list[Escalation]) -> None:
        """Each has one final fate, which arrived; an answered one is the summary that stands and was told."""
        arrived = [each for each in self.listener.messages("escalation/") if each.document["state"] in FINAL]
        assert not _two_versions(arrived, "id", "revision"), "two fates of one question"
        told = {(each.document["id"], each.document["state"]) for each in arrived}
        for fate in fates:
            assert fate.state in FINAL
            assert (fate.id, fate.state) in told, f"that {fate.id} is {fate.state} did not arrive"
            summary = summaries[fate.incident_id]
            assert summary.revised == (fate.state == "answered"), f"{fate.incident_id}: {fate.state}"
        self.figures.answered = sum(fate.state == "answered" for fate in fates)
        self.figures.refused = sum(fate.state == "refused" for fate in fates)

    def _check_questions(self, left: list[dict[str, Any]]) -> None:
        """What left had been entered in the log before, to the byte; asking again is asking the same."""
        questions = self.server.questions()
        questions += [(each.document["id"], each.payload) for each in self.listener.messages("question")]
        entered = {(entry["id"], entry["sha256"]) for entry in left}
        bodies: dict[str, set[bytes]] = {}
        for request_id, body in questions:
            assert (request_id, hashlib.sha256(body).hexdigest()) in entered, f"{request_id} left without an entry"
            bodies.setdefault(request_id, set()).add(body)
        assert all(len(versions) == 1 for versions in bodies.values()), "one id for different questions"
        self.figures.questions = len(questions)

    def count(self) -> Figures:
        """The figures, when it is over."""
        everything = [(each.topic, each.payload) for each in self.listener.messages("")]
        told = [each for each in everything if each[0].split("/")[0] in {"incident", "anomaly", "summary"} and each[1]]
        self.figures.incidents, self.figures.confirmed_bursts = len(self.known), len(self.record.whole)
        self.figures.closings, self.figures.messages = len(self.operator.closed), len(everything)
        self.figures.repeated = len(told) - len(set(told))
        return self.figures

    def journalled(self) -> dict[str, StoredIncident]:
        """Every incident that the journal on disk holds, by id."""
        path = self.agent.state / JOURNAL_NAME
        if not _is_made(path):
            return {}
        stored = self._read(lambda reader: reader.incidents(100_000, None, None))
        return {each.incident.id: each for each in stored}

    def _read(self, ask: Callable[[Reader], T]) -> T:
        reader = Reader(str(self.agent.state / JOURNAL_NAME), lambda table, number, reason: None, lambda: None)
        try:
            return ask(reader)
        finally:
            reader.close()

    def _at_rest(self) -> bool:
        told = {(each.document["incident"], each.document["revision"]) for each in self._summaries()}
        if self._read(Reader.pending_count) or self._read(lambda reader: reader.messages(0, 1)):
            return False
        stored = self.journalled().values()
        return self.sensors.machine in {each.incident.asset for each in stored} and all(
            each.incident.state == "closed"
            and each.explained_revision == each.incident.revision
            and (each.incident.id, each.incident.revision) in told
            for each in stored
        )

    def _incidents(self) -> list[Heard]:
        return [each for each in self.listener.messages("incident/") if each.payload]

    def _summaries(self) -> list[Heard]:
        return self.listener.messages("summary/")

    def _close_some(self) -> None:
        """Close by hand one incident of which nobody said the cause yet."""
        unsaid = [each for each in self.known.values() if each.closure is None]
        if unsaid:
            self.operator.close(self.dice.choice(unsaid).incident.id)


def _is_made(path: Path) -> bool:
    """Whether there is a journal with its tables: the first life may have ended while it was made."""
    if not path.exists():
        return False
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return bool(db.execute("PRAGMA user_version").fetchone()[0])


def _is_closed(told: Heard) -> bool:
    return bool(told.document["state"] == "closed")


def _two_versions(messages: list[Heard], *keys: str) -> set[tuple[Any, ...]]:
    """Identities, made of these keys, under which different bytes came."""
    versions: dict[tuple[Any, ...], set[bytes]] = {}
    for each in messages:
        versions.setdefault(tuple(each.document[key] for key in keys), set()).add(each.payload)
    return {identity for identity, payloads in versions.items() if len(payloads) > 1}


def run(folder: Path, kills: int, seed: int, entry: tuple[str, ...] = ENTRY, backend: Backend = "openai") -> Figures:
    """Kill the agent so often; everything is checked after each, and again at the end."""
    began_s = time.monotonic()
    with ExitStack() as stack:
        turmoil = Turmoil(folder, seed, stack, entry, backend)
        for _ in range(kills):
            turmoil.round()
        turmoil.finish()
        turmoil.check_what_arrived()
        figures = turmoil.count()
    figures.seconds = time.monotonic() - began_s
    print(f"\n{figures}")
    return figures


def test_nothing_acknowledged_is_lost_at_ten_kills(tmp_path: Path) -> None:
    figures = run(tmp_path, KILLS, SEED)
    assert figures.incidents >= KILLS, "too few incidents for this to have shown anything"
    assert figures.confirmed_bursts > 0
    assert figures.closings > 0
    assert figures.answered > 0


def test_an_answer_that_was_taken_is_not_lost_at_five_kills(tmp_path: Path) -> None:
    figures = run(tmp_path, KILLS // 2, SEED + 2, backend="mqtt")
    assert figures.questions > 0
    assert figures.answered > 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_an_answer_that_was_taken_is_not_lost_at_a_hundred_kills(tmp_path: Path) -> None:
    """Prints its figures: run it with `-s`."""
    assert run(tmp_path, SLOW_KILLS // 5, SEED + 3, backend="mqtt").answered > 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_nothing_acknowledged_is_lost_at_five_hundred_kills(tmp_path: Path) -> None:
    """Prints its figures: run it with `-s`."""
    figures = run(tmp_path, SLOW_KILLS, SEED + 1)
    assert figures.incidents >= SLOW_KILLS


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_agent_that_confirms_before_it_stores_is_found_out(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="is not in the journal"):
        run(tmp_path, 60, SEED, hasty_agent.ENTRY)
