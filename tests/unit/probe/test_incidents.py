"""The probe's own incidents: of every kind, one sentence each, and such as the device's own code can plan and phrase."""

from __future__ import annotations

from edge_agent.pipeline import TEMPLATE_ONLY, explain, plan_of
from edge_agent.probe.incidents import trial_incidents
from edge_agent.values import KINDS


def test_they_are_always_the_same_and_have_names_of_their_own() -> None:
    assert trial_incidents() == trial_incidents()
    assert len({incident.id for incident in trial_incidents()}) == len(trial_incidents())


def test_each_is_one_sentence_about_consistent_facts() -> None:
    for incident in trial_incidents():
        plan = plan_of(incident, None)
        assert len(plan.chunks) == 1, incident.id
        assert not plan.tail
        assert explain(incident, None, None, TEMPLATE_ONLY, 0.0).reasons == ("no-writer",), incident.id


def test_together_they_hold_every_kind_with_every_ending_grouped_and_joined() -> None:
    chunks = [plan_of(incident, None).chunks[0] for incident in trial_incidents()]
    subjects = [subject for chunk in chunks for subject in chunk.subjects]
    assert {chunk.relation for chunk in chunks} == {"alone", "together", "then"}
    assert {subject.kind for subject in subjects if subject.grouped} == set(KINDS)
    for kind in KINDS:
        endings = {subject.ending for subject in subjects if subject.kind == kind}
        # "adopted" is not said of a spike or a dip.
        assert endings >= {"returned", "ongoing", "unknown"} | (set() if kind in ("spike", "dip") else {"adopted"})


def test_the_longest_prompt_is_among_them() -> None:
    full = {"stream", "moved", "peak", "base", "at", "for"}
    subjects = [plan_of(incident, None).chunks[0].subjects for incident in trial_incidents()]
    assert any(len(pair) == 2 and all(set(one.roles) >= full - {"at", "for"} for one in pair) for pair in subjects)
