"""How the pico writer is taught to phrase: sentences for chunks, in six styles, drawn from a seeded generator.

The phrases here and the grammar that verifies sentences on the device are written apart: a phrase that the grammar does not
accept is found by a test, not hidden by shared code. What is learnt is the mapping from a prompt to one phrasing: a style
fixes every choice, so that greedy decoding has one right answer and a token's probability speaks of certainty, not of taste.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from edge_agent.prompt import BEGIN, CONTROLS, END, SLOT_NUMBERS, STYLES, WRITER_ROLES, prompt_of
from edge_agent.values import KINDS, Chunk, ChunkSubject, Ending, Kind, Relation

_ENDINGS: tuple[Ending, ...] = ("ongoing", "returned", "adopted", "unknown")
_DIRECTED = frozenset({"spike", "dip", "shift", "drift"})
_VALUED = _DIRECTED | {"noise"}

_BURST_ADVERBS = ("sharply", "suddenly", "abruptly", "sharply", "suddenly", "abruptly")
_DRIFT_ADVERBS = ("slowly", "steadily", "gradually", "slowly", "steadily", "gradually")
_SHIFT_ADVERBS = ("", "suddenly ", "", "abruptly ", "", "")
_NOISY = ("noisy", "erratic", "unsteady", "noisy", "erratic", "unsteady")
_FROZE = ("froze", "got stuck", "stopped changing", "froze", "got stuck", "stopped changing")
_SILENT = ("went silent", "stopped reporting", "fell silent", "went silent", "stopped reporting", "fell silent")
_USUAL = ("against a usual {}", "instead of the usual {}", "where {} is usual")


@dataclass(frozen=True)
class Example:
    """One training pair, both as pieces: what the writer is given and what it should answer, `</s>` last."""

    chunk: Chunk
    style: int
    prompt: tuple[str, ...]
    answer: tuple[str, ...]


def vocabulary() -> list[str]:
    """Every piece the writer knows, in a fixed order: specials, controls, slots, then the lexicon in alphabetical order."""
    slots = [f"<{role}:{number}>" for role in WRITER_ROLES for number in range(SLOT_NUMBERS)]
    return ["<unk>", BEGIN, END, *CONTROLS, *slots, *lexicon()]


def lexicon() -> list[str]:
    """Every word and stop that a sentence may contain, found by phrasing every kind of subject in every style."""
    words = {
        piece
        for chunk in _every_shape()
        for style in range(STYLES)
        for piece in answer_of(chunk, style)
        if not piece.startswith("<")
    }
    return sorted(words)


def _every_shape() -> Iterator[Chunk]:
    random = Random(0)
    for kind in KINDS:
        for ending in _ENDINGS:
            for grouped in (False, True):
                for relation in ("alone", "together", "then"):
                    for _ in range(8):
                        if grouped and relation != "alone":
                            continue
                        first = subject_of(random, kind, ending, grouped, 0, timed=True)
                        second = subject_of(random, kind, ending, False, 1, timed=relation != "together")
                        yield Chunk(relation=relation, subjects=(first,) if relation == "alone" else (first, second))


def subject_of(random: Random, kind: Kind, ending: Ending, grouped: bool, index: int, *, timed: bool) -> ChunkSubject:
    """A subject with the roles that a plan gives it; values and durations are sometimes not known."""
    directed = kind in _DIRECTED
    roles = ["streams" if grouped else "stream"]
    if directed:
        roles.append("moved")
    if grouped and directed:
        roles += ["lead", "peak"]
    elif not grouped and kind != "silence" and random.random() < 0.95:
        roles.append("peak")
        if kind in _VALUED and random.random() < 0.85:
            roles.append("base")
    if timed:
        roles.append("at")
    if not grouped and ending == "returned" and random.random() < 0.8:
        roles.append("for")
    return ChunkSubject(index=index, kind=kind, ending=ending, grouped=grouped, roles=tuple(roles))


def chunk_of(random: Random) -> Chunk:
    """A chunk as plans make them: a quarter groups and single subjects each, half pairs."""
    shape = random.random()
    relation: Relation = "alone" if shape < 0.45 else random.choice(("together", "then"))
    grouped = shape < 0.2
    numbers = random.sample(range(SLOT_NUMBERS), 2)
    first = subject_of(random, random.choice(KINDS), _ending(random), grouped, numbers[0], timed=True)
    if relation == "alone":
        return Chunk(relation=relation, subjects=(first,))
    second = subject_of(random, random.choice(KINDS), _ending(random), False, numbers[1], timed=relation == "then")
    return Chunk(relation=relation, subjects=(first, second))


def _ending(random: Random) -> Ending:
    return random.choices(_ENDINGS, weights=(4, 4, 1.5, 1))[0]


def example_of(chunk: Chunk, style: int) -> Example:
    """The training pair of a chunk in a style."""
    return Example(chunk, style, prompt_of(chunk, style).pieces, (*answer_of(chunk, style), END))


def answer_of(chunk: Chunk, style: int) -> list[str]:
    """Phrase a chunk in a style, as pieces of the vocabulary without `</s>`."""
    first = chunk.subjects[0]
    onset = _onset(first, style)
    text = f"{onset} , {_clause(first, style, '')}" if style % 2 == 0 else _clause(first, style, f" {onset}")
    if chunk.relation != "alone":
        second = chunk.subjects[1]
        when = "at the same time" if chunk.relation == "together" else f"then at <at:{second.index}>"
        joint = f" . {when} ," if style in (0, 3, 4) else f" , and {when}"
        text += f"{joint} {_clause(second, (style + 1) % STYLES, '')}"
    return f"{text} .".split()


def _onset(subject: ChunkSubject, style: int) -> str:
    at = f"<at:{subject.index}>"
    near = "around" if subject.grouped else "at"
    if subject.kind == "drift":
        return f"from {'around ' if subject.grouped else ''}{at} on" if style % 2 == 0 else f"starting {near} {at}"
    return f"{near} {at}"


def _clause(subject: ChunkSubject, style: int, when: str) -> str:
    number = subject.index
    name = f"<streams:{number}>" if subject.grouped else f"<stream:{number}>"
    return f"{name} {_said(subject, style, when)}{_end(subject, style)}"


def _said(subject: ChunkSubject, style: int, when: str) -> str:
    number, kind = subject.index, subject.kind
    moved, peak, base = f"<moved:{number}>", f"<peak:{number}>", f"<base:{number}>"
    has_peak, has_base = "peak" in subject.roles, "base" in subject.roles
    if subject.grouped:
        lead = (f" , with <lead:{number}> furthest from normal , at {peak}", f" , most of all <lead:{number}> , to {peak}")[
            style % 3 == 2
        ]
        return {
            "spike": f"{moved} {_BURST_ADVERBS[style]} together{when}{lead}",
            "dip": f"{moved} {_BURST_ADVERBS[style]} together{when}{lead}",
            "shift": f"{moved} together to new levels{when}{lead}",
            "drift": f"{moved} {_DRIFT_ADVERBS[style]} together{when}{lead}",
            "stuck": f"{_FROZE[style]} together{when}",
            "noise": f"became {_NOISY[style]} together{when}",
            "silence": f"{_SILENT[style]} together{when}",
        }[kind]
    if kind in ("spike", "dip"):
        if has_base and style in (2, 5):
            return f"{moved} {_BURST_ADVERBS[style]} from a usual {base} to {peak}{when}"
        usual = f" , {_USUAL[style % 3].format(base)}" if has_base else ""
        return f"{moved} {_BURST_ADVERBS[style]}{f' to {peak}' if has_peak else ''}{when}{usual}"
    if kind == "shift":
        if has_base and style != 4:
            return f"{moved} {_SHIFT_ADVERBS[style]}from {base} to {peak}{when}"
        return f"{moved} to a new level{f' of {peak}' if has_peak else ''}{when}{f' , from {base}' if has_base else ''}"
    if kind == "drift":
        return f"{moved} {_DRIFT_ADVERBS[style]}{f' from {base}' if has_base else ''}{f' to {peak}' if has_peak else ''}{when}"
    if kind == "stuck":
        return f"{_FROZE[style]}{f' at {peak}' if has_peak else ''}{when}"
    if kind == "noise":
        if not has_peak:
            return f"became {_NOISY[style]}{when}"
        if has_base and style in (1, 4):
            return f"became {_NOISY[style]}{when} , its spread {peak} instead of the usual {base}"
        return f"became {_NOISY[style]}{when} , with a spread of {peak}{f' against a usual {base}' if has_base else ''}"
    return f"{_SILENT[style]}{when}"


def _end(subject: ChunkSubject, style: int) -> str:
    kind, lasting = subject.kind, "for" in subject.roles
    has, was, are = ("have", "were", "are") if subject.grouped else ("has", "was", "is")
    comma = "" if kind in ("shift", "stuck", "silence") else " ,"
    after = f"<for:{subject.index}> later" if style in (1, 5) else f"after <for:{subject.index}>"
    if subject.ending == "unknown":
        return ""
    if subject.ending == "ongoing":
        normal = (f"{has} not returned to normal", f"{are} not back to normal yet", f"{has} not returned to normal yet")[
            style % 3
        ]
        said = {
            "shift": f"{has} stayed there since",
            "stuck": f"{has} not changed since",
            "noise": f"{has} not settled {'since' if style < 3 else 'yet'}",
            "silence": f"{has} not reported since",
        }.get(kind, normal)
    elif subject.ending == "adopted":
        said = {"stuck": "stayed stuck", "noise": "stayed noisy", "silence": "stayed silent"}.get(kind, "stayed there")
    elif lasting:
        normal = f"{was} back to normal {after}" if style < 3 else f"returned to normal {after}"
        said = {
            "stuck": f"did not change for <for:{subject.index}>",
            "noise": f"settled {after}",
            "silence": f"reported again {after}",
        }.get(kind, normal)
    else:
        said = {"stuck": "then moved again", "noise": "then settled", "silence": "then reported again"}.get(
            kind, "then returned to normal"
        )
    return f"{comma} and {said}"
