"""The intake: leads are followed within the day's budgets, each source is told what came of it, and the floor is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec import Struct
from msgspec.structs import replace

from edge_agent.config.settings import UpdateSettings
from edge_agent.errors import ChildFailedError, StorageError
from edge_agent.metrics import Metrics
from edge_agent.release.manifest import Manifest, encode_manifest, parse_manifest
from edge_agent.update import Lead, Verdict
from edge_agent.update.child import Child, ChildLimits
from edge_agent.update.floor import Floor, RoleFloor
from edge_agent.update.jobs import Bundle, Fetched, FetchJob, Looked, LookJob, Place, Problem, Repository
from edge_agent.workers import intake as intake_module
from edge_agent.workers.intake import FETCH, LOOK, Intake
from edge_agent.workers.keeper import Keeper, read_record
from tests.unit.workers.parts import StepClock
from tests.update.releases import read

FACTORY_MANIFEST = parse_manifest(read("manifest.json"), "factory")


class Ended:
    """A child that ended with this."""

    def __init__(self, result: Struct | Exception) -> None:
        self.found = result

    def result(self, kind: type[Any]) -> Any:
        if isinstance(self.found, Exception):
            raise self.found
        assert isinstance(self.found, kind)
        return self.found

    def progress(self) -> None:
        return None


class Bench:
    """An intake whose children are answered by the test."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.clock = StepClock()
        self.keeper = Keeper.open(folder, self.clock)
        self.told: list[tuple[Verdict, str]] = []
        self.started: list[tuple[str, Struct]] = []
        self.then: Callable[[Child], None] | None = None
        self.metrics = Metrics()
        self.intake = Intake(
            keeper=self.keeper,
            sources=(),
            settings=UpdateSettings(group="fleet", root_file="/r", **settings),
            apply=self.keeper.apply,
            start=self._start,
            metrics=self.metrics,
            clock=self.clock,
        )

    def _start(self, module: str, job: Struct, limits: ChildLimits, then: Callable[[Child], None]) -> None:
        self.started.append((module, job))
        self.then = then

    def offer(self) -> bool:
        def tell(verdict: Verdict, words: str = "") -> None:
            self.told.append((verdict, words))

        self.intake.ask(Lead(source="repository", place=Repository(url="https://r.example"), tell=tell))
        return self.intake.step()

    def ends(self, result: Struct | Exception) -> None:
        then, self.then = self.then, None
        assert then is not None
        then(cast("Child", Ended(result)))

    def stage(self) -> str:
        return self.keeper.record.stage

    def looked(self, manifest: Manifest) -> None:
        self.offer()
        self.ends(Looked(floor=Floor(), time_s=1.0, manifest=encode_manifest(manifest)))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.keeper.close()


def release(counter: int, **changes: Any) -> Manifest:
    return replace(FACTORY_MANIFEST, id=f"fleet-{counter}", counter=counter, **changes)


def test_nothing_is_done_without_a_lead(bench: Bench) -> None:
    assert not bench.intake.step()
    assert bench.started == []


def test_what_is_wanted_is_fetched_from_where_it_was_seen(bench: Bench) -> None:
    bench.looked(release(1))
    assert [module for module, _ in bench.started] == [LOOK, FETCH]
    look, fetch = (job for _, job in bench.started)
    assert isinstance(look, LookJob)
    assert isinstance(fetch, FetchJob)
    assert fetch.place == look.place
    assert bench.stage() == "fetching"
    bench.ends(Fetched(fetched_bytes=77, complete=True))
    assert bench.stage() == "verified"
    assert bench.keeper.today() == (1, 77)
    assert bench.told == [(Verdict.taken, "")]


