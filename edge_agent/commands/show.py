"""`edge-agent status` and `edge-agent incidents`: what an agent's journal and status file say, as text or JSON.

Rules: the journal is opened read-only beside the agent that writes it; an agent that does not run is a normal answer, told
by the exit code of `status`; times are UTC, as in the published documents.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import msgspec

from edge_agent.commands.journal import open_reader
from edge_agent.config.settings import Settings
from edge_agent.errors import RequestError
from edge_agent.messages import encode
from edge_agent.values import IncidentState
from edge_agent.workers.requests import full_incident, short_incident
from edge_agent.workers.status_file import AgentStatus, read_status, status_paths

NOT_RUNNING = 1


def show_status(settings: Settings, *, as_json: bool) -> int:
    """Print how the agent is; the exit code is 0 while it runs, else 1. Raises StorageError."""
    status = read_status(status_paths(settings.runtime_dir, settings.state_dir, settings.gateway.id), settings.state_dir)
    with open_reader(settings) as reader:
        document: dict[str, Any] = {
            "gateway": settings.gateway.id,
            "running": status is not None,
            **({} if status is None else {k: v for k, v in msgspec.to_builtins(status).items() if k != "pid_start"}),
            "journal": {
                "incidents_open": len(reader.open_incidents()) if reader else 0,
                "incidents_to_explain": reader.unexplained() if reader else 0,
                "dropped": {drop.reason: drop.count for drop in reader.drops()} if reader else {},
            },
            "latest": [short_incident(reader, stored) for stored in reader.incidents(3, None, None)] if reader else [],
        }
    if as_json:
        _print_json(document)
    else:
        _print_status(document, status)
    return 0 if status is not None else NOT_RUNNING


def show_incidents(settings: Settings, *, limit: int, state: IncidentState | None, as_json: bool) -> int:
    """Print the newest incidents with their sentences. Raises StorageError."""
    with open_reader(settings) as reader:
        rows = [short_incident(reader, stored) for stored in reader.incidents(max(1, limit), state, None)] if reader else []
    if as_json:
        _print_json(rows)
    elif not rows:
        print("no incidents")
    else:
        for row in rows:
            _print_incident(row)
    return 0


def show_incident(settings: Settings, incident_id: str) -> int:
    """Print one incident in full as JSON. Raises RequestError if it is not in the journal, StorageError."""
    with open_reader(settings) as reader:
        stored = reader.incident(incident_id) if reader else None
        if reader is None or stored is None:
            raise RequestError("unknown-incident", f"{incident_id}: there is no such incident in the journal")
        _print_json(full_incident(reader, stored))
    return 0


def _print_json(document: object) -> None:
    """JSON is UTF-8 whatever the locale says."""
    sys.stdout.flush()
    sys.stdout.buffer.write(msgspec.json.format(encode(document), indent=2) + b"\n")
    sys.stdout.buffer.flush()


def _print_status(document: Mapping[str, Any], status: AgentStatus | None) -> None:
    if status is None:
        print(f"{document['gateway']}: not running")
    else:
        health: Mapping[str, Any] = status.health
        connected = "connected to the broker" if status.connected else "not connected to the broker"
        print(f"{status.gateway}: running (pid {status.pid}), {health.get('status')}, {connected}")
        print(f"  as of       {health.get('time')}, since {health.get('started')}")
        print(f"  version     {health.get('version')}, release {health.get('release')}")
        if health.get("certificate"):
            print(f"  certificate {health['certificate']}")
        print(f"  streams     {health.get('streams')}, open incidents {health.get('open_incidents')}")
        for name in ("queues", "counts", "drops"):
            print(f"  {name:<11} {_figures(health.get(name))}")
        for measured, quantiles in status.latency_s.items():
            if quantiles:
                shown = ", ".join(f"{rank} {1000 * quantiles[rank]:.1f} ms" for rank in ("p50", "p95", "p99"))
                print(f"  {measured}: {shown} (n {quantiles['count']:.0f})")
        for problem in health.get("problems") or ():
            print(f"  problem     {problem}")
    print(f"  journal     {_figures({k: v for k, v in document['journal'].items() if k != 'dropped'})}")
    if document["journal"]["dropped"]:
        print(f"  dropped     {_figures(document['journal']['dropped'])}")
    for row in document["latest"]:
        _print_incident(row)


def _figures(members: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in members.items()) if members else "-"


def _print_incident(row: Mapping[str, Any]) -> None:
    count = row["anomaly_count"]
    anomalies = f"{count} anomal{'y' if count == 1 else 'ies'}"
    print(f"{row['id']}  {row['state']}  {row['opened']}  {anomalies} on {row['asset']}, severity {row['severity']:.2f}")
    print(f"    {row['text'] or 'not explained yet'}")
    if row["cause"]:
        print(f"    cause: {row['cause']}" + (f" ({row['note']})" if row["note"] else ""))
