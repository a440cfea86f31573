"""`status` and `incidents` on a real journal, with and without a running agent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.commands.show import NOT_RUNNING, show_incident, show_incidents, show_status
from edge_agent.config.settings import GatewaySettings, Settings
from edge_agent.errors import RequestError
from edge_agent.journal import Journal
from edge_agent.pipeline import TEMPLATE_ONLY, explain
from edge_agent.values import Closure
from tests.unit.workers.parts import START_S, open_journal
from tests.writing import anomaly, incident


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(gateway=GatewaySettings(id="gw"), state_dir=str(tmp_path), runtime_dir=str(tmp_path / "run"))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A journal with one explained and closed incident, and one that waits for its sentence; open, as the agent has it."""
    with open_journal(tmp_path) as opened:
        first = incident(anomaly(), id="pump-3-1", state="closed", closed_s=START_S)
        opened.record([first], [])
        opened.record_summary(explain(first, None, None, TEMPLATE_ONLY, START_S), [])
        opened.close_incident(Closure(incident_id="pump-3-1", cause="bearing wear", note="replaced", closed_s=START_S))
        opened.record([incident(anomaly(), id="pump-3-2")], [])
        yield opened


def test_a_state_folder_without_a_journal_has_no_incidents(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert show_incidents(settings, limit=5, state=None, as_json=False) == 0
    assert capsys.readouterr().out == "no incidents\n"
    assert show_status(settings, as_json=False) == NOT_RUNNING
    assert capsys.readouterr().out.startswith("gw: not running\n")


def test_incidents_are_shown_beside_the_agent_that_writes(
    settings: Settings, journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show_incidents(settings, limit=5, state=None, as_json=False) == 0
    out = capsys.readouterr().out
    assert out.index("pump-3-2") < out.index("pump-3-1")
    assert "not explained yet" in out
    assert "rose sharply to 7.25 mm/s" in out
    assert "cause: bearing wear (replaced)" in out


def test_incidents_as_json_can_be_limited_and_chosen(
    settings: Settings, journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    show_incidents(settings, limit=1, state=None, as_json=True)
    assert [row["id"] for row in json.loads(capsys.readouterr().out)] == ["pump-3-2"]
    show_incidents(settings, limit=5, state="closed", as_json=True)
    assert [row["cause"] for row in json.loads(capsys.readouterr().out)] == ["bearing wear"]


def test_one_incident_is_shown_in_full(settings: Settings, journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    assert show_incident(settings, "pump-3-1") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["incident"]["id"], shown["cause"]) == ("pump-3-1", "bearing wear")
    with pytest.raises(RequestError, match="no such incident"):
        show_incident(settings, "pump-3-9")


def test_status_of_an_agent_that_does_not_run_tells_what_its_journal_holds(
    settings: Settings, journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show_status(settings, as_json=True) == NOT_RUNNING
    status = json.loads(capsys.readouterr().out)
    assert (status["running"], status["journal"]["incidents_open"], status["journal"]["incidents_to_explain"]) == (False, 1, 1)
    assert [row["id"] for row in status["latest"]] == ["pump-3-2", "pump-3-1"]


def test_a_name_that_the_locale_cannot_write_is_shown_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    with open_journal(tmp_path / "state") as journal:
        journal.record([incident(anomaly("Ölpumpe/druck"), asset="Ölpumpe", id="oel-1")], [])
    config = tmp_path / "edge-agent.yaml"
    config.write_text(json.dumps({"state_dir": str(tmp_path / "state"), "runtime_dir": str(tmp_path)}))
    command = [sys.executable, "-m", "edge_agent", "incidents", "--config", str(config)]
    environ = {**os.environ, "PYTHONIOENCODING": "ascii"}
    shown = subprocess.run(command, env=environ, capture_output=True, timeout=60, check=True)
    assert b"\\xd6lpumpe" in shown.stdout
    listed = subprocess.run([*command, "--json"], env=environ, capture_output=True, timeout=60, check=True)
    assert json.loads(listed.stdout)[0]["asset"] == "Ölpumpe"
    whole = subprocess.run([*command, "oel-1"], env=environ, capture_output=True, timeout=60, check=True)
    assert json.loads(whole.stdout)["incident"]["id"] == "oel-1"
