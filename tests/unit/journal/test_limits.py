"""`edge_agent.journal.limits`: the caps of a configuration, and how many go at once."""

from __future__ import annotations

from edge_agent.config.settings import JournalSettings
from edge_agent.journal.limits import limits_of


def test_caps_and_slack() -> None:
    limits = limits_of(JournalSettings(max_bytes=8 << 20, max_outbox=5_000, keep_incidents=150, keep_log_entries=100))
    assert (limits.max_message_bytes, limits.max_outbox, limits.outbox_slack) == (1 << 20, 5_000, 50)
    assert (limits.incident_slack, limits.log_slack) == (1, 1)
