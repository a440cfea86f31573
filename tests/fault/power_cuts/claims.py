"""What must be true of a journal after a power cut, told by the marks that its program wrote before the cut.

Rules: what a call acknowledged (`!`) is there, with exactly its content, unless a later call on the same key was begun; what
was begun (`?`) may be there, whole: all that it stores or nothing; what was never begun is not there. A message may be missing
only if its delivery was begun, or, where messages of one topic replace each other, if another one that is not known to be
older was queued. Both logs are whole chains, each entry once.
"""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from edge_agent.chain import first_break
from edge_agent.errors import StorageError
from edge_agent.journal import JOURNAL_NAME, Journal
from edge_agent.journal.records import LogName
from edge_agent.values import Message
from tests.fault.power_cuts import workload
from tests.fault.power_cuts.calls import BURIED, Effects, Kept, effects, is_escalated, key_of, number_of
from tests.journals import SetClock, waiting

_NEVER = 1 << 60
_LOGS: tuple[LogName, ...] = ("audit", "egress")


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


class Contents(Struct):
    """All that an opened journal tells."""

    kept: dict[str, Kept]
    messages: dict[str, Message]
    buried: dict[str, Message]
    logs: dict[LogName, list[bytes]]
    complaints: list[str]


class Claims:
    """What is known from the marks so far. A place is a mark's number."""

    def __init__(self) -> None:
        self._place = 0
        self._acknowledged: dict[str, Kept] = {}
        """By key, what the last acknowledged call stored."""
        self._begun: dict[str, list[Kept]] = {}
        """By key, what was begun since, so that it may stand there instead."""
        self._open_calls: dict[str, Effects] = {}
        """Calls that were begun and never acknowledged."""
        self._queued: dict[str, Message] = {}
        """Messages of acknowledged calls that nothing excuses from being there, by key."""
        self._possible: dict[str, Message] = {}
        """Messages of all calls that were begun."""
        self._latest: dict[str, tuple[int, int]] = {}
        """Messages that replace each other: where each was begun and where acknowledged."""
        self._delivered: set[str] = set()
        self._burying: set[str] = set()
        self._buried: set[str] = set()
        self._logged: dict[LogName, set[bytes]] = {name: set() for name in _LOGS}
        self._loggable: dict[LogName, set[bytes]] = {name: set() for name in _LOGS}

    def mark(self, text: str) -> None:
        """The next mark."""
        self._place += 1
        sign, _, call = text.partition(" ")
        what, *words = call.split()
        if what == "delivered":
            self._delivered.update(words)
            for key in words:
                self._queued.pop(key, None)
        elif what == "bury":
            (self._burying if sign == "?" else self._buried).add(words[0])
            self._queued.pop(words[0], None)
        elif sign == "?":
            self._begin(call, effects(call))
        else:
            self._acknowledge(call, effects(call))

    def _begin(self, call: str, does: Effects) -> None:
        self._open_calls[call] = does
        for key, value in does.kept.items():
            self._begun.setdefault(key, []).append(value)
        for name, body in _entries(does):
            self._loggable[name].add(body)
        for message in does.messages:
            self._possible[key_of(message)] = message
            if message.supersedes:
                self._latest[key_of(message)] = (self._place, _NEVER)

    def _acknowledge(self, call: str, does: Effects) -> None:
        del self._open_calls[call]
        for key, value in does.kept.items():
            self._acknowledged[key] = value
            self._begun[key].clear()
        for name, body in _entries(does):
            self._logged[name].add(body)
        for message in does.messages:
            key = key_of(message)
            if message.supersedes:
                self._latest[key] = (self._latest[key][0], self._place)
            elif key not in self._delivered | self._burying:
                self._queued[key] = message

    def check(self, folder: Path) -> Findings:
        """Open the journal of a folder as the next start of the service would, and look for everything."""
        try:
            journal = Journal.open(folder / JOURNAL_NAME, workload.SETTINGS, SetClock())
        except StorageError as error:
            return Findings(damage=str(error), lost=sorted(self._acknowledged))
        with journal:
            there = read(journal, {key.removeprefix("meter ") for key in self._begun if key.startswith("meter ")})
            found = Findings(damage=journal.opening.damage, strange=there.complaints)
        self._check_kept(there, found)
        self._check_messages(there, found)
        self._check_logs(there, found)
        self._check_open_calls(there, found)
        return found

    def _check_kept(self, there: Contents, found: Findings) -> None:
        for key, value in self._acknowledged.items():
            if there.kept.get(key) != value and there.kept.get(key) not in self._begun[key]:
                found.lost.append(key)
        for key, value in there.kept.items():
            if self._acknowledged.get(key) != value and value not in self._begun.get(key, ()):
                found.strange.append(key)

    def _check_messages(self, there: Contents, found: Findings) -> None:
        found.lost += [f"message {key}" for key, message in self._queued.items() if there.messages.get(key) != message]
        found.lost += [f"dead letter {key}" for key in self._buried - there.buried.keys()]
        for places in (there.messages, there.buried):
            found.strange += [f"message {key}" for key, message in places.items() if self._possible.get(key) != message]
        found.strange += [f"dead letter {key}" for key in there.buried.keys() - self._burying]
        found.strange += [f"message {key} in two places" for key in there.buried.keys() & there.messages.keys()]
        for key in self._burying - self._buried - self._delivered - there.buried.keys() - there.messages.keys():
            if not any(message.topic == key for does in self._open_calls.values() for message in does.messages):
                found.lost.append(f"message {key}, which was being buried")
        # Excused by one that is there or was delivered, unless that was acknowledged before the missing one began.
        excuse = max((self._latest[key][1] for key in (*self._delivered, *there.messages) if key in self._latest), default=0)
        found.lost += [f"message {key}" for key, (begun, end) in self._latest.items() if end != _NEVER and excuse < begun]

    def _check_logs(self, there: Contents, found: Findings) -> None:
        for name in _LOGS:
            bodies = there.logs[name]
            found.lost += [f"{name}: {body!r}" for body in self._logged[name] - set(bodies)]
            found.strange += [f"{name}: {body!r}" for body in set(bodies) - self._loggable[name]]
            if len(set(bodies)) != len(bodies):
                found.strange.append(f"{name}: an entry twice")

    def _check_open_calls(self, there: Contents, found: Findings) -> None:
        """All or nothing. What a later call replaced, what was delivered or buried tells nothing of the call."""
        for call, does in self._open_calls.items():
            parts = {there.kept.get(key) == value for key, value in does.kept.items() if self._begun[key][-1:] == [value]}
            parts |= {body in there.logs[name] for name, body in _entries(does)}
            for message in does.messages:
                key = key_of(message)
                if not message.supersedes and key not in self._delivered:
                    parts.add(key in there.messages or key in there.buried)
            if len(parts) > 1:
                found.strange.append(f"half of {call}")


