"""The running agent as updates see it: what the record says is wanted, and outcomes stand in the outbox."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from edge_agent.engines.loading import FACTORY, OpenRelease, open_release
from edge_agent.messages import UpdateOutcome
from edge_agent.metrics import Metrics
from edge_agent.pipeline import TEMPLATE_ONLY
from edge_agent.workers.active import ReleaseSlot, Wish
from edge_agent.workers.keeper import Keeper
from edge_agent.workers.live import LiveAgent
from tests.unit.workers.parts import TOPICS, StepClock, open_journal


def named(opened: OpenRelease | None) -> Wish:
    return Wish() if opened is None else Wish(speaking=opened.speaking)


def test_what_the_record_says_is_wanted_and_what_ended_waits_for_the_broker(tmp_path: Path) -> None:
    slot, deliver = ReleaseSlot(), threading.Event()
    with open_journal(tmp_path) as journal:
        live = LiveAgent(
            keeper=Keeper.open(tmp_path, StepClock()),
            slot=slot,
            opens=open_release,
            factory=FACTORY,
            wish=named,
            stale=lambda: ["explain"],
            journal=journal,
            topics=TOPICS,
            deliver=deliver,
            metrics=Metrics(),
        )
        assert live.speak() == slot.wanted().number
        assert live.running().release.startswith("factory-")
        assert live.stale() == ["explain"]
        outcome = UpdateOutcome(release="r", counter=3, manifest_sha256="ab", outcome="refused", reason="bad", at_s=1.0)
        live.tell([outcome])
        assert deliver.is_set()
        (queued,) = journal.outbox(0, 10)
        assert queued.message.topic == TOPICS.update_outcome
        assert json.loads(queued.message.payload)["counter"] == 3


def test_without_any_release_templates_are_wanted(tmp_path: Path) -> None:
    slot = ReleaseSlot()
    metrics = Metrics()
    with open_journal(tmp_path) as journal:
        live = LiveAgent(
            keeper=Keeper.open(tmp_path, StepClock()),
            slot=slot,
            opens=open_release,
            factory=tmp_path / "nothing",
            wish=named,
            stale=list,
            journal=journal,
            topics=TOPICS,
            deliver=threading.Event(),
            metrics=metrics,
        )
        live.speak()
    assert slot.state().release == TEMPLATE_ONLY.id
    assert any("release" in each for each in metrics.conditions.current())
