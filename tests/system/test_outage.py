"""A day without the broker, and without the stronger model, in simulated time: the disk is bounded, and what is lost is told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from edge_agent.config.settings import EscalationSettings, JournalSettings
from edge_agent.journal import commits
from edge_agent.values import Message
from tests.system.outage import HOUR_S, Site
from tests.unit.workers.parts import TOPICS

DESIGN_RATE = 100.0
"""Incidents an hour for which the default settings of the journal are made; each leads to six or seven messages."""
HOURS = [pytest.param(2.0, id="2 h"), pytest.param(24.0, id="24 h", marks=pytest.mark.slow)]


@pytest.fixture(autouse=True)
def no_company(monkeypatch: pytest.MonkeyPatch) -> None:
    """In simulated time nobody else comes along within 10 real milliseconds to share a commit with."""
    monkeypatch.setitem(commits.LINGER_S, "soon", 0.0)


def stay_within_the_limits(site: Site) -> None:
    counts = site.journal.counts()
    assert counts.file_bytes <= site.settings.max_bytes
    assert counts.outbox <= site.settings.max_outbox + 1, "the report of drops comes on top"


def below(messages: Sequence[Message], kind: str) -> list[Message]:
    return [message for message in messages if message.topic.startswith(f"{TOPICS.base}/{kind}/")]


def last_words(messages: Sequence[Message]) -> dict[str, bytes]:
    """The last payload on each topic."""
    return {message.topic: message.payload for message in messages}


def drops_of(site: Site) -> dict[str, int]:
    """The report of drops as it arrived, by reason."""
    document = json.loads(last_words(site.arrived)[TOPICS.drops])
    return {drop["reason"]: drop["count"] for drop in document["drops"]}


@pytest.mark.parametrize("hours", HOURS)
def test_at_the_design_rate_a_day_without_a_broker_loses_nothing(tmp_path: Path, hours: float) -> None:
    with Site(tmp_path, incidents_per_hour=DESIGN_RATE, journal=JournalSettings(), each_step=stay_within_the_limits) as site:
        site.run(0.5)
        before = len(site.arrived)
        site.link.disconnect()
        site.run(hours)
        assert len(site.arrived) == before
        site.link.connect()
        site.settle()
        assert site.script.begun >= DESIGN_RATE * hours
        assert [drop for drop in site.journal.drops() if drop.reason != "incident-expired"] == []
        everything_arrived_in_order(site)


def everything_arrived_in_order(site: Site) -> None:
    """What nothing may take the place of arrives in full, in order and once; of the rest the newest word arrives last."""
    lasting = [message for message in site.queued if not message.supersedes]
    assert [message for message in site.arrived if not message.supersedes] == lasting
    assert last_words(site.arrived) == last_words(site.queued)
    assert site.journal.outbox(0, 10) == []


@pytest.mark.parametrize("hours", HOURS)
def test_beyond_the_limit_by_number_the_oldest_of_the_least_important_go_are_counted_and_told(
    tmp_path: Path, hours: float
) -> None:
    """The limit is a third of what comes: of single anomalies, which are least important, nearly all must go."""
    queued_an_hour = 2 + 2 + 1 + 1
    settings = JournalSettings(max_outbox=int(hours * DESIGN_RATE * queued_an_hour * 0.75))
    with Site(tmp_path, incidents_per_hour=DESIGN_RATE, journal=settings, each_step=stay_within_the_limits) as site:
        site.link.disconnect()
        site.run(hours)
        site.link.connect()
        site.settle()
        queued, arrived = below(site.queued, "anomaly"), below(site.arrived, "anomaly")
        assert 0 < len(arrived) < len(queued)
        assert arrived == queued[-len(arrived) :], "not the oldest went"
        assert drops_of(site) == {"outbox-full": len(queued) - len(arrived)}
        important = [message for message in site.queued if message.priority > 1]
        assert last_words([m for m in site.arrived if m.priority == 2]) == last_words(important), "what matters was lost"


@pytest.mark.parametrize("hours", HOURS)
def test_beyond_the_limit_by_bytes_the_file_stays_within_it_and_every_loss_is_told(tmp_path: Path, hours: float) -> None:
    settings = JournalSettings(max_bytes=int(hours * (1 << 20)), max_outbox=1_000_000, keep_incidents=100)
    with Site(tmp_path, incidents_per_hour=2 * DESIGN_RATE, journal=settings, each_step=stay_within_the_limits) as site:
        site.link.disconnect()
        site.run(hours)
        site.link.connect()
        site.settle()
        lost = 0
        for priority in (1, 2):
            queued = [message for message in site.queued if message.priority == priority and not message.supersedes]
            arrived = [message for message in site.arrived if message.priority == priority and not message.supersedes]
            assert arrived == queued[len(queued) - len(arrived) :], "not the oldest went"
            lost += len(queued) - len(arrived)
        replaceable = sum(message.supersedes for message in site.queued)
        assert lost > 0
        assert lost <= drops_of(site)["file-full"] <= lost + replaceable
        anomalies, closings = below(site.arrived, "anomaly"), below(site.arrived, "incident")
        assert len(anomalies) < len(closings), "what matters less was kept"
        newest = site.queued[-1]
        assert last_words(site.arrived)[newest.topic] == newest.payload


@pytest.mark.parametrize("hours", HOURS)
def test_a_day_without_the_stronger_model_keeps_the_most_severe_questions_for_it(tmp_path: Path, hours: float) -> None:
    settings = EscalationSettings(
        backend="openai",
        max_waiting=50,
        max_age_s=HOUR_S,
        max_attempts=10_000,
        backoff_max_s=120.0,
        breaker_pause_s=120.0,
        requests_per_day=100_000,
        tokens_per_day=10**9,
        bytes_per_day=10**9,
        money_per_day=10**6,
    )

    def pending_is_bounded(site: Site) -> None:
        stay_within_the_limits(site)
        pending = site.journal.pending_escalations(1_000)
        # What was queued since the last review, every 30 seconds, comes on top.
        assert len(pending) <= 50 + 5
        assert all(site.clock.now_s() - one.queued_s <= HOUR_S + 120 for one in pending)

    with Site(
        tmp_path,
        incidents_per_hour=DESIGN_RATE,
        journal=JournalSettings(),
        escalation=settings,
        each_step=pending_is_bounded,
    ) as site:
        site.run(0.5)
        assert site.cloud.sent
        site.cloud_is_away = True
        site.run(hours)
        attempts = len(site.cloud.sent)
        site.cloud_is_away = False
        waiting = {one.incident_id for one in site.journal.pending_escalations(1_000)}
        assert len(waiting) >= 40
        site.run(1.0)
        fates = {m.topic.rpartition("/")[2]: json.loads(m.payload) for m in below(site.arrived, "escalation")}
        states = [fates[incident_id]["state"] for incident_id in waiting]
        assert set(states) <= {"answered", "dropped"}
        assert states.count("answered") > 0.8 * len(waiting), "what waited was not asked about once that was possible"
        outcomes = {fate["outcome"] for fate in fates.values() if fate["state"] == "dropped"}
        assert outcomes == {"too-many", "too-old"}
        assert attempts < hours * 200, "a cloud that is away is asked again and again"
        everything_arrived_in_order(site)
