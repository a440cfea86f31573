"""What decoders share: notes, the verdict over parts, and numbers that fit a float."""

from __future__ import annotations

import pytest

from edge_agent.decode.family import Ledger, finite, settle
from edge_agent.errors import DecodeError
from edge_agent.values import Reading

READING = Reading("a", 1.0, 2.0)


def test_notes_are_counted_and_taken_once() -> None:
    notes = Ledger()
    notes.note("a")
    notes.note("b")
    notes.note("a")
    assert notes.take() == {"a": 2, "b": 1}
    assert notes.take() == {}


def test_what_is_remembered_is_bounded_in_number_and_length() -> None:
    ledger = Ledger(2)
    assert not ledger.may_remember("x" * 257)
    assert [ledger.may_remember(name) for name in "abc"] == [True, True, False]
    assert ledger.is_full
    ledger.forget()
    assert ledger.may_remember("d")


def test_parts_set_aside_are_noted_when_something_is_left() -> None:
    notes = Ledger()
    assert settle([READING], [DecodeError("x"), DecodeError("x")], notes) == [READING]
    assert notes.take() == {"x": 2}


def test_when_nothing_is_left_the_first_problem_is_the_answer() -> None:
    notes = Ledger()
    with pytest.raises(DecodeError, match="first"):
        settle([], [DecodeError("first"), DecodeError("second")], notes)
    with pytest.raises(DecodeError, match="no-value"):
        settle([], [], notes)
    assert notes.take() == {}


def test_an_integer_beyond_floats_is_refused() -> None:
    assert finite(10**308) == 1e308
    with pytest.raises(DecodeError, match="out-of-range"):
        finite(10**309)
