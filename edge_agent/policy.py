"""What becomes of the writer's drafts: which sentence stands for each chunk, and whether a stronger model should be asked.

Rules: pure. A chunk whose draft was refused, or of which the writer was not sure enough, is told by the template; the rest of
the summary stays the writer's. Every reason is a stable word, because reasons are counted and shown.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from edge_agent.values import Route, Verdict


class Judged(Struct, frozen=True, kw_only=True):
    """A draft after judgement. `refusal` is the verifier's reason or None; `score` is the writer's confidence in [0, 1]."""

    refusal: str | None
    score: float


class Decision(Struct, frozen=True, kw_only=True):
    """Which chunks the writer tells, and what follows for the whole."""

    by_writer: tuple[bool, ...]
    confidence: float
    route: Route
    verdict: Verdict
    reasons: tuple[str, ...]


def decide(judged: Sequence[Judged], threshold: float, *, storm: bool) -> Decision:
    """Decide over the drafts of one incident, in the order of its chunks. `judged` is not empty."""
    reasons: list[str] = []
    by_writer = []
    for draft in judged:
        if draft.refusal is not None:
            reasons.append(f"refused-{draft.refusal}")
        elif draft.score < threshold:
            reasons.append("low-confidence")
        by_writer.append(draft.refusal is None and draft.score >= threshold)
    if storm:
        reasons.append("storm")
    route: Route = "writer" if all(by_writer) else "mixed" if any(by_writer) else "template"
    return Decision(
        by_writer=tuple(by_writer),
        confidence=min(0.0 if draft.refusal is not None else draft.score for draft in judged),
        route=route,
        verdict="escalate" if reasons else "local",
        reasons=tuple(dict.fromkeys(reasons)),
    )
