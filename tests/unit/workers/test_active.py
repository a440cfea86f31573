"""The slot of the release that speaks: wishes by number, and words about wishes that are over."""

from __future__ import annotations

from msgspec.structs import replace

from edge_agent.pipeline import TEMPLATE_ONLY
from edge_agent.workers.active import ReleaseSlot, Wish

WISH = Wish(speaking=replace(TEMPLATE_ONLY, id="test-1"), certificate="of another machine")


def test_an_empty_slot_speaks_templates() -> None:
    assert ReleaseSlot().state().release == TEMPLATE_ONLY.id
    assert ReleaseSlot().wanted().wish.open_writer is None


def test_a_wish_is_taken_when_both_workers_say_so() -> None:
    slot = ReleaseSlot()
    number = slot.want(WISH)
    assert slot.wanted().wish is WISH
    assert (slot.state().release, slot.state().certificate) == ("test-1", "of another machine")
    slot.took("screen", number)
    assert not slot.state().taken
    slot.took("screen", number)
    assert not slot.state().taken
    slot.took("explain", number)
    assert slot.state().taken


def test_words_about_an_earlier_wish_count_for_nothing() -> None:
    slot = ReleaseSlot()
    old = slot.want(Wish())
    new = slot.want(WISH)
    slot.took("explain", old, "it is broken")
    slot.wrote(old, refused=True)
    slot.failed(old, "given up")
    slot.classifier_failed(old, 1)
    state = slot.state()
    assert (state.number, state.taken_by, state.problem, state.sentences, state.writer_failures) == (new, (), "", 0, 0)
    assert state.classifier_failures == 0


def test_what_is_said_of_the_present_wish_is_counted() -> None:
    slot = ReleaseSlot()
    number = slot.want(Wish())
    slot.took("explain", number, "no writer")
    slot.took("screen", number, "no classifier")
    slot.wrote(number, refused=False)
    slot.wrote(number, refused=True)
    slot.failed(number)
    state = slot.state()
    assert (state.problem, state.sentences, state.refused, state.writer_failures) == ("no writer; no classifier", 2, 1, 1)
    slot.failed(number, "given up")
    slot.classifier_failed(number, 2)
    assert (slot.state().problem, slot.state().classifier_failures) == ("given up", 2)
