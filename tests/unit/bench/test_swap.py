"""The exchange is really made and nothing is lost; nothing is asserted of how long it takes."""

from __future__ import annotations

from edge_agent.bench import swap


def test_every_exchange_opens_a_writer_and_loses_no_reading() -> None:
    pause, beyond, lost = swap.measure(2)
    assert (pause.n, beyond.n) == (2, 2)
    # What is beyond the load may be below nothing on a busy machine; the load itself cannot be.
    assert pause.value is not None
    assert pause.against_value is not None
    assert pause.against_value > 0
    assert (lost.value, lost.n) == (0.0, 3 * swap.READINGS)
