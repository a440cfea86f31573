"""The screen worker: arrivals to anomalies and incidents, journalled before they are acknowledged.

Rules: it owns the detectors and the open incidents. A batch is acknowledged only after what it opened is durable; when
the journal refuses, the result is kept and tried again before anything else is taken in, so the broker keeps what is not
acknowledged and the link's bounded queue counts what cannot wait. A batch whose screening fails is set aside, counted and
acknowledged, because redelivering it would fail again. An operator's closing takes the same way as a batch. A stream is
silent only while the worker listens: time does not count towards silences while there is no connection, while more waits
than one batch takes, or while the journal holds everything up. The classifier of a release is exchanged between two batches; what
the detectors know stays.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from typing import Protocol

from msgspec import Struct

from edge_agent.clock import Clock
from edge_agent.detect.bank import DetectorBank
from edge_agent.detect.cases import CLASSIFIER_FAILED
from edge_agent.errors import ReleaseError, StorageError
from edge_agent.incidents import IncidentBook
from edge_agent.journal import Journal
from edge_agent.messages import Topics, anomaly_message, incident_messages
from edge_agent.metrics import Metrics
from edge_agent.pipeline import Screened, Screener
from edge_agent.values import Arrival, Closure, Incident, Message
from edge_agent.workers.active import ReleaseSlot, Wanted, Wish
from edge_agent.workers.trial import MAX_CLASSIFIER_FAILURES

MAX_BATCH = 2_000
"""Messages in one batch: bounds how long a stop or a closing waits."""
TICK_S = 1.0
"""How often time passes for silences and closings when nothing arrives."""
MAX_UNHEARD_S = 1.0
"""The most that counts as listened to between two looks at what arrived."""
MAX_CLOSINGS = 64
UNOPENED = "its classifier could not be opened; the log says why"

_log = logging.getLogger(__name__)


class Source(Protocol):
    """Where arrivals come from and are acknowledged; `edge_agent.mqtt.MqttLink` is one."""

    @property
    def connected(self) -> bool:
        """Whether readings can come at all."""

    def drain(self, max_messages: int, timeout_s: float) -> list[Arrival]:
        """Up to `max_messages`, oldest first; waits up to `timeout_s` for the first."""

    def ack(self, items: Iterable[Arrival]) -> None:
        """Acknowledge what is durable."""


class Closing(Struct, frozen=True):
    """An operator's closing on its way to the screen worker; `done` tells whether the journal knew the incident."""

    closure: Closure
    done: Future[bool]


class Core(Struct, frozen=True):
    """What the screen worker owns of the core: one screener over one bank and one book."""

    screener: Screener
    bank: DetectorBank
    book: IncidentBook


class Wakes(Struct, frozen=True):
    """Events that only wake: work stands in the journal whether they are seen or not."""

    explain: threading.Event
    deliver: threading.Event


class _Work(Struct, frozen=True):
    """What is to be made durable together, and what follows when it is."""

    incidents: Sequence[Incident]
    messages: Sequence[Message]
    arrivals: Sequence[Arrival] = ()
    anomalies: int = 0
    closing: Closing | None = None


