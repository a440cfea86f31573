"""The health worker: the retained documents `health`, `info` and `update`, and the status file.

Rules: health is told, not kept: it is published directly, never through the journal, because an old word about how the
agent was helps nobody and would wear the disk. It is published at once when a condition begins or ends, else every
`PERIOD_S`, and by the link on every connect (`retained`); the state of updates when it changes, but no more often than every
`UPDATE_S`, because a download changes it all the time.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

import edge_agent
from edge_agent.clock import Clock
from edge_agent.errors import StorageError
from edge_agent.journal import Journal, LogName
from edge_agent.messages import (
    Health,
    Topics,
    UpdateState,
    health_document,
    health_message,
    info_message,
    status_message,
    update_message,
)
from edge_agent.metrics import Metrics, Reservoir
from edge_agent.mqtt import LinkCounters
from edge_agent.values import Message
from edge_agent.workers.deliver import Publisher
from edge_agent.workers.host import clock_synced, process_start
from edge_agent.workers.status_file import AgentStatus, remove_status, write_status

PERIOD_S = 10.0
UPDATE_S = 2.0
LOGS: Final[tuple[LogName, ...]] = ("audit", "egress")
SELDOM_S = 300.0
"""Period of the status file where it stands on a disk."""


class Link(Publisher, Protocol):
    """The link as this worker uses it; `edge_agent.mqtt.MqttLink` is one."""

    @property
    def queued(self) -> int:
        """Arrivals that wait to be drained."""

    @property
    def counters(self) -> LinkCounters:
        """A copy of all counters."""


class Speaking(Struct, frozen=True, kw_only=True):
    """The release that speaks now."""

    release: str
    certificate: str = ""
    """Why its certificate does not hold here; empty where it does."""


class About(Struct, frozen=True, kw_only=True):
    """What does not change while the agent runs, and whom to ask for what does."""

    topics: Topics
    speaking: Callable[[], Speaking]
    update: Callable[[], UpdateState]
    boot_id: str
    started_s: float
    config: object
    """The settings in force, without secrets."""
    schema: object
    """JSON Schema of the configuration."""
    state_dir: str
    status_path: Path
    status_period_s: float


class HealthWorker:
    """Implements `loop.Worker`."""

    name = "health"
    max_step_s = 40.0

    def __init__(self, *, link: Link, journal: Journal, about: About, metrics: Metrics, clock: Clock) -> None:
        self._link = link
        self._journal = journal
        self._about = about
        self._metrics = metrics
        self._clock = clock
        self._pause = threading.Event()
        self._began_s = clock.monotonic_s()
        self._info = info_message(about.topics, about.config, about.schema)
        self._dropped_before = {drop.reason: drop.count for drop in journal.drops()}
        self._latest = health_message(about.topics, self.health())
        self._told: tuple[str, ...] = ()
        self._update = about.update()
        self._update_s = clock.monotonic_s() - UPDATE_S
        self._published_s = clock.monotonic_s() - PERIOD_S
        self._written_s = clock.monotonic_s() - SELDOM_S

    def retained(self) -> tuple[Message, ...]:
        """What the link publishes on every connect; any thread."""
        topics = self._about.topics
        update = update_message(topics, self._about.update())
        return (status_message(topics, "online"), self._latest, self._info, update)

    def health(self) -> Health:
        """How the agent is now; any thread. A journal that cannot be read is a problem among others.

        Whether there is a connection is left out: whoever hears this over MQTT knows that there is one.
        """
        about, metrics, counters = self._about, self._metrics, self._link.counters
        speaking = about.speaking()
        problems = [*metrics.conditions.current(), *_refused(counters)]
        if self._journal.damaged:
            problems.append("journal: the file was found damaged while in use; a restart of the agent repairs it")
        elif trouble := self._journal.trouble:
            problems.append(f"journal: {trouble}")
        queues = {"arrivals": self._link.queued}
        drops = {**counters.dropped}
        for reason, count in metrics.rejections.by_label().items():
            drops[reason] = drops.get(reason, 0) + count
        written: dict[str, int] = {}
        try:
            counts = self._journal.counts()
            written = {"journal_bytes_written_day": counts.written_bytes_day}
            escalations = self._journal.pending_count()
            queues |= {"to_explain": counts.unexplained, "outbox": counts.outbox, "escalations": escalations}
            for drop in self._journal.drops():
                since_start = drop.count - self._dropped_before.get(drop.reason, 0)
                if since_start > 0:
                    drops[drop.reason] = drops.get(drop.reason, 0) + since_start
        except StorageError as error:
            problems.append(f"journal: {error}")
        return Health(
            version=edge_agent.__version__,
            release=speaking.release,
            certificate=speaking.certificate,
            boot_id=about.boot_id,
            started_s=about.started_s,
            time_s=self._clock.now_s(),
            clock_synced=clock_synced(),
            streams=metrics.levels.get("streams"),
            open_incidents=metrics.levels.get("open_incidents"),
            queues=queues,
            drops=drops,
            counts={**self._counts(counters), **written},
            heads=_heads(self._journal),
            problems=tuple(problems),
        )

    def step(self, timeout_s: float) -> bool:
        """Publish the health when it is due or its problems changed; write the status file when that is due."""
        now_s = self._clock.monotonic_s()
        self._tell_update(now_s)
        connection = () if self._link.connected else ("mqtt: not connected to the broker",)
        problems = (*connection, *self._metrics.conditions.current(), *_refused(self._link.counters))
        if problems == self._told and now_s - self._published_s < PERIOD_S:
            self._pause.wait(timeout_s)
            return False
        changed, self._told, self._published_s = problems != self._told, problems, now_s
        health = self.health()
        self._latest = health_message(self._about.topics, health)
        # Not connected: the next connect publishes what is the latest then.
        self._link.publish(self._latest)
        if changed or now_s - self._written_s >= self._about.status_period_s:
            self._written_s = now_s
            self._write(replace(health, problems=(*connection, *health.problems)))
        return True

    def _tell_update(self, now_s: float) -> None:
        """Publish the state of updates if it changed since it was published, and not just now."""
        if now_s - self._update_s < UPDATE_S:
            return
        update = self._about.update()
        if update != self._update:
            self._update, self._update_s = update, now_s
            self._link.publish(update_message(self._about.topics, update))

    def finish(self) -> None:
        """Take the status file away: this agent runs no more."""
        remove_status(self._about.status_path)

    def _write(self, health: Health) -> None:
        pid = os.getpid()
        status = AgentStatus(
            pid=pid,
            pid_start=process_start(pid),
            state_dir=self._about.state_dir,
            gateway=self._about.topics.gateway,
            connected=self._link.connected,
            health=health_document(health),
            latency_s={
                "arrival_to_anomaly": _quantiles(self._metrics.anomaly_latency),
                "incident_to_summary": _quantiles(self._metrics.summary_latency),
            },
            kinds=self._metrics.kinds.by_label(),
            running_s=self._clock.monotonic_s() - self._began_s,
        )
        write_status(self._about.status_path, status)

    def _counts(self, counters: LinkCounters) -> dict[str, int]:
        metrics = self._metrics
        return {
            **metrics.flow.by_label(),
            **{f"summaries_by_{route}": count for route, count in metrics.routes.by_label().items()},
            **{f"summaries_because_{reason}": count for reason, count in metrics.fallbacks.by_label().items()},
            **{f"errors_in_{worker}": count for worker, count in metrics.errors.by_label().items()},
            **{f"disconnects_{reason}": count for reason, count in counters.disconnects.items()},
            "messages_received": counters.received,
            "connects": counters.connects,
        }


def _heads(journal: Journal) -> dict[str, str]:
    """The newest hash of each log that has an entry; none where the journal cannot be read, which its counts tell."""
    try:
        newest = {name: journal.log_head(name) for name in LOGS}
    except StorageError:
        return {}
    return {name: entry.hash.hex() for name, entry in newest.items() if entry is not None}


def _refused(counters: LinkCounters) -> list[str]:
    return [
        f"mqtt: the broker refuses the subscription {topic}: {reason}"
        for topic, reason in sorted(counters.refused_subscriptions.items())
    ]


def _quantiles(reservoir: Reservoir) -> dict[str, float]:
    quantiles = reservoir.quantiles()
    if quantiles is None:
        return {}
    return {"count": quantiles.count, "p50": quantiles.p50_s, "p95": quantiles.p95_s, "p99": quantiles.p99_s}
