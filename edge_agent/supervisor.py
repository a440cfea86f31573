"""The composition root: builds the agent's parts, starts them, tells how they are, and stops them in order.

Rules: every part is made here and handed what it needs; nothing else knows them all. The broker need not be there for
the agent to be ready. A release that cannot be used costs sentences and kinds, never the service, and so does a way out
that cannot be opened. What runs the agent as a service, its signals and its watchdog, is `service`.
"""

from __future__ import annotations

import logging
import random
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

from edge_agent.atomic import make_folder
from edge_agent.clock import Clock
from edge_agent.config.load import effective, json_schema
from edge_agent.config.settings import Settings
from edge_agent.decode.router import Router
from edge_agent.detect.bank import DetectorBank
from edge_agent.egress.pseudonyms import Pseudonyms
from edge_agent.engines.loading import FACTORY
from edge_agent.errors import StorageError
from edge_agent.escalate.key import egress_key
from edge_agent.escalate.table import Needs
from edge_agent.incidents import IncidentBook
from edge_agent.journal import JOURNAL_NAME, Journal
from edge_agent.messages import Health, Topics, UpdateState, drops_message, status_message
from edge_agent.metrics import Metrics
from edge_agent.mqtt import MqttLink
from edge_agent.pipeline import Screener
from edge_agent.values import Message
from edge_agent.workers.active import ReleaseSlot
from edge_agent.workers.deliver import DeliverWorker
from edge_agent.workers.escalate import EscalateWorker
from edge_agent.workers.explain import ExplainWorker
from edge_agent.workers.fates import drop_all
from edge_agent.workers.health import PERIOD_S, SELDOM_S, About, HealthWorker, Speaking
from edge_agent.workers.host import boot_id
from edge_agent.workers.loop import Loop, Worker
from edge_agent.workers.outside import opener
from edge_agent.workers.requests import Desk, RequestsWorker
from edge_agent.workers.screen import Core, ScreenWorker, Wakes
from edge_agent.workers.status_file import choose_path
from edge_agent.workers.telemetry import TelemetryWorker
from edge_agent.workers.updating import Surroundings, make_update
from edge_agent.workers.withdrawal import question_topic, withdraw

STOP_S = 4.0
"""All that a clean stop may take; what is not done then is done after the next start."""
ASKING_S = 0.5
"""The part of it that a question under way to a server may take: it may last a minute, and is kept."""
FAREWELL_S = 1.0
"""The part of it that is kept for the goodbye to the broker."""

_log = logging.getLogger(__name__)


