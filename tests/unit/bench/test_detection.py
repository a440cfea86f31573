"""Detection is measured over as many readings as it says, for each number of streams."""

from __future__ import annotations

import pytest

from edge_agent.bench import detection
from edge_agent.values import Reading


@pytest.mark.parametrize("streams", [1, 7, 100])
def test_batches_hold_each_stream_in_turn_and_time_goes_on(streams: int) -> None:
    batches = list(detection._batches(streams, 700, 5))
    assert sum(map(len, batches)) >= 700
    assert len(batches[0]) >= min(detection.LEAST_BATCH, streams)
    by_stream: dict[str, list[Reading]] = {}
    for batch in batches:
        for reading in batch:
            by_stream.setdefault(reading.stream, []).append(reading)
    assert len(by_stream) == streams
    for readings in by_stream.values():
        times = [reading.time_s for reading in readings]
        assert times == sorted(times)


def test_figures_come_in_pairs_with_their_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection, "STREAMS", (20,))
    time_figure, state_figure = detection.measure(400)
    assert time_figure.value is not None
    assert time_figure.value > 0
    assert time_figure.against_value is not None
    assert time_figure.n >= 400
    assert state_figure.value is not None
    assert 0.1 < state_figure.value < 100
