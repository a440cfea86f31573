"""The adversary draws what it says: true wordings that are true, and changes that change."""

from __future__ import annotations

import re
from random import Random

import pytest

from edge_agent.grammar import pattern
from edge_agent.verify import refuse_wording
from tests.escalation.adversary import CHANGES, Scene, answers, true_wordings, wording
from tests.escalation.questions import TWO_CHUNKS, asked

PLAN = asked(TWO_CHUNKS).plan


def test_what_is_drawn_from_a_pattern_matches_it() -> None:
    random = Random(1)
    for source in ("a", "(?:a|b c)?d", r"(?:x(?:y|z)?|\.)", *(pattern(chunk) for chunk in PLAN.chunks)):
        drawn = {wording(random, source) for _ in range(60)}
        assert all(re.fullmatch(source, text) for text in drawn)
        assert len(drawn) > 1 or source == "a"


def test_true_wordings_are_true() -> None:
    random = Random(2)
    for _ in range(50):
        for chunk, text in zip(PLAN.chunks, true_wordings(random, PLAN), strict=True):
            assert refuse_wording(chunk, text) is None


@pytest.mark.parametrize("name", sorted(set(CHANGES) - {"true", "blanks", "capitals", "no-blanks"}))
def test_a_change_gives_mostly_what_is_refused(name: str) -> None:
    random = Random(name)
    refused = 0
    for _ in range(40):
        wordings = true_wordings(random, PLAN)
        CHANGES[name](random, Scene(PLAN), wordings)
        refused += any(refuse_wording(chunk, text) for chunk, text in zip(PLAN.chunks, wordings, strict=True))
    assert refused > 10


def test_the_same_chance_gives_the_same_answers() -> None:
    assert list(answers(Random(3), PLAN, 20)) == list(answers(Random(3), PLAN, 20))
