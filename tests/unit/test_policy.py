"""What becomes of drafts."""

from __future__ import annotations

from edge_agent.policy import Judged, decide

SURE = Judged(refusal=None, score=0.9)
UNSURE = Judged(refusal=None, score=0.2)
WRONG = Judged(refusal="role-wrong", score=0.99)


def test_sure_drafts_are_the_writers_and_local() -> None:
    decision = decide([SURE, SURE], 0.5, storm=False)
    assert (decision.route, decision.verdict, decision.reasons, decision.confidence) == ("writer", "local", (), 0.9)


def test_a_wrong_or_unsure_chunk_is_told_by_the_template_and_escalated() -> None:
    decision = decide([SURE, WRONG, UNSURE], 0.5, storm=False)
    assert decision.by_writer == (True, False, False)
    assert (decision.route, decision.verdict) == ("mixed", "escalate")
    assert decision.reasons == ("refused-role-wrong", "low-confidence")
    assert decision.confidence == 0.0


def test_a_refused_draft_is_never_the_writers_however_sure() -> None:
    decision = decide([WRONG], 0.0, storm=False)
    assert (decision.by_writer, decision.route) == ((False,), "template")


def test_the_threshold_itself_is_enough() -> None:
    assert decide([Judged(refusal=None, score=0.5)], 0.5, storm=False).route == "writer"


def test_a_storm_is_a_reason_to_ask() -> None:
    decision = decide([SURE], 0.5, storm=True)
    assert (decision.route, decision.verdict, decision.reasons) == ("writer", "escalate", ("storm",))