def test_a_look_counts_when_what_came_of_it_stands_in_the_record(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    stages: list[str] = []
    saw = bench.keeper.saw

    def noted(floor: Floor, looked: str, *, failed: bool = False) -> None:
        saw(floor, looked, failed=failed)
        stages.append(read_record(bench.folder).stage)

    monkeypatch.setattr(bench.keeper, "saw", noted)
    bench.looked(release(1))
    assert stages == ["fetching"], "an idle record would be taken for a look that found nothing"


def test_what_was_half_fetched_goes_on_from_any_place_that_has_the_same(bench: Bench) -> None:
    bench.looked(release(1))
    bench.ends(Fetched(fetched_bytes=5, complete=False, problem=Problem(kind="link", reason="timeout")))
    candidate = bench.keeper.record.candidate
    assert candidate is not None
    assert (candidate.attempts, bench.told) == (1, [(Verdict.failed, "timeout")])
    bench.looked(release(1))
    bench.ends(ChildFailedError("killed", "it was the power"))
    assert bench.told[-1][0] is Verdict.failed
    bench.looked(release(1))
    bench.ends(Fetched(fetched_bytes=5, complete=True))
    assert bench.keeper.record.stage == "verified"


def test_what_may_take_more_memory_than_there_is_is_not_wanted_and_has_not_failed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = FACTORY_MANIFEST.limits
    monkeypatch.setattr(intake_module, "memory_bytes", lambda: limits.max_rss_bytes - 1)
    bench.looked(FACTORY_MANIFEST)
    ((verdict, words),) = bench.told
    assert verdict is Verdict.unwanted
    assert "MiB of memory; this gateway has" in words
    assert (bench.stage(), bench.keeper.record.refused_counter) == ("idle", -1)
    monkeypatch.setattr(intake_module, "memory_bytes", lambda: None)
    bench.looked(FACTORY_MANIFEST)
    assert bench.stage() == "fetching"


def test_a_newer_release_takes_the_place_of_one_half_fetched(bench: Bench) -> None:
    bench.looked(release(1))
    bench.ends(Fetched(fetched_bytes=5, complete=False))
    bench.looked(release(2))
    assert bench.keeper.record.candidate is not None
    assert bench.keeper.record.candidate.held.counter == 2
    bench.ends(Fetched(fetched_bytes=5, complete=False))
    bench.looked(release(1))
    assert bench.told[-1][0] is Verdict.unwanted
    assert bench.keeper.record.candidate.held.counter == 2


def test_what_this_agent_cannot_run_is_not_wanted_and_has_not_failed(bench: Bench) -> None:
    bench.looked(release(1, minimum_agent="99.0.0"))
    assert bench.told[-1][0] is Verdict.unwanted
    assert "99.0.0" in bench.keeper.record.looked
    assert bench.keeper.record.refused_counter == -1


@pytest.mark.parametrize(
    ("kind", "verdict", "condition"),
    [
        ("link", Verdict.failed, False),
        ("budget", Verdict.failed, False),
        ("storage", Verdict.failed, True),
        ("trust-lost", Verdict.failed, True),
        ("refused", Verdict.refused, True),
        ("release", Verdict.refused, True),
    ],
)
def test_a_problem_of_a_look_is_told_and_its_floor_is_kept(bench: Bench, kind: Any, verdict: Verdict, condition: bool) -> None:
    bench.offer()
    floor = Floor(roles={"root": RoleFloor(version=9)})
    bench.ends(Looked(floor=floor, time_s=1.0, problem=Problem(kind=kind, reason="so", detail="it is")))
    assert bench.told == [(verdict, "so: it is")]
    assert bench.keeper.record.floor == floor
    assert bool(bench.metrics.conditions.current()) is condition
    bench.offer()
    bench.ends(Looked(floor=Floor(), time_s=1.0))
    assert bench.metrics.conditions.current() == ()
    assert bench.told[-1][0] is Verdict.nothing


def test_what_happened_on_the_way_is_told_without_a_word_of_ours_before_it(bench: Bench) -> None:
    bench.offer()
    bench.ends(Looked(floor=Floor(), time_s=1.0, problem=Problem(kind="link", reason="link", detail="/a.tar: ends too early")))
    assert bench.told == [(Verdict.failed, "/a.tar: ends too early")]
    assert bench.keeper.record.looked == "repository: /a.tar: ends too early"


def test_a_child_that_dies_or_talks_nonsense_is_a_failed_look(bench: Bench) -> None:
    bench.offer()
    bench.ends(ChildFailedError("nonsense", "said something else"))
    assert bench.told[-1] == (Verdict.failed, "nonsense: said something else")
    assert bench.keeper.record.stage == "idle"


def test_a_manifest_that_is_none_is_refused(bench: Bench) -> None:
    bench.offer()
    bench.ends(Looked(floor=Floor(), time_s=1.0, manifest=b"{}"))
    assert bench.told[-1][0] is Verdict.refused


def test_looks_and_bytes_are_bounded_by_the_day(tmp_path: Path) -> None:
    bench = Bench(tmp_path, looks_per_day=2, bytes_per_day=1_000)
    bench.looked(release(1))
    bench.ends(Fetched(fetched_bytes=1_000, complete=False, problem=Problem(kind="budget", reason="bytes")))
    bench.looked(release(1))
    assert bench.then is None
    assert "used up" in bench.told[-1][1]
    bench.offer()
    assert bench.then is None
    assert "2 looks today" in bench.told[-1][1]
    bench.clock.s += 86_400
    bench.looked(release(1))
    job = bench.started[-1][1]
    assert isinstance(job, FetchJob)
    assert job.max_bytes == 1_000


def test_a_source_is_told_also_where_the_disk_refuses(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StorageError("the disk is full")

    bench.offer()
    monkeypatch.setattr(bench.keeper, "saw", full)
    with pytest.raises(StorageError):
        bench.ends(Looked(floor=Floor(), time_s=1.0))
    assert bench.told == [(Verdict.failed, "the disk is full")]


def test_a_lead_whose_child_was_ended_is_told(bench: Bench) -> None:
    bench.looked(release(1))
    bench.intake.abandon("given up")
    bench.intake.abandon("twice")
    assert bench.told == [(Verdict.failed, "given up")]


@pytest.mark.parametrize("how", ["abandon", "count"])
@pytest.mark.parametrize(("place", "bytes_"), [(Repository(url="https://r.example"), 600), (Bundle(path="/x.tar"), 0)])
def test_what_a_fetch_brought_that_was_ended_counts_against_the_day_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, how: str, place: Place, bytes_: int
) -> None:
    missing = iter((1_000, 400, 0))
    monkeypatch.setattr(bench.keeper.store, "missing_bytes", lambda manifest: next(missing))
    bench.intake.ask(Lead(source="repository", place=place))
    bench.intake.step()
    bench.ends(Looked(floor=Floor(), time_s=1.0, manifest=encode_manifest(release(1))))
    for _ in range(2):
        bench.intake.abandon("given up") if how == "abandon" else bench.intake.count()
    assert bench.keeper.today() == (1, bytes_)


def test_the_same_release_found_again_while_it_waits_is_not_fetched_again_and_a_newer_one_is(bench: Bench) -> None:
    bench.looked(release(1))
    bench.ends(Fetched(fetched_bytes=1, complete=True))
    bench.looked(release(1))
    assert (bench.then, bench.told[-1], bench.stage()) == (None, (Verdict.taken, ""), "verified")
    bench.looked(release(2))
    assert bench.started[-1][0] == FETCH
    assert (bench.stage(), bench.keeper.record.ended[-1].result) == ("fetching", "cancelled")


def test_a_release_that_contradicts_itself_is_refused_and_not_fetched_day_after_day(bench: Bench) -> None:
    bench.looked(release(1))
    contradiction = Problem(kind="release", reason="fetch", detail="the chunks do not make it up")
    bench.ends(Fetched(fetched_bytes=9, complete=False, problem=contradiction))
    record = bench.keeper.record
    assert (record.stage, record.ended[-1].result) == ("idle", "refused")
    assert "do not make it up" in record.ended[-1].reason
    bench.looked(release(1))
    assert bench.then is None
    assert [verdict for verdict, _ in bench.told] == [Verdict.refused, Verdict.unwanted]


def test_a_manifest_that_is_gone_is_no_fault_of_the_release(bench: Bench) -> None:
    bench.looked(release(1))
    candidate = bench.keeper.record.candidate
    assert candidate is not None
    (bench.keeper.folder / "manifests" / f"{candidate.held.manifest_sha256}.json").unlink()
    bench.ends(Fetched(fetched_bytes=0, complete=False, problem=Problem(kind="release", reason="fetch", detail="not there")))
    assert bench.stage() == "fetching"
    bench.looked(release(1))
    assert bench.started[-1][0] == FETCH


def test_what_is_asked_for_twice_is_looked_at_once(bench: Bench) -> None:
    lead = Lead(source="apply", ticket="/x.tar", place=Bundle(path="/x.tar"))
    for _ in range(3):
        bench.intake.ask(lead)
    assert bench.intake.step()
    assert not bench.intake.step()


def test_a_source_is_told_also_of_what_nobody_thought_of(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def surprising(*_: object) -> None:
        raise RecursionError

    bench.offer()
    monkeypatch.setattr(bench.keeper, "saw", surprising)
    with pytest.raises(RecursionError):
        bench.ends(Looked(floor=Floor(), time_s=1.0))
    assert bench.told == [(Verdict.failed, "RecursionError")]
