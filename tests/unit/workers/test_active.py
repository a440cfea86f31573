"""The slot: wishes, what is told about them, and that a late word about an old wish is dropped."""

from __future__ import annotations

import threading

import pytest
from msgspec.structs import replace

from edge_agent.engines.loading import OpenRelease, open_release
from edge_agent.pipeline import explain
from edge_agent.workers.active import ReleaseSlot
from tests.writing import ONSET_S, anomaly, incident


@pytest.fixture(scope="module")
def factory() -> OpenRelease:
    return open_release()


def test_a_wish_waits_until_both_workers_have_taken_it(factory: OpenRelease) -> None:
    slot = ReleaseSlot()
    number = slot.want(factory)
    assert (slot.state().explain, slot.state().screen, slot.state().taken) == ("waiting", "waiting", False)
    slot.took("explain", slot.wanted())
    assert not slot.state().taken
    slot.took("screen", slot.wanted())
    assert slot.state().taken
    assert (slot.state().number, slot.state().release, slot.state().problem) == (number, factory.manifest.id, "")


def test_no_release_is_a_wish_for_templates(factory: OpenRelease) -> None:
    slot = ReleaseSlot(factory)
    slot.want(None)
    assert slot.state().release == "template-only"


def test_a_problem_is_told_in_words_also_later(factory: OpenRelease) -> None:
    slot = ReleaseSlot(factory)
    slot.took("screen", slot.wanted())
    slot.took("explain", slot.wanted())
    slot.took("explain", slot.wanted(), "the writer failed 3 times")
    state = slot.state()
    assert (state.explain, state.screen, state.problem, state.taken) == ("problem", "taken", "the writer failed 3 times", False)


def test_a_late_word_about_an_old_wish_changes_nothing(factory: OpenRelease) -> None:
    slot = ReleaseSlot()
    old = slot.wanted()
    slot.want(factory)
    slot.took("screen", old, "too late")
    slot.writer_failed(old.number)
    slot.wrote(old.number, explain(incident(anomaly(end_s=ONSET_S + 3)), None, None, factory.speaking, 0.0))
    assert slot.state() == replace(slot.state(), screen="waiting", problem="", sentences=0, writer_failures=0)


def test_what_speaks_is_the_old_release_until_the_explain_worker_has_taken_the_new_one(factory: OpenRelease) -> None:
    slot = ReleaseSlot()
    slot.want(factory)
    assert slot.speaks().opened is None
    slot.took("screen", slot.wanted())
    assert slot.speaks().opened is None
    slot.took("explain", slot.wanted())
    assert slot.speaks().opened is factory


def test_sentences_are_counted_by_what_came_of_the_writer_and_anew_for_each_wish(factory: OpenRelease) -> None:
    slot = ReleaseSlot(factory)
    number = slot.wanted().number
    text = explain(incident(anomaly(end_s=ONSET_S + 3)), None, None, factory.speaking, 0.0)
    for route, reasons in (("writer", ()), ("mixed", ("refused-free-text",)), ("template", ("low-confidence",))):
        slot.wrote(number, replace(text, route=route, reasons=reasons))
    slot.writer_failed(number)
    state = slot.state()
    assert (state.sentences, state.by_writer, state.refused, state.writer_failures) == (3, 2, 1, 1)
    slot.want(factory)
    assert (slot.state().sentences, slot.state().writer_failures) == (0, 0)


def test_every_wish_has_a_number_of_its_own_whoever_wants_it() -> None:
    slot = ReleaseSlot()
    numbers: list[int] = []
    threads = [threading.Thread(target=lambda: numbers.extend(slot.want(None) for _ in range(200))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(2, 802))
