"""One value of each kind that is published."""

from __future__ import annotations

from edge_agent.messages import Health
from edge_agent.values import Anomaly, Escalation, Evidence, Incident, Slot, Summary

AT_S = 1_795_341_600.0  # 2026-11-22T10:00:00Z

ANOMALY = Anomaly(
    stream="pump-3/vibration",
    kind="shift",
    direction="up",
    onset_s=AT_S,
    peak_s=AT_S + 2.5,
    end_s=AT_S + 60,
    score=0.75,
    observed=7.25,
    baseline=2.0,
    unit="mm/s",
    magnitude=9.5,
    ending="adopted",
    kind_confidence=0.875,
    signature=bytes(range(32)),
)
INCIDENT = Incident(
    id="pump-3-20261122t100001z-0a1b2c",
    asset="pump-3",
    state="open",
    revision=2,
    opened_s=AT_S + 1,
    updated_s=AT_S + 61,
    anomalies=(ANOMALY,),
    anomaly_count=3,
    stream_count=2,
    severity=0.8,
)
SUMMARY = Summary(
    incident_id=INCIDENT.id,
    revision=2,
    text="pump-3/vibration rose to 7.25 mm/s.",
    skeleton="<stream:1> <moved:1> to <peak:1>.",
    slots=(Slot(token="<peak:1>", role="peak", text="7.25 mm/s"),),
    confidence=0.9,
    route="writer",
    verdict="local",
    reasons=(),
    release="factory-1",
    written_s=AT_S + 62,
    asset="pump-3",
    evidence=Evidence(incident_id="pump-3-old", asset="pump-3", opened_s=AT_S - 1e6, cause="bearing wear", similarity=0.93),
)
ESCALATION = Escalation(
    incident_id=INCIDENT.id,
    revision=2,
    id="q-0123456789abcdef01234567",
    state="refused",
    reasons=("low-confidence",),
    severity=0.8,
    queued_s=AT_S + 62,
    changed_s=AT_S + 65,
    attempts=1,
    outcome="role-wrong",
)
HEALTH = Health(
    version="0.1.0",
    release="factory-1",
    boot_id="b",
    started_s=AT_S,
    time_s=AT_S + 10,
    clock_synced=True,
    queues={"outbox": 2, "arrivals": 0},
    drops={"bad-json": 3},
)
