"""What the writer is given."""

from __future__ import annotations

from hypothesis import given, settings

from edge_agent.prompt import CONTROLS, STYLES, prompt_of, style_of
from edge_agent.values import Chunk, ChunkSubject
from tests.writing import chunks


def test_a_prompt_is_controls_and_slots_in_a_fixed_order() -> None:
    first = ChunkSubject(index=1, kind="spike", ending="returned", grouped=False, roles=("stream", "moved", "peak", "at", "for"))
    second = ChunkSubject(index=2, kind="silence", ending="ongoing", grouped=False, roles=("stream",))
    prompt = prompt_of(Chunk(relation="together", subjects=(first, second)), 3)
    assert " ".join(prompt.pieces) == (
        "<s> =style3 =together =one =spike =returned <stream:1> <moved:1> <peak:1> <at:1> <for:1>"
        " =one =silence =ongoing <stream:2> =say"
    )


@given(chunks())
@settings(max_examples=50)
def test_nothing_but_controls_and_slots_is_in_a_prompt(chunk: Chunk) -> None:
    slots = {f"<{role}:{s.index}>" for s in chunk.subjects for role in s.roles}
    assert set(prompt_of(chunk, 0).pieces) <= {"<s>", *CONTROLS, *slots}


def test_an_incident_is_always_phrased_in_the_same_styles_and_neighbours_differ() -> None:
    assert [style_of("pump-3-1", n) for n in range(3)] == [style_of("pump-3-1", n) for n in range(3)]
    assert style_of("pump-3-1", 0) != style_of("pump-3-1", 1)
    assert {style_of(f"i-{n}", 0) for n in range(100)} == set(range(STYLES))