class ScreenWorker:
    """Implements `loop.Worker`."""

    name = "screen"
    max_step_s = 40.0
    """The journal answers or gives up within 30 s."""

    def __init__(
        self,
        *,
        link: Source,
        journal: Journal,
        core: Core,
        slot: ReleaseSlot,
        topics: Topics,
        wakes: Wakes,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._link = link
        self._journal = journal
        self._core = core
        self._slot = slot
        self._active = Wanted(-1, Wish())
        self._no_classifier = ""
        """Why the classifier that was wanted last could not be opened."""
        self._classifier_failures = 0
        """Since it was opened."""
        self._topics = topics
        self._wakes = wakes
        self._metrics = metrics
        self._clock = clock
        self._work: deque[_Work] = deque()
        self._closings: queue.Queue[Closing] = queue.Queue(MAX_CLOSINGS)
        self._screening: Sequence[Arrival] = ()
        self._settling: _Work | None = None
        self._reported: set[str] = set()
        self._next_tick_s = clock.monotonic_s() + TICK_S
        self._listened_s = 0.0
        self._listens_since_s = clock.monotonic_s()

    def close_incident(self, closure: Closure) -> Future[bool]:
        """Ask for an incident to be closed; any thread. The answer is False if the incident is unknown.

        Raises `queue.Full` when too many closings wait.
        """
        closing = Closing(closure, Future())
        self._closings.put_nowait(closing)
        return closing.done

    def step(self, timeout_s: float) -> bool:
        """Settle what waits for the journal, then take in one batch. Raises StorageError while the journal refuses."""
        self._set_aside_failed_batch()
        self._exchange()
        self._settle()
        self._take_closings()
        until_tick_s = self._next_tick_s - self._clock.monotonic_s()
        arrivals = self._link.drain(MAX_BATCH, max(0.0, min(timeout_s, until_tick_s)))
        self._count_listening(len(arrivals))
        if arrivals:
            self._screening = arrivals
            screened = self._core.screener.screen(arrivals, self._clock.now_s())
            self._screening = ()
            self._accept(screened, arrivals)
        if self._clock.monotonic_s() >= self._next_tick_s:
            self._next_tick_s = self._clock.monotonic_s() + TICK_S
            self._accept(self._core.screener.tick(self._clock.now_s(), self._listened_s), ())
        self._settle()
        self._metrics.levels.set("open_incidents", len(self._core.book.open))
        self._metrics.levels.set("streams", self._core.bank.stream_count)
        return bool(arrivals)

    def finish(self) -> None:
        """Take in what has arrived already, so that a clean stop leaves little to be delivered again."""
        for _ in range(8):
            if not self.step(0.0):
                break
        while not self._closings.empty():
            self._closings.get_nowait().done.cancel()

    def _exchange(self) -> None:
        """Take the classifier of the release that is wanted, where it is another one; between two batches."""
        wanted, before = self._slot.wanted(), self._active
        if wanted.number == before.number:
            return
        wish = wanted.wish
        keeps = wish.classifier_key and wish.classifier_key == before.wish.classifier_key and not self._no_classifier
        self._active, self._no_classifier = wanted, "" if keeps else UNOPENED
        try:
            if not keeps:
                self._no_classifier = self._open_classifier(wish)
        finally:
            self._slot.took("screen", wanted.number, self._no_classifier)

    def _open_classifier(self, wish: Wish) -> str:
        """Why the classifier of the release cannot be had, in words; empty where it can, or there is none."""
        self._core.bank.use_classifier(None)
        self._classifier_failures = 0
        self._metrics.conditions.clear("classifier")
        try:
            if wish.open_classifier is not None:
                self._core.bank.use_classifier(wish.open_classifier())
        except ReleaseError as error:
            self._metrics.conditions.set("classifier", f"{error}; anomalies keep their statistical kind")
            _log.error("the classifier cannot be used, anomalies keep their statistical kind: %s", error)
            return str(error)
        return ""

    def _count_listening(self, taken: int) -> None:
        """Let the time that silences are judged by go on, as far as readings would have been noticed in it."""
        now_s = self._clock.monotonic_s()
        if self._link.connected and taken < MAX_BATCH:
            self._listened_s += min(now_s - self._listens_since_s, MAX_UNHEARD_S)
        self._listens_since_s = now_s

    def _accept(self, screened: Screened, arrivals: Sequence[Arrival]) -> None:
        messages = [anomaly_message(self._topics, anomaly) for anomaly in screened.anomalies]
        for incident in screened.incidents:
            messages += incident_messages(self._topics, incident)
        self._count(screened, len(arrivals))
        self._work.append(_Work(screened.incidents, messages, arrivals, len(screened.anomalies)))

    def _settle(self) -> None:
        """Make durable, in order, what waits; then acknowledge it and wake who goes on with it."""
        while self._work:
            work = self._work[0]
            if work is self._settling:
                # The last attempt failed unexpectedly and would again: what comes after it must not wait for ever.
                self._set_aside(work)
                continue
            self._settling = work
            try:
                known = self._store(work)
            except StorageError as error:
                self._settling = None
                self._metrics.conditions.set("journal", str(error))
                raise
            self._settling = None
            self._work.popleft()
            self._metrics.conditions.clear("journal")
            self._settled(work, known)

    def _store(self, work: _Work) -> bool:
        if work.closing is not None:
            incident = work.incidents[0] if work.incidents else None
            return self._journal.close_incident(work.closing.closure, work.messages, incident)
        if work.incidents or work.messages:
            self._journal.record(work.incidents, work.messages)
        return True

    def _set_aside(self, work: _Work) -> None:
        self._settling = None
        self._work.popleft()
        self._metrics.rejections.add("storing-failed", max(1, work.anomalies))
        self._metrics.conditions.set("storing", f"{max(1, work.anomalies)} anomalies could not be stored; the log says why")
        if work.arrivals:
            self._link.ack(work.arrivals)
        if work.closing is not None:
            work.closing.done.cancel()

    def _settled(self, work: _Work, known: bool) -> None:
        if work.arrivals:
            self._link.ack(work.arrivals)
        if work.closing is not None and work.closing.done.set_running_or_notify_cancel():
            work.closing.done.set_result(known)
        if work.messages:
            self._wakes.deliver.set()
        if work.incidents:
            self._wakes.explain.set()
        if work.anomalies and work.arrivals:
            self._metrics.anomaly_latency.add(max(0.0, self._clock.now_s() - work.arrivals[0].arrived_s))

    def _take_closings(self) -> None:
        while True:
            try:
                closing = self._closings.get_nowait()
            except queue.Empty:
                return
            closed = self._core.book.close(closing.closure.incident_id, closing.closure.closed_s)
            incidents = () if closed is None else (closed,)
            messages = () if closed is None else incident_messages(self._topics, closed)
            self._work.append(_Work(incidents, messages, closing=closing))
            self._settle()

    def _set_aside_failed_batch(self) -> None:
        if self._screening:
            self._metrics.rejections.add("screening-failed", len(self._screening))
            self._link.ack(self._screening)
            self._screening = ()

    def _count(self, screened: Screened, arrivals: int) -> None:
        flow, rejections = self._metrics.flow, self._metrics.rejections
        for label, count in (
            ("arrivals", arrivals),
            ("readings", screened.readings),
            ("anomaly_messages", len(screened.anomalies)),
            ("incident_revisions", len(screened.incidents)),
            ("incidents_opened", sum(incident.revision == 1 for incident in screened.incidents)),
        ):
            if count:
                flow.add(label, count)
        for anomaly in screened.anomalies:
            if anomaly.end_s is not None:
                self._metrics.kinds.add(anomaly.kind)
        for reason, count in screened.notes.items():
            rejections.add(reason, count)
        if failures := [rejection.detail for rejection in screened.rejections if rejection.reason == CLASSIFIER_FAILED]:
            self._count_classifier_failures(failures)
        for rejection in screened.rejections:
            rejections.add(rejection.reason)
            if rejection.reason not in self._reported and len(self._reported) < MAX_BATCH:
                self._reported.add(rejection.reason)
                _log.warning(
                    "set aside, the first of its kind: %s on %s: %s", rejection.reason, rejection.topic or "-", rejection.detail
                )

    def _count_classifier_failures(self, failures: Sequence[str]) -> None:
        """Its release on trial answers for them; one that was kept, or is the factory's, does without for those anomalies."""
        self._slot.classifier_failed(self._active.number, len(failures))
        self._classifier_failures += len(failures)
        if self._classifier_failures >= MAX_CLASSIFIER_FAILURES:
            text = f"it failed {self._classifier_failures} times while it ran, the last time: {failures[-1]}"
            self._metrics.conditions.set("classifier", f"{text}; those anomalies keep their statistical kind")
