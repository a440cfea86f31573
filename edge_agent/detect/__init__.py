"""Readings in, anomalies out: online detectors for all streams at once, without I/O and without asking for the time.

Rules: what is said at a reading depends on readings up to it only; the same readings in the same order give the same
answer, however they are cut into batches; no stream's readings influence another's answer; memory a stream is fixed.
`CLASSES` is the order of the classifier's outputs; a classifier is only ever trained and read in this order.
"""

from __future__ import annotations

CLASSES: tuple[str, ...] = ("normal", "spike", "dip", "shift", "drift", "stuck", "noise")
"""What the classifier tells apart, in the order of its outputs. Silence has no window, so it is no class."""
