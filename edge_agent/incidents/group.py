"""One open incident while it changes: what it counts and lists, when a change is told, and how it becomes a value.

Rules: an `OpenIncident` belongs to the book that made it. It lists the most severe anomalies and counts all; nothing of
it grows with the number of anomalies. Times named `*_at_s` are on the book's own clock, all others are the anomalies' or
the caller's.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from msgspec.structs import replace

from edge_agent.values import Anomaly, Incident, Kind

SENSOR_KINDS: frozenset[Kind] = frozenset(("stuck", "silence"))
"""Kinds that speak of the sensor and not of the process: a sensor that stays dead for days does not make everything that
happens to its asset meanwhile one incident, so only their onset and end are activity."""

_SEVERITY_STEP = 0.1
_MIN_UPDATE_S = 5.0
_MAX_UPDATE_S = 300.0
_UPDATE_AGE_FRACTION = 0.05
_MAX_SLUG_CHARACTERS = 32
_LAST_SECOND = 253_402_300_799
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def incident_name(salt: str, asset: str, opened_s: float, sequence: int) -> str:
    """An incident's id: the asset in `[a-z0-9-]`, the UTC second of its opening, 6 hexadecimal digits of a hash of all four."""
    slug = "".join(c if c in "abcdefghijklmnopqrstuvwxyz0123456789" else "-" for c in asset.lower()[:_MAX_SLUG_CHARACTERS])
    slug = "-".join(part for part in slug.split("-") if part) or "asset"
    seconds = min(max(int(opened_s), 0), _LAST_SECOND)
    opened = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y%m%dt%H%M%Sz")
    digest = sha256(repr((salt, asset, opened_s, sequence)).encode("utf-8", "surrogatepass")).hexdigest()
    return f"{slug}-{opened}-{digest[:6]}"


class Span:
    """The time that one asset's anomalies in one incident cover, and how many of them hold it open at its late end."""

    __slots__ = ("first_s", "holding", "last_s")

    def __init__(self, onset_s: float) -> None:
        self.first_s = onset_s
        self.last_s = onset_s
        self.holding = 0

    def extend(self, anomaly: Anomaly) -> None:
        """Cover the anomaly as far as it is known."""
        self.first_s = min(self.first_s, anomaly.onset_s)
        known_until_s = anomaly.peak_s if anomaly.end_s is None else anomaly.end_s
        self.last_s = max(self.last_s, anomaly.onset_s, known_until_s)

    @property
    def open_until_s(self) -> float:
        """The last activity; infinity while an anomaly of the process is going on."""
        return math.inf if self.holding else self.last_s

    def is_near(self, anomaly: Anomaly, within_s: float) -> bool:
        """Whether the anomaly overlaps this span, or lies within `within_s` before or after it."""
        ends_in_time = anomaly.end_s is None or anomaly.end_s >= self.first_s - within_s
        return ends_in_time and anomaly.onset_s <= self.open_until_s + within_s


class LiveAnomaly:
    """An anomaly that is going on, as the only one of its stream."""

    __slots__ = ("holds", "incident_id", "onset_s", "span")

    def __init__(self, onset_s: float, incident_id: str, span: Span, holds: bool) -> None:
        self.onset_s = onset_s
        self.incident_id = incident_id
        self.span = span
        self.holds = holds


