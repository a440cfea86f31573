"""The process in which releases are exchanged under load: the agent's own workers on their own threads, a link, a journal.

Started by the bench as `python -m edge_agent.bench.swapper`. It prints one JSON object a line: how long the writer takes to load
with nothing else going on, as soon as the workers run; for each line that it reads, what it took to exchange the release that
speaks for the other one; in the end, what came in of the readings that it was told of.

Rules: incidents are put into the journal faster than they can be explained, so that explaining is at work when it is interrupted,
and never waits for one; readings come from the broker. A pause is from the last sentence of one release until the other can write
one; what its first sentence takes from then on stands beside what one took before. Updates themselves (`workers.update`) are
left out: what they do to a running agent is one wish in the slot.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from edge_agent.bench.harness import BenchError, memory_of
from edge_agent.bench.queuer import TOPICS, incident, settings_of
from edge_agent.bench.swap import Shared, exchanging
from edge_agent.clock import SystemClock
from edge_agent.config.settings import JsonRoute, MqttSettings, WriterSettings
from edge_agent.engines.loading import open_release
from edge_agent.journal import Journal
from edge_agent.metrics import Metrics
from edge_agent.mqtt import MqttLink
from edge_agent.pipeline import Writer
from edge_agent.values import Message
from edge_agent.workers.active import ReleaseSlot, Wish
from edge_agent.workers.deliver import DeliverWorker
from edge_agent.workers.loop import Loop, Worker
from edge_agent.workers.screen import Wakes
from edge_agent.workers.speaking import wish_for

INCIDENT_S = 0.02
AHEAD = 50
"""Incidents that wait; no more are put down then."""
LOADS = 5
TAKEN_S = 120.0
ARRIVED_S = 60.0
_LOOK_S = 0.002
_ROUTE = JsonRoute(topic="bench/+/+", value=("value",), stream="{2}/{3}", qos=1)


class Loaded(Struct, frozen=True, kw_only=True):
    """The writer alone, before anything runs."""

    load_s: float


class Swapped(Struct, frozen=True, kw_only=True):
    """One exchange, with what a sentence took before it; memory and files are after it."""

    pause_s: float
    """From the last sentence of one release until the other can write one."""
    load_s: float
    """The part of the pause in which the writer was loaded."""
    first_s: float
    """From then on to its first sentence."""
    sentence_s: float
    """From one sentence to the next before it, under the same load."""
    rss_bytes: int
    files: int


class Ended(Struct, frozen=True, kw_only=True):
    """What came in over all exchanges."""

    readings: int
    rejected: int
    failed_steps: int
    sentences: int


class _Workers:
    """The agent's workers in which a release is exchanged, each on its thread. One owner."""

    def __init__(self, journal: Journal, port: int) -> None:
        clock, wakes = SystemClock(), Wakes(explain=threading.Event(), deliver=threading.Event())
        self.metrics, self.slot = Metrics(), ReleaseSlot()
        self._journal, self._wakes, self._stop = journal, wakes, threading.Event()
        settings = MqttSettings(host="127.0.0.1", port=port, session_expiry_s=0)
        will = Message(topic=TOPICS.status, payload=b"offline")
        self.link = MqttLink(settings, "bench", [("bench/+/+", 1)], will, tuple, clock, random.Random())
        shared = Shared(journal=journal, slot=self.slot, wakes=wakes, metrics=self.metrics, clock=clock)
        screen, self.explain = exchanging(self.link, _ROUTE, shared)
        deliver = DeliverWorker(link=self.link, journal=journal, wake=wakes.deliver, metrics=self.metrics, clock=clock)
        workers: tuple[Worker, ...] = (screen, self.explain, deliver)
        self._loops = [Loop(worker, clock=clock, errors=self.metrics.errors, stop=self._stop) for worker in workers]
        self._source = threading.Thread(target=self._put_incidents, daemon=True)

    def start(self) -> None:
        """Start the link and every thread. Raises BenchError where there is no broker."""
        self.link.start()
        if not self.link.wait_connected(TAKEN_S):
            raise BenchError("the broker accepts no connection")
        for loop in self._loops:
            loop.start()
        self._source.start()

    def stop(self) -> None:
        """Stop them."""
        self._stop.set()
        for loop in self._loops:
            loop.join(TAKEN_S)
        self._source.join(TAKEN_S)
        self.link.stop()

    def exchange(self, wish: Wish) -> Swapped:
        """Wish for a release, and wait for its first sentence. Raises BenchError where it is not taken, or none comes."""
        sentence_s = self._usual_s() if self.slot.state().taken else 0.0
        loads_s: list[float] = []
        number = self.slot.want(_timed(wish, loads_s))
        began_s = last_s = taken_s = time.monotonic()
        seen = self._sentences()
        while not self._speaks(wish.speaking.id):
            running = self.slot.state()
            if running.problem or time.monotonic() - began_s > TAKEN_S:
                raise BenchError(f"the release was not taken: {running.problem or 'no sentence of it came'}")
            time.sleep(_LOOK_S)
            if "explain" not in running.taken_by:
                taken_s = time.monotonic()
                if self._sentences() != seen:
                    seen, last_s = self._sentences(), taken_s
        first_s = time.monotonic()
        while not self.slot.state().taken and time.monotonic() - began_s < TAKEN_S:
            time.sleep(_LOOK_S)
        running = self.slot.state()
        if running.number != number or not running.taken or running.problem:
            raise BenchError(f"the release was not taken: {running.problem or 'a worker did not look'}")
        rss_bytes, files = round(memory_of(os.getpid()).rss_mb * 1e6), len(os.listdir("/proc/self/fd"))
        return Swapped(
            pause_s=taken_s - last_s,
            load_s=sum(loads_s),
            first_s=first_s - taken_s,
            sentence_s=sentence_s,
            rss_bytes=rss_bytes,
            files=files,
        )

    def ended(self, readings: int) -> Ended:
        """What came in, as soon as it is all that was published."""
        until_s = time.monotonic() + ARRIVED_S
        while self.metrics.flow.get("readings") < readings and time.monotonic() < until_s:
            time.sleep(_LOOK_S)
        return Ended(
            readings=self.metrics.flow.get("readings"),
            rejected=sum(self.metrics.rejections.by_label().values()),
            failed_steps=sum(self.metrics.errors.by_label().values()),
            sentences=self.metrics.flow.get("summaries"),
        )

    def _speaks(self, release: str) -> bool:
        summary = self._journal.summary(self.explain.latest_incident)
        return summary is not None and summary.release == release and summary.route == "writer"

    def _sentences(self) -> int:
        return self.metrics.flow.get("summaries")

    def _usual_s(self) -> float:
        """What a sentence takes now: the time between the next two."""
        times_s = []
        for _ in range(2):
            before, began_s = self._sentences(), time.monotonic()
            while self._sentences() == before and time.monotonic() - began_s < TAKEN_S:
                time.sleep(_LOOK_S)
            times_s.append(time.monotonic())
        return times_s[1] - times_s[0]

    def _put_incidents(self) -> None:
        number = 0
        while not self._stop.wait(INCIDENT_S):
            if number - self._sentences() < AHEAD:
                self._journal.record([incident(number)], [])
                self._wakes.explain.set()
                number += 1


