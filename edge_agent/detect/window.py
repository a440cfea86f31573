"""The classifier's input: the last readings of a stream, put on the scale of what is usual for that stream.

Rules: pure; the same function is used when the classifier is trained and when it is asked, so that the two cannot part.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Z_LIMIT = 1000.0
"""Deviations beyond this many usual spreads look alike."""
_SCALE = float(np.arcsinh(Z_LIMIT))
_MIN_SPREAD = 1e-300


def normalise_window(values: NDArray[np.float64], level: NDArray[np.float64], spread: NDArray[np.float64]) -> NDArray[np.float32]:
    """Put raw windows on the usual scale of their streams: `asinh((x - level) / spread) / asinh(1000)`, clipped to [-1, 1].

    `values` has shape (n, WINDOW_READINGS), oldest first, the most recent reading last, in the stream's own unit; NaN marks
    places before the stream's first reading. `level` and `spread` have shape (n,): the usual level (a robust mean) and the
    usual spread (a robust standard deviation of `x - level`, > 0) *before* the anomaly began; they are frozen while it is open.
    Returns float32 of shape (n, WINDOW_READINGS) in [-1, 1]; places without a reading are 0, the usual level.

    The inverse hyperbolic sine is linear within about one spread (1 spread is 0.116, so an int8 step of 1/127 is 0.07 spreads)
    and logarithmic outside (5 spreads 0.30, 20 spreads 0.49, 1000 spreads 1), so that both the texture of the noise and the
    size of a large excursion survive quantisation.

    A window is classified when an anomaly opens and again 16 and 32 readings after its onset, so its onset sits in the right
    half: index 32 to 63. A drift is noticed late: its ramp may begin anywhere in the window, or before it.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        z = (np.asarray(values, dtype=np.float64) - level[:, None]) / np.maximum(spread, _MIN_SPREAD)[:, None]
        z = np.nan_to_num(z, nan=0.0, posinf=Z_LIMIT, neginf=-Z_LIMIT)
        scaled: NDArray[np.float32] = (np.arcsinh(np.clip(z, -Z_LIMIT, Z_LIMIT)) / _SCALE).astype(np.float32)
        return scaled
