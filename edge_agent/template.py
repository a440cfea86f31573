"""The always-true text: every chunk phrased by code, in one fixed way, plus the tail and the evidence.

Rules: pure; never fails for any plan; what it writes passes `verify` like any other text. It is the safe state of the agent.
"""

from __future__ import annotations

from edge_agent.values import Chunk, ChunkSubject, Plan

TAIL = "This incident also holds <rest:0>."
EVIDENCE = "A similar past incident is that of <past:0> on <asset:0>, closed as <cause:0>."


def phrase(chunk: Chunk) -> str:
    """The skeleton of one chunk: sentences with slot tokens, ready to be filled."""
    sentences = []
    for number, subject in enumerate(chunk.subjects):
        if number == 0:
            when = f" {_onset(subject)}"
            sentences.append(f"{_clause(subject, when)}.")
        else:
            when = "At the same time" if chunk.relation == "together" else f"Then, at <at:{subject.index}>"
            sentences.append(f"{when}, {_clause(subject, '')}.")
    return " ".join(sentences)


def assemble(plan: Plan, chunk_skeletons: tuple[str, ...]) -> str:
    """Put a plan's chunk skeletons together with its tail and its evidence."""
    parts = list(chunk_skeletons)
    if plan.tail:
        parts.append(TAIL)
    if plan.evidence:
        parts.append(EVIDENCE)
    return " ".join(parts)


def _onset(subject: ChunkSubject) -> str:
    preposition = "around" if subject.grouped else "at"
    return f"starting {preposition} <at:{subject.index}>" if subject.kind == "drift" else f"{preposition} <at:{subject.index}>"


def _clause(subject: ChunkSubject, when: str) -> str:
    number = subject.index
    name = f"<streams:{number}>" if subject.grouped else f"<stream:{number}>"
    return f"{name} {_predicate(subject, when)}{_ending(subject)}"


def _predicate(subject: ChunkSubject, when: str) -> str:
    number, roles = subject.index, subject.roles
    together = " together" if subject.grouped else ""
    at_peak = f" at <peak:{number}>" if "peak" in roles else ""
    to_peak = f" to <peak:{number}>" if "peak" in roles else ""
    lead = f", with <lead:{number}> furthest from normal, at <peak:{number}>" if "lead" in roles else ""
    usual = f", against a usual <base:{number}>" if "base" in roles else ""
    moved = f"<moved:{number}>"
    match subject.kind, "moved" in roles:
        case "spike" | "dip", True:
            return f"{moved} sharply{together}{'' if subject.grouped else to_peak}{when}{lead or usual}"
        case "spike" | "dip", False:
            return f"left its usual range{at_peak}{when}{usual}"
        case "shift", True if subject.grouped:
            return f"{moved} together to new levels{when}{lead}"
        case "shift", True if "base" in roles:
            return f"{moved} from <base:{number}>{to_peak}{when}"
        case "shift", True:
            return f"{moved} to a new level{f' of <peak:{number}>' if 'peak' in roles else ''}{when}"
        case "shift", False:
            return f"changed its level{to_peak}{when}{usual}"
        case "drift", True:
            from_base = f" from <base:{number}>" if "base" in roles else ""
            return f"{moved} slowly{together}{'' if subject.grouped else from_base + to_peak}{when}{lead}"
        case "drift", False:
            return f"drifted away from its usual level{to_peak}{when}{usual}"
        case "stuck", _:
            return f"stopped changing{together}{at_peak}{when}"
        case "noise", _:
            spread = f", with a spread of <peak:{number}>" if "peak" in roles else ""
            against = f" against a usual <base:{number}>" if "base" in roles else ""
            return f"became noisy{together}{when}{spread}{against}"
        case _:
            return f"went silent{together}{when}"


def _ending(subject: ChunkSubject) -> str:
    has, was = ("have", "were") if subject.grouped else ("has", "was")
    match subject.ending:
        case "unknown":
            return ""
        case "ongoing":
            ongoing = {
                "shift": f" and {has} stayed there since",
                "stuck": f" and {has} not changed since",
                "noise": f", and {has} not settled since",
                "silence": f" and {has} not reported since",
            }
            return ongoing.get(subject.kind, f", and {has} not returned to normal")
        case "adopted":
            return {"stuck": " and stayed stuck", "noise": " and stayed noisy", "silence": " and stayed silent"}.get(
                subject.kind, " and stayed there"
            )
    if "for" in subject.roles:
        lasted = f"<for:{subject.index}>"
        return {
            "stuck": f" and did not change for {lasted}",
            "noise": f", and settled after {lasted}",
            "silence": f" and reported again after {lasted}",
        }.get(subject.kind, f", and {was} back to normal after {lasted}")
    return {"stuck": " and then moved again", "noise": ", and then settled", "silence": " and then reported again"}.get(
        subject.kind, ", and then returned to normal"
    )