def _timed(wish: Wish, loads_s: list[float]) -> Wish:
    """The same wish; `loads_s` is told how long its writer took to load."""
    opens = wish.open_writer

    def timed() -> Writer:
        began_s = time.monotonic()
        try:
            return (opens or _no_writer)()
        finally:
            loads_s.append(time.monotonic() - began_s)

    return replace(wish, open_writer=timed)


def _no_writer() -> Writer:
    raise BenchError("the release has no writer")


def _load_s(folder: Path) -> float:
    opened, took_s = open_release(folder), []
    for _ in range(LOADS):
        began_s = time.monotonic()
        opened.open_writer()
        took_s.append(time.monotonic() - began_s)
    return sorted(took_s)[LOADS // 2]


def _say(what: Struct) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """The process."""
    parser = argparse.ArgumentParser(prog="python -m edge_agent.bench.swapper", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--release", type=Path, action="append", required=True, help="two folders, which take turns")
    parser.add_argument("--swaps", type=int, required=True)
    parser.add_argument("--readings", type=int, required=True, help="how many will be published in all")
    options = parser.parse_args(argv)
    load_s = _load_s(options.release[0])
    with (
        tempfile.TemporaryDirectory(prefix="edge-agent-bench-") as name,
        Journal.open(Path(name) / "journal.db", settings_of(20_000), SystemClock()) as journal,
    ):
        settings = WriterSettings(device="cpu")
        wishes = [wish_for(open_release(folder), settings, journal, Path(name)) for folder in options.release]
        workers = _Workers(journal, options.port)
        workers.start()
        _say(Loaded(load_s=load_s))
        try:
            for number in range(options.swaps):
                sys.stdin.readline()
                _say(workers.exchange(wishes[number % len(wishes)]))
            _say(workers.ended(options.readings))
        finally:
            workers.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
