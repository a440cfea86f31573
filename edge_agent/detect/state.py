"""The state of all streams: one array with a row a quantity and a column a stream, and the last readings of each.

Rules: the column of a stream never changes; capacity grows by doubling up to the configured number of streams; a batch takes
its columns (`take`) and writes them back whole (`put`). Everything is float64: a reading of 101,325.12 Pa or a
counter of 10^12 keeps its last digits. Counts are kept as floats, exact below 2^53.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_agent.detect.contract import WINDOW_READINGS

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Mask = NDArray[np.bool_]

# Time and order.
COUNT = 0  # readings accepted
TIME = 1  # time of the last one, s
INTERVAL = 2  # usual interval between readings, s
LATE = 3  # readings set aside in a row because they were older than the last one
# Level and prediction (level.py). The four predictions stand together, and so do their scales.
PREDICTION = 4  # slow level, middle average, last value, level of the trend predictor
SLOW, MIDDLE, LAST, TRENDED = 4, 5, 6, 7
TREND = 8  # change a reading, of the trend predictor
SCALE = 9  # robust standard deviation of each prediction's error
SLOW_SCALE, LAST_SCALE = 9, 11
QUANTUM = 13  # smallest change ever seen; 0 while there was none
# Change (change.py).
RECENT = 14  # recent mean of the deviation from the slow level, in slow scales
RECENT_SCALE = 15
RECENT_TIME = 16  # when the recent mean was last unremarkable, s
RECENT_COUNT = 17  # and at which reading
# Variance (variance.py).
ROUGHNESS = 18  # recent mean size of steps, 1 is usual
ROUGHNESS_SCALE = 19
RUN = 20  # how often the last value has repeated
RUN_TIME = 21  # when it first came, s
LONGEST = 22  # longest usual run
REPEATS = 23  # usual share of readings that repeat the one before
# Tails (tails.py): four statistics each.
TAIL_START, TAIL_MEAN, TAIL_SQUARE, TAIL_COUNT = 24, 28, 32, 36
HABIT = 40  # decades by which the threshold is raised after recent anomalies
# The open anomaly (episodes.py).
CAUSE = 41  # 0 none, else 1 + index of the statistic that opened it
AGE = 42  # readings since onset
CALM = 43  # unremarkable readings in a row
CALM_TIME = 44  # when they began, s
EXPECTED, SLOPE, ERROR, GROWTH = 45, 46, 47, 48  # frozen prediction: level, change a reading, scale, growth of its variance
PEAK_SIZE, PEAK_VALUE, PEAK_TIME = 49, 50, 51
BEST = 52  # highest score
REST = 53  # readings to wait before another may open
ONSET = 54  # of the open or the last one, s
# Silence (silence.py). Measured on the caller's steady clock, not on the readings' times.
HEARD, GAP, GAP_SPREAD, GAP_LONGEST, GAPS = 55, 56, 57, 58, 59
SILENT_SINCE = 60  # onset of the open silence, s; NaN while there is none
TAIL_PEAK = 61  # highest statistic of the current excursion beyond the tail's start, four; 0 while there is none
FIELDS = 65

_FIRST_CAPACITY = 16


class StreamState:
    """Columns of all streams. One owner: the bank."""

    def __init__(self, max_streams: int) -> None:
        self.max_streams = max_streams
        self.names: list[str] = []
        self.units: list[str] = []
        self.columns: dict[str, int] = {}
        capacity = min(_FIRST_CAPACITY, max_streams)
        self.fields: Floats = np.zeros((FIELDS, capacity))
        self.recent: Floats = np.full((capacity, WINDOW_READINGS), np.nan)

    def column(self, stream: str, unit: str) -> int:
        """The column of a stream, made when it is new; -1 when the configured number of streams is reached."""
        known = self.columns.get(stream)
        if known is not None:
            return known
        column = len(self.names)
        if column >= self.max_streams:
            return -1
        if column >= self.fields.shape[1]:
            self._grow()
        self.columns[stream] = column
        self.names.append(stream)
        self.units.append(unit)
        return column

    def _grow(self) -> None:
        held = self.fields.shape[1]
        capacity = min(2 * held, self.max_streams)
        fields = np.zeros((FIELDS, capacity))
        fields[:, :held] = self.fields
        recent = np.full((capacity, WINDOW_READINGS), np.nan)
        recent[:held] = self.recent
        self.fields, self.recent = fields, recent

    def take(self, columns: Indices) -> Floats:
        """The given columns, shape (FIELDS, m), to change in place and give to `put`: a copy, or themselves where neighbours."""
        if _in_a_row(columns):
            return self.fields[:, columns[0] : columns[0] + len(columns)]
        return self.fields.take(columns, axis=1)

    def put(self, columns: Indices, block: Floats) -> None:
        """Write back what `take` gave, after a round."""
        if block.base is not self.fields:
            self.fields[:, columns] = block

    def remember(self, columns: Indices, counts: Floats, values: Floats) -> None:
        """Append one reading to each stream's window; `counts` are the readings accepted before it."""
        self.recent[columns, counts.astype(np.intp) % WINDOW_READINGS] = values

    def windows(self, columns: Indices) -> Floats:
        """The last readings of the given streams, oldest first, NaN where there was none; shape (m, WINDOW_READINGS)."""
        starts = self.fields[COUNT, columns].astype(np.intp) % WINDOW_READINGS
        order = (starts[:, None] + np.arange(WINDOW_READINGS)) % WINDOW_READINGS
        return np.take_along_axis(self.recent[columns], order, axis=1)

    def bytes_per_stream(self) -> int:
        """Bytes of numbers held for each stream, without its name."""
        return self.fields.itemsize * (FIELDS + WINDOW_READINGS)


def _in_a_row(columns: Indices) -> bool:
    """Are these neighbouring columns in order, as when all streams send at one pace? They need no copy."""
    return bool(columns[-1] - columns[0] == len(columns) - 1 and (np.diff(columns) == 1).all())
