"""The sentences that may be published, as a grammar: for each chunk of a plan, exactly the texts that state it truly.

A phrase of the grammar binds each slot to its role: `to <peak>` is accepted, `from <peak>` is not, because the peak is where
the stream went. Since the pattern of a chunk is made from the chunk itself, a text that matches states its subjects,
directions, roles, times, endings and relation, each once and no others.

Rules: pure; a phrase is added only if it is true of every incident whose plan it can match. The writer's training phrases are
written apart from this module and share nothing with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from edge_agent.values import Chunk, ChunkSubject, Kind, Plan

_TOKEN = re.compile(r"<[a-z]+:\d+>|[a-z]+|[.,;]")


def tokens_of(skeleton: str) -> list[str] | None:
    """Split a skeleton into slots, words and stops; None if anything else stands in it. Capitals count as small letters."""
    text = skeleton.lower()
    found = _TOKEN.findall(text)
    return found if "".join(found) == "".join(text.split()) else None


def accepts(chunk: Chunk, skeleton: str) -> bool:
    """Whether a skeleton states this chunk: completely, truly, and nothing else."""
    tokens = tokens_of(skeleton)
    return tokens is not None and _pattern(chunk).fullmatch(" ".join(tokens)) is not None


def accepts_whole(plan: Plan, skeleton: str) -> bool:
    """Whether a skeleton states every chunk of a plan, in order, then its tail and its evidence, and nothing else."""
    tokens = tokens_of(skeleton)
    if tokens is None:
        return False
    parts = [_source(chunk) for chunk in plan.chunks]
    if plan.tail:
        parts.append(r"this incident also holds <rest:0> \.")
    if plan.evidence:
        parts.append(r"a similar past incident is that of <past:0> on <asset:0> , closed as <cause:0> \.")
    return re.fullmatch(" ".join(parts), " ".join(tokens)) is not None


def pattern(chunk: Chunk) -> str:
    """The regular expression of a chunk's true wordings, over tokens as `tokens_of` gives them with one blank between each."""
    return _source(chunk)


@lru_cache(maxsize=256)
def _pattern(chunk: Chunk) -> re.Pattern[str]:
    return re.compile(_source(chunk))


def _source(chunk: Chunk) -> str:
    first, *others = chunk.subjects
    rest = r" \."
    if chunk.relation != "alone":
        (second,) = others
        when = "at the same time" if chunk.relation == "together" else f"then(?: ,)? at {_slot(second, 'at')}"
        rest = rf"(?: , and| \.) {when}(?: ,)? {_clause(second, '')} \."
    fronted = f"{_onset(first)} , {_clause(first, '')}"
    inline = _clause(first, f" {_onset(first)}")
    return _either(fronted, inline) + rest


def _onset(subject: ChunkSubject) -> str:
    near = "around" if subject.grouped else "at"
    at = _slot(subject, "at")
    if subject.kind == "drift":
        return f"(?:from {'around ' if subject.grouped else ''}{at} on|starting {near} {at})"
    return f"{near} {at}"


def _clause(subject: ChunkSubject, time: str) -> str:
    """Subject, predicate and ending; `time` (with a leading blank) stands where the predicate puts it."""
    name = _slot(subject, "streams" if subject.grouped else "stream")
    return f"{name} {_PREDICATES[subject.kind](subject, time)}{_ending(subject)}"


def _slot(subject: ChunkSubject, role: str) -> str:
    return f"<{role}:{subject.index}>"


def _burst(subject: ChunkSubject, time: str) -> str:
    if "moved" not in subject.roles:
        return f"left {_its(subject)} usual range{_peak_after(subject, 'at')}{time}{_aside(subject)}"
    moved = f"{_slot(subject, 'moved')} (?:sharply|suddenly|abruptly)"
    if subject.grouped:
        return f"{moved} together{time}{_lead(subject)}"
    plain = f"{moved}{_peak_after(subject, 'to')}{time}{_aside(subject)}"
    if not {"base", "peak"} <= set(subject.roles):
        return plain
    return _either(plain, f"{moved} from a usual {_slot(subject, 'base')} to {_slot(subject, 'peak')}{time}")


def _shift(subject: ChunkSubject, time: str) -> str:
    if "moved" not in subject.roles:
        return f"changed its level{_peak_after(subject, 'to')}{time}{_aside(subject)}"
    moved = _slot(subject, "moved")
    if subject.grouped:
        return f"{moved} together to new levels{time}{_lead(subject)}"
    suddenly = f"{moved} (?:suddenly |abruptly )?"
    anew = f"{moved} to a new level{_peak_after(subject, 'of')}{time}"
    if "base" in subject.roles:
        base, peak = _slot(subject, "base"), _slot(subject, "peak")
        return _either(f"{suddenly}from {base} to {peak}{time}", f"{anew} , from {base}")
    if "peak" in subject.roles:
        return _either(f"{suddenly}to {_slot(subject, 'peak')}{time}", anew)
    return anew


