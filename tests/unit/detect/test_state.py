"""Columns: growth, limits, and windows in order."""

from __future__ import annotations

import numpy as np

from edge_agent.detect.contract import WINDOW_READINGS
from edge_agent.detect.state import COUNT, FIELDS, StreamState


def test_a_stream_keeps_its_column_while_others_come_and_the_limit_holds() -> None:
    state = StreamState(40)
    columns = [state.column(f"s{i}", "V") for i in range(41)]
    assert columns == [*range(40), -1]
    assert state.column("s7", "") == 7
    assert state.units[7] == "V"
    assert state.fields.shape == (FIELDS, 40)


def test_growth_keeps_what_was_held() -> None:
    state = StreamState(100)
    first = np.array([state.column("a", "")])
    block = state.take(first)
    block[:] = 3.0
    state.put(first, block)
    for i in range(50):
        state.column(f"s{i}", "")
    assert (state.take(first) == 3.0).all()
    assert (state.fields[:, 1:] == 0.0).all()


def test_a_window_is_oldest_first_and_starts_with_gaps() -> None:
    state = StreamState(4)
    at = np.array([state.column("a", "")])
    for i in range(WINDOW_READINGS + 10):
        state.remember(at, state.fields[COUNT, at].copy(), np.array([float(i)]))
        state.fields[COUNT, at] += 1
        if i == 4:
            early = state.windows(at)[0]
            assert np.isnan(early[:-5]).all()
            assert early[-5:].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert state.windows(at)[0].tolist() == [float(i) for i in range(10, WINDOW_READINGS + 10)]


def test_the_state_of_a_stream_is_about_a_kilobyte() -> None:
    assert StreamState(4).bytes_per_stream() < 1_200


def test_scattered_and_neighbouring_columns_are_taken_and_put_alike() -> None:
    state = StreamState(8)
    for name in "abcdefgh":
        state.column(name, "")
    state.fields[:] = np.arange(state.fields.size).reshape(state.fields.shape)
    for columns in ([2, 3, 4], [4, 3, 2], [0, 7, 3], [5]):
        at = np.array(columns)
        before = state.fields.copy()
        block = state.take(at)
        assert (block == before[:, at]).all()
        block *= -1.0
        state.put(at, block)
        expected = before.copy()
        expected[:, at] *= -1.0
        assert (state.fields == expected).all()
