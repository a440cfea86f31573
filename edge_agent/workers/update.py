"""The update worker: from a source to running, one stage of the machine at a time.

    idle, fetching   a source has a lead -> look and fetch (`intake`)
    verified         install, in a child process (`tries`)
    staged, probing  probe, in a child process (`tries`)
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
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace

from edge_agent.clock import Clock
from edge_agent.config.settings import UpdateSettings
from edge_agent.errors import EdgeAgentError, StorageError
from edge_agent.messages import UpdateState
from edge_agent.metrics import Metrics
from edge_agent.update import Lead, Source
from edge_agent.update.child import Child, ChildLimits
from edge_agent.update.jobs import Bundle
from edge_agent.update.machine import (
    Again,
    Begins,
    Cancelled,
    Event,
    Failed,
    RollBack,
    Soaked,
    Spared,
)
from edge_agent.update.orders import Apply, Cancel, Check, Order, Orders
from edge_agent.update.orders import RollBack as GoBack
from edge_agent.update.record import Stage
from edge_agent.workers.collector import Collector
from edge_agent.workers.host import rss_bytes
from edge_agent.workers.intake import Intake
from edge_agent.workers.keeper import Keeper, record_state
from edge_agent.workers.outcomes import Outcomes
from edge_agent.workers.trial import Live, Trial, Watched
from edge_agent.workers.tries import INSTALL, PROBE, TRYING, Device, Tries

WATCH_S = 0.5
ORDERS_S = 1.0
MAX_ASKED = 16
BY_A_PERSON = "a person asked for it"
APPLIED = "apply"
"""The source of a bundle that a person named."""

_log = logging.getLogger(__name__)


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
        self._metrics = metrics
        self._clock = clock
        self._orders = Orders(keeper.folder)
        self._orders.clean()
        self._asked: queue.Queue[_Asked] = queue.Queue(MAX_ASKED)
        self._task: _Task | None = None
        self._trial: Trial | None = None
        self._began_trial = began_trial
        self._collector = Collector(keeper, clock)
        self._to_speak = False
        """Whether the record changed who is to speak, and nobody was told yet."""
        self._orders_s = clock.monotonic_s() - ORDERS_S
        self._pause = threading.Event()
        self.gave_up = ""
        """Why only a new start of the agent can help, in words; any thread may read it."""
        self._outcomes = Outcomes(keeper=keeper, sources=sources, teller=live, apply=self._apply, clock=clock)
        self._tries = Tries(
            keeper=keeper,
            settings=settings,
            device=device,
            apply=self._apply,
            start=self._start,
            metrics=metrics,
            clock=clock,
        )
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
        self._outcomes.step()
        if self._task is not None:
            if self._task.child.poll(timeout_s):
                self._end_task()
            return True
        if self._to_speak and self._live is not None and self._keeper.record.stage != "trial":
            self._speak(self._live)
        self._collector.step()
        if not self._tries.are_put_off and self._STAGES[self._keeper.record.stage](self):
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

    def _take_in(self) -> bool:
        return self._intake.step()

    def _install(self) -> bool:
        return self._tries.install()

    def _probe(self) -> bool:
        return self._tries.probe()

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
                self._tries.put_off()
                self._apply(Spared())
            raise
        candidate = self._keeper.record.candidate
        if candidate is None or self._keeper.record.stage != "trial":
            return
        self._trial = Trial(
            number=number,
            began_s=self._clock.monotonic_s(),
            rss_before_bytes=before_bytes + self._tries.cuda_bytes,
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
                self._tries.hurry()
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