class OpenIncident:
    """An open incident while it changes. Times named `*_at_s` are on the book's own clock."""

    def __init__(self, incident_id: str, asset: str, opened_s: float, storm: bool) -> None:
        self.id = incident_id
        self.asset = asset
        self.opened_s = opened_s
        self.storm = storm
        self.opened_at_s = 0.0
        self.active_at_s = 0.0
        self.published_at_s = 0.0
        self.published: Incident | None = None
        self.live = 0
        self.spans: dict[str, Span] = {}
        self.listed: dict[tuple[str, float], Anomaly] = {}
        self._floor: tuple[tuple[float, float, float, str], tuple[str, float]] | None = None
        self._anomaly_count = 0
        self._streams: set[str] = set()
        self._unlisted_streams = 0
        self._severity = 0.0
        self._changed = False
        self._material = False

    def count(self, anomaly: Anomaly, max_listed: int) -> Span:
        """Take in an anomaly that is new; its asset's span must be there."""
        self._anomaly_count += 1
        self._streams.add(anomaly.stream)
        self._changed = self._material = True
        return self._take(anomaly, max_listed)

    def revise(self, anomaly: Anomaly, max_listed: int) -> Span:
        """Take in an update of an anomaly that was counted before."""
        before = self.listed.get(anomaly.key)
        span = self._take(anomaly, max_listed)
        if before is not None or anomaly.key in self.listed:
            self._changed = True
        if before is not None and (before.kind != anomaly.kind or (before.end_s is None) != (anomaly.end_s is None)):
            self._material = True
        return span

    def end(self, stream: str, onset_s: float, end_s: float) -> None:
        """End an anomaly that was going on; not before its peak."""
        listed = self.listed.get((stream, onset_s))
        if listed is not None:
            self.listed[listed.key] = replace(listed, end_s=max(end_s, listed.peak_s), ending="unknown")
            self._changed = self._material = True

    def restore(self, incident: Incident) -> None:
        """Continue from what was returned last, before the restart."""
        self.published = incident
        self._anomaly_count = max(incident.anomaly_count, len(self.listed))
        self._unlisted_streams = max(incident.stream_count - len(self._streams), 0)
        self._severity = max(incident.severity, self._severity)
        self._changed = self._material = False

    def is_due(self, elapsed_s: float, busy_above: int) -> bool:
        """Whether a change is to be returned now.

        What a person would want to know is returned at once: another anomaly, another kind, an end. An incident with
        more anomalies than are listed, or with many revisions behind it, waits longer the older it is.
        """
        if self.published is None:
            return True
        if not self._changed:
            return False
        if self._severity > self.published.severity + _SEVERITY_STEP:
            return True
        busy = self._anomaly_count > busy_above or self.published.revision > 2 * busy_above
        if self._material and not busy:
            return True
        age_s = elapsed_s - self.opened_at_s
        return elapsed_s - self.published_at_s >= min(max(age_s * _UPDATE_AGE_FRACTION, _MIN_UPDATE_S), _MAX_UPDATE_S)

    def publish(self, now_s: float, elapsed_s: float, *, closed: bool) -> Incident:
        """The incident as it stands, with its revision grown by one."""
        updated_s = max(now_s, self.opened_s)
        self.published = Incident(
            id=self.id,
            asset=self.asset,
            state="closed" if closed else "open",
            revision=self.published.revision + 1 if self.published else 1,
            opened_s=self.opened_s,
            updated_s=updated_s,
            closed_s=updated_s if closed else None,
            anomalies=tuple(sorted(self.listed.values(), key=by_onset)),
            anomaly_count=self._anomaly_count,
            stream_count=min(len(self._streams) + self._unlisted_streams, self._anomaly_count),
            severity=self._severity,
            storm=self.storm,
        )
        self.published_at_s = elapsed_s
        self._changed = self._material = False
        return self.published

    def _take(self, anomaly: Anomaly, max_listed: int) -> Span:
        span = self.spans[anomaly.asset]
        span.extend(anomaly)
        self._severity = max(self._severity, anomaly.score)
        if anomaly.key in self.listed or len(self.listed) < max_listed:
            self.listed[anomaly.key] = anomaly
            self._floor = None
            return span
        if self._floor is None:
            self._floor = min((_rank(listed), key) for key, listed in self.listed.items())
        if _rank(anomaly) > self._floor[0]:
            del self.listed[self._floor[1]]
            self.listed[anomaly.key] = anomaly
            self._floor = None
        return span


def by_onset(anomaly: Anomaly) -> tuple[float, str]:
    """The order of anomalies in an incident, and the order in which a batch is taken in."""
    return (anomaly.onset_s, anomaly.stream)


def _rank(anomaly: Anomaly) -> tuple[float, float, float, str]:
    """The more severe, the higher; of equally severe ones the earlier is worth more."""
    return (anomaly.score, anomaly.magnitude, -anomaly.onset_s, anomaly.stream)