class Agent:
    """The parts of one running agent. Raises StorageError when the state folder cannot be used."""

    def __init__(
        self,
        settings: Settings,
        config_path: Path,
        environ: Mapping[str, str],
        clock: Clock,
        release_dir: Path = FACTORY,
        *,
        crashed: str = "",
    ) -> None:
        """`crashed` tells of crashes in a row, for which the release that ran is not to run again; empty: there were none."""
        self._settings = settings
        self._clock = clock
        self._metrics = Metrics()
        self._topics = Topics(settings.mqtt.root, settings.gateway.id)
        self._journal = _open_journal(settings, self._topics, clock, self._metrics)
        self._wakes = Wakes(explain=threading.Event(), deliver=threading.Event())
        self._slot = ReleaseSlot()
        self._update = make_update(
            Surroundings(
                settings=settings,
                factory=release_dir,
                slot=self._slot,
                stale=self.stale,
                journal=self._journal,
                topics=self._topics,
                deliver=self._wakes.deliver,
                metrics=self._metrics,
                clock=clock,
                crashed=crashed,
            )
        )
        self._link = self._make_link()
        self._health = HealthWorker(
            link=self._link,
            journal=self._journal,
            about=_about(settings, self._topics, self._slot, self._update.state, clock),
            metrics=self._metrics,
            clock=clock,
        )
        screen = self._make_screen()
        self._escalate = self._make_escalate()
        self._explain = self._make_explain()
        desk = Desk(
            journal=self._journal,
            health=self.health,
            config_path=config_path,
            credentials_dir=environ.get("CREDENTIALS_DIRECTORY"),
            closer=screen,
            remember=self._explain.remember,
            clock=clock,
            answers=self._escalate,
            updates=self._update,
        )
        deliver = self._wakes.deliver
        self._stages = [
            # Before the screen worker, which carries out the closings: one that nobody takes would hold the stop up.
            self._stage(
                RequestsWorker(
                    link=self._link,
                    desk=desk,
                    topics=self._topics,
                    question_topic=question_topic(settings),
                    deliver=deliver,
                    metrics=self._metrics,
                )
            ),
            self._stage(screen),
            self._stage(self._explain),
            # Its outcomes go into the outbox, which the deliver worker empties.
            self._stage(self._update),
            self._stage(*([self._escalate] if self._escalate is not None else []), *self._make_telemetry()),
            self._stage(
                DeliverWorker(
                    link=self._link,
                    journal=self._journal,
                    wake=deliver,
                    metrics=self._metrics,
                    clock=clock,
                    timeless=(question_topic(settings), self._topics.telemetry),
                ),
                self._health,
            ),
        ]
        """In the order in which they stop: what one still produces the next one takes."""

    def start(self) -> None:
        """Start the link and every worker."""
        self._link.start()
        for loop in self._loops():
            loop.start()

    def stale(self) -> list[str]:
        """Names of the workers that make no progress; also raised as conditions."""
        stale = []
        for loop in self._loops():
            name = loop.worker.name
            if loop.fresh():
                self._metrics.conditions.clear(f"worker {name}")
            else:
                stale.append(name)
                self._metrics.conditions.set(f"worker {name}", f"no progress for {loop.age_s():.0f} s")
        return stale

    def health(self) -> Health:
        """How the agent is now; any thread."""
        return self._health.health()

    def broken(self) -> str:
        """Why only a new start can help, in words; empty while none is needed."""
        if self._journal.damaged:
            return "the journal was found damaged while in use; the next start repairs it"
        return self._update.gave_up

    def status_line(self) -> str:
        """One line for the service manager."""
        levels = self._metrics.levels
        connected = "connected" if self._link.connected else "not connected to the broker"
        return f"{connected}; {levels.get('streams')} streams, {levels.get('open_incidents')} open incidents"

    def stop(self) -> bool:
        """Stop in order within `STOP_S`; False if a worker did not end, after which the process should end at once."""
        deadline_s = self._clock.monotonic_s() + STOP_S
        ended = True
        for stop, loops in self._stages:
            stop.set()
            for loop in loops:
                asks = loop.worker is self._escalate
                left_s = deadline_s - FAREWELL_S - self._clock.monotonic_s()
                if loop.join(min(left_s, ASKING_S) if asks else left_s):
                    continue
                if asks:
                    _log.info("a question is under way; it is asked again at the next start")
                else:
                    _log.error("%s does not stop; what it held is taken up at the next start", loop.worker.name)
                    ended = False
        self._link.stop(max(0.2, deadline_s - self._clock.monotonic_s() - 0.5))
        if ended:
            self._journal.close()
        return ended

    def _make_link(self) -> MqttLink:
        return MqttLink(
            self._settings.mqtt,
            self._settings.gateway.id,
            [(route.topic, route.qos) for route in self._settings.routes],
            will=status_message(self._topics, "offline"),
            birth=self._birth,
            clock=self._clock,
            rng=random.Random(secrets.randbits(64)),
            farewell=self._farewell,
        )

    def _make_screen(self) -> ScreenWorker:
        return ScreenWorker(
            link=self._link,
            journal=self._journal,
            core=_core(self._settings, self._journal),
            slot=self._slot,
            topics=self._topics,
            wakes=self._wakes,
            metrics=self._metrics,
            clock=self._clock,
        )

    def _make_explain(self) -> ExplainWorker:
        return ExplainWorker(
            journal=self._journal,
            topics=self._topics,
            slot=self._slot,
            zone=ZoneInfo(self._settings.writer.timezone),
            wake=self._wakes.explain,
            deliver=self._wakes.deliver,
            metrics=self._metrics,
            clock=self._clock,
            escalates=self._escalate,
        )

    def _make_escalate(self) -> EscalateWorker | None:
        """The worker that asks a stronger model, where one is configured; None also where pseudonyms cannot be made."""
        settings = self._settings.escalation
        withdraw(self._journal, self._topics, self._settings, self._clock)
        if settings.backend == "none":
            drop_all(self._journal, self._topics, self._clock)
            return None
        try:
            pseudonyms = Pseudonyms(egress_key(self._settings.state_dir))
        except StorageError as error:
            self._metrics.conditions.set("escalation", f"{error}; nothing is escalated until the next start")
            _log.error("nothing is escalated: %s", error)
            return None
        needs = Needs(settings=self._settings, queue=self._queue, clock=self._clock)
        return EscalateWorker(
            journal=self._journal,
            topics=self._topics,
            settings=settings,
            pseudonyms=pseudonyms,
            open_outside=opener(needs, self._journal, boot_id(), random.Random(secrets.randbits(64))),
            latest=lambda: self._explain.latest_incident,
            zone=ZoneInfo(self._settings.writer.timezone),
            deliver=self._wakes.deliver,
            metrics=self._metrics,
            clock=self._clock,
        )

    def _make_telemetry(self) -> tuple[TelemetryWorker, ...]:
        """The worker that counts for whoever runs many gateways, where that is switched on."""
        settings = self._settings.telemetry
        if not settings.enabled:
            return ()
        worker = TelemetryWorker(
            journal=self._journal,
            topics=self._topics,
            period_s=settings.period_s,
            health=self.health,
            boot=boot_id(),
            deliver=self._wakes.deliver,
            metrics=self._metrics,
            clock=self._clock,
        )
        return (worker,)

    def _queue(self, message: Message) -> None:
        self._journal.record((), [message])
        self._wakes.deliver.set()

    def _birth(self) -> Sequence[Message]:
        return self._health.retained()

    def _farewell(self) -> Sequence[Message]:
        return (status_message(self._topics, "stopped"),)

    def _stage(self, *workers: Worker) -> tuple[threading.Event, list[Loop]]:
        stop = threading.Event()
        return stop, [Loop(worker, clock=self._clock, errors=self._metrics.errors, stop=stop) for worker in workers]

    def _loops(self) -> list[Loop]:
        return [loop for _, loops in self._stages for loop in loops]


