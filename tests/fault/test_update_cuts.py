"""Power cuts during updates, on a real ext4: the gateway is killed at a system call, and what it did not sync is dropped, or not.

The gateway is the real update worker with one process for everything (`update_cuts.device`). At each cut: what the record says
is active, or would be gone back to, verifies by digest; what was told as done is still done, in the record and in what is trusted
of the repository; started again, the gateway gets to where it was going; and an older, valid repository is refused.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from edge_ota import publish
from msgspec.structs import replace

from edge_agent.clock import SystemClock
from edge_agent.update.floor import Floor
from edge_agent.update.jobs import LookJob, Repository
from edge_agent.update.look import look
from edge_agent.update.machine import MAX_TRIES, needed
from edge_agent.update.record import Record
from edge_agent.update.store import Store
from edge_agent.update.trusted import TrustedFile
from edge_agent.workers.keeper import FOLDER, TRUST, Keeper
from tests.fault.update_cuts.device import GROUP, Job, run
from tests.fault.update_cuts.image import LEFT, Image, Left, why_not
from tests.fault.update_cuts.strace import Place, Run, Server
from tests.ota.repositories import Operator

MEMORY = Path("/dev/shm")
SEED = 20_261_123
SAMPLE = 4
"""Cuts of each kind in the ordinary suite."""
FIRST, SECOND, THIRD = 1, 2, 3
EACH_LEFT = pytest.mark.parametrize("left", LEFT)


class Bench:
    """Repositories at several times, file systems of gateways to begin with, and the one that is tried."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder = folder
        self._server = server
        with contextlib.redirect_stdout(io.StringIO()):
            self._operator = Operator(folder)
            self._operator.init()
        self._published = 0
        (folder / "mounted").mkdir()
        self._images = {0: Image.make(folder / "image-0", folder / "mounted")}
        self.image = self._images[0]

    @property
    def state_dir(self) -> Path:
        """The gateway's, where its image is mounted."""
        return self.folder / "mounted" / "state"

    def repository(self, counter: int) -> Path:
        """The repository as it was when the release `counter` was its newest."""
        while self._published < counter:
            self._published += 1
            keys = self._operator.with_keys(GROUP, "online")
            with contextlib.redirect_stdout(io.StringIO()):
                folder = self._operator.small_release(self._published, f"model {self._published} ".encode() * 1_200)
                assert publish.main([str(self._operator.repository), str(folder), "--group", GROUP, *keys]) == 0
            shutil.copytree(self._operator.repository, self.folder / f"repository-{self._published}")
        return self.folder / f"repository-{counter}"

    def takes(self, counter: int) -> Job:
        """Take a release."""
        return Job(state_dir=str(self.state_dir), repository=str(self.repository(counter)))

    def rolls_back(self) -> Job:
        """Leave the active release."""
        return Job(state_dir=str(self.state_dir), repository=str(self.repository(FIRST)), roll_back=True)

    @contextlib.contextmanager
    def gateway(self, active: int) -> Iterator[None]:
        """Have a gateway's file system mounted, on which the releases up to `active` were taken in their order."""
        if active not in self._images:
            with self.gateway(active - 1):
                assert run(self.takes(active)).active is not None
            shutil.move(self.folder / "image", self.folder / f"image-{active}")
            self._images[active] = Image(self.folder / f"image-{active}", self.folder / "mounted")
        self.image = self._images[active].copied(self.folder / "image")
        with self.image.mounted():
            yield

    def places(self, active: int, job: Job) -> list[Place]:
        """The calls of a job that change something, on a gateway."""
        with self.gateway(active):
            return self._server.places(job, self.folder / "log")

    def next_place(self, job: Job, after: str) -> Place:
        """The first call of a job, on the gateway as it is now, that follows what is told as `after`; what is tried is undone."""
        self.image.unmount()
        aside = self.image.copied(self.folder / "aside")
        with aside.mounted():
            found = self._server.places(job, self.folder / "log")
        self.image.mount()
        return next((place for place in found if place.after == after), found[-1])

    def cut(self, job: Job, place: Place | None, left: Left) -> Run:
        """Begin a job, and take the power away at a call, or after its end; what came of it until then."""
        cut = self._server.run(job, kill_at=place)
        self.image.cut(left)
        return cut


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    if reason := why_not():
        pytest.skip(reason)
    with TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as name, Server() as server:
        bench = Bench(Path(name), server)
        try:
            bench.image.mount()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"an ext4 image cannot be mounted here: {error.stderr.decode(errors='replace').strip()}")
        bench.image.unmount()
        yield bench


