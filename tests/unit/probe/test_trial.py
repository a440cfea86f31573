"""One trial in this process, of the factory's release and of what is refused before an engine is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.engines.loading import FACTORY
from edge_agent.probe import trial
from edge_agent.update.jobs import ProbeJob
from tests import sealed_releases


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


@pytest.mark.parametrize("named", [False, True], ids=["in-memory", "in-a-folder"])
def test_a_sealed_release_is_tried_with_the_devices_key(named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "AGAIN_S", 0.0)
    for name in ("release", "clear", "key"):
        (tmp_path / name).mkdir()
    sealed_releases.seal_factory(tmp_path / "release")
    key_file = sealed_releases.device_key(tmp_path / "key")
    clear = str(tmp_path / "clear") if named else ""
    job = ProbeJob(folder=str(tmp_path / "release"), key_file=key_file, decrypt_folder=clear)
    assert trial.probe(job, lambda _: None).problem is None
    assert list((tmp_path / "clear").iterdir()) == []


def test_a_sealed_release_without_the_key_waits_for_it(tmp_path: Path) -> None:
    sealed_releases.seal_factory(tmp_path)
    problem = trial.probe(ProbeJob(folder=str(tmp_path)), lambda _: None).problem
    assert problem is not None
    assert problem.kind == "storage"
    assert "sealed" in problem.detail


def test_a_folder_that_cannot_be_decrypted_to_is_the_devices_fault(tmp_path: Path) -> None:
    (tmp_path / "release").mkdir()
    sealed_releases.seal_factory(tmp_path / "release")
    key_file = sealed_releases.device_key(tmp_path)
    job = ProbeJob(folder=str(tmp_path / "release"), key_file=key_file, decrypt_folder=str(tmp_path / "none"))
    problem = trial.probe(job, lambda _: None).problem
    assert problem is not None
    assert problem.kind == "storage"
    assert "update.decrypt_folder" in problem.detail
