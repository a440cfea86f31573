"""Values for tests of the journal: incidents, summaries, messages and closures of given numbers, and a clock that is set."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from edge_agent.clock import Clock
from edge_agent.config.settings import JournalSettings
from edge_agent.journal import JOURNAL_NAME, Journal
from edge_agent.journal.ageing import Ageing
from edge_agent.journal.drops import Tombstone
from edge_agent.journal.upkeep import Upkeep
from edge_agent.journal.wear import Wear
from edge_agent.values import (
    Anomaly,
    Closure,
    Drop,
    Escalation,
    EscalationState,
    Evidence,
    Incident,
    IncidentState,
    Message,
    Slot,
    Summary,
)

T0_S = 1_790_000_000.0
SMALL = JournalSettings(max_bytes=1 << 20, max_outbox=100, keep_incidents=100)


class SetClock:
    """A clock that stands where the test puts it."""

    def __init__(self, now_s: float = T0_S) -> None:
        self.time_s = now_s

    def now_s(self) -> float:
        return self.time_s

    def monotonic_s(self) -> float:
        return self.time_s


def open_journal(
    path: Path, settings: JournalSettings = SMALL, clock: Clock | None = None, tombstone: Tombstone | None = None
) -> Journal:
    return Journal.open(path, settings, clock or SetClock(), tombstone)


def incident(
    number: int, revision: int = 1, state: IncidentState = "open", signature: bytes = b"", anomaly_count: int = 1
) -> Incident:
    opened_s = T0_S + number
    return Incident(
        id=f"i-{number:06d}",
        asset=f"pump-{number % 3}",
        state=state,
        revision=revision,
        opened_s=opened_s,
        updated_s=opened_s + revision,
        closed_s=opened_s + revision if state == "closed" else None,
        anomalies=tuple(anomaly(number, k, signature) for k in range(anomaly_count)),
        anomaly_count=anomaly_count,
        stream_count=1,
        severity=0.9,
    )


def anomaly(number: int, k: int = 0, signature: bytes = b"", score: float = 0.9) -> Anomaly:
    return Anomaly(
        stream=f"pump-{number % 3}/vibration",
        kind="spike",
        direction="up",
        onset_s=T0_S + number + k,
        peak_s=T0_S + number + k + 0.5,
        score=score,
        observed=3.75,
        baseline=1.25,
        unit="mm/s",
        signature=signature,
    )


def summary(number: int, revision: int = 1, text: str = "Vibration rose.") -> Summary:
    return Summary(
        incident_id=f"i-{number:06d}",
        revision=revision,
        text=text,
        skeleton="<stream:1> rose.",
        slots=(Slot(token="<stream:1>", role="stream", text="pump-1/vibration"),),
        confidence=0.75,
        route="writer",
        verdict="local",
        reasons=(),
        release="factory",
        written_s=T0_S + 5,
        asset="pump-1",
        evidence=Evidence(incident_id="i-000000", asset="pump-1", opened_s=T0_S, cause="bearing wear", similarity=0.5),
    )


def escalation(
    number: int, revision: int = 1, state: EscalationState = "queued", severity: float = 0.9, outcome: str = ""
) -> Escalation:
    return Escalation(
        incident_id=f"i-{number:06d}",
        revision=revision,
        id=f"q-{number:06d}-{revision}",
        state=state,
        reasons=("low-confidence",),
        severity=severity,
        queued_s=T0_S + 6,
        changed_s=T0_S + 7,
        outcome=outcome,
    )


def closure(number: int, cause: str = "bearing wear", note: str = "") -> Closure:
    return Closure(incident_id=f"i-{number:06d}", cause=cause, note=note, closed_s=T0_S + 100)


def message(topic: str, text: str = "", supersedes: bool = False, priority: int = 1) -> Message:
    return Message(topic=topic, payload=text.encode(), retain=supersedes, supersedes=supersedes, priority=priority)


def waiting(journal: Journal, limit: int = 100_000) -> list[Message]:
    """Everything in the outbox, from its start."""
    return [queued.message for queued in journal.outbox(0, limit)]


def store_history(journal: Journal, numbers: range, anomaly_count: int = 1) -> None:
    """Incidents that are closed, explained and have nothing to deliver."""
    journal.record([incident(n, 1, "closed", anomaly_count=anomaly_count) for n in numbers], [])
    for n in numbers:
        journal.record_summary(summary(n), [], urgency="critical")


def upkeep(clock: Clock, *, limit_bytes: int = 0, max_credit_s: float = 900.0) -> Upkeep:
    """The counts that a store keeps about itself."""
    return Upkeep(Ageing(clock, max_credit_s), Wear(clock, limit_bytes))


def tamper(folder: Path, statement: str) -> None:
    """Change the closed journal in a folder behind its back."""
    db = sqlite3.connect(folder / JOURNAL_NAME)
    with db:
        db.execute(statement)
    db.close()


class TwoClocks:
    """A system's clock and a monotonic one, each where the test puts it."""

    def __init__(self, wall_s: float = T0_S, running_s: float = 50.0) -> None:
        self.wall_s = wall_s
        self.running_s = running_s

    def now_s(self) -> float:
        return self.wall_s

    def monotonic_s(self) -> float:
        return self.running_s

    def pass_s(self, seconds: float) -> None:
        """Time goes by."""
        self.wall_s += seconds
        self.running_s += seconds


def report_of(drops: Sequence[Drop]) -> Message:
    """A report of drops, as the supervisor gives one."""
    text = ",".join(f"{drop.reason}={drop.count}" for drop in drops)
    return Message(topic="drops", payload=text.encode(), retain=True, supersedes=True, priority=3)