def check(bench: Bench, cut: Run) -> Record:
    """What must hold after a cut before anything is done about it; the record then."""
    with contextlib.closing(Keeper.open(bench.state_dir, SystemClock())) as keeper:
        assert keeper.lost == ""
        if cut.reports:
            told = cut.reports[-1]
            assert keeper.record == told.record or keeper.record.generation == told.record.generation + 1
            trusted = TrustedFile(keeper.trust_folder).load()
            assert trusted is not None or not told.floor.roles
            assert trusted is None or trusted.trusted.floor.joined(told.floor) == trusted.trusted.floor
        if keeper.record.candidate is not None and keeper.record.stage != "fetching":
            sha256 = keeper.record.candidate.held.manifest_sha256
            assert keeper.store.verify(sha256) == []
            assert keeper.record.stage == "verified" or keeper.store.release_folder(sha256) is not None
        for held in (keeper.record.active, keeper.record.previous):
            if held is not None:
                assert keeper.store.release_folder(held.manifest_sha256) is not None
                assert keeper.store.verify(held.manifest_sha256) == []
        return keeper.record


def check_good(bench: Bench, record: Record, active: int) -> None:
    """The release `active` runs, whole, and nothing is there that nobody needs."""
    assert (record.stage, record.candidate, counter_of(record)) == ("idle", None, active)
    folder = bench.state_dir / FOLDER
    store = Store(folder)
    assert all(store.verify(sha256) == [] and store.release_folder(sha256) is not None for sha256 in needed(record))
    blobs = {component.sha256 for sha256 in needed(record) for component in store.manifest(sha256).components.values()}
    assert set(os.listdir(folder / "blobs")) == blobs
    assert os.listdir(folder / "parts") == []
    assert set(os.listdir(folder / "releases")) == needed(record)
    assert set(os.listdir(folder / "manifests")) == {f"{sha256}.json" for sha256 in needed(record)}


def check_refused(bench: Bench, older: int) -> None:
    """An older repository, whose signatures are all good, is not believed, even where only the trust knows of a newer one."""
    job = LookJob(
        place=Repository(url=f"file://{bench.repository(older)}"),
        group=GROUP,
        trust_folder=str(bench.state_dir / FOLDER / TRUST),
        root_file=str(bench.repository(older) / "metadata/1.root.json"),
        now_s=time.time(),
        build_time_s=0.0,
        known=Floor(),
    )
    looked = look(job, SystemClock())
    assert looked.problem is not None
    assert looked.problem.kind == "refused"


def counter_of(record: Record) -> int:
    """Of the active release; 0 for the factory's."""
    return 0 if record.active is None else record.active.counter


def some(places: Sequence[Place], most: int = SAMPLE) -> list[Place]:
    """As many, drawn, always the same."""
    chosen = random.Random(SEED).sample(range(len(places)), min(most, len(places)))
    return [places[number] for number in sorted(chosen)]


def all_of(places: Sequence[Place]) -> list[Place]:
    return list(places)


HOW_MANY = pytest.mark.parametrize(
    "chosen",
    [
        pytest.param(some, id="some calls"),
        pytest.param(all_of, id="every call", marks=[pytest.mark.slow, pytest.mark.timeout(3_600)]),
    ],
)
Choose = Callable[[Sequence[Place]], list[Place]]


def tell(what: str, cuts: int, calls: int, began_s: float) -> None:
    print(f"{what}: {cuts} cuts, {calls} calls, none with a bad state, {time.monotonic() - began_s:.0f} s")


@EACH_LEFT
@HOW_MANY
@pytest.mark.parametrize("before", [0, FIRST, SECOND], ids=["the first", "the second", "the third, so that the first goes"])
def test_cuts_while_a_release_is_taken(bench: Bench, before: int, chosen: Choose, left: Left) -> None:
    began_s, job = time.monotonic(), bench.takes(before + 1)
    places = bench.places(before, job)
    assert len(places) > 200
    assert {"fsync", "link", "unlink", "mkdir", "fchmod", "pwrite64"} <= {place.call.removesuffix("at") for place in places}
    wanted = [*chosen(places), None]
    for place in wanted:
        with bench.gateway(before):
            cut = bench.cut(job, place, left)
            assert cut.killed == (place is not None), place
            assert counter_of(check(bench, cut)) in (before, before + 1)[place is None :], place
            check_good(bench, run(job), before + 1)
            if before:
                check_refused(bench, before)
    tell(f"release {before + 1}", len(wanted), len(places), began_s)


