"""What the writer is taught: every phrase is one that the device's verifier accepts, and nothing is left to taste."""

from __future__ import annotations

from itertools import islice
from random import Random

from edge_ota.train.phrases import answer_of, chunk_of, example_of, lexicon, vocabulary

from edge_agent.grammar import accepts
from edge_agent.prompt import BEGIN, END, SLOT_NUMBERS, STYLES
from edge_agent.values import KINDS


def test_every_phrase_states_its_chunk() -> None:
    random = Random(11)
    for _ in range(500):
        chunk = chunk_of(random)
        for style in range(STYLES):
            text = " ".join(answer_of(chunk, style))
            assert accepts(chunk, text), text


def test_examples_are_made_of_the_vocabulary() -> None:
    known = set(vocabulary())
    random = Random(12)
    for _ in range(1000):
        example = example_of(chunk_of(random), random.randrange(STYLES))
        assert set(example.prompt) | set(example.answer) <= known
        assert example.prompt[0] == BEGIN
        assert example.answer[-1] == END


def test_the_vocabulary_holds_each_piece_once_and_the_lexicon_last() -> None:
    pieces = vocabulary()
    assert len(set(pieces)) == len(pieces)
    assert pieces[-len(lexicon()) :] == lexicon()
    assert not [word for word in lexicon() if any(c.isdigit() for c in word)]


def test_the_same_seed_draws_the_same_chunks_of_every_kind_and_slot_number() -> None:
    def drawn() -> list[object]:
        random = Random(13)
        return [chunk_of(random) for _ in range(2000)]

    first = drawn()
    assert first == drawn()
    random = Random(13)
    subjects = [s for _ in range(2000) for s in chunk_of(random).subjects]
    assert {s.kind for s in subjects} == set(KINDS)
    assert {s.index for s in subjects} == set(range(SLOT_NUMBERS))
    assert {s.ending for s in subjects} == {"ongoing", "returned", "adopted", "unknown"}


def test_styles_differ_for_most_chunks() -> None:
    random = Random(14)
    differing = [len({tuple(answer_of(c, s)) for s in range(STYLES)}) for c in islice(iter(lambda: chunk_of(random), None), 200)]
    assert min(differing) > 1
