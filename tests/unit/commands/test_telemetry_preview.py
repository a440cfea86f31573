"""The telemetry document is shown as it would leave: with the figures of the agent that runs, or with none."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from edge_agent.cli import main
from edge_agent.commands.telemetry_preview import body_of, preview_telemetry
from edge_agent.config.settings import GatewaySettings, Settings, TelemetrySettings
from edge_agent.messages import health_document
from edge_agent.messages.telemetry import telemetry_body, telemetry_of
from edge_agent.workers.host import process_start
from edge_agent.workers.status_file import AgentStatus, status_paths, write_status
from tests.unit.messages.test_telemetry import HEALTH

QUANTILES = {"count": 9.0, "p50": 0.012, "p95": 0.046, "p99": 1.2}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(gateway=GatewaySettings(id="gw"), state_dir=str(tmp_path), runtime_dir=str(tmp_path / "run"))


def status(settings: Settings) -> AgentStatus:
    return AgentStatus(
        pid=os.getpid(),
        pid_start=process_start(os.getpid()),
        state_dir=settings.state_dir,
        gateway="gw",
        connected=True,
        health=health_document(HEALTH),
        latency_s={"arrival_to_anomaly": QUANTILES, "incident_to_summary": {}},
        kinds={"spike": 2},
        running_s=7_000.0,
    )


def test_the_bytes_are_those_that_the_worker_would_send(settings: Settings, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    path, _ = status_paths(settings.runtime_dir, settings.state_dir, "gw")
    path.parent.mkdir()
    write_status(path, status(settings))
    latency_s = {"arrival_to_anomaly": (0.012, 0.046, 1.2)}
    expected = telemetry_body(telemetry_of(HEALTH, uptime_s=7_000.0, kinds={"spike": 2}, latency_s=latency_s))
    assert preview_telemetry(replace(settings, telemetry=TelemetrySettings(enabled=True, period_s=3_600.0))) == 0
    shown = capsysbinary.readouterr()
    assert shown.out == expected
    assert b"goes to      the topic edge/gw/telemetry, every 3600 s" in shown.err
    assert b"of the agent that runs" in shown.err


def test_without_an_agent_the_form_is_shown_and_that_nothing_leaves(
    settings: Settings, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert preview_telemetry(settings) == 0
    shown = capsysbinary.readouterr()
    assert json.loads(shown.out)["readings"] == 0
    assert b"never: `telemetry.enabled` is false" in shown.err
    assert b"the agent does not run" in shown.err


def test_what_a_status_file_holds_besides_figures_does_not_come_along(settings: Settings) -> None:
    strange = replace(
        status(settings), health={"version": "x", "release": "acme", "drops": {"pump-3": 1}, "problems": ["canary"]}
    )
    body = body_of(strange)
    assert not any(word in body for word in (b"acme", b"pump-3", b"canary"))


def test_the_command_line_has_it(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    config = tmp_path / "edge-agent.yaml"
    config.write_text(f"state_dir: {tmp_path}\nruntime_dir: {tmp_path}\n")
    assert main(["egress", "preview", "--telemetry", "--config", str(config)]) == 0
    assert json.loads(capsysbinary.readouterr().out)["schema"] == "edge-agent-telemetry/1"
