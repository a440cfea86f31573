"""Detection and grouping over the rows of a recording, as if they arrived now.

Rules: pure. Rows are taken in the order of the file: a row whose time is not later than the row before (a clock set back, the
repeated hour of summer time) counts as one millisecond later, and keeps its own time in the output. A time that falls between
rows (a silence begins when a reading is due) is told as the next row's, in events as in incidents. The streams of a recording
of several columns belong to one asset, named after the file, unless the column names name assets themselves
(`pump-1/vibration`).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct, structs

from edge_agent.config.settings import Settings
from edge_agent.detect.bank import DetectorBank
from edge_agent.detect.contract import Classifier
from edge_agent.incidents import IncidentBook
from edge_agent.replay.table import Row
from edge_agent.values import Anomaly, Incident, Reading

_SALT = "replay"
_LATER_S = 1e-3


class Replayed(Struct, frozen=True):
    """What a replay gave: for each row a time as written and a score a stream; the anomalies and incidents at the end."""

    streams: tuple[str, ...]
    stamps: list[str]
    times_s: list[float]
    scores: list[tuple[float, ...]]
    anomalies: list[Anomaly]
    incidents: list[Incident]

    def stamp(self, time_s: float) -> str:
        """The time as the input writes it: of the first row that is not earlier, or of the last one."""
        return self.stamps[_row_at(self.times_s, time_s)]


def nothing(incident: Incident, now_s: float) -> None:
    """Takes a revision of an incident and does nothing with it."""


def replay(
    rows: Iterable[Row],
    streams: Sequence[str],
    asset: str,
    settings: Settings,
    classifier: Classifier | None,
    revised: Callable[[Incident, float], None] = nothing,
) -> Replayed:
    """Run detection and grouping over rows in order; `asset` names what the streams of several columns belong to.

    `revised` is given each revision of each incident in the order in which the agent would publish them, with the row's time.
    """
    bank = DetectorBank(structs.replace(settings.detect, max_streams=max(settings.detect.max_streams, len(streams))), classifier)
    book = IncidentBook(settings.incidents, salt=_SALT)
    replayed = Replayed(tuple(streams), [], [], [], [], [])
    anomalies: dict[tuple[str, float], Anomaly] = {}
    incidents: dict[str, Incident] = {}
    now_s = -math.inf
    for row in rows:
        now_s = row.time_s if row.time_s > now_s else now_s + _LATER_S
        replayed.stamps.append(row.stamp)
        replayed.times_s.append(now_s)
        told = bank.tick(now_s, monotonic_s=now_s)
        readings = [Reading(name, now_s, value) for name, value in zip(streams, row.values, strict=True) if value is not None]
        detected = bank.update(readings)
        told.extend(detected.anomalies)
        anomalies.update((anomaly.key, anomaly) for anomaly in told)
        grouped = [_of_asset(anomaly, asset) for anomaly in told] if len(streams) > 1 else told
        for incident in book.update(grouped, now_s):
            incidents[incident.id] = _on_rows(incident, replayed.times_s)
            revised(incidents[incident.id], now_s)
        scores = dict(zip((reading.stream for reading in readings), detected.scores.tolist(), strict=True))
        replayed.scores.append(tuple(scores[name] if name in scores else bank.silence_score(name) for name in streams))
    replayed.anomalies.extend(sorted(anomalies.values(), key=lambda anomaly: (anomaly.onset_s, anomaly.stream)))
    replayed.incidents.extend(incidents.values())
    return replayed


def _on_rows(incident: Incident, times_s: Sequence[float]) -> Incident:
    """The incident with times of anomalies that rows have. They lie before the newest row, so later rows change nothing of it."""

    def row_s(time_s: float) -> float:
        return times_s[_row_at(times_s, time_s)]

    anomalies = (
        structs.replace(
            anomaly,
            onset_s=row_s(anomaly.onset_s),
            peak_s=row_s(anomaly.peak_s),
            end_s=None if anomaly.end_s is None else row_s(anomaly.end_s),
        )
        for anomaly in incident.anomalies
    )
    return structs.replace(incident, anomalies=tuple(anomalies))


def _row_at(times_s: Sequence[float], time_s: float) -> int:
    return min(bisect_left(times_s, time_s), len(times_s) - 1)


def _of_asset(anomaly: Anomaly, asset: str) -> Anomaly:
    return anomaly if "/" in anomaly.stream else structs.replace(anomaly, stream=f"{asset}/{anomaly.stream}")
