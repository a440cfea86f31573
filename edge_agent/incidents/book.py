"""Anomalies in, incidents out: what belongs together by asset and time, opened, updated and closed with hysteresis.

Rules:
* Pure: the time is an argument. `now_s` is the clock that the readings are dated by: the system clock in the agent, the
  row's timestamp in a replay. It may jump. Waiting times are counted on the book's own clock, which goes forward with
  `now_s`, stands still when `now_s` goes back, and takes at most `_MAX_STEP_S` from one call, so that setting the clock
  from 1970 to today ends no incident that is still going on.
* Whether an anomaly joins an incident is decided among the anomalies' own times alone, so a sensor whose clock is wrong
  by an hour still has its anomalies grouped.
* Every anomaly, identified by its key (stream, onset), is counted in exactly one incident. What is known of an incident
  when it closes is in its last revision.
* A stream has at most one anomaly that is going on: when a new one begins, the one before has ended.
* Memory is bounded by the number of streams, by `max_open_incidents`, `max_listed_anomalies` and `_MAX_ENDED_KEYS`. An
  update of an ended anomaly that is listed nowhere and older than that many others counts as a new anomaly.
* One owner: the screen worker, or the replay.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from edge_agent.config.settings import IncidentSettings
from edge_agent.incidents.group import SENSOR_KINDS, LiveAnomaly, OpenIncident, Span, by_onset, incident_name
from edge_agent.values import Anomaly, Incident

SITE = "site"
"""The asset of the incident that takes in everything during a storm."""

_MAX_STEP_S = 3_600.0
_MAX_ENDED_KEYS = 16_384


class IncidentBook:
    """The open incidents of one gateway, or of one replay.

    `salt` makes ids differ between runs (the agent's boot id) or equal between them (a replay's fixed word).
    `open_incidents` are what the journal held as open when the agent started. Their anomalies are no longer known to the
    detectors: one that is not heard of within `close_after_s` ends where it was last known to be going on.
    """

    def __init__(self, settings: IncidentSettings, salt: str, open_incidents: Iterable[Incident] = ()) -> None:
        self._settings = settings
        self._salt = salt
        self._sequence = 0
        self._last_now_s: float | None = None
        self._elapsed_s = 0.0
        self._groups: dict[str, OpenIncident] = {}
        self._spans: dict[str, list[tuple[OpenIncident, Span]]] = {}
        self._site_id = ""
        self._openings: deque[float] = deque(maxlen=settings.storm_incidents + 1)
        self._live: dict[str, LiveAnomaly] = {}
        self._restored: dict[str, float] = {}
        self._ended: OrderedDict[tuple[str, float], str] = OrderedDict()
        for incident in open_incidents:
            if incident.state == "open" and incident.id not in self._groups:
                self._restore(incident)

    @property
    def open(self) -> tuple[Incident, ...]:
        """The open incidents as they were last returned, in the order of their opening."""
        return tuple(group.published for group in self._groups.values() if group.published is not None)

    def update(self, anomalies: Sequence[Anomaly], now_s: float) -> list[Incident]:
        """Take in new anomalies and updates of earlier ones (same key); return the incidents that changed.

        Each incident is returned at most once, with its revision grown by one. Incidents whose waiting time was over
        are closed before anything joins them. The order of anomalies with different keys makes no difference; of two
        with the same key the later in `anomalies` is the newer.
        """
        self._advance(now_s)
        changed = self._close_due(now_s)
        for anomaly in sorted(anomalies, key=by_onset):
            self._apply(anomaly, now_s)
        changed += self._publish_due(now_s)
        return changed

    def tick(self, now_s: float) -> list[Incident]:
        """Let time pass: close what is over, return updates that were held back. To be called about once a second."""
        return self.update((), now_s)

    def close(self, incident_id: str, now_s: float) -> Incident | None:
        """Close an incident because an operator says so; None when no such incident is open.

        Its anomalies that are going on stay counted in it: their later updates change nothing and open nothing.
        """
        self._advance(now_s)
        group = self._groups.get(incident_id)
        return self._close(group, now_s) if group else None

    def _advance(self, now_s: float) -> None:
        if self._last_now_s is None:
            # Every incident is a restored one until the first call; its age counts as far as the clock can tell it.
            for group in self._groups.values():
                group.opened_at_s = -min(max(now_s - group.opened_s, 0.0), self._settings.max_open_s)
        else:
            self._elapsed_s += min(max(now_s - self._last_now_s, 0.0), _MAX_STEP_S)
        self._last_now_s = now_s

    def _apply(self, anomaly: Anomaly, now_s: float) -> None:
        incident_id = self._incident_of(anomaly)
        if incident_id is None:
            anomaly = self._one_live_a_stream(anomaly)
            group = self._joinable(anomaly) or self._opened(anomaly, now_s)
            self._join(group, anomaly)
            self._track(group.id, group.count(anomaly, self._settings.max_listed_anomalies), anomaly)
            group.active_at_s = self._elapsed_s
        elif incident_id in self._groups:
            self._revise(self._groups[incident_id], anomaly)

    def _revise(self, group: OpenIncident, anomaly: Anomaly) -> None:
        anomaly = self._one_live_a_stream(anomaly)
        was_live = self._is_live(anomaly)
        if group.listed.get(anomaly.key) == anomaly and was_live == (anomaly.end_s is None):
            self._restored.pop(anomaly.stream, None)
            return
        if was_live:
            self._untrack(anomaly.stream)
        span = group.revise(anomaly, self._settings.max_listed_anomalies)
        self._track(group.id, span, anomaly)
        if was_live or anomaly.end_s is None:
            group.active_at_s = self._elapsed_s

    def _incident_of(self, anomaly: Anomaly) -> str | None:
        """The id of the incident, open or closed, that counted this anomaly before; None for a new anomaly."""
        if self._is_live(anomaly):
            return self._live[anomaly.stream].incident_id
        known = self._ended.get(anomaly.key)
        if known is not None:
            return known
        for group, _ in self._spans.get(anomaly.asset, ()):
            if anomaly.key in group.listed:
                return group.id
        return None

    def _is_live(self, anomaly: Anomaly) -> bool:
        live = self._live.get(anomaly.stream)
        return live is not None and live.onset_s == anomaly.onset_s

    def _one_live_a_stream(self, anomaly: Anomaly) -> Anomaly:
        """Keep one anomaly going on a stream: an earlier one ends where a later one begins, whichever is told first."""
        live = self._live.get(anomaly.stream)
        if live is None or live.onset_s == anomaly.onset_s:
            return anomaly
        if live.onset_s < anomaly.onset_s:
            self._end_live(anomaly.stream, anomaly.onset_s)
            return anomaly
        if anomaly.end_s is None:
            return replace(anomaly, end_s=max(anomaly.peak_s, live.onset_s), ending="unknown")
        return anomaly

    def _end_live(self, stream: str, end_s: float) -> None:
        """End the anomaly that is going on in `stream`; not before its peak."""
        live = self._live[stream]
        self._untrack(stream)
        self._remember_ended((stream, live.onset_s), live.incident_id)
        group = self._groups.get(live.incident_id)
        if group is not None:
            group.end(stream, live.onset_s, end_s)

    def _track(self, incident_id: str, span: Span, anomaly: Anomaly) -> None:
        if anomaly.end_s is None:
            holds = anomaly.kind not in SENSOR_KINDS
            self._live[anomaly.stream] = LiveAnomaly(anomaly.onset_s, incident_id, span, holds)
            span.holding += holds
            self._groups[incident_id].live += 1
        else:
            self._remember_ended(anomaly.key, incident_id)

    def _untrack(self, stream: str) -> None:
        self._restored.pop(stream, None)
        live = self._live.pop(stream)
        live.span.holding -= live.holds
        group = self._groups.get(live.incident_id)
        if group is not None:
            group.live -= 1

    def _remember_ended(self, key: tuple[str, float], incident_id: str) -> None:
        self._ended[key] = incident_id
        if len(self._ended) > _MAX_ENDED_KEYS:
            self._ended.popitem(last=False)  # unlike the first key of a dict, found without searching

    def _joinable(self, anomaly: Anomaly) -> OpenIncident | None:
        """The open incident of the anomaly's asset that was active most recently, among those near enough in time."""
        within_s = self._settings.join_within_s
        spans = self._spans.get(anomaly.asset, ())
        near = [(span.open_until_s, group) for group, span in spans if span.is_near(anomaly, within_s)]
        return max(near, key=lambda pair: pair[0])[1] if near else None

    def _opened(self, anomaly: Anomaly, now_s: float) -> OpenIncident:
        """A new incident for an anomaly that joins none; during a storm, the site's incident."""
        self._openings.append(self._elapsed_s)
        full = len(self._openings) > self._settings.storm_incidents
        stormy = full and self._elapsed_s - self._openings[0] < self._settings.storm_window_s
        if not stormy and len(self._groups) - (self._site_id in self._groups) < self._settings.max_open_incidents:
            return self._new_group(anomaly.asset, now_s, storm=False)
        site = self._groups.get(self._site_id)
        if site is None:
            site = self._new_group(SITE, now_s, storm=True)
            self._site_id = site.id
        return site

    def _new_group(self, asset: str, now_s: float, *, storm: bool) -> OpenIncident:
        incident_id = incident_name(self._salt, asset, now_s, self._sequence)
        while incident_id in self._groups:
            self._sequence += 1
            incident_id = incident_name(self._salt, asset, now_s, self._sequence)
        self._sequence += 1
        group = OpenIncident(incident_id, asset, now_s, storm)
        group.opened_at_s = group.active_at_s = group.published_at_s = self._elapsed_s
        self._groups[incident_id] = group
        return group

    def _join(self, group: OpenIncident, anomaly: Anomaly) -> None:
        if anomaly.asset not in group.spans:
            span = Span(anomaly.onset_s)
            group.spans[anomaly.asset] = span
            self._spans.setdefault(anomaly.asset, []).append((group, span))

    def _restore(self, incident: Incident) -> None:
        group = OpenIncident(incident.id, incident.asset, incident.opened_s, incident.storm)
        self._groups[incident.id] = group
        if incident.storm:
            self._site_id = incident.id
        for anomaly in sorted(incident.anomalies, key=by_onset):
            settled = self._one_live_a_stream(anomaly)
            self._join(group, settled)
            self._track(group.id, group.count(settled, self._settings.max_listed_anomalies), settled)
            if settled.end_s is None:
                self._restored[settled.stream] = max(settled.peak_s, incident.updated_s)
        group.restore(incident)

    def _close_due(self, now_s: float) -> list[Incident]:
        settings = self._settings
        if self._restored and self._elapsed_s >= settings.close_after_s:
            for stream, end_s in sorted(self._restored.items()):
                self._end_live(stream, end_s)
        due = [
            group
            for group in self._groups.values()
            if self._elapsed_s - group.opened_at_s >= settings.max_open_s
            or (group.live == 0 and self._elapsed_s - group.active_at_s >= settings.close_after_s)
        ]
        return [self._close(group, now_s) for group in due]

    def _close(self, group: OpenIncident, now_s: float) -> Incident:
        for stream, end_s in sorted(self._restored.items()):
            if self._live[stream].incident_id == group.id:
                self._end_live(stream, end_s)
        del self._groups[group.id]
        for asset in group.spans:
            remaining = [pair for pair in self._spans[asset] if pair[0] is not group]
            if remaining:
                self._spans[asset] = remaining
            else:
                del self._spans[asset]
        for key in group.listed:
            if key not in self._ended and not self._is_live(group.listed[key]):
                self._remember_ended(key, group.id)
        return group.publish(now_s, self._elapsed_s, closed=True)

    def _publish_due(self, now_s: float) -> list[Incident]:
        busy_above = self._settings.max_listed_anomalies
        due = [group for group in self._groups.values() if group.is_due(self._elapsed_s, busy_above)]
        return [group.publish(now_s, self._elapsed_s, closed=False) for group in due]
