"""The agent as a real process on a real mosquitto: from readings to sentences, requests, life and death."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agent import BASE, AgentProcess, Watcher, eventually, quiet_values
from tests.mosquitto import Mosquitto, free_port

TIMEOUT_STOP_S = 15.0
"""`TimeoutStopSec=` of the unit."""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path, persistence=True) as running:
        yield running


@pytest.fixture
def watcher(broker: Mosquitto) -> Iterator[Watcher]:
    with Watcher(broker.port) as connected:
        yield connected


@pytest.fixture
def agent(tmp_path: Path, broker: Mosquitto) -> Iterator[AgentProcess]:
    with AgentProcess(tmp_path / "agent", broker.port) as process:
        process.start()
        eventually(lambda: "connected" in process.log(), "the agent is connected")
        yield process


def send_spike(watcher: Watcher, stream: str = "pump/level", readings: int = 130) -> None:
    """Quiet readings that end in one far outside, and a few quiet ones after it."""
    values = quiet_values(readings, time.time() - readings)
    values[-6]["value"] = 500.0
    watcher.send_all([(f"sensors/{stream}", value) for value in values])


def test_readings_become_an_anomaly_an_incident_and_a_sentence(agent: AgentProcess, watcher: Watcher) -> None:
    send_spike(watcher)
    summary = watcher.first("summary")
    incident_id = summary["incident"]
    assert watcher.first("anomaly/pump/level")["stream"] == "pump/level"
    incident = watcher.first(f"incident/{incident_id}")
    assert (incident["state"], incident["asset"]) == ("open", "pump")
    assert incident["anomalies"][0]["stream"] == "pump/level"
    assert summary["facts"]
    assert all(fact["text"] in summary["text"] for fact in summary["facts"])
    assert "pump/level" in summary["text"]
    assert summary["release"]
    assert watcher.first(f"summary/{incident_id}") == summary


def test_requests_are_answered_with_their_correlation(agent: AgentProcess, watcher: Watcher) -> None:
    send_spike(watcher)
    incident_id = watcher.first("summary")["incident"]
    status = watcher.ask("status", {"transaction": "t-1"})
    assert (status["status"], status["transaction"]) == ("ok", "t-1")
    # The sentence may come before the readings after the spike are taken in.
    eventually(lambda: watcher.ask("status", {})["data"]["counts"]["readings"] == 130, "every reading is counted")
    listed = watcher.ask("incidents", {})["data"]["incidents"]
    assert listed[0]["id"] == incident_id
    assert listed[0]["text"]
    check = watcher.ask("check", {"config": "gateway: {id: Not-An-Id}\n"})
    assert not check["data"]["ok"]
    assert watcher.ask("check", {})["data"]["ok"]
    assert watcher.ask("reboot", {})["status"] == "error"
    watcher.send(f"{BASE}/request/status", b"{not json")
    assert watcher.first("response/status")["status"] == "error"


def test_closing_clears_what_was_retained_and_keeps_the_cause(agent: AgentProcess, watcher: Watcher) -> None:
    send_spike(watcher)
    incident_id = watcher.first("summary")["incident"]
    answer = watcher.ask("close", {"incident": incident_id, "cause": "valve stuck", "note": "replaced"})
    assert answer["status"] == "ok"
    shown = watcher.ask("incidents", {"incident": incident_id})["data"]
    assert (shown["incident"]["state"], shown["cause"], shown["note"]) == ("closed", "valve stuck", "replaced")
    told = f"incident/{incident_id}"
    eventually(lambda: [each.payload for each in watcher.on(told)][-1:] == [b""], "the retained incident is cleared")
    assert watcher.ask("close", {"incident": "no-such", "cause": "x"})["status"] == "error"


def test_a_closed_incident_is_named_when_its_like_happens_again(agent: AgentProcess, watcher: Watcher) -> None:
    send_spike(watcher, "pump-1/level")
    first = watcher.first("summary")
    assert first["evidence"] is None
    assert watcher.ask("close", {"incident": first["incident"], "cause": "valve stuck"})["status"] == "ok"
    send_spike(watcher, "pump-2/level")

    def with_evidence() -> list[dict[str, Any]]:
        return [each for each in watcher.documents("summary") if each["asset"] == "pump-2" and each["evidence"] is not None]

    second = eventually(with_evidence, "a sentence that names the past incident")[0]
    assert (second["evidence"]["incident"], second["evidence"]["cause"]) == (first["incident"], "valve stuck")
    assert "valve stuck" in second["text"]


def test_the_command_line_shows_what_the_agent_has_while_it_runs_and_after(agent: AgentProcess, watcher: Watcher) -> None:
    send_spike(watcher)
    summary = watcher.first("summary")
    config = str(agent.config)
    listed = agent.command("incidents", "--config", config)
    assert summary["text"] in listed.stdout.decode()
    running = agent.command("status", "--config", config, "--json")
    assert running.returncode == 0
    assert json.loads(running.stdout)["running"] is True
    assert b"running (pid" in agent.command("status", "--config", config).stdout
    agent.stop()
    stopped = agent.command("status", "--config", config)
    assert (stopped.returncode, b"not running" in stopped.stdout) == (1, True)
    again = json.loads(agent.command("incidents", "--config", config, "--json").stdout)
    assert again[0]["id"] == summary["incident"]
    shown = agent.command("incidents", "--config", config, summary["incident"])
    assert json.loads(shown.stdout)["summary"]["text"] == summary["text"]
    missing = agent.command("incidents", "--config", config, "no-such")
    assert (missing.returncode, b"no such incident" in missing.stderr) == (1, True)


def test_birth_clean_stop_and_death_are_told_apart(agent: AgentProcess, watcher: Watcher) -> None:
    def told() -> list[bytes]:
        return [bytes(message.payload) for message in watcher.on("status")]

    eventually(lambda: told()[-1:] == [b"online"], "birth")
    assert agent.stop() == 0
    eventually(lambda: told()[-1:] == [b"stopped"], "a clean stop")
    agent.start()
    eventually(lambda: told()[-1:] == [b"online"], "birth again")
    agent.kill()
    eventually(lambda: told()[-1:] == [b"offline"], "the will")
    with Watcher(watcher.port, "late") as late:
        eventually(lambda: late.on("status"), "the retained status")
        assert late.on("status")[0].retain
        assert late.first("health")["version"]
        assert late.first("info")["config"]["gateway"]["id"] == "gw-1"
        assert late.first("update")["state"] == "idle"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly_before_the_service_manager_would(agent: AgentProcess, watcher: Watcher, number: int) -> None:
    send_spike(watcher)
    assert agent.stop(number, timeout_s=TIMEOUT_STOP_S) == 0
    assert "stopped" in agent.log()
    assert "not running" in agent.command("status", "--config", str(agent.config)).stdout.decode()


def test_requests_under_way_do_not_hold_up_the_stop(agent: AgentProcess, watcher: Watcher) -> None:
    closing = {"incident": "no-such", "cause": "none"}
    watcher.send_all([(f"{BASE}/request/close", closing) for _ in range(300)])
    eventually(lambda: watcher.on("response/close"), "the first answer")
    assert agent.stop(timeout_s=TIMEOUT_STOP_S) == 0


def test_a_broker_that_answers_no_more_does_not_hold_up_the_stop(
    agent: AgentProcess, watcher: Watcher, broker: Mosquitto
) -> None:
    send_spike(watcher)
    broker.suspend()
    try:
        assert agent.stop(timeout_s=TIMEOUT_STOP_S) == 0
    finally:
        broker.resume()


def test_it_is_ready_without_a_broker_and_connects_when_there_is_one(tmp_path: Path) -> None:
    port = free_port()
    with AgentProcess(tmp_path / "agent", port) as agent:
        agent.start()
        eventually(lambda: any(line.startswith("STATUS=not connected") for line in agent.notifications()), "its status")
        with Mosquitto(tmp_path, port=port), Watcher(port) as watcher:
            eventually(lambda: watcher.on("status"), "birth")
            send_spike(watcher)
            eventually(lambda: watcher.documents("summary"), "a summary")
            assert agent.stop() == 0


def test_what_happens_while_the_broker_is_away_is_told_when_it_is_back(
    agent: AgentProcess, watcher: Watcher, broker: Mosquitto
) -> None:
    send_spike(watcher)
    incident_id = watcher.first("summary")["incident"]
    assert all(each["state"] == "open" for each in watcher.documents(f"incident/{incident_id}"))
    broker.stop()

    def closed_in_the_journal() -> bool:
        listed = json.loads(agent.command("incidents", "--config", str(agent.config), "--json").stdout)
        return bool(listed[0]["state"] == "closed")

    # While nothing arrives nothing can end: a restart of the agent ends what was going on.
    agent.stop()
    agent.start()
    eventually(closed_in_the_journal, "closed while the broker is away")
    agent.stop()
    subscriptions = watcher.subscriptions
    broker.start()
    eventually(lambda: watcher.subscriptions > subscriptions, "the watcher is back")
    agent.start()
    eventually(lambda: any(each["state"] == "closed" for each in watcher.documents(f"incident/{incident_id}")), "told as closed")


def test_a_second_agent_on_the_same_state_folder_refuses(agent: AgentProcess) -> None:
    second = agent.command("run", "--config", str(agent.config))
    assert second.returncode == 1
    assert b"in use by another edge-agent" in second.stderr


def test_a_bad_configuration_exits_with_78_and_every_problem(tmp_path: Path) -> None:
    with AgentProcess(tmp_path / "agent", 1883, gatewya={"id": "x"}, detect={"max_streams": "many"}) as agent:
        for command in (("run", "--config"), ("check",)):
            ended = agent.command(*command, str(agent.config))
            assert ended.returncode == 78
            output = (ended.stdout + ended.stderr).decode()
            assert "gatewya" in output
            assert "gateway" in output
            assert "max_streams" in output


def test_the_watchdog_is_fed_while_all_is_well(tmp_path: Path, broker: Mosquitto) -> None:
    with AgentProcess(tmp_path / "agent", broker.port, environ={"WATCHDOG_USEC": "600000"}) as agent:
        agent.start()
        eventually(lambda: agent.notifications().count("WATCHDOG=1") >= 3, "three pings")
        agent.stop()
