"""The verifier: what may be published of an incident, decided by the incident's own plan, whoever wrote the text.

Rules: pure; the same rules for the writer on the device, a cloud model and the template; a text is accepted only if it states
each required slot once in its role, with the direction, ending and relation of the facts, and nothing else. Reasons are few
and stable, because they are counted. `VERIFIER_VERSION` changes with anything here or in `grammar` that accepts or refuses
differently: a certificate names the version that it was measured with.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Set
from typing import get_args

from msgspec.structs import replace

from edge_agent.fill import SLOT, fill
from edge_agent.grammar import accepts, accepts_whole, tokens_of
from edge_agent.values import Chunk, Draft, Ending, Plan

VERIFIER_VERSION = 1
MAX_TEXT = 16_000
"""Characters of a whole text: the slots of six subjects with the longest names fit in it."""


def refuse_chunk(chunk: Chunk, draft: Draft, lexicon: Set[str]) -> str | None:
    """Why this draft may not stand for this chunk, as a stable word; None if it may."""
    if not draft.finished:
        return "unfinished"
    tokens = tokens_of(draft.skeleton)
    if tokens is not None and any(not token.startswith("<") and token not in lexicon for token in tokens):
        return "not-in-lexicon"
    return refuse_wording(chunk, draft.skeleton)


def refuse_wording(chunk: Chunk, skeleton: str) -> str | None:
    """Why this wording, from wherever it came, may not stand for this chunk, as a stable word; None if it may."""
    tokens = tokens_of(skeleton)
    if tokens is None:
        return "free-text"
    required = Counter(f"<{role}:{subject.index}>" for subject in chunk.subjects for role in subject.roles)
    stated = Counter(token for token in tokens if token.startswith("<"))
    if stated.keys() - required.keys():
        return "slot-foreign"
    if required.keys() - stated.keys():
        return "slot-missing"
    if stated != required:
        return "slot-repeated"
    if accepts(chunk, skeleton):
        return None
    return "ending-wrong" if _true_with_another_ending(chunk, skeleton) else "role-wrong"


def _true_with_another_ending(chunk: Chunk, skeleton: str) -> bool:
    endings: tuple[Ending, ...] = get_args(Ending)
    return any(
        accepts(
            replace(chunk, subjects=tuple(replace(s, ending=e) if i == n else s for i, s in enumerate(chunk.subjects))), skeleton
        )
        for n in range(len(chunk.subjects))
        for e in endings
    )


def refuse_whole(plan: Plan, skeleton: str) -> str | None:
    """Why this text may not be published for this plan, as a stable word; None if it may."""
    if not accepts_whole(plan, skeleton):
        return "whole-wrong"
    if len(fill(skeleton, plan.slots)) > MAX_TEXT:
        return "too-long"
    if re.search(r"\d", SLOT.sub("", skeleton)):
        return "digit-outside-slot"
    return None
