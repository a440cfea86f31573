"""Detection alone, in this process: time a reading and memory a stream, beside the least that plain Python could do.

Rules: readings are made before the clock starts, which counts processor time; streams are warm; a batch holds one reading
of each stream, as regular sensors give them, and at least `LEAST_BATCH` readings. Memory is what the interpreter and numpy
allocated, not what we think our arrays take.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Iterator

import numpy as np

from edge_agent.bench.report import Figure
from edge_agent.config.settings import DetectSettings
from edge_agent.detect.bank import DetectorBank
from edge_agent.values import Reading

STREAMS = (1, 100, 1_000, 10_000)
WARM_READINGS = 80
LEAST_BATCH = 100
AIM_US, AIM_KB = 2.0, 5.0


def measure(readings: int) -> Iterator[Figure]:
    """Microseconds a reading, over about `readings` readings, and kilobytes a stream, for each number of streams."""
    for streams in STREAMS:
        tracemalloc.start()
        bank = DetectorBank(DetectSettings(max_streams=streams), None)
        for batch in _batches(streams, WARM_READINGS * max(1, streams), 0):
            bank.update(batch)
        gc.collect()
        held_bytes = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        batches = list(_batches(streams, readings, WARM_READINGS))
        count = sum(map(len, batches))
        yield Figure(
            part="detection",
            name=f"{streams:,} stream{'s' if streams > 1 else ''}",
            value=_seconds_of_ours(bank, batches) / count * 1e6,
            unit="us a reading",
            n=count,
            against="a running mean and deviation in plain Python",
            against_value=_seconds_of_plain(batches) / count * 1e6,
            aim=f"{AIM_US:.0f} us" if streams == 1_000 else "",
        )
        yield Figure(
            part="detection",
            name="  state of each",
            value=held_bytes / streams / 1e3,
            unit="KB",
            n=streams,
            aim=f"{AIM_KB:.0f} KB" if streams == 1_000 else "",
        )


def _batches(streams: int, readings: int, first: int) -> Iterator[list[Reading]]:
    names = [f"asset-{stream // 10}/s{stream % 10}" for stream in range(streams)]
    random = np.random.default_rng([streams, first])
    rounds_a_batch = max(1, LEAST_BATCH // streams)
    for start in range(first, first + max(1, readings // streams), rounds_a_batch):
        values = random.normal(20.0, 1.0, (rounds_a_batch, streams)).tolist()
        yield [
            Reading(name, 1.8e9 + start + step, value)
            for step, row in enumerate(values)
            for name, value in zip(names, row, strict=True)
        ]


def _seconds_of_ours(bank: DetectorBank, batches: list[list[Reading]]) -> float:
    started_s = time.process_time()
    for batch in batches:
        bank.update(batch)
    return time.process_time() - started_s


def _seconds_of_plain(batches: list[list[Reading]]) -> float:
    """The least that a detector could do: a running mean and a running deviation of each stream, and a comparison."""
    state: dict[str, tuple[float, float]] = {}
    alarms = 0
    started_s = time.process_time()
    for batch in batches:
        for reading in batch:
            mean, deviation = state.get(reading.stream, (reading.value, 1.0))
            error = reading.value - mean
            alarms += abs(error) > 5.0 * deviation
            state[reading.stream] = (mean + 0.05 * error, deviation + 0.05 * (abs(error) - deviation))
    return time.process_time() - started_s
