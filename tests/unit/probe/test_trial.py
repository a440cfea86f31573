"""One trial in this process, of the factory's release and of what is refused before an engine is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.engines.loading import FACTORY
from edge_agent.probe import trial
from edge_agent.update.jobs import ProbeJob


def test_every_step_is_told_and_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "AGAIN_S", 0.0)
    told: list[str] = []
    probed = trial.probe(ProbeJob(folder=str(FACTORY)), told.append)
    assert probed.problem is None
    assert told[:3] == ["files", "classifier", "writer"]
    assert told[3:] == [f"sentence {number + 1}" for number in range(probed.sentences)]
    assert probed.sentences > 28
    assert probed.load_s > 0
    assert probed.slowest_s > 0


def test_a_folder_that_is_not_there_is_a_problem_of_the_release(tmp_path: Path) -> None:
    problem = trial.probe(ProbeJob(folder=str(tmp_path / "none")), lambda _: None).problem
    assert problem is not None
    assert (problem.kind, problem.reason) == ("release", "unusable")
    assert "manifest.json" in problem.detail


def test_a_device_without_a_classifiers_runtime_tries_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "AGAIN_S", 0.0)
    monkeypatch.setattr(trial, "RUNTIMES", ("no_such_runtime",))
    told: list[str] = []
    assert trial.probe(ProbeJob(folder=str(FACTORY)), told.append).problem is None
    assert told[:2] == ["files", "writer"]
