"""Which sentences may stand for a chunk."""

from __future__ import annotations

import re

import pytest

from edge_agent.grammar import accepts, accepts_whole, pattern, tokens_of
from edge_agent.template import phrase
from edge_agent.values import Chunk, ChunkSubject, Plan

SPIKE = ChunkSubject(
    index=2, kind="spike", ending="returned", grouped=False, roles=("stream", "moved", "peak", "base", "at", "for")
)
ONE = Chunk(relation="alone", subjects=(SPIKE,))
DIP = ChunkSubject(index=3, kind="dip", ending="ongoing", grouped=False, roles=("stream", "moved", "peak", "at"))
THEN = Chunk(relation="then", subjects=(SPIKE, DIP))

TRUE = "At <at:2>, <stream:2> <moved:2> sharply to <peak:2>, against a usual <base:2>, and was back to normal after <for:2>."


def test_a_true_sentence_is_accepted_in_any_of_its_wordings() -> None:
    assert accepts(ONE, TRUE)
    assert accepts(
        ONE, "<stream:2> <moved:2> suddenly from a usual <base:2> to <peak:2> at <at:2> and returned to normal <for:2> later ."
    )


@pytest.mark.parametrize(
    "false",
    [
        TRUE.replace("<peak:2>, against a usual <base:2>", "<base:2>, against a usual <peak:2>"),
        TRUE.replace("was back to normal after <for:2>", "has not returned to normal"),
        TRUE.replace(" and was back to normal after <for:2>", " and was back to normal"),
        TRUE.replace("sharply", "slowly"),
        TRUE.replace("to <peak:2>", "from <peak:2>"),
        TRUE.replace("At <at:2>", "After <at:2>"),
        TRUE.replace("after <for:2>", "after <at:2>"),
        TRUE.replace("<stream:2>", "<stream:3>"),
        TRUE[:-1],
        TRUE + " " + TRUE,
        TRUE + " It is bearing wear.",
        TRUE.replace("<peak:2>", "7.25 mm/s"),
        "",
    ],
)
def test_a_sentence_that_says_anything_else_is_refused(false: str) -> None:
    assert not accepts(ONE, false)


def test_a_pair_keeps_its_order_and_its_relation() -> None:
    second = "<stream:3> <moved:3> sharply to <peak:3>, and has not returned to normal."
    assert accepts(THEN, f"{TRUE} Then, at <at:3>, {second}")
    assert not accepts(THEN, f"{TRUE} At the same time, {second}")
    assert not accepts(THEN, f"{TRUE} Then, at <at:2>, {second}")
    assert not accepts(THEN, f"At <at:3>, {second} Then, {TRUE}")


def test_the_pattern_of_a_chunk_stands_for_what_is_accepted_of_it() -> None:
    chunk = Chunk(relation="alone", subjects=(SPIKE,))
    assert re.fullmatch(pattern(chunk), " ".join(tokens_of(phrase(chunk)) or ()))
    assert pattern(chunk).isascii()


def test_tokens_are_slots_words_and_stops_only() -> None:
    assert tokens_of("At <at:0>, it") == ["at", "<at:0>", ",", "it"]
    assert tokens_of("rose 7") is None
    assert tokens_of("rose – fell") is None
    assert tokens_of("<at:0") is None


def test_the_whole_is_every_chunk_then_tail_then_evidence() -> None:
    plan = Plan(chunks=(ONE,), slots=(), tail=True, evidence=True)
    tail = "This incident also holds <rest:0>."
    past = "A similar past incident is that of <past:0> on <asset:0>, closed as <cause:0>."
    assert accepts_whole(plan, f"{TRUE} {tail} {past}")
    assert not accepts_whole(plan, f"{TRUE} {past} {tail}")
    assert not accepts_whole(plan, f"{TRUE} {tail}")
    assert not accepts_whole(plan, f"{TRUE} {tail} {past} {past}")
    assert not accepts_whole(Plan(chunks=(ONE,), slots=(), tail=False, evidence=False), f"{TRUE} {tail}")