@EACH_LEFT
@HOW_MANY
def test_cuts_during_a_rollback(bench: Bench, chosen: Choose, left: Left) -> None:
    began_s, job = time.monotonic(), bench.rolls_back()
    places = bench.places(SECOND, job)
    assert len(places) > 20
    wanted = [*chosen(places), None]
    for place in wanted:
        with bench.gateway(SECOND):
            cut = bench.cut(job, place, left)
            assert cut.killed == (place is not None), place
            record = check(bench, cut)
            assert counter_of(record) in (FIRST, SECOND)[: 2 - (place is None)], place
            if counter_of(record) == SECOND:
                record = run(job)
            assert (counter_of(record), record.refused_counter) == (FIRST, SECOND)
            check_good(bench, run(bench.takes(SECOND)), FIRST)  # what was left is not taken again
            check_good(bench, run(bench.takes(THIRD)), THIRD)
            check_refused(bench, SECOND)
    tell("rollback", len(wanted), len(places), began_s)


def in_the_trial(places: Sequence[Place]) -> list[Place]:
    """The calls from where the probe has passed on, until the trial's end is told."""
    counted = [place for place in places if place.after.startswith("trial")]
    assert {place.after for place in counted} == {f"trial {MAX_TRIES}", f"trial {MAX_TRIES - 1}"}
    return counted


@EACH_LEFT
@HOW_MANY
def test_cuts_while_the_trial_is_counted_never_give_a_try_back(bench: Bench, chosen: Choose, left: Left) -> None:
    began_s, job = time.monotonic(), bench.takes(SECOND)
    places = in_the_trial(bench.places(FIRST, job))
    wanted = chosen(places)
    for place in wanted:
        with bench.gateway(FIRST):
            cut = bench.cut(job, place, left)
            told = cut.reports[-1].record
            assert told.stage == "trial"
            record = check(bench, cut)
            assert (record.stage, counter_of(record)) in (("trial", FIRST), ("idle", SECOND))
            assert record.stage == "idle" or record.tries_left <= told.tries_left
            check_good(bench, run(job), SECOND)
    tell("trial", len(wanted), len(places), began_s)


@EACH_LEFT
def test_a_release_with_which_the_power_always_goes_is_rolled_back(bench: Bench, left: Left) -> None:
    """Cut each time just after a try was counted, at the first thing that is written afterwards."""
    job = bench.takes(SECOND)
    where = next(place for place in bench.places(FIRST, job) if place.after == f"trial {MAX_TRIES - 1}")
    tries = []
    with bench.gateway(FIRST):
        while (record := check(bench, bench.cut(job, where, left))).stage == "trial":
            tries.append(record.tries_left)
            where = bench.next_place(job, f"trial {record.tries_left - 1}")
        assert tries == [2, 1, 0]
        assert (record.stage, counter_of(record), record.ended[-1].result) == ("idle", FIRST, "rolled-back")
        check_good(bench, run(bench.takes(THIRD)), THIRD)


@pytest.mark.parametrize("count", [30, pytest.param(100, marks=pytest.mark.slow)])
def test_a_hundred_cuts_in_a_row_end_in_a_good_release(bench: Bench, count: int) -> None:
    """At random calls, on one file system that is never made anew."""
    began_s, draw, newest = time.monotonic(), random.Random(SEED), SECOND
    calls = bench.places(FIRST, bench.takes(SECOND))
    with bench.gateway(FIRST):
        for _ in range(count):
            cut = bench.cut(bench.takes(newest), draw.choice(calls), draw.choice(LEFT))
            record = check(bench, cut)
            if counter_of(record) == newest or record.refused_counter == newest:
                newest += 1
        assert newest > count // 10
        check_good(bench, run(bench.takes(newest)), newest)
        check_refused(bench, newest - 1)
    tell(f"in a row, up to release {newest}", count, len(calls), began_s)


@pytest.mark.parametrize("left", ["synced", "foreign fsync"])
def test_a_gateway_that_does_not_sync_is_found_out(bench: Bench, left: Left) -> None:
    """The checks can fail: what it took for done is gone, or is there by name alone."""
    job = replace(bench.takes(SECOND), syncs=False)
    places = bench.places(FIRST, job)
    assert "fsync" not in {place.call for place in places}
    with bench.gateway(FIRST):
        cut = bench.cut(job, places[-1], left)
        assert counter_of(cut.reports[-1].record) == SECOND
        with pytest.raises(AssertionError):
            check(bench, cut)
