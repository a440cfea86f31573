"""Anomalies in, incidents out. `book` holds the rules of what belongs together, `group` one open incident while it changes."""

from __future__ import annotations

from edge_agent.incidents.book import SITE, IncidentBook

__all__ = ["SITE", "IncidentBook"]
