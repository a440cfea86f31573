"""Facts to plan: what is said of an incident, in which order and grouping. Code plans, the writer phrases.

Rules: pure and deterministic. Streams that did the same thing at the same time become one subject; the most severe subjects
are kept, at most `MAX_SUBJECTS`, and told in order of time in chunks of one or two; what is left is told as counts. Grouped
subjects stand alone in their chunk. The time told of a spike or dip is that of the peak whose value is told, of all else the
onset; order, "at the same time" and durations are those of the times told. Every slot of a plan has its own token, so that no
chunk can borrow another's fact.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo

from msgspec import Struct

from edge_agent.facts import (
    DIRECTED_KINDS,
    MOVED,
    print_date,
    print_duration,
    print_name,
    print_names,
    print_time,
    print_values,
    quoted,
)
from edge_agent.values import Anomaly, Chunk, ChunkSubject, Ending, Evidence, Facts, Plan, Relation, Slot

MAX_SUBJECTS = 6
MAX_NAMED_STREAMS = 5
GROUP_WITHIN_S = 10.0
"""Times this close, of the same kind and direction, are one group; its time is printed as "around"."""
LEAST_DURATION_S = 0.001
"""A shorter one is not told: no duration is printed finer."""
TOGETHER_WITHIN_S = 1.0
"""Two times this close are told as "at the same time"."""


class _Subject(Struct, frozen=True):
    """Anomalies told as one, the furthest from normal first."""

    anomalies: tuple[Anomaly, ...]

    @property
    def time_s(self) -> float:
        return min(_time_told_s(a) for a in self.anomalies)

    @property
    def weight(self) -> tuple[float, float, int]:
        return (max(a.score for a in self.anomalies), max(abs(a.magnitude) for a in self.anomalies), len(self.anomalies))

    @property
    def is_led(self) -> bool:
        """Whether the first is known to be the furthest from normal: all distances are known, or none and scores decide."""
        first, second, *_ = self.anomalies
        known = {a.magnitude != 0 for a in self.anomalies}
        return len(known) == 1 and (abs(first.magnitude), first.score) > (abs(second.magnitude), second.score)


def arrange(facts: Facts, zone: tzinfo) -> Plan:
    """Plan the text of an incident. `zone` is the time zone that times are printed in."""
    subjects = sorted(_subjects(facts.anomalies), key=lambda s: s.weight, reverse=True)[:MAX_SUBJECTS]
    subjects.sort(key=lambda s: (s.time_s, s.anomalies[0].stream))
    printer = _SlotPrinter(zone)
    chunks: list[Chunk] = []
    position = 0
    while position < len(subjects):
        first = subjects[position]
        second = subjects[position + 1] if position + 1 < len(subjects) else None
        if second is None or len(first.anomalies) > 1 or len(second.anomalies) > 1:
            chunks.append(Chunk(relation="alone", subjects=(printer.subject(position, first, "alone"),)))
            position += 1
        else:
            relation: Relation = "together" if second.time_s - first.time_s <= TOGETHER_WITHIN_S else "then"
            pair = (printer.subject(position, first, "alone"), printer.subject(position + 1, second, relation))
            chunks.append(Chunk(relation=relation, subjects=pair))
            position += 2
    told = sum(len(s.anomalies) for s in subjects)
    untold = facts.incident.anomaly_count - told
    if untold > 0:
        printer.tail(untold)
    if facts.evidence is not None:
        printer.evidence(facts.evidence)
    return Plan(chunks=tuple(chunks), slots=tuple(printer.slots), tail=untold > 0, evidence=facts.evidence is not None)


def _subjects(anomalies: Sequence[Anomaly]) -> list[_Subject]:
    """Group anomalies of one kind and direction whose times lie close; one stream once in a group."""
    groups: list[list[Anomaly]] = []
    for anomaly in sorted(anomalies, key=lambda a: (_time_told_s(a), a.stream)):
        for group in groups:
            first = group[0]
            if (
                (first.kind, first.direction) == (anomaly.kind, anomaly.direction)
                and _time_told_s(anomaly) - _time_told_s(first) <= GROUP_WITHIN_S
                and len(group) < MAX_NAMED_STREAMS
                and all(member.stream != anomaly.stream for member in group)
                and (anomaly.kind not in DIRECTED_KINDS or None not in (anomaly.observed, first.observed))
                and (anomaly.kind not in DIRECTED_KINDS or anomaly.direction != "none")
            ):
                group.append(anomaly)
                break
        else:
            groups.append([anomaly])
    subjects = [_Subject(tuple(sorted(g, key=lambda a: (-abs(a.magnitude), -a.score, a.onset_s, a.stream)))) for g in groups]
    return [told for subject in subjects for told in _worth_grouping(subject)]


def _time_told_s(anomaly: Anomaly) -> float:
    return anomaly.peak_s if anomaly.kind in ("spike", "dip") and anomaly.observed is not None else anomaly.onset_s


def _worth_grouping(subject: _Subject) -> list[_Subject]:
    """The subject, or its two members apart: as a pair they keep their values, as a group without a leader they have none."""
    if len(subject.anomalies) == 2 and subject.anomalies[0].kind in DIRECTED_KINDS and not subject.is_led:
        return [_Subject((anomaly,)) for anomaly in subject.anomalies]
    return [subject]


def _ending(subject: _Subject) -> Ending:
    endings = {_ending_of(a) for a in subject.anomalies}
    return endings.pop() if len(endings) == 1 else "unknown"


def _ending_of(anomaly: Anomaly) -> Ending:
    if anomaly.end_s is None:
        return "unknown" if anomaly.ending == "unknown" else "ongoing"
    # What became usual after a spike or dip is not its peak, so that "stayed there" would say too much.
    says_too_much = anomaly.kind in ("spike", "dip") and anomaly.ending == "adopted"
    return "unknown" if says_too_much or anomaly.ending == "ongoing" else anomaly.ending


class _SlotPrinter:
    """Prints slots as subjects are laid out; remembers the last time printed, so that a date is given once."""

    def __init__(self, zone: tzinfo) -> None:
        self.slots: list[Slot] = []
        self._zone = zone
        self._previous_s: float | None = None

    def subject(self, index: int, subject: _Subject, relation: Relation) -> ChunkSubject:
        """Print one subject's slots in canonical order and describe it for prompt and verifier."""
        lead = subject.anomalies[0]
        grouped = len(subject.anomalies) > 1
        before = len(self.slots)
        if grouped:
            self._add("streams", index, print_names(sorted(a.stream for a in subject.anomalies)))
        else:
            self._add("stream", index, print_name(lead.stream))
        if lead.direction != "none":
            self._add("moved", index, MOVED[lead.direction])
        if not grouped:
            self._values(index, lead)
        elif lead.kind in DIRECTED_KINDS and lead.observed is not None and subject.is_led:
            self._add("lead", index, print_name(lead.stream))
            self._add("peak", index, print_values([lead.observed], lead.unit)[0])
        if relation != "together":
            self._add("at", index, print_time(subject.time_s, self._zone, self._previous_s))
            self._previous_s = subject.time_s
        # A group's members end at different times, so that no one duration is true of all.
        if not grouped and lead.ending == "returned" and lead.end_s is not None:
            lasted_s = lead.end_s - subject.time_s
            if lasted_s >= LEAST_DURATION_S:
                self._add("for", index, print_duration(lasted_s))
        roles = tuple(slot.role for slot in self.slots[before:])
        return ChunkSubject(index=index, kind=lead.kind, ending=_ending(subject), grouped=grouped, roles=roles)

    def _values(self, index: int, anomaly: Anomaly) -> None:
        if anomaly.kind == "silence" or anomaly.observed is None:
            return
        baseline = None if anomaly.kind == "stuck" else anomaly.baseline
        values = [anomaly.observed] if baseline is None else [anomaly.observed, baseline]
        for role, text in zip(("peak", "base"), print_values(values, anomaly.unit), strict=False):
            self._add(role, index, text)

    def tail(self, untold: int) -> None:
        """Print the count of what is not told."""
        self._add("rest", 0, f"{untold} more {'anomaly' if untold == 1 else 'anomalies'}")

    def evidence(self, evidence: Evidence) -> None:
        """Print the nearest past incident."""
        self._add("past", 0, print_date(evidence.opened_s, self._zone))
        self._add("asset", 0, print_name(evidence.asset))
        self._add("cause", 0, quoted(evidence.cause))

    def _add(self, role: str, index: int, text: str) -> None:
        self.slots.append(Slot(token=f"<{role}:{index}>", role=role, text=text))
