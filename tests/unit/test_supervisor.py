"""The composition root: what is started, watched and stopped; signals; starts on a poor state of affairs."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from edge_agent.clock import SystemClock
from edge_agent.config.settings import GatewaySettings, JournalSettings, MqttSettings, Settings, TelemetrySettings
from edge_agent.engines.loading import open_release
from edge_agent.errors import StorageError
from edge_agent.journal import JOURNAL_NAME, Journal
from edge_agent.pipeline import TEMPLATE_ONLY
from edge_agent.supervisor import Agent
from edge_agent.values import Message
from tests.mosquitto import free_port


def settings_in(folder: Path) -> Settings:
    return Settings(
        gateway=GatewaySettings(id="gw"),
        mqtt=MqttSettings(port=free_port()),
        state_dir=str(folder / "state"),
        runtime_dir=str(folder / "run"),
    )


def agent_in(folder: Path) -> Agent:
    """An agent without a usable release and without a broker."""
    return Agent(settings_in(folder), folder / "edge-agent.yaml", {}, SystemClock(), release_dir=folder / "no-release")


def test_without_release_and_broker_it_runs_watches_and_stops(tmp_path: Path) -> None:
    agent = agent_in(tmp_path)
    agent.start()
    assert agent.stale() == []
    assert agent.status_line() == "not connected to the broker; 0 streams, 0 open incidents"
    assert agent.stop()
    with Journal.open(tmp_path / "state" / JOURNAL_NAME, JournalSettings(), SystemClock()) as journal:
        assert journal.open_incidents() == []


def test_what_is_wrong_at_the_start_is_a_problem_of_its_health(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / JOURNAL_NAME).write_bytes(b"this is no database" * 1_000)
    agent = agent_in(tmp_path)
    problems = agent.health().problems
    agent.start()
    assert agent.stop()
    assert [problem.partition(":")[0] for problem in problems] == ["journal repaired", "release"]
    assert "the template's" in problems[1]


def test_a_journal_damaged_while_in_use_asks_for_a_new_start_which_repairs_it(tmp_path: Path) -> None:
    path = tmp_path / "state" / JOURNAL_NAME
    path.parent.mkdir()
    with Journal.open(path, JournalSettings(), SystemClock()) as journal:
        journal.record([], [Message(topic=f"t/{n}", payload=b"x" * 500) for n in range(200)])
    agent = agent_in(tmp_path)
    assert agent.broken() == ""
    with path.open("r+b") as file:
        file.seek(2048)
        file.write(b"\xee" * (path.stat().st_size - 2048))
    agent.start()
    deadline_s = SystemClock().monotonic_s() + 20
    while not agent.broken() and SystemClock().monotonic_s() < deadline_s:
        with contextlib.suppress(StorageError):
            agent.health()
    assert "the next start repairs it" in agent.broken()
    agent.stop()
    again = agent_in(tmp_path)
    problems = again.health().problems
    again.start()
    assert again.stop()
    assert again.broken() == ""
    assert any(problem.startswith("journal repaired") for problem in problems)


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file in the way")
    with pytest.raises(StorageError, match="state_dir"):
        agent_in(tmp_path)


def test_a_second_agent_on_one_state_folder_is_refused(tmp_path: Path) -> None:
    first = agent_in(tmp_path)
    first.start()
    with pytest.raises(StorageError, match="in use by another edge-agent"):
        agent_in(tmp_path)
    assert first.stop()


def test_health_says_whether_the_certificate_of_the_release_holds_here(tmp_path: Path) -> None:
    agent = Agent(settings_in(tmp_path), tmp_path / "edge-agent.yaml", {}, SystemClock())
    told = agent.health().certificate
    agent.start()
    assert agent.stop()
    assert told == open_release(device="auto").certified


def test_after_crashes_in_a_row_it_starts_without_engines_and_says_so(tmp_path: Path) -> None:
    agent = Agent(settings_in(tmp_path), tmp_path / "edge-agent.yaml", {}, SystemClock(), crashed="it crashed 5 times")
    health = agent.health()
    agent.start()
    assert agent.stop()
    assert any(problem.startswith("crashes: it crashed 5 times; no engine is used") for problem in health.problems)
    assert health.release == TEMPLATE_ONLY.id


@pytest.mark.parametrize("enabled", [False, True])
def test_telemetry_has_a_worker_only_where_it_is_switched_on(tmp_path: Path, enabled: bool) -> None:
    settings = replace(settings_in(tmp_path), telemetry=TelemetrySettings(enabled=enabled))
    agent = Agent(settings, tmp_path / "edge-agent.yaml", {}, SystemClock(), release_dir=tmp_path / "no-release")
    agent.start()
    running = [thread.name for thread in threading.enumerate()]
    assert agent.stop()
    assert any("explain" in name for name in running)
    assert any("telemetry" in name for name in running) is enabled
