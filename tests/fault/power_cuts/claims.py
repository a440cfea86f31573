"""What must be true of a journal after a power cut, told by the marks that its program wrote before the cut.

Rules: what a call acknowledged (`!`) is there, with exactly its content; what was begun (`?`) may be there, whole; what was
never begun is not. A transaction is there with all of its rows or not at all. A message may be missing only if its delivery
was begun, or, where messages of one topic replace each other, if another one that is not known to be older was queued.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from edge_agent.errors import StorageError
from edge_agent.journal import JOURNAL_NAME, Journal
from edge_agent.values import Message
from tests.fault.power_cuts import workload
from tests.journals import SetClock, waiting

_NEVER = 1 << 60


class Findings(Struct):
    """What is wrong with one journal after one cut; all empty where nothing is."""

    damage: str = ""
    """What the journal itself reported at its opening."""
    lost: list[str] = []
    """Acknowledged, and not there or not as acknowledged."""
    strange: list[str] = []
    """There, and never stored; or half a transaction; or given up by the journal without need."""

    def __bool__(self) -> bool:
        return bool(self.damage or self.lost or self.strange)


class Claims:
    """What is known from the marks so far. A place is a mark's number."""

    def __init__(self) -> None:
        self._place = 0
        self._begun: dict[str, int] = {}
        """Each call and the place where it began."""
        self._acknowledged: dict[str, int] = {}
        """Each call and the place where it was acknowledged."""
        self._revisions: dict[int, int] = {}
        """Each incident and its highest acknowledged revision."""
        self._explained: dict[int, int] = {}
        self._closed: set[int] = set()
        self._messages: dict[str, Message] = {}
        """Messages of acknowledged calls that nothing excuses from being there, by key."""
        self._latest: dict[str, tuple[int, int]] = {}
        """Messages that replace each other: where each was begun and where acknowledged."""
        self._delivered: set[str] = set()

    def mark(self, text: str) -> None:
        """The next mark."""
        self._place += 1
        sign, _, call = text.partition(" ")
        what, *words = call.split()
        if what == "delivered":
            self._delivered.update(words)
            for key in words:
                self._messages.pop(key, None)
            return
        (self._begun if sign == "?" else self._acknowledged)[call] = self._place
        for message in messages_of(call):
            key = workload.key_of(message)
            if message.supersedes:
                begun, _ = self._latest.get(key, (self._place, 0))
                self._latest[key] = (begun, _NEVER if sign == "?" else self._place)
            elif sign == "!" and key not in self._delivered:
                self._messages[key] = message
        if sign == "!":
            number = int(words[0])
            match what:
                case "record":
                    self._revisions[number] = int(words[1])
                case "summary":
                    self._explained[number] = int(words[1])
                case "close":
                    self._closed.add(number)

    def check(self, folder: Path) -> Findings:
        """Open the journal of a folder as the next start of the service would, and look for everything."""
        found = Findings()
        try:
            journal = Journal.open(folder / JOURNAL_NAME, workload.SETTINGS, SetClock())
        except StorageError as error:
            return Findings(damage=str(error), lost=sorted(self._acknowledged))
        with journal:
            found.damage = journal.opening.damage
            if journal.counts().dropped:
                found.strange.append(f"given up: {journal.drops()}")
            queued = waiting(journal)
            self._check_incidents(journal, found)
            there = {workload.key_of(message): message for message in queued}
            if len(there) != len(queued):
                found.strange.append("a message twice")
            self._check_messages(there, found)
            self._check_transactions(journal, there, found)
        return found

    def _check_incidents(self, journal: Journal, found: Findings) -> None:
        stored = {int(one.incident.id[2:]): one for one in journal.incidents(100_000)}
        for number, revision in self._revisions.items():
            if number not in stored or stored[number].incident.revision < revision:
                found.lost.append(f"incident {number} revision {revision}")
        for number, one in stored.items():
            revision = one.incident.revision
            if one.incident != workload.incident_of(number, revision) or f"record {number} {revision}" not in self._begun:
                found.strange.append(f"incident {number} revision {revision}")
            explained, written = self._explained.get(number, 0), one.explained_revision or 0
            summary = journal.summary(one.incident.id) if written else None
            if written < explained:
                found.lost.append(f"summary {number} revision {explained}")
            if written and (summary != workload.summary_of(number, written) or f"summary {number} {written}" not in self._begun):
                found.strange.append(f"summary {number} revision {written}")
            if one.closure is None and number in self._closed:
                found.lost.append(f"closure {number}")
            if one.closure is not None and (one.closure != workload.closure_of(number) or f"close {number}" not in self._begun):
                found.strange.append(f"closure {number}")

    def _check_messages(self, there: dict[str, Message], found: Findings) -> None:
        found.lost += [f"message {key}" for key, message in self._messages.items() if there.get(key) != message]
        # Excused by one that is there or was delivered, unless that was acknowledged before the missing one began.
        excuse = max((self._latest[key][1] for key in (*self._delivered, *there) if key in self._latest), default=0)
        found.lost += [f"message {key}" for key, (begun, end) in self._latest.items() if end != _NEVER and excuse < begun]

    def _check_transactions(self, journal: Journal, there: dict[str, Message], found: Findings) -> None:
        """Each message that is there belongs to a call that was begun, and a call's rows and messages come together."""
        known: set[str] = set()
        stored = {int(one.incident.id[2:]): one for one in journal.incidents(100_000)}
        for call in self._begun:
            what, number, *revision = call.split()
            one = stored.get(int(number))
            match what:
                case "record":
                    done = one is not None and one.incident.revision >= int(revision[0])
                case "summary":
                    done = one is not None and (one.explained_revision or 0) >= int(revision[0])
                case _:
                    done = one is not None and one.closure is not None
            for message in messages_of(call):
                key = workload.key_of(message)
                if key in there:
                    known.add(key)
                    if there[key] != message:
                        found.strange.append(f"message {key} with another content")
                if not message.supersedes and done != (key in there) and not (done and key in self._delivered):
                    found.strange.append(f"half of {call}")
        found.strange += [f"message {key}" for key in sorted(there.keys() - known)]


@functools.cache
def messages_of(call: str) -> Sequence[Message]:
    """The messages that a call queues."""
    what, number, *revision = call.split()
    match what:
        case "record":
            return workload.incident_messages(int(number), int(revision[0]))
        case "summary":
            return workload.summary_messages(int(number), int(revision[0]))
        case "close":
            return workload.closure_messages(int(number))
    return []