def _entries(does: Effects) -> list[tuple[LogName, bytes]]:
    """The entries that a call adds to the logs."""
    return [(name, body) for name, body in (("audit", does.audit), ("egress", does.egress)) if body]  # type: ignore[misc]  # both are log names


def read(journal: Journal, meters: set[str]) -> Contents:
    """Everything in a journal, the meters of these names included."""
    kept: dict[str, Kept] = {}
    complaints = [f"given up: {drop}" for drop in journal.drops() if drop.reason != "buried"]
    for stored in journal.incidents(100_000):
        number = number_of(stored.incident.id)
        summary = journal.summary(stored.incident.id) if stored.explained_revision is not None else None
        escalation = journal.escalation(stored.incident.id) if is_escalated(number) else None
        found = {"incident": stored.incident, "summary": summary, "closure": stored.closure, "escalation": escalation}
        kept |= {f"{what} {number}": value for what, value in found.items() if value is not None}
        if stored.explained_revision != (summary.revision if summary is not None else None):
            complaints.append(f"incident {number} is explained in {stored.explained_revision} by {summary}")
    for name in meters:
        if (body := journal.meter(name)) is not None:
            kept[f"meter {name}"] = body
    queued = waiting(journal)
    messages = {key_of(message): message for message in queued}
    letters = journal.dead_letters(100_000)
    buried = {key_of(letter.message): letter.message for letter in letters if letter.reason == BURIED}
    if len(messages) != len(queued) or len(buried) != len(letters):
        complaints.append("a message or a dead letter twice")
    logs = {name: journal.log(name, 0, 100_000) for name in _LOGS}
    for name, entries in logs.items():
        if (broken := first_break(entries, journal.log_anchor(name))) is not None:
            complaints.append(f"{name}: the chain breaks at {broken}")
    bodies = {name: [entry.body for entry in entries] for name, entries in logs.items()}
    return Contents(kept, messages, buried, bodies, complaints)
