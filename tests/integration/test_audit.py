"""What a running agent said, proved from outside: its log of decisions, its published head, its sentences written again."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agent import AgentProcess, Watcher, eventually, quiet_values
from tests.mosquitto import Mosquitto


@pytest.fixture
def watcher(tmp_path: Path) -> Iterator[Watcher]:
    with Mosquitto(tmp_path) as broker, Watcher(broker.port) as connected:
        yield connected


@pytest.fixture
def agent(tmp_path: Path, watcher: Watcher) -> Iterator[AgentProcess]:
    with AgentProcess(tmp_path / "agent", watcher.port) as process:
        process.start()
        eventually(lambda: "connected" in process.log(), "the agent is connected")
        yield process


def until_published(watcher: Watcher, topic: str, sha256: str) -> None:
    """Wait for a message whose bytes have this digest."""
    eventually(lambda: sha256 in [hashlib.sha256(each.payload).hexdigest() for each in watcher.on(topic)], f"{sha256} on {topic}")


def closed_summary(watcher: Watcher, stream: str, cause: str) -> dict[str, Any]:
    """Make a spike, close its incident with a cause, and wait for the last sentence about it."""
    values = quiet_values(130, time.time() - 130)
    values[-6]["value"] = 500.0
    watcher.send_all([(f"sensors/{stream}", value) for value in values])
    asset = stream.partition("/")[0]
    opened = eventually(lambda: [s for s in watcher.documents("summary") if s["asset"] == asset], "a summary")[0]
    assert watcher.ask("close", {"incident": opened["incident"], "cause": cause})["status"] == "ok"
    return dict(
        eventually(
            lambda: [s for s in watcher.documents(f"summary/{opened['incident']}") if s["state"] == "closed"],
            "the sentence about the closed incident",
        )[-1]
    )


def test_what_was_published_is_proved_while_the_agent_runs_and_after_it_was_killed_until_it_is_changed(
    agent: AgentProcess, watcher: Watcher, tmp_path: Path
) -> None:
    first = closed_summary(watcher, "pump-1/level", "valve stuck")
    second = closed_summary(watcher, "pump-2/level", "valve stuck")
    assert second["evidence"]["incident"] == first["incident"], "the past incident is part of what is proved"

    exported = agent.command("audit", "export", "--config", str(agent.config))
    bodies = [json.loads(json.loads(line)["body"]) for line in exported.stdout.splitlines()]
    for said in (first, second):
        (entry,) = [b for b in bodies if (b["incident"], b["revision"]) == (said["incident"], said["revision"])]
        assert entry["text"] == hashlib.sha256(said["text"].encode()).hexdigest()
        assert entry["release"] == said["release"]
        until_published(watcher, f"incident/{said['incident']}", entry["input"])

    live = agent.command("audit", "verify", "--explain", "--config", str(agent.config))
    assert live.returncode == 0, live.stdout
    assert "summaries: 2 are what the log says" in live.stdout.decode()
    assert "explained again: 2 closed incidents, the same bytes" in live.stdout.decode()

    newest = json.loads(exported.stdout.splitlines()[-1])["hash"]
    head = eventually(lambda: [h for h in watcher.documents("health") if h["heads"].get("audit") == newest], "the head")[-1]
    noted = ("--head", head["heads"]["audit"])
    agent.kill()
    assert agent.command("audit", "verify", *noted, "--config", str(agent.config)).returncode == 0

    (tmp_path / "audit.jsonl").write_bytes(exported.stdout)
    assert agent.command("audit", "verify", *noted, str(tmp_path / "audit.jsonl")).returncode == 0

    db = sqlite3.connect(agent.state / "journal.db")
    with db:
        db.execute("DELETE FROM audit WHERE number = (SELECT max(number) FROM audit)")
    db.close()
    cut = agent.command("audit", "verify", "--config", str(agent.config))
    assert cut.returncode == 1, "the newest summary is not what the log says any more"
    assert "are whole and in order" in cut.stdout.decode()
    noted_before = agent.command("audit", "verify", *noted, "--config", str(agent.config))
    assert noted_before.returncode == 1
    assert "entries were cut off at its end" in noted_before.stdout.decode()