def _drift(subject: ChunkSubject, time: str) -> str:
    if "moved" not in subject.roles:
        return f"drifted away from its usual level{_peak_after(subject, 'to')}{time}{_aside(subject)}"
    moved = f"{_slot(subject, 'moved')} (?:slowly|steadily|gradually)"
    if subject.grouped:
        return f"{moved} together{time}{_lead(subject)}"
    from_base = f" from {_slot(subject, 'base')}" if "base" in subject.roles else ""
    return f"{moved}{from_base}{_peak_after(subject, 'to')}{time}"


def _stuck(subject: ChunkSubject, time: str) -> str:
    if subject.grouped:
        return f"(?:froze|got stuck|stopped changing) together{time}"
    return f"(?:froze|got stuck|stopped changing){_peak_after(subject, 'at')}{time}"


def _noise(subject: ChunkSubject, time: str) -> str:
    became = "became (?:noisy|erratic|unsteady)"
    if subject.grouped:
        return f"{became} together{time}"
    if "peak" not in subject.roles:
        return f"{became}{time}"
    peak = _slot(subject, "peak")
    if "base" not in subject.roles:
        return f"{became}{time} , with a spread of {peak}"
    base = _slot(subject, "base")
    spread = f"with a spread of {peak} against a usual {base}"
    return f"{became}{time} , {_either(spread, f'its spread {peak} instead of the usual {base}')}"


def _silence(subject: ChunkSubject, time: str) -> str:
    together = " together" if subject.grouped else ""
    return f"(?:went silent|fell silent|stopped reporting){together}{time}"


_PREDICATES: Mapping[Kind, Callable[[ChunkSubject, str], str]] = {
    "spike": _burst,
    "dip": _burst,
    "shift": _shift,
    "drift": _drift,
    "stuck": _stuck,
    "noise": _noise,
    "silence": _silence,
}


def _peak_after(subject: ChunkSubject, preposition: str) -> str:
    return f" {preposition} {_slot(subject, 'peak')}" if "peak" in subject.roles else ""


def _aside(subject: ChunkSubject) -> str:
    if "base" not in subject.roles:
        return ""
    base = _slot(subject, "base")
    return f" , (?:against a usual {base}|instead of the usual {base}|where {base} is usual)"


def _lead(subject: ChunkSubject) -> str:
    if "lead" not in subject.roles:
        return ""
    lead, peak = _slot(subject, "lead"), _slot(subject, "peak")
    return f" , (?:with {lead} furthest from normal , at {peak}|most of all {lead} , to {peak})"


def _its(subject: ChunkSubject) -> str:
    return "their" if subject.grouped else "its"


def _ending(subject: ChunkSubject) -> str:
    """How it stands, and after how long; verbs agree with one stream or several."""
    if subject.ending == "unknown":
        return ""
    return "(?: ,)? and " + {"ongoing": _ongoing, "adopted": _adopted, "returned": _returned}[subject.ending](subject)


def _ongoing(subject: ChunkSubject) -> str:
    has, is_ = ("have", "are") if subject.grouped else ("has", "is")
    return {
        "shift": f"{has} stayed there since",
        "stuck": f"{has} not changed since",
        "noise": f"{has} not settled (?:since|yet)",
        "silence": f"{has} not reported since",
    }.get(subject.kind, f"(?:{has} not returned to normal(?: yet)?|{is_} not back to normal yet)")


def _adopted(subject: ChunkSubject) -> str:
    return {"stuck": "stayed stuck", "noise": "stayed noisy", "silence": "stayed silent"}.get(subject.kind, "stayed there")


def _returned(subject: ChunkSubject) -> str:
    was = "were" if subject.grouped else "was"
    if "for" not in subject.roles:
        return {"stuck": "then moved again", "noise": "then settled", "silence": "then reported again"}.get(
            subject.kind, "then returned to normal"
        )
    lasted = _slot(subject, "for")
    after = f"(?:after {lasted}|{lasted} later)"
    return {
        "stuck": f"did not change for {lasted}",
        "noise": f"settled {after}",
        "silence": f"reported again {after}",
    }.get(subject.kind, f"(?:{was} back to|returned to) normal {after}")


def _either(*patterns: str) -> str:
    return f"(?:{'|'.join(patterns)})"
