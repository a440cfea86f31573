"""What the log of decisions says, held against what is stored, and against what the release says when it is asked once more.

Rules: nothing is changed. An agent may be writing meanwhile: where a summary and its newest entry differ, both are read again
before that is called a problem. Only what can be repeated is repeated: sentences of this agent's version, by a release that is
still on the disk; the past incident is the stored one, because the memory has changed since.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from zoneinfo import ZoneInfo

from msgspec import Struct, field
from msgspec.structs import replace

import edge_agent
from edge_agent.commands.logs import entries
from edge_agent.commands.speakers import Speakers
from edge_agent.config.settings import Settings
from edge_agent.engines.speaking import Speaker
from edge_agent.errors import InputError, ReleaseError
from edge_agent.journal import StoredIncident
from edge_agent.journal.reader import Reader
from edge_agent.messages.decisions import DecisionEntry, decision_entry, differences, read_entry
from edge_agent.values import Incident, LogEntry, Summary

PAGE = 256
_READ_AGAIN = 3


class Decided(Struct, frozen=True):
    """A stored summary that is what its entry says."""

    incident: Incident
    summary: Summary
    entry: DecisionEntry


class Checked(Struct, frozen=True):
    """The stored summaries against the log: those that fit, how many have no entry, and what does not fit, in words."""

    said: list[Decided] = field(default_factory=list)
    absent: int = 0
    problems: tuple[str, ...] = ()


class Said(Struct, frozen=True):
    """Sentences written again: how many are the same, why others were not written again, and what differs, in words."""

    same: int
    skipped: Counter[str]
    problems: tuple[str, ...]


def check_summaries(reader: Reader, log: Sequence[LogEntry]) -> Checked:
    """Hold every stored summary against the newest entry about its incident. Raises StorageError."""
    newest = _Newest(reader, log)
    said, problems, absent = [], [], 0
    for stored in _stored(reader):
        found = newest.judge(stored)
        if isinstance(found, Decided):
            said.append(found)
        elif found is not None:
            problems.append(found)
        elif reader.summary(stored.incident.id) is not None:
            absent += 1
    return Checked(said, absent, tuple(problems))


def explain_again(decided: Sequence[Decided], settings: Settings) -> Said:
    """Write the sentences of closed incidents again, with the release that wrote each and the past incident that is stored.

    Raises StorageError where it cannot be read which releases there are.
    """
    speakers = Speakers(settings, _complain)
    zone = ZoneInfo(settings.writer.timezone)
    same, problems = 0, []
    skipped: Counter[str] = Counter()
    for one in decided:
        summary, why = one.summary, _unrepeatable(one)
        speaker = None if why else speakers.speaker(summary.release)
        why = why or _unspeakable(summary, speaker)
        if speaker is None or why:
            skipped[why] += 1
            continue
        by_template = "no-writer" in summary.reasons
        again = speaker.explain(one.incident, summary.evidence, summary.written_s, zone, by_template=by_template)
        if again.text == summary.text:
            same += 1
        else:
            problems.append(
                f"{one.incident.id}: said otherwise now: {_printable(again.text)}\n  then: {_printable(summary.text)}"
            )
    return Said(same, skipped, tuple(problems))


class _Newest:
    """The newest decision on each incident: its number and what it says."""

    def __init__(self, reader: Reader, log: Sequence[LogEntry]) -> None:
        self._reader = reader
        self._last = 0
        self._decisions: dict[str, tuple[int, DecisionEntry]] = {}
        self._take(log)

    def judge(self, stored: StoredIncident) -> Decided | str | None:
        """What fits, what does not in words, or None where there is no summary or no entry."""
        incident: Incident | None = stored.incident
        problem: str | None = None
        for _ in range(_READ_AGAIN):
            if incident is None:
                return None
            summary = self._reader.summary(incident.id)
            number, entry = self._decisions.get(incident.id, (0, None))
            if summary is None or entry is None:
                return None
            problem = _problem(incident, summary, number, entry)
            if problem is None:
                return Decided(incident, summary, entry)
            # The agent may have written between the two readings.
            self._take(list(entries(self._reader, "audit", self._last)))
            again = self._reader.incident(incident.id)
            incident = again.incident if again is not None else None
        return problem

    def _take(self, log: Sequence[LogEntry]) -> None:
        for entry in log:
            self._last = entry.number
            try:
                read = read_entry(entry.body)
            except InputError:
                continue  # of a newer agent; that its bytes are whole is known
            if isinstance(read, DecisionEntry):
                self._decisions[read.incident] = (entry.number, read)


def _problem(incident: Incident, summary: Summary, number: int, entry: DecisionEntry) -> str | None:
    """Why a summary is not what an entry says, in words; None where it is."""
    stored = read_entry(decision_entry(incident, summary))
    if not isinstance(stored, DecisionEntry):
        raise TypeError("a decision was read back as something else")
    stored = replace(stored, agent=entry.agent, revision=summary.revision)
    if incident.revision != summary.revision:
        stored = replace(stored, input=entry.input)  # the incident went on and is not explained yet
    found = differences(entry, stored)
    return f"{incident.id}: the stored summary is not what entry {number} says:\n  " + "\n  ".join(found[1:]) if found else None


def _unrepeatable(one: Decided) -> str:
    """Why a sentence cannot be written again by any release, in words; empty where it can."""
    summary = one.summary
    if one.incident.state != "closed" or one.incident.revision != summary.revision:
        return "still open, or not explained yet as it was closed"
    if summary.revised or summary.route == "cloud":
        return "a stronger model's wording"
    if "explaining-failed" in summary.reasons:
        return "only counted, because explaining failed"
    if one.entry.agent != edge_agent.__version__:
        return f"written by version {one.entry.agent} of the agent, this is {edge_agent.__version__}"
    return ""


def _unspeakable(summary: Summary, speaker: Speaker | None) -> str:
    """Why the release that wrote a sentence cannot write it again, in words; empty where it can."""
    if speaker is None:
        return f"written by release {summary.release}, which is not on this device any more"
    if speaker.release.id != summary.release:
        return f"written by release {summary.release}, which cannot be opened now"
    if summary.route != "template" and not speaker.writes:
        return "written by the writer, which cannot be had now"
    return ""


def _stored(reader: Reader) -> Iterator[StoredIncident]:
    before: int | None = None
    while page := reader.incidents(PAGE, None, before):
        yield from page
        before = page[-1].number


def _complain(error: ReleaseError) -> None:
    print(f"edge-agent: the template speaks: {error}", file=sys.stderr)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
