"""`edge-agent bench`: takes the figures, shows them as a table, and writes them as JSON where asked.

Rules: a part that fails is reported as such and the others go on; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import edge_agent
from edge_agent.bench import backlog, detection, exchange, ingest, install, latency, lifecycle, sealing, wear
from edge_agent.bench.report import Figure, Report, to_json, to_table
from edge_agent.demo.broker import Broker, start_broker
from edge_agent.errors import EdgeAgentError
from edge_agent.messages import format_time

Part = Callable[[Broker, bool], Iterator[Figure]]

PARTS: dict[str, Part] = {
    "ingest": lambda broker, quick: ingest.measure(broker, 20_000 if quick else 100_000, 1 if quick else 3),
    "detection": lambda _, quick: detection.measure(20_000 if quick else 200_000),
    "latency": lambda broker, quick: latency.measure(broker, 5 if quick else 20),
    "start": lambda broker, quick: lifecycle.measure_start(broker, 1 if quick else 5),
    "memory": lambda broker, quick: lifecycle.measure_memory(broker, 360 if quick else lifecycle.HOUR_S),
    "backlog": lambda broker, quick: backlog.measure(broker, 2_000 if quick else backlog.BACKLOG, 20 if quick else 300),
    "install": lambda _, quick: install.measure(4_000_000 if quick else 135_000_000, 1 if quick else 5),
    "sealed": lambda _, quick: sealing.measure(4_000_000 if quick else 135_000_000, 1 if quick else 9),
    "swap": lambda broker, quick: exchange.measure(broker, 2 if quick else 20),
    "wear": lambda _, quick: wear.measure(400 if quick else 4_000, 5 if quick else 30),
}

MAX_WRITER_MB = 2_000


def main(argv: Sequence[str] | None = None) -> int:
    """Take the figures. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="edge-agent bench",
        description="Measure the agent on this machine, each figure beside its comparison in the same run.",
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"only these: {', '.join(PARTS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures as JSON; - for standard output, alone")
    parser.add_argument(
        "--writer-mb", type=int, default=0, metavar="N", help="exchange writers of so many MB (as large as the package's own)"
    )
    parser.add_argument("--quick", action="store_true", help="few samples: to see that it works, not to quote")
    options = parser.parse_args(argv)
    if unknown := sorted(set(options.parts) - set(PARTS)):
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if not 0 <= options.writer_mb <= MAX_WRITER_MB:
        parser.error(f"--writer-mb is between 0 and {MAX_WRITER_MB}")
    parts: Mapping[str, Part] = PARTS if not options.writer_mb else {**PARTS, "swap": partial(_swap, options.writer_mb)}
    chosen = {name: part for name, part in parts.items() if not options.parts or name in options.parts}
    report, failed = _take(chosen, quick=options.quick)
    if options.json is None or str(options.json) != "-":
        print(to_table(report), end="")
    if options.json is not None:
        _write(options.json, to_json(report))
    return 1 if failed else 0


def _swap(writer_mb: int, broker: Broker, quick: bool) -> Iterator[Figure]:
    return exchange.measure(broker, 2 if quick else 20, writer_mb * 1_000_000)


def _take(parts: Mapping[str, Part], *, quick: bool) -> tuple[Report, bool]:
    figures: list[Figure] = []
    failed = False
    started = format_time(float(int(time.time())))
    with start_broker("mosquitto") as broker:
        for name, part in parts.items():
            print(f"measuring {name}", file=sys.stderr, flush=True)
            try:
                figures.extend(part(broker, quick))
            except EdgeAgentError as error:
                failed = True
                figures.append(Figure(part=name, name="failed", value=None, unit="", n=0, note=str(error)))
    report = Report(version=edge_agent.__version__, machine=machine(), started=started, figures=tuple(figures))
    return report, failed


def machine() -> str:
    """This machine in words: processor, how many of them may be used, system, interpreter."""
    model = platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("model name", "Model")):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    cores = len(os.sched_getaffinity(0))
    return f"{model}, {cores} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def _write(path: Path, data: bytes) -> None:
    if str(path) == "-":
        sys.stdout.write(data.decode())
    else:
        path.write_bytes(data)
