"""The telemetry worker: counts about the agent itself, every so often, where that is switched on.

Rules: off by default, and apart from escalation: neither switch turns the other on. Each document goes through the journal's
outbox, in the same commit as its entry in the egress log and the state that says when the next is due. How long ago the last
one was is told by both clocks (`escalate.state`), so that neither a restart nor a clock that is set makes a flood or a silence.
What does not fit the schema does not leave, and is a condition of the agent's health.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

from edge_agent.clock import Clock
from edge_agent.egress.log import egress_entry
from edge_agent.errors import EgressError
from edge_agent.escalate.state import Moment, Timer, read, started
from edge_agent.journal import Journal
from edge_agent.messages import Health, Topics
from edge_agent.messages.telemetry import Latency, telemetry_body, telemetry_message, telemetry_of
from edge_agent.metrics import Metrics, Reservoir

METER: Final = "telemetry"
LOOK_S: Final = 30.0
"""How often it is looked whether one is due."""

_log = logging.getLogger(__name__)


class TelemetryState(Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept: how many documents left, and how long ago the last one did, or telemetry was switched on."""

    sent: int
    since: Timer


class TelemetryWorker:
    """Implements `loop.Worker`."""

    name = "telemetry"
    max_step_s = 60.0

    def __init__(
        self,
        *,
        journal: Journal,
        topics: Topics,
        period_s: float,
        health: Callable[[], Health],
        boot: str,
        deliver: threading.Event,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        """`boot` is the kernel's id of this boot."""
        self._journal = journal
        self._topics = topics
        self._period_s = period_s
        self._health = health
        self._boot = boot
        self._deliver = deliver
        self._metrics = metrics
        self._clock = clock
        self._started_s = clock.monotonic_s()
        self._looked_s = self._started_s - LOOK_S
        self._state: TelemetryState | None = None
        self._pause = threading.Event()

    def step(self, timeout_s: float) -> bool:
        """Queue a document when one is due. Raises StorageError; then it is still due."""
        monotonic_s = self._clock.monotonic_s()
        if monotonic_s - self._looked_s < LOOK_S:
            self._pause.wait(timeout_s)
            return False
        now = Moment(self._clock.now_s(), monotonic_s, self._boot)
        state = self._state or self._begin(now)
        since = state.since.at(now)
        if since.elapsed_s >= self._period_s:
            self._send(TelemetryState(state.sent + 1, started(now)))
        elif state.since.due_for_saving(now):
            self._keep(TelemetryState(state.sent, since))
        self._looked_s = monotonic_s
        return since.elapsed_s >= self._period_s

    def finish(self) -> None:
        """What is due comes after the next start."""

    def body(self) -> bytes:
        """The exact bytes that would leave now. Raises EgressError."""
        latency: dict[Latency, Reservoir] = {
            "arrival_to_anomaly": self._metrics.anomaly_latency,
            "incident_to_summary": self._metrics.summary_latency,
        }
        quantiles = {name: reservoir.quantiles() for name, reservoir in latency.items()}
        return telemetry_body(
            telemetry_of(
                self._health(),
                uptime_s=self._clock.monotonic_s() - self._started_s,
                kinds=self._metrics.kinds.by_label(),
                latency_s={name: (q.p50_s, q.p95_s, q.p99_s) for name, q in quantiles.items() if q is not None},
            )
        )

    def _begin(self, now: Moment) -> TelemetryState:
        """The state that an earlier run kept, carried on to now; else the time counts from now on."""
        kept = self._journal.meter(METER)
        state = read(kept, TelemetryState) if kept is not None else None
        state = TelemetryState(0, started(now)) if state is None else TelemetryState(state.sent, state.since.at(now))
        self._keep(state)
        return state

    def _keep(self, state: TelemetryState) -> None:
        self._journal.record_meters({METER: msgspec.json.encode(state)}, "relaxed")
        self._state = state

    def _send(self, state: TelemetryState) -> None:
        try:
            body = self.body()
        except EgressError as error:
            self._metrics.conditions.set("telemetry", str(error))
            _log.error("%s", error)
            self._keep(state)
            return
        entry = egress_entry(
            kind="telemetry",
            request_id=str(state.sent),
            backend="mqtt",
            destination=self._topics.telemetry,
            body=body,
            attempt=1,
            allow=(),
            now_s=self._clock.now_s(),
        )
        message = telemetry_message(self._topics, body)
        self._journal.record_log("egress", entry, messages=[message], meters={METER: msgspec.json.encode(state)})
        self._state = state
        self._metrics.conditions.clear("telemetry")
        self._metrics.flow.add("telemetry")
        self._deliver.set()
