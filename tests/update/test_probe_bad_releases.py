"""Releases that are bad, tried by the probe as the agent does it: in a child process, which is all that they can harm."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.clock import SystemClock
from edge_agent.engines.loading import FACTORY, open_release
from edge_agent.errors import ChildFailedError
from edge_agent.probe import trial
from edge_agent.probe.incidents import trial_incidents
from edge_agent.release.manifest import Limits
from edge_agent.update.child import Child, ChildLimits
from edge_agent.update.jobs import Probed, ProbeJob
from tests.deadline import eventually
from tests.update import releases
from tests.update.sabotaged import DEED

MIB = 1 << 20
LIMITS = ChildLimits(timeout_s=100.0, silent_s=60.0, max_rss_bytes=500 * MIB)
INCIDENTS = trial_incidents()[:12]


def tried(folder: Path, module: str = "edge_agent.probe", limits: ChildLimits = LIMITS) -> Probed:
    with Child.start(module, ProbeJob(folder=str(folder)), limits=limits, clock=SystemClock()) as child:
        eventually(lambda: child.poll(1.0), within_s=110.0)
        return child.result(Probed)


def refused(folder: Path, module: str = "edge_agent.probe") -> tuple[str, str]:
    problem = tried(folder, module).problem
    assert problem is not None, "the probe finds nothing wrong"
    assert problem.kind == "release"
    return problem.reason, problem.detail


def sabotage(monkeypatch: pytest.MonkeyPatch, deed: str) -> str:
    monkeypatch.setenv(DEED, deed)
    return "tests.update.sabotaged"


def test_the_factory_release_may_speak() -> None:
    probed = tried(FACTORY)
    assert probed.problem is None
    assert probed.sentences > 100
    assert 0 < probed.slowest_s < 20
    assert MIB < probed.peak_rss_bytes < 200 * MIB


def test_a_release_with_golden_cases_of_this_machine_may_speak(tmp_path: Path) -> None:
    golden = releases.golden_of(INCIDENTS)
    folder = releases.release_of(tmp_path, {"golden.json": releases.as_json(golden)}, certified=True, golden=True)
    probed = tried(folder)
    assert probed.problem is None
    assert probed.differing == 0


def test_a_model_that_loads_but_is_wrong(tmp_path: Path) -> None:
    reason, detail = refused(releases.release_of(tmp_path, {"writer/model.bin": releases.damaged_weights()}))
    assert reason == "not-believed"
    assert "the verifier refused the writer in" in detail
    assert "inside the package" not in detail


@pytest.mark.parametrize("first", [0, 2], ids=["always", "of-third-subjects-on"])
def test_a_model_that_states_facts_in_the_wrong_role(first: int, tmp_path: Path) -> None:
    swapped = releases.swapped({f"<peak:{number}>": f"<base:{number}>" for number in range(first, 8)})
    reason, detail = refused(releases.release_of(tmp_path, {"writer/vocabulary.json": swapped}))
    assert reason == "not-believed"
    assert "refused-" in detail


def test_a_runtime_that_writes_nonsense_on_this_device_is_told_from_a_bad_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = releases.release_of(tmp_path, {})
    reason, detail = refused(folder, sabotage(monkeypatch, "says-nothing"))
    assert reason == "not-believed"
    assert "the release inside the package does no better here" in detail


def test_a_broken_model_is_not_saved_by_golden_cases_that_it_wrote_itself(tmp_path: Path) -> None:
    broken = {"writer/model.bin": releases.damaged_weights()}
    opened = open_release(releases.release_of(tmp_path / "built", broken))
    golden = releases.golden_of(INCIDENTS, release=opened)
    folder = releases.release_of(tmp_path / "came", {**broken, "golden.json": releases.as_json(golden)}, golden=True)
    assert refused(folder)[0] == "not-believed"


def test_golden_cases_that_come_out_otherwise_on_the_same_kind_of_machine(tmp_path: Path) -> None:
    golden = releases.golden_of(INCIDENTS)
    golden["cases"][3]["text"] = "Something else."
    folder = releases.release_of(tmp_path, {"golden.json": releases.as_json(golden)}, certified=True, golden=True)
    reason, detail = refused(folder)
    assert reason == "golden-differs"
    assert "1 of 12 golden cases" in detail
    assert "instead of 'Something else.'" in detail


def test_golden_cases_of_another_machine_may_come_out_in_other_words(tmp_path: Path) -> None:
    golden = releases.golden_of(INCIDENTS, here=False)
    golden["cases"][3]["text"] = "Something else."
    folder = releases.release_of(tmp_path, {"golden.json": releases.as_json(golden)}, certified=True, golden=True)
    probed = tried(folder)
    assert probed.problem is None
    assert probed.differing == 1


def test_a_lexicon_that_is_too_small_to_say_anything(tmp_path: Path) -> None:
    assert refused(releases.release_of(tmp_path, {"lexicon.txt": b".\n"}))[0] == "not-believed"


def test_a_release_that_takes_more_memory_than_it_says(tmp_path: Path) -> None:
    reason, detail = refused(releases.release_of(tmp_path, {}, limits=Limits(max_rss_bytes=4 * MIB, max_sentence_s=20.0)))
    assert reason == "too-much-memory"
    assert "allows 4 MiB" in detail


def test_a_release_that_is_slower_than_it_says(tmp_path: Path) -> None:
    reason, detail = refused(releases.release_of(tmp_path, {}, limits=Limits(max_rss_bytes=500 * MIB, max_sentence_s=1e-5)))
    assert reason == "too-slow"
    assert "its manifest allows" in detail


def test_a_release_whose_manifest_allows_more_time_than_the_agent_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "MAX_SENTENCE_S", 1e-5)
    problem = trial.probe(ProbeJob(folder=str(FACTORY)), lambda _: None).problem
    assert problem is not None
    assert problem.reason == "too-slow"
    assert "the agent allows 1e-05 s" in problem.detail


def test_a_model_that_crawls_at_long_prompts_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = releases.release_of(tmp_path, {}, limits=Limits(max_rss_bytes=500 * MIB, max_sentence_s=0.5))
    assert refused(folder, sabotage(monkeypatch, "crawls"))[0] == "too-slow"


def test_a_model_that_leaks(monkeypatch: pytest.MonkeyPatch) -> None:
    reason, detail = refused(FACTORY, sabotage(monkeypatch, "leaks"))
    assert reason == "leaks"
    assert "its memory grew by" in detail


def test_a_model_that_takes_ever_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = ChildLimits(timeout_s=100.0, silent_s=60.0, max_rss_bytes=256 * MIB)
    with pytest.raises(ChildFailedError, match="MiB of memory") as caught:
        tried(FACTORY, sabotage(monkeypatch, "takes-much"), limits)
    assert caught.value.reason == "memory"


def test_a_model_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = ChildLimits(timeout_s=100.0, silent_s=5.0, max_rss_bytes=500 * MIB)
    with pytest.raises(ChildFailedError, match="said nothing for 5 s") as caught:
        tried(FACTORY, sabotage(monkeypatch, "hangs"), limits)
    assert caught.value.reason == "timeout"


def test_a_model_that_crashes_the_native_runtime_while_it_loads(tmp_path: Path) -> None:
    folder = releases.release_of(tmp_path, {"classifier.tflite": releases.damaged_classifier()})
    with pytest.raises(ChildFailedError, match=r"SIG(SEGV|BUS)") as caught:
        tried(folder)
    assert caught.value.reason == "killed"


def test_a_model_that_crashes_in_the_middle_of_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ChildFailedError, match="SIGABRT"):
        tried(FACTORY, sabotage(monkeypatch, "crashes"))


@pytest.mark.parametrize("size", [0, 10, 500, 400_000])
def test_a_model_that_is_cut_off(size: int, tmp_path: Path) -> None:
    folder = releases.release_of(tmp_path, {"writer/model.bin": releases.read("writer/model.bin")[:size]})
    assert refused(folder)[0] == "unusable"


def test_a_model_that_answers_otherwise_the_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    reason, detail = refused(FACTORY, sabotage(monkeypatch, "wavers"))
    assert reason == "not-deterministic"
    assert "after" in detail


def test_a_model_that_always_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(FACTORY, sabotage(monkeypatch, "says-nothing"))[0] == "not-believed"


def test_a_model_that_is_never_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    reason, detail = refused(FACTORY, sabotage(monkeypatch, "shrugs"))
    assert reason == "not-believed"
    assert "sure enough to speak in 0 of" in detail


def test_a_library_that_prints_is_not_taken_for_the_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tried(FACTORY, sabotage(monkeypatch, "prints")).problem is None
