"""`edge-agent egress preview --telemetry`: the telemetry document that would leave now, to the byte.

Rules: nothing is sent. The figures are those of the status file, which a running agent writes now and then; without one they
are 0. The body comes from the same functions with which the telemetry worker makes it.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from typing import Any

import edge_agent
from edge_agent.config.settings import Settings
from edge_agent.messages import Health, Topics
from edge_agent.messages.telemetry import OTHER, telemetry_body, telemetry_of
from edge_agent.workers.status_file import AgentStatus, read_status, status_paths


def preview_telemetry(settings: Settings) -> int:
    """Write the bytes to standard output, and all about them to standard error. Raises EgressError."""
    status = read_status(status_paths(settings.runtime_dir, settings.state_dir, settings.gateway.id), settings.state_dir)
    body = body_of(status)
    switched = f"every {settings.telemetry.period_s:g} s" if settings.telemetry.enabled else "never: `telemetry.enabled` is false"
    lines = (
        f"goes to      the topic {Topics(settings.mqtt.root, settings.gateway.id).telemetry}, {switched}",
        f"figures      {'of the agent that runs' if status is not None else 'none, because the agent does not run'}",
        f"body         {len(body):,} bytes, SHA-256 {hashlib.sha256(body).hexdigest()}",
    )
    print("\n".join(lines), file=sys.stderr)
    sys.stdout.flush()
    sys.stdout.buffer.write(body)
    sys.stdout.buffer.flush()
    return 0


def body_of(status: AgentStatus | None) -> bytes:
    """The document with the figures of a status file. Raises EgressError."""
    if status is None:
        return telemetry_body(telemetry_of(_health({}), uptime_s=0.0, kinds={}, latency_s={}))
    latency_s = {
        name: (quantiles["p50"], quantiles["p95"], quantiles["p99"]) for name, quantiles in status.latency_s.items() if quantiles
    }
    made = telemetry_of(_health(status.health), uptime_s=status.running_s, kinds=status.kinds, latency_s=latency_s)
    return telemetry_body(made)


def _health(document: Mapping[str, Any]) -> Health:
    """Of the health document what telemetry is made of."""
    return Health(
        version=document.get("version", edge_agent.__version__),
        release=document.get("release", OTHER),
        boot_id="",
        started_s=0.0,
        time_s=0.0,
        drops=document.get("drops", {}),
        counts=document.get("counts", {}),
    )
