"""Skeletons to text."""

from __future__ import annotations

import pytest

from edge_agent.fill import fill, tidy
from edge_agent.values import Slot


def test_stops_are_attached_and_sentences_begin_with_a_capital() -> None:
    assert (
        tidy("at <at:0> , <stream:0> froze . then , at <at:1> , it moved .")
        == "At <at:0>, <stream:0> froze. Then, at <at:1>, it moved."
    )


def test_a_skeleton_is_published_in_one_spelling() -> None:
    assert (
        tidy("aT<at:0>,\n<stream:0>FROZE.tHen ,at<at:1>, it moved.") == "At <at:0>, <stream:0> froze. Then, at <at:1>, it moved."
    )


def test_a_name_at_the_start_is_left_as_it_is() -> None:
    assert fill(tidy("<stream:0> froze ."), [Slot(token="<stream:0>", role="stream", text="pump-3/x")]) == "pump-3/x froze."


def test_a_slot_text_that_looks_like_a_slot_is_not_filled_again() -> None:
    slots = [Slot(token="<stream:0>", role="stream", text="<peak:0>"), Slot(token="<peak:0>", role="peak", text="5")]
    assert fill("<stream:0> to <peak:0>", slots) == "<peak:0> to 5"


def test_a_token_without_a_slot_is_an_error() -> None:
    with pytest.raises(KeyError):
        fill("<peak:9>", [])
