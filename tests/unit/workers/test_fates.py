"""What becomes of escalations when nobody is there to ask, and how a fate is said."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from edge_agent.errors import TryLaterError
from edge_agent.workers.fates import drop_all, fate
from tests.unit.messages.values import ESCALATION
from tests.unit.workers.escalation import Station, failing, right, spike
from tests.unit.workers.parts import TOPICS


def test_a_fate_is_a_state_and_why() -> None:
    assert fate(ESCALATION) == "refused: role-wrong"


def test_switched_off_nothing_waits_for_ever(tmp_path: Path) -> None:
    with Station(tmp_path, failing(TryLaterError("connection"))) as station:
        station.queue(*(spike(n) for n in range(1, 70)))
        assert drop_all(station.journal, TOPICS, station.clock) == 69
        assert station.stands(1) == station.stands(69) == ("dropped", "switched-off")
        assert station.told(TOPICS.escalation("i-69"))[-1]["outcome"] == "switched-off"
        assert drop_all(station.journal, TOPICS, station.clock) == 0


def test_the_model_is_named_in_plain_characters(tmp_path: Path) -> None:
    with Station(tmp_path) as station:
        station.backend.behaviours = [lambda request: replace(right(request), model="gr\u00f6\u00dfe\n\x1b[31m" + "x" * 500)]
        station.queue(spike())
        station.work()
        model = station.summary().model
        assert model.startswith("openai:gre[31mx")
        assert len(model) <= 130