def _open_journal(settings: Settings, topics: Topics, clock: Clock, metrics: Metrics) -> Journal:
    folder = Path(settings.state_dir)
    try:
        make_folder(folder)
    except StorageError as error:
        raise StorageError(f"{error}; create it for the service's user or set state_dir") from error
    journal = Journal.open(folder / JOURNAL_NAME, settings.journal, clock, partial(drops_message, topics))
    opening = journal.opening
    if opening.damage:
        text = f"{opening.damage}; {opening.salvaged} rows were carried over, the damaged file is {opening.aside or 'gone'}"
        metrics.conditions.set("journal repaired", text)
        _log.error("the journal was damaged: %s", text)
    return journal


def _core(settings: Settings, journal: Journal) -> Core:
    # The whole root is left to agents: a route `#` shall not read what other gateways on this broker publish either.
    max_topics = max(4_096, 2 * settings.detect.max_streams)
    router = Router(settings.routes, own_root=settings.mqtt.root, max_topics=max_topics)
    bank = DetectorBank(settings.detect, None)
    # A salt of its own for each start: the sequence of ids begins anew, and one boot may see many starts.
    book = IncidentBook(settings.incidents, salt=secrets.token_hex(16), open_incidents=journal.open_incidents())
    return Core(Screener(router, bank, book), bank, book)


def _about(settings: Settings, topics: Topics, slot: ReleaseSlot, update: Callable[[], UpdateState], clock: Clock) -> About:
    def speaking() -> Speaking:
        running = slot.state()
        return Speaking(release=running.release, certificate=running.certificate)

    path, is_runtime = choose_path(settings.runtime_dir, settings.state_dir, settings.gateway.id)
    return About(
        topics=topics,
        speaking=speaking,
        update=update,
        boot_id=boot_id(),
        started_s=clock.now_s(),
        config=effective(settings),
        schema=json_schema(),
        state_dir=settings.state_dir,
        status_path=path,
        status_period_s=PERIOD_S if is_runtime else SELDOM_S,
    )
