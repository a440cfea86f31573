"""The verifier's reasons."""

from __future__ import annotations

from datetime import UTC

import pytest

from edge_agent.facts import gather
from edge_agent.plan import arrange
from edge_agent.template import assemble, phrase
from edge_agent.verify import refuse_chunk, refuse_whole
from tests.writing import ONSET_S, anomaly, draft, incident

PLAN = arrange(gather(incident(anomaly(end_s=ONSET_S + 12)), None), UTC)
(CHUNK,) = PLAN.chunks
TRUE = "at <at:0> , <stream:0> <moved:0> sharply to <peak:0> , against a usual <base:0> , and was back to normal after <for:0> ."
LEXICON = frozenset(word for word in TRUE.split() if not word.startswith("<")) | {"has", "not", "returned", "from", "slowly"}


def test_a_true_draft_is_not_refused() -> None:
    assert refuse_chunk(CHUNK, draft(TRUE), LEXICON) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (TRUE.replace("sharply", "7 sharply"), "free-text"),
        (TRUE.replace("sharply", "dangerously"), "not-in-lexicon"),
        (TRUE.replace("<peak:0>", "<peak:1>"), "slot-foreign"),
        (TRUE.replace(" , against a usual <base:0>", ""), "slot-missing"),
        (TRUE.replace("after <for:0>", "after <for:0> <for:0>"), "slot-repeated"),
        (
            TRUE.replace("sharply to <peak:0> , against a usual <base:0>", "sharply to <base:0> , against a usual <peak:0>"),
            "role-wrong",
        ),
        (TRUE.replace("sharply", "slowly"), "role-wrong"),
        ("", "slot-missing"),
    ],
)
def test_each_fault_has_its_reason(text: str, reason: str) -> None:
    assert refuse_chunk(CHUNK, draft(text), LEXICON) == reason


def test_an_ending_that_is_not_the_facts_has_a_reason_of_its_own() -> None:
    (chunk,) = arrange(gather(incident(anomaly(end_s=ONSET_S)), None), UTC).chunks
    ongoing = "at <at:0> , <stream:0> <moved:0> sharply to <peak:0> , against a usual <base:0> , and has not returned to normal ."
    assert refuse_chunk(chunk, draft(ongoing), LEXICON) == "ending-wrong"


def test_an_unfinished_draft_is_refused_even_if_it_reads_well() -> None:
    assert refuse_chunk(CHUNK, draft(TRUE, finished=False), LEXICON) == "unfinished"


def test_the_whole_is_verified_again() -> None:
    whole = assemble(PLAN, (phrase(CHUNK),))
    assert refuse_whole(PLAN, whole) is None
    assert refuse_whole(PLAN, whole + " " + whole) == "whole-wrong"
    assert refuse_whole(PLAN, whole.replace("after <for:0>", "after 12 s")) == "whole-wrong"
