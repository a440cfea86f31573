"""The text that is always true."""

from __future__ import annotations

from edge_agent.grammar import accepts
from edge_agent.template import assemble, phrase
from edge_agent.values import Chunk, ChunkSubject, Plan


def test_a_group_is_told_in_the_plural() -> None:
    group = ChunkSubject(index=0, kind="drift", ending="ongoing", grouped=True, roles=("streams", "moved", "lead", "peak", "at"))
    assert phrase(Chunk(relation="alone", subjects=(group,))) == (
        "<streams:0> <moved:0> slowly together starting around <at:0>, with <lead:0> furthest from normal, at <peak:0>,"
        " and have not returned to normal."
    )


def test_a_group_of_which_none_is_known_to_lead_names_none() -> None:
    group = ChunkSubject(index=0, kind="spike", ending="unknown", grouped=True, roles=("streams", "moved", "at"))
    chunk = Chunk(relation="alone", subjects=(group,))
    assert phrase(chunk) == "<streams:0> <moved:0> sharply together around <at:0>."
    assert accepts(chunk, phrase(chunk))
    assert not accepts(chunk, phrase(chunk).replace(".", ", with <lead:0> furthest from normal, at <peak:0>."))


def test_a_second_subject_is_told_by_its_relation() -> None:
    first = ChunkSubject(index=0, kind="stuck", ending="returned", grouped=False, roles=("stream", "peak", "at", "for"))
    second = ChunkSubject(index=1, kind="silence", ending="ongoing", grouped=False, roles=("stream", "at"))
    assert phrase(Chunk(relation="then", subjects=(first, second))) == (
        "<stream:0> stopped changing at <peak:0> at <at:0> and did not change for <for:0>."
        " Then, at <at:1>, <stream:1> went silent and has not reported since."
    )


def test_tail_and_evidence_follow_the_chunks() -> None:
    plan = Plan(chunks=(), slots=(), tail=True, evidence=True)
    assert assemble(plan, ("A.", "B.")) == (
        "A. B. This incident also holds <rest:0>. A similar past incident is that of <past:0> on <asset:0>, closed as <cause:0>."
    )
