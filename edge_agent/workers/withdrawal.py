"""What waits to leave under settings that no longer hold is taken back before anything is sent: questions and telemetry.

A question by MQTT waits in the outbox, perhaps for days. When meanwhile escalation was switched off, or another topic was
configured, or less is allowed, it must not leave as it was made. So the settings under which questions are made are kept beside
them; at a start with others, what waits is withdrawn (it becomes a dead letter, which stays on the device) and is asked anew.
Telemetry that waits is withdrawn when it was switched off.

Rules: runs once, before any worker. The settings are noted last: after a crash it is done again. What a broker, a server or a
carrier has already taken cannot be taken back.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from edge_agent.clock import Clock
from edge_agent.config.settings import Settings
from edge_agent.escalate.table import destination
from edge_agent.journal import Journal
from edge_agent.messages import Topics, escalation_message

POLICY: Final = "escalation-policy"
"""Name of the meter."""
WITHDRAWN: Final = "withdrawn"
"""Reason of the dead letters, and outcome of the escalations that are asked about anew."""
PAGE: Final = 64


class Policy(Struct, frozen=True, forbid_unknown_fields=True):
    """Under which settings something leaves. `topic` is where questions are published, empty where they are not."""

    backend: str
    topic: str
    allow: tuple[str, ...]
    telemetry: bool

    @property
    def asking(self) -> tuple[str, str, tuple[str, ...]]:
        """What of it is about questions."""
        return self.backend, self.topic, self.allow


def question_topic(settings: Settings) -> str:
    """The topic on which questions are published; empty where they are not."""
    return destination(settings) if settings.escalation.backend == "mqtt" else ""


def withdraw(journal: Journal, topics: Topics, settings: Settings, clock: Clock) -> int:
    """Take back what waits under other settings; how many messages that were. Raises StorageError."""
    escalation = settings.escalation
    allow = tuple(sorted(set(escalation.allow)))
    policy = Policy(escalation.backend, question_topic(settings), allow, settings.telemetry.enabled)
    kept = _read(journal.meter(POLICY))
    if kept == policy:
        return 0
    gone = set[str]()
    if kept is None or kept.asking != policy.asking:
        # Without a note, or with a damaged one, what stands on any topic that questions may have had is taken back.
        gone |= {kept.topic} if kept is not None else {topics.question, policy.topic}
        _ask_anew(journal, topics, clock)
    if not policy.telemetry:
        gone.add(topics.telemetry)
    withdrawn = _bury(journal, gone)
    journal.record_meters({POLICY: msgspec.json.encode(policy)})
    return withdrawn


def _bury(journal: Journal, gone: set[str]) -> int:
    count = after = 0
    while page := journal.outbox(after, PAGE):
        after = page[-1].number
        for queued in page:
            if queued.message.topic in gone:
                journal.bury(queued.number, WITHDRAWN)
                count += 1
    return count


def _ask_anew(journal: Journal, topics: Topics, clock: Clock) -> None:
    """Those that were handed over and wait for an answer; an answer that comes all the same still counts."""
    offset = 0
    while page := journal.pending_escalations(PAGE, offset):
        offset += len(page)
        for escalation in page:
            if escalation.state == "sent":
                anew = replace(escalation, state="queued", outcome=WITHDRAWN, changed_s=clock.now_s())
                journal.settle(anew, messages=(escalation_message(topics, anew),))


def _read(body: bytes | None) -> Policy | None:
    try:
        return msgspec.json.decode(body, type=Policy) if body is not None else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
