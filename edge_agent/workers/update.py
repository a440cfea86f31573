"""The update worker: from a source to running, one stage of the machine at a time.

    idle, fetching   a source has a lead -> look and fetch (`intake`)
    verified         install, in a child process
    staged, probing  probe, in a child process
    trial            the release speaks in the running agent and is watched (`trial`)

What waits there, for room, a key, memory or the running agent, is tried again and again, and sources are looked at meanwhile: a
newer release takes its place.

Rules: it owns the keeper, and through it the record. What changes the record is saved before anything is done about it, so that
a worker that begins anew goes on from the stage alone. One child at a time, polled, never waited for. What a source offers while
a release is being installed, probed or tried is looked at afterwards. Whatever ends is handed to the outbox and told to its
source, again and again until both have it. No failure of an update touches detection, the journal or MQTT.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import ClassVar, Literal, Protocol, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from edge_agent.clock import Clock
from edge_agent.config.settings import UpdateSettings
from edge_agent.engines.instruction_set import instruction_set
from edge_agent.errors import ChildFailedError, EdgeAgentError, ReleaseError, StorageError
from edge_agent.messages import UpdateOutcome, UpdateState
from edge_agent.metrics import Metrics
from edge_agent.update import Lead, Source
from edge_agent.update.child import Child, ChildLimits
from edge_agent.update.jobs import CUDA_HOST_BYTES, Bundle, Installed, InstallJob, Probed, ProbeJob, Progress
from edge_agent.update.machine import (
    Again,
    Begins,
    Broke,
    Cancelled,
    Event,
    Failed,
    Passed,
    Reported,
    RollBack,
    Soaked,
    Spared,
    Told,
    needed,
    speaks,
)
from edge_agent.update.machine import Installed as IsInstalled
from edge_agent.update.orders import Apply, Cancel, Check, Order, Orders
from edge_agent.update.orders import RollBack as GoBack
from edge_agent.update.record import Ended, Record, Stage
from edge_agent.workers.active import Running
from edge_agent.workers.host import rss_bytes
from edge_agent.workers.intake import Intake
from edge_agent.workers.keeper import Keeper, outcome_of
from edge_agent.workers.trial import Trial, Watched

INSTALL = "edge_agent.update.install"
PROBE = "edge_agent.probe"
INSTALL_LIMITS = ChildLimits(timeout_s=7_200.0, silent_s=7_200.0, max_rss_bytes=1 << 30)
PROBE_S = 1_800.0
PROBE_SILENT_S = 120.0
"""Longest that a probe says nothing while it loads; it says a line for each sentence."""
TRYING: Mapping[Stage, str] = {"verified": "update install", "probing": "update probe"}
"""The condition that says why a try is put off, by stage."""
PROBE_SPARE_BYTES = 256 << 20
"""What a probe takes besides the release: the interpreter and its libraries."""
RETRY_S = 60.0
"""Pause after this device could not make a try: the disk refused, a key was missing, memory was short."""
TELL_RETRY_S = 5.0
"""The same after it refused an outcome."""
WATCH_S = 0.5
ORDERS_S = 1.0
MAX_ASKED = 16
BY_A_PERSON = "a person asked for it"
APPLIED = "apply"
"""The source of a bundle that a person named."""

Device: TypeAlias = Literal["auto", "cpu", "cuda"]

_log = logging.getLogger(__name__)


class Live(Protocol):
    """The running agent, in which a release is tried; `edge_agent.workers.live.LiveAgent` is one."""

    def speak(self) -> int:
        """Let speak what the record says; the number of the wish. Raises StorageError."""

    def running(self) -> Running:
        """How the newest wish does."""

    def stale(self) -> Sequence[str]:
        """Names of the workers that make no progress."""

    def tell(self, outcomes: Sequence[UpdateOutcome]) -> None:
        """Hand over what ended, to be delivered; durable when it returns. Raises StorageError."""


class _Asked(Struct, frozen=True):
    """An order of another thread, and whom to tell what came of it."""

    order: Order
    done: Future[str]


class _Task(Struct, frozen=True):
    """A child at work, and what follows when it has ended."""

    child: Child
    then: Callable[[Child], None]
    tries: bool
    """Whether it makes a try that was counted."""


class UpdateWorker:
    """Implements `loop.Worker`."""

    name = "update"
    max_step_s = 120.0
    """Hashing a large release from slow storage takes the longest."""

    def __init__(
        self,
        *,
        keeper: Keeper,
        settings: UpdateSettings,
        sources: Sequence[Source],
        live: Live | None,
        gateway: str,
        device: Device,
        metrics: Metrics,
        clock: Clock,
        began_trial: bool = False,
    ) -> None:
        """`live` is None beside no running agent: a release then waits for one to be tried. `began_trial`: the start of the agent
        began the trial that the record tells of."""
        self._keeper = keeper
        self._settings = settings
        self._sources = sources
        self._live = live
        self._gateway = gateway
        self._device: Device = device
        self._cuda_bytes = CUDA_HOST_BYTES if instruction_set(device) == "cuda" else 0
        self._metrics = metrics
        self._clock = clock
        self._orders = Orders(keeper.folder)
        self._orders.clean()
        self._asked: queue.Queue[_Asked] = queue.Queue(MAX_ASKED)
        self._task: _Task | None = None
        self._trial: Trial | None = None
        self._began_trial = began_trial
        self._collected: frozenset[str] | None = None
        """What was needed when the store was cleared last."""
        self._collect_not_before_s = clock.monotonic_s()
        self._to_speak = False
        """Whether the record changed who is to speak, and nobody was told yet."""
        self._handed_on: list[UpdateOutcome] = []
        """What stands in the outbox, and the record does not say so yet."""
        self._tell_not_before_s = clock.monotonic_s()
        self._not_before_s = clock.monotonic_s()
        self._orders_s = clock.monotonic_s() - ORDERS_S
        self._pause = threading.Event()
        self.gave_up = ""
        """Why only a new start of the agent can help, in words; any thread may read it."""
        self._intake = Intake(
            keeper=keeper,
            sources=sources,
            settings=settings,
            apply=self._apply,
            start=self._start,
            metrics=metrics,
            clock=clock,
        )

    @property
    def busy(self) -> bool:
        """Whether a child is at work."""
        return self._task is not None

    def ask(self, order: Order) -> Future[str]:
        """Ask for something to be done; any thread. What came of it, in words. Raises `queue.Full`."""
        asked = _Asked(order, Future())
        self._asked.put_nowait(asked)
        return asked.done

    def state(self) -> UpdateState:
        """How the update stands; any thread."""
        task = self._task
        state = record_state(self._keeper.record, self._gateway, None if task is None else task.child.progress())
        return state if self._live is None else replace(state, release=self._live.running().release)

    def step(self, timeout_s: float) -> bool:
        """Do what the stage asks for. Raises StorageError; the same is done again at the next step."""
        self._take_orders()
        self._tell_if_due()
        if self._task is not None:
            if self._task.child.poll(timeout_s):
                self._end_task()
            return True
        if self._to_speak and self._live is not None and self._keeper.record.stage != "trial":
            self._speak(self._live)
        self._collect_if_due()
        if self._clock.monotonic_s() >= self._not_before_s and self._STAGES[self._keeper.record.stage](self):
            return True
        if self._keeper.record.stage not in ("idle", "fetching") and self._take_in():
            return True
        self._pause.wait(timeout_s)
        return False

    def finish(self) -> None:
        """End the child; what it did so far is kept, and the next start goes on from the record. Raises StorageError."""
        tries = self._task is not None and self._task.tries
        if self._task is not None:
            self._task.child.close()
            self._task = None
        for source in self._sources:
            source.close()
        while not self._asked.empty():
            self._asked.get_nowait().done.cancel()
        try:
            # A stop in order says nothing of the release: only what goes down with it counts.
            if self._trial is not None and self._trial.soaks:
                self._apply(Spared(self._trial.soaked_s))
            elif tries:
                self._apply(Spared())
            self._intake.count()
        finally:
            self._keeper.close()

    def _start(self, module: str, job: Struct, limits: ChildLimits, then: Callable[[Child], None]) -> None:
        self._task = _Task(Child.start(module, job, limits=limits, clock=self._clock), then, module in (INSTALL, PROBE))

    def _end_task(self) -> None:
        if self._task is None:
            return
        task, self._task = self._task, None
        task.child.close()
        task.then(task.child)

    def _apply(self, event: Event) -> bool:
        before = self._keeper.record
        changed = self._keeper.apply(event)
        after = self._keeper.record
        known = {(ended.held, ended.result, ended.at_s) for ended in before.ended}
        for ended in after.ended:
            if (ended.held, ended.result, ended.at_s) not in known:
                _log.info("%s: %s, counter %d%s", ended.result, ended.held.release, ended.held.counter, _because(ended.reason))
        for stage, condition in TRYING.items():
            if after.stage != stage:
                self._metrics.conditions.clear(condition)
        if after.stage != before.stage:
            _log.info("update: %s%s", after.stage, "" if after.candidate is None else f", {after.candidate.held.release}")
        return changed

    def _collect_if_due(self) -> None:
        """Clear the store when something else is needed than before, at every stage: a release may wait for the room.

        What the disk does not let go is tried again later, and holds nothing up.
        """
        now_s, wanted = self._clock.monotonic_s(), needed(self._keeper.record)
        if wanted == self._collected or now_s < self._collect_not_before_s:
            return
        self._collect_not_before_s = now_s + RETRY_S
        try:
            freed = self._keeper.store.collect(wanted)
        except StorageError as error:
            _log.warning("%s; releases that are not needed any more still take room", error)
            return
        self._collected, self._collect_not_before_s = wanted, now_s
        if freed:
            _log.info("%d bytes of releases that are not needed any more were freed", freed)

    def _take_in(self) -> bool:
        return self._intake.step()

    def _install(self) -> bool:
        """One that was begun and did not end took the device, or the agent, down with it: the record counts it."""
        self._apply(Begins(self._keeper.boot))
        candidate = self._keeper.record.candidate
        if candidate is None:
            return True
        job = InstallJob(
            store_folder=str(self._keeper.folder),
            manifest_sha256=candidate.held.manifest_sha256,
            min_free_bytes=self._settings.min_free_bytes,
        )
        try:
            self._start(INSTALL, job, INSTALL_LIMITS, self._installed)
        except ChildFailedError as error:
            self._spare(f"the installation could not be made: {error}")
        return True

    def _installed(self, child: Child) -> None:
        self._metrics.conditions.clear(TRYING["verified"])
        try:
            problem = child.result(Installed).problem
        except ChildFailedError as error:
            # What ended it may be memory that is short now, or the disk: another try tells, as long as there is one.
            if self._keeper.record.tries_left > 0:
                self._put_off(f"the installation was ended: {error}")
            else:
                self._apply(Failed(f"it could not be installed: {error}"))
            return
        if problem is None:
            self._apply(IsInstalled())
        elif problem.kind == "storage":
            self._apply(Broke(problem.detail))
            self._put_off(f"the release could not be installed: {problem.detail}")
        else:
            self._apply(Failed(f"it could not be installed: {problem.detail}"))

    def _probe(self) -> bool:
        """A probe that was begun and did not end took the device, or the agent, down with it: the record counts it."""
        self._apply(Begins(self._keeper.boot))
        candidate = self._keeper.record.candidate
        if candidate is None:
            return True
        try:
            folder = self._keeper.folder_of(candidate.held)
            limits = self._keeper.store.manifest(candidate.held.manifest_sha256).limits
        except ReleaseError as error:
            self._apply(Failed(str(error)))
            return True
        key_file, decrypt_folder = self._settings.key_file, self._settings.decrypt_folder
        job = ProbeJob(folder=str(folder), device=self._device, key_file=key_file, decrypt_folder=decrypt_folder)
        bounds = ChildLimits(
            timeout_s=PROBE_S,
            silent_s=PROBE_SILENT_S + 4 * limits.max_sentence_s,
            max_rss_bytes=limits.max_rss_bytes + PROBE_SPARE_BYTES + self._cuda_bytes,
            bounds_data=not self._cuda_bytes,
        )
        try:
            self._start(PROBE, job, bounds, self._probed)
        except ChildFailedError as error:
            self._spare(f"the probe could not be made: {error}")
        return True

    def _spare(self, why: str) -> None:
        """The try that was counted could not be made, which is not the release's fault: it waits."""
        self._put_off(why)
        self._apply(Spared())

    def _put_off(self, why: str) -> None:
        _log.warning("%s; it is tried again in %g s", why, RETRY_S)
        self._metrics.conditions.set(TRYING[self._keeper.record.stage], why)
        self._not_before_s = self._clock.monotonic_s() + RETRY_S

    def _probed(self, child: Child) -> None:
        self._metrics.conditions.clear(TRYING["probing"])
        try:
            problem = child.result(Probed).problem
        except ChildFailedError as error:
            # Memory that is short now may be anybody's fault: another try tells, as long as there is one.
            if error.reason == "taken" and self._keeper.record.tries_left > 0:
                self._put_off(f"the probe was ended: {error}")
            else:
                self._apply(Failed(f"its probe failed: {error}"))
            return
        if problem is None:
            self._apply(Passed())
        elif problem.kind == "storage":  # this device's key or disk is at fault
            self._spare(f"the probe could not be made: {problem.detail}")
        else:
            self._apply(Failed(f"its probe found: {problem.reason}: {problem.detail}"))

    def _try(self) -> bool:
        """Let the candidate speak, and watch it."""
        live = self._live
        if live is None:
            return False
        if self._trial is None:
            self._begin_trial(live)
            return True
        self._pause.wait(WATCH_S)
        seen = Watched(running=live.running(), rss_bytes=rss_bytes(), stale=live.stale())
        now_s = self._clock.monotonic_s()
        if fault := self._trial.fault(seen, now_s):
            _log.error("the release on trial fails: %s", fault)
            self._apply(Failed(fault))
            if seen.stale:
                self.gave_up = f"a release on trial is rolled back: {fault}"
            self._speak(live)
        elif self._trial.soaked(seen, now_s):
            self._apply(Soaked())
            self._trial = None
        return True

    def _begin_trial(self, live: Live) -> None:
        """Count the try, then let the candidate speak; or what else is to, where the tries are used up or it cannot be opened."""
        if not self._began_trial:
            self._apply(Begins(self._keeper.boot))
        self._began_trial = False
        before_bytes = rss_bytes()
        tries = self._keeper.record.stage == "trial"
        try:
            number = self._speak(live)
        except StorageError:
            if tries:  # it was not made
                self._not_before_s = self._clock.monotonic_s() + RETRY_S
                self._apply(Spared())
            raise
        candidate = self._keeper.record.candidate
        if candidate is None or self._keeper.record.stage != "trial":
            return
        self._trial = Trial(
            number=number,
            began_s=self._clock.monotonic_s(),
            rss_before_bytes=before_bytes + self._cuda_bytes,
            limits=self._keeper.store.manifest(candidate.held.manifest_sha256).limits,
            soak_s=self._settings.soak_s,
            soaked_s=self._keeper.record.soaked_s,
        )

    def _speak(self, live: Live) -> int:
        """Let speak what the record says now; the number of the wish. Raises StorageError; it is done again at the next step."""
        self._trial = None
        self._to_speak = True
        number = live.speak()
        self._to_speak = False
        return number

    def _tell_if_due(self) -> None:
        """Tell what ended. Where the disk refuses, that waits, and nothing else does: a child and a trial are watched on."""
        now_s = self._clock.monotonic_s()
        if now_s < self._tell_not_before_s:
            return
        try:
            self._tell()
        except StorageError as error:
            _log.warning("how an update ended could not be handed on: %s; trying again in %g s", error, TELL_RETRY_S)
            self._tell_not_before_s = now_s + TELL_RETRY_S

    def _tell(self) -> None:
        """Hand on what ended, to the outbox and to its source, until both have it. Raises StorageError."""
        ended = self._keeper.record.ended
        untold = [outcome_of(each) for each in ended if not each.told]
        if untold and self._live is not None:
            if new := [each for each in untold if each not in self._handed_on]:
                self._live.tell(new)
                self._handed_on += new
            self._apply(Told())
            self._handed_on.clear()
        for each in ended:
            if each.source and not each.reported and self._reports(each):
                self._apply(Reported(each.source, each.ticket))

    def _reports(self, ended: Ended) -> bool:
        """Whether its source knows how it ended, or is configured no more."""
        source = next((source for source in self._sources if source.name == ended.source), None)
        return source is None or source.ended(ended)

    def _see_withdrawals(self) -> None:
        candidate = self._keeper.record.candidate
        for source in self._sources:
            ticket = candidate.ticket if candidate is not None and candidate.source == source.name else ""
            if why := source.withdrawn(ticket):
                self._cancel(why)

    def _see_trouble(self) -> None:
        for source in self._sources:
            condition = f"update source {source.name}"
            if source.trouble:
                self._metrics.conditions.set(condition, source.trouble)
            else:
                self._metrics.conditions.clear(condition)

    def _cancel(self, why: str) -> bool:
        """Give the candidate up, whatever its stage; False where there is none."""
        tried = self._keeper.record.stage == "trial"
        if not self._apply(Cancelled(why)):
            return False
        if self._task is not None:
            self._task.child.stop()
            self._task.child.close()
            self._task = None
            self._intake.abandon(why)
        if tried and self._live is not None:
            self._speak(self._live)
        return True

    def _take_orders(self) -> None:
        while not self._asked.empty():
            asked = self._asked.get_nowait()
            if not asked.done.set_running_or_notify_cancel():
                continue
            try:
                asked.done.set_result(self._carry_out(asked.order))
            except EdgeAgentError as error:
                asked.done.set_exception(error)
                raise
        now_s = self._clock.monotonic_s()
        if now_s - self._orders_s < ORDERS_S:
            return
        self._orders_s = now_s
        self._see_withdrawals()
        self._see_trouble()
        for name, order in self._orders.waiting():
            _log.info("ordered: %s", self._carry_out(order))
            self._orders.done(name)

    def _carry_out(self, order: Order) -> str:
        """Do what is ordered; what came of it, in words. Done twice, it comes to the same."""
        match order:
            case Check(again=again):
                if again:
                    self._apply(Again())
                for source in self._sources:
                    source.hint()
                return "the sources are looked at" if self._sources else "no source of releases is configured"
            case Apply(path=path):
                if not self._settings.group:
                    return "`update.group` is not set, so that no release is taken"
                self._intake.ask(Lead(source=APPLIED, ticket=path, place=Bundle(path=path)))
                return f"{path} is looked at"
            case Cancel(ends=ends):
                candidate = self._keeper.record.candidate
                if candidate is None or ends not in ("", candidate.held.manifest_sha256):
                    return "there is nothing to give up"
                self._cancel(BY_A_PERSON)
                return f"{candidate.held.release} was given up"
            case GoBack(leaves=leaves):
                return self._go_back(leaves)

    def _go_back(self, leaves: str) -> str:
        active = self._keeper.record.active
        if self._keeper.record.stage == "trial" and leaves in ("", self._candidate_sha256()):
            self._cancel(BY_A_PERSON)
            return "the release on trial was given up"
        if active is None or leaves not in ("", active.manifest_sha256):
            return (
                "the release inside the package runs: there is nothing to go back to"
                if active is None
                else "that was done before"
            )
        self._cancel(BY_A_PERSON)
        self._apply(RollBack(BY_A_PERSON))
        if self._live is not None:
            self._speak(self._live)
        return f"{active.release} was left"

    def _candidate_sha256(self) -> str:
        candidate = self._keeper.record.candidate
        return "" if candidate is None else candidate.held.manifest_sha256

    _STAGES: ClassVar[Mapping[Stage, Callable[[UpdateWorker], bool]]] = {
        "idle": _take_in,
        "fetching": _take_in,
        "verified": _install,
        "staged": _probe,
        "probing": _probe,
        "trial": _try,
    }


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


def record_state(record: Record, gateway: str, progress: Progress | None) -> UpdateState:
    """How the update stands, by the record and what a child said last. The release inside the package has no name here."""
    running, candidate = speaks(record), record.candidate
    return UpdateState(
        gateway=gateway,
        state=record.stage,
        release="" if running is None else running.release,
        counter=None if running is None else running.counter,
        manifest_sha256=None if running is None else running.manifest_sha256,
        candidate="" if candidate is None else candidate.held.release,
        candidate_counter=None if candidate is None else candidate.held.counter,
        source="" if candidate is None else candidate.source,
        done_bytes=0 if progress is None else progress.done_bytes,
        total_bytes=0 if progress is None else progress.total_bytes,
        reason=record.reason,
        changed_s=record.changed_s or None,
        looked=record.looked,
        looked_s=record.looked_s or None,
        outcomes=tuple(outcome_of(ended) for ended in record.ended),
    )
