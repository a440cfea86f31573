"""kill -9 at moments drawn by a seed, again and again: what was published or journalled is there afterwards, and explained.

The broker keeps the agent's session, as brokers do, so that readings which were not acknowledged come once more.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

from edge_agent.journal import JOURNAL_NAME
from edge_agent.journal.reader import Reader
from tests.agent import AgentProcess, Watcher, eventually, quiet_values
from tests.mosquitto import Mosquitto

SEED = 20_261_122
KILLS = 10
READINGS = 110
STREAMS = 3


def journalled(agent: AgentProcess) -> set[str]:
    """Ids of every incident that the journal on disk holds."""
    path = agent.state / JOURNAL_NAME
    if not path.exists():
        return set()
    reader = Reader(str(path), lambda table, number, reason: None, lambda: None)
    try:
        return {stored.incident.id for stored in reader.incidents(10_000, None, None)}
    finally:
        reader.close()


def unexplained(agent: AgentProcess) -> int:
    """How many incidents wait for their sentence."""
    reader = Reader(str(agent.state / JOURNAL_NAME), lambda table, number, reason: None, lambda: None)
    try:
        return reader.unexplained()
    finally:
        reader.close()


def burst(watcher: Watcher, number: int) -> None:
    """Quiet readings of a few machines that each end in one far outside; confirmed by the broker."""
    messages: list[tuple[str, object]] = []
    for stream in range(STREAMS):
        values = quiet_values(READINGS, time.time() - READINGS)
        values[-3]["value"] = 500.0
        messages += [(f"sensors/machine-{number}-{stream}/level", value) for value in values]
    watcher.send_all(messages)


def published(watcher: Watcher) -> set[str]:
    """Ids of every incident that was ever published."""
    return {document["id"] for document in watcher.documents("incident/")}


def test_no_incident_is_lost_at_ten_kills(tmp_path: Path) -> None:
    dice = random.Random(SEED)
    known: set[str] = set()
    with (
        Mosquitto(tmp_path, persistence=True) as broker,
        AgentProcess(tmp_path / "agent", broker.port) as agent,
        Watcher(broker.port) as watcher,
    ):
        for number in range(KILLS):
            agent.start()
            burst(watcher, number)
            # Anywhere from before the first reading is taken in to long after the last sentence.
            time.sleep(dice.uniform(0.0, 0.6))
            agent.kill()
            on_disk = journalled(agent)
            known |= on_disk
            lost = published(watcher) - on_disk
            assert not lost, f"kill {number}: published but not in the journal: {sorted(lost)}"
            assert known <= on_disk, f"kill {number}: no longer in the journal: {sorted(known - on_disk)}"
        agent.start()
        eventually(lambda: unexplained(agent) == 0, "every incident is explained")
        kept = journalled(agent)
        assert known <= kept
        assert len(kept) >= KILLS // 2, "too few incidents for this to have shown anything"
        told = eventually(
            lambda: kept <= {document["incident"] for document in watcher.documents("summary/")},
            "a sentence for each is published",
        )
        assert told
        assert agent.stop() == 0
