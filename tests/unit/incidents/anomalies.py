"""Anomalies for the tests of incidents, with what does not matter filled in."""

from __future__ import annotations

from edge_agent.values import Anomaly, Kind

START_S = 1_700_000_000.0


def anomaly(
    stream: str = "pump-1/flow",
    onset: float = 0.0,
    end: float | None = None,
    kind: Kind = "shift",
    score: float = 0.6,
    peak: float | None = None,
) -> Anomaly:
    """An anomaly with its times in seconds after START_S."""
    return Anomaly(
        stream=stream,
        kind=kind,
        direction="up",
        onset_s=START_S + onset,
        peak_s=START_S + (onset if peak is None else peak),
        end_s=None if end is None else START_S + end,
        score=score,
    )
