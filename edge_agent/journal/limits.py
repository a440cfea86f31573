"""The caps that the journal keeps, worked out once from the settings.

Rules: pure. Slack: how many go at once, so that looking for the oldest is paid once for many.
"""

from __future__ import annotations

from msgspec import Struct

from edge_agent.config.settings import JournalSettings


class Limits(Struct, frozen=True, kw_only=True):
    """What operations keep to."""

    max_outbox: int
    max_message_bytes: int
    max_message_age_s: float
    keep_incidents: int
    keep_log_entries: int
    keep_dead_letters: int

    @property
    def outbox_slack(self) -> int:
        """Messages dropped beyond the excess when the outbox is full."""
        return self.max_outbox // 100

    @property
    def incident_slack(self) -> int:
        """Incidents removed beyond the excess, and new ones before another look when none could be removed."""
        return max(1, self.keep_incidents // 100)

    @property
    def log_slack(self) -> int:
        """Entries of a log beyond `keep_log_entries` that are removed together."""
        return max(1, self.keep_log_entries // 100)


def limits_of(settings: JournalSettings) -> Limits:
    """The caps of a configuration."""
    return Limits(
        max_outbox=settings.max_outbox,
        max_message_bytes=settings.max_bytes // 8,
        max_message_age_s=settings.max_message_age_s,
        keep_incidents=settings.keep_incidents,
        keep_log_entries=settings.keep_log_entries,
        keep_dead_letters=settings.keep_dead_letters,
    )
