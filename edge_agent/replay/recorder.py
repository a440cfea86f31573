"""The sentences of a replay and the log of its decisions, byte for byte.

Rules: every revision of every incident is explained, in order; no past incident is referred to, because which ones an agent
remembers is no part of the recording. A summary is dated by the row with which it came. The log is a hash chain from its first
entry on (`docs/formats/logs.md`).
"""

from __future__ import annotations

from datetime import tzinfo

from edge_agent.engines.speaking import Speaker
from edge_agent.messages.decisions import decision_entry
from edge_agent.messages.documents import encode, summary_document
from edge_agent.messages.log_lines import Chain
from edge_agent.values import Incident, LogEntry


class Recorder:
    """Explains what a replay hands it. `summaries` are lines as on `summary/<incident-id>`, `log` the decisions."""

    def __init__(self, speaker: Speaker, zone: tzinfo) -> None:
        self.summaries: list[bytes] = []
        self.log: list[LogEntry] = []
        self._speaker = speaker
        self._zone = zone
        self._chain = Chain()

    @property
    def head(self) -> bytes:
        """The hash of the last decision."""
        return self._chain.head

    def revised(self, incident: Incident, now_s: float) -> None:
        """Explain one revision of an incident; `now_s` is the time of the row with which it came."""
        summary = self._speaker.explain(incident, None, now_s, self._zone)
        self.summaries.append(encode(summary_document(summary)) + b"\n")
        self.log.append(self._chain.append(decision_entry(incident, summary)))
