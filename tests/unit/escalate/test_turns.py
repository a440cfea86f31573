"""Turns: a question that is asked in vain lets the others go first, and is told from one that nobody answers."""

from __future__ import annotations

from edge_agent.escalate.turns import Turns


def test_one_that_was_asked_in_vain_lets_others_go_first_until_one_is_answered() -> None:
    turns = Turns(10)
    assert not turns.lets_others_go_first("a")
    turns.in_vain("a")
    assert turns.lets_others_go_first("a")
    assert not turns.lets_others_go_first("b")
    turns.answered("b")
    assert not turns.lets_others_go_first("a")


def test_or_until_all_had_their_turn() -> None:
    turns = Turns(10)
    turns.in_vain("a")
    turns.in_vain("b")
    turns.all_had_theirs()
    assert not turns.lets_others_go_first("a")
    assert not turns.lets_others_go_first("b")


def test_in_an_outage_none_is_at_fault() -> None:
    turns = Turns(10)
    for _ in range(3):
        assert not turns.in_vain("a")
        assert not turns.in_vain("b")
        turns.all_had_theirs()


def test_one_that_gets_no_answer_while_others_do_is_at_fault() -> None:
    turns = Turns(10)
    assert not turns.in_vain("a")
    turns.answered("b")
    assert turns.in_vain("a")
    assert not turns.in_vain("c")
    turns.answered("b")
    assert turns.in_vain("a")


def test_an_outage_that_begins_afterwards_is_not_its_fault() -> None:
    turns = Turns(10)
    turns.in_vain("a")
    turns.answered("b")
    assert [turns.in_vain("a") for _ in range(3)] == [True, False, False]


def test_one_that_is_answered_at_last_begins_anew() -> None:
    turns = Turns(10)
    turns.in_vain("a")
    turns.answered("b")
    turns.answered("a")
    assert not turns.in_vain("a")


def test_what_is_remembered_is_bounded() -> None:
    turns = Turns(3)
    for number in range(1_000):
        turns.in_vain(f"q-{number}")
        if number % 10 == 0:
            turns.answered("other")
    assert [number for number in range(1_000) if turns.lets_others_go_first(f"q-{number}")] == [997, 998, 999]
