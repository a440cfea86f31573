"""Laws of the writing path: the template is always true, and no change to a true text is accepted unless it is true too."""

from __future__ import annotations

from datetime import UTC

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.facts import gather
from edge_agent.fill import fill, tidy
from edge_agent.grammar import accepts, accepts_whole, tokens_of
from edge_agent.plan import MAX_SUBJECTS, arrange
from edge_agent.template import assemble, phrase
from edge_agent.values import Chunk, Evidence, Incident
from edge_agent.verify import refuse_whole
from tests.writing import chunks, evidence, incidents


@given(chunks())
@settings(max_examples=300)
def test_the_template_of_every_chunk_is_accepted(chunk: Chunk) -> None:
    assert accepts(chunk, phrase(chunk))
    assert accepts(chunk, tidy(phrase(chunk)))


@given(chunks(), chunks())
@settings(max_examples=300)
def test_a_text_is_accepted_only_for_the_chunk_it_states(chunk: Chunk, other: Chunk) -> None:
    # Spikes and dips differ in the printed direction alone, which is a slot.
    def stated(c: Chunk) -> object:
        return c.relation, [(s.kind.replace("dip", "spike"), s.ending, s.grouped, s.roles) for s in c.subjects]

    assert accepts(other, phrase(chunk)) == (stated(chunk) == stated(other))


@given(chunks(), st.data())
@settings(max_examples=300)
def test_no_token_can_be_dropped_doubled_or_exchanged_for_another_slot(chunk: Chunk, data: st.DataObject) -> None:
    tokens = tokens_of(phrase(chunk))
    assert tokens is not None
    slots = [place for place, token in enumerate(tokens) if token.startswith("<")]
    place = data.draw(st.sampled_from(slots))
    assert not accepts(chunk, " ".join(tokens[:place] + tokens[place + 1 :]))
    assert not accepts(chunk, " ".join([*tokens[: place + 1], *tokens[place:]]))
    other = data.draw(st.sampled_from([p for p in slots if p != place]))
    exchanged = list(tokens)
    exchanged[place], exchanged[other] = exchanged[other], exchanged[place]
    assert not accepts(chunk, " ".join(exchanged))


@given(incidents(), st.sampled_from([None, evidence()]))
@settings(max_examples=200)
def test_every_incident_has_a_true_text_with_every_slot_once(found: Incident, past: Evidence | None) -> None:
    plan = arrange(gather(found, past), UTC)
    whole = assemble(plan, tuple(phrase(chunk) for chunk in plan.chunks))
    assert refuse_whole(plan, whole) is None
    assert accepts_whole(plan, whole)
    tokens = [token for token in tokens_of(whole) or [] if token.startswith("<")]
    assert sorted(tokens) == sorted(slot.token for slot in plan.slots)
    assert sum(len(chunk.subjects) for chunk in plan.chunks) <= MAX_SUBJECTS
    text = fill(whole, plan.slots)
    assert "<" not in text
    assert "nan" not in text.lower()


@given(incidents())
@settings(max_examples=100)
def test_every_anomaly_is_told_or_counted(found: Incident) -> None:
    plan = arrange(gather(found, None), UTC)
    named = 0
    for slot in plan.slots:
        if slot.role == "stream":
            named += 1
        elif slot.role == "streams":
            named += 2 + slot.text.count(",")
    rest = next((int(slot.text.split()[0]) for slot in plan.slots if slot.role == "rest"), 0)
    assert named + rest == found.anomaly_count
