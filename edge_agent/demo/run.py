"""`edge-agent demo`: starts everything, publishes, shows what the agent makes of it, and compares it with the truth.

Rules: one loop, one thread; it ends after `--duration`, at the end of a recording, on Ctrl-C or on SIGTERM, and returns
0 for all four. Where something could not be started or died, it says what and returns 1.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from edge_agent.config.settings import DetectSettings
from edge_agent.demo import truth
from edge_agent.demo.host import HostMetrics
from edge_agent.demo.pump import PumpLine
from edge_agent.demo.recording import Recording, speed_of
from edge_agent.demo.show import Board, Line, Screen
from edge_agent.demo.sources import LiveSource, Source
from edge_agent.demo.stage import READY_TIMEOUT_S, Stage
from edge_agent.errors import EdgeAgentError, LinkError

LISTEN_S = 0.25
AFTER_THE_END_S = 8.0
"""How long the agent is listened to after the end of a recording."""
LONGEST_S = 3600.0


def main(argv: Sequence[str] | None = None) -> int:
    """The demo. Returns the exit code."""
    options = _options(argv)
    shows_all = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    plain = options.plain or not shows_all
    screen = Screen(sys.stdout, plain=plain)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _perform(options, screen)
    except KeyboardInterrupt:
        screen.progress("")
        return 0
    except EdgeAgentError as error:
        screen.progress("")
        print(f"edge-agent demo: {error}", file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="edge-agent demo",
        description="Run the agent on this host's own metrics and a simulated pump line with faults of known truth.",
    )
    parser.add_argument("--duration", type=float, default=0.0, metavar="S", help="end after S seconds; without it, on Ctrl-C")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the simulation; the same seed, the same faults")
    parser.add_argument("--replay", type=Path, metavar="FILE.csv", help="play a recording instead: a time column, then streams")
    parser.add_argument(
        "--speed",
        type=speed_of,
        default=None,
        metavar="N|max",
        help="times the recording's own pace; without it, 20 rows a second",
    )
    parser.add_argument(
        "--broker",
        choices=("auto", "mosquitto", "embedded"),
        default="auto",
        help="which one to start: the mosquitto of this machine, else the embedded one (auto)",
    )
    parser.add_argument("--plain", action="store_true", help="no colours and no line that is overwritten")
    return parser.parse_args(argv)


def _perform(options: argparse.Namespace, screen: Screen) -> int:
    line = PumpLine(seed=options.seed, length_s=options.duration or LONGEST_S)
    recording = Recording(options.replay, options.speed) if options.replay else None
    source: Source = recording or LiveSource(line, HostMetrics())
    with Stage.build(source.units(), screen.progress, options.broker) as stage:
        started_s = _wait_until_ready(stage)
        screen.progress("")
        screen.say(_welcome(stage, recording))
        board = Board(stage.topics.base, started_s)
        with contextlib.suppress(KeyboardInterrupt):  # asked to end: what was found until now is still worth comparing
            _play(stage, source, board, screen, options.duration)
        screen.progress("")
        ended_s = time.time() - started_s
    screen.say("")
    if recording is None:
        for text in truth.lines(truth.compare(line.faults, board.anomalies, line.streams, ended_s)):
            screen.say(text)
    screen.say(f"{board.incidents} incidents and {board.sentences} sentences in {ended_s:.0f} s.")
    return 0


def _wait_until_ready(stage: Stage) -> float:
    """The time at which the agent said that it is online. Raises LinkError when it does not."""
    give_up_s = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < give_up_s:
        for arrival in stage.listen(LISTEN_S):
            if arrival.topic == stage.topics.status and arrival.payload == b"online":
                return time.time()
    raise LinkError(f"the agent did not come online within {READY_TIMEOUT_S:.0f} s")


def _welcome(stage: Stage, recording: Recording | None) -> str:
    what = f"the recording {recording.path}" if recording else "this host's metrics and a simulated line of pumps"
    where = f"mosquitto_sub -h {stage.broker.host} -p {stage.broker.port} -v -t '{stage.topics.base}/#'"
    return f"The agent is online and hears {what}.\nTo see all that it publishes: {where}\n"


def _play(stage: Stage, source: Source, board: Board, screen: Screen, duration_s: float) -> None:
    started_s = time.monotonic()
    finished_s: float | None = None
    while True:
        elapsed_s = time.monotonic() - started_s
        for topic, payload in source.due(elapsed_s):
            stage.publish(topic, payload)
        next_s = source.next_s()
        if next_s is None:
            finished_s = finished_s or elapsed_s
        if (duration_s and elapsed_s >= duration_s) or (finished_s is not None and elapsed_s >= finished_s + AFTER_THE_END_S):
            return
        wait_s = LISTEN_S if next_s is None else min(LISTEN_S, max(0.0, next_s - elapsed_s))
        for arrival in stage.listen(wait_s):
            lines: list[Line] = board.take(arrival.topic, arrival.payload, time.time())
            screen.show(lines)
        screen.progress(*_progress(source, board, elapsed_s))


def _progress(source: Source, board: Board, elapsed_s: float) -> tuple[str, str]:
    """What goes on, in full for a terminal and without the numbers that always change for a file."""
    warm, needed = source.readings_each(), DetectSettings().warmup_readings
    if warm < needed:
        text = f"learning what is usual: {warm} of {needed} readings of each stream"
        return text, f"learning what is usual: it takes {needed} readings of each stream"
    counts = f"{board.streams_known} streams, {board.incidents} incidents, {board.sentences} sentences"
    return f"watching for {elapsed_s:.0f} s: {counts}; Ctrl-C ends it", "watching"


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
