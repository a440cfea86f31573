"""The probe's own incidents: of every kind, most of them one sentence, and such as the device's own code can plan and phrase."""

from __future__ import annotations

from msgspec.structs import replace

from edge_agent.pipeline import TEMPLATE_ONLY, explain, plan_of
from edge_agent.plan import MAX_SUBJECTS
from edge_agent.probe.golden import believed
from edge_agent.probe.incidents import LONG, trial_incidents
from edge_agent.values import KINDS


def test_they_are_always_the_same_and_have_names_of_their_own() -> None:
    assert trial_incidents() == trial_incidents()
    assert len({incident.id for incident in trial_incidents()}) == len(trial_incidents())


def test_each_is_one_sentence_about_consistent_facts_but_the_last_ones_which_have_every_subject() -> None:
    for incident in trial_incidents():
        plan = plan_of(incident, None)
        subjects = [subject.index for chunk in plan.chunks for subject in chunk.subjects]
        if "long" in incident.id:
            assert subjects == list(range(MAX_SUBJECTS)), incident.id
        else:
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


def test_the_long_ones_alone_are_enough_to_disbelieve_a_release() -> None:
    told = [explain(incident, None, None, TEMPLATE_ONLY, 0.0) for incident in trial_incidents()]
    refused = [replace(one, reasons=("refused-role-wrong",)) for one in told[-LONG:]]
    assert f"in {LONG} of {len(told)} incidents" in believed([*told[:-LONG], *refused])
