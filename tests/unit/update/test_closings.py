"""Last words: said in their order, again later where the server cannot take them, and passed over where it does not want them."""

from __future__ import annotations

import pytest

from edge_agent.update.closings import MAX_OPEN, MAX_TOLD, RETRY_MAX_S, RETRY_MIN_S, Closing, Closings, Part
from edge_agent.update.courier import Reply
from tests.unit.update.clocks import At, Longest

_CONFIRMS = Part("cancel", "closed", "success", ("a",))
_REJECTS = Part("cancel", "rejected", "failure", ("late",))
_CLOSES = Part("deployment", "closed", "failure", ("a",))


def _closings(clock: At, *parts: Part, may_come_again: bool = False) -> Closings:
    closings = Closings(clock, Longest())
    closings.add(Closing("7", parts, may_come_again))
    return closings


def _say(closings: Closings, status: int, retry_after_s: float = 0.0) -> Part:
    due = closings.next()
    assert due is not None
    closings.answered(due[0], Reply(status=status, retry_after_s=retry_after_s))
    return due[1]


def test_a_part_that_closes_ends_it() -> None:
    closings = _closings(At(), _CONFIRMS, _CLOSES)
    assert closings.knows("7")
    assert not closings.was_told("7")
    assert _say(closings, 200) == _CONFIRMS
    assert closings.was_told("7")
    assert closings.next() is None


@pytest.mark.parametrize("status", [404, 405, 410, 400, 415])
def test_a_part_that_is_not_wanted_gives_way_to_the_next(status: int) -> None:
    closings = _closings(At(), _CONFIRMS, _CLOSES)
    assert _say(closings, status) == _CONFIRMS
    assert _say(closings, status) == _CLOSES
    assert closings.was_told("7")


def test_a_part_that_does_not_close_is_followed_by_the_one_that_does() -> None:
    closings = _closings(At(), _REJECTS, _CLOSES)
    assert _say(closings, 200) == _REJECTS
    assert not closings.was_told("7")
    assert _say(closings, 200) == _CLOSES
    assert closings.was_told("7")


@pytest.mark.parametrize("status", [0, 401, 403, 429, 500, 503])
def test_what_cannot_be_taken_now_is_said_again_later_and_later(status: int) -> None:
    clock = At()
    closings = _closings(clock, _CLOSES)
    waits = []
    for _ in range(10):
        _say(closings, status)
        began_s = clock.s
        while closings.next() is None:
            clock.s += RETRY_MIN_S
        waits.append(clock.s - began_s)
    assert waits[:3] == [RETRY_MIN_S, 2 * RETRY_MIN_S, 4 * RETRY_MIN_S]
    assert waits[-1] == RETRY_MAX_S
    _say(closings, 200)
    assert closings.was_told("7")


def test_the_server_is_left_alone_as_long_as_it_asks() -> None:
    clock = At()
    closings = _closings(clock, _CLOSES)
    _say(closings, 429, retry_after_s=9_000.0)
    clock.s += 8_999.0
    assert closings.next() is None
    clock.s += 1.0
    assert closings.next() is not None


def test_one_action_does_not_hold_up_another() -> None:
    closings = _closings(At(), _CLOSES)
    _say(closings, 500)
    closings.add(Closing("8", (_CLOSES,)))
    closings.add(Closing("8", (_CONFIRMS,)))  # something is being said of it already
    due = closings.next()
    assert due is not None
    assert (due[0].id, due[1]) == ("8", _CLOSES)


def test_what_was_not_wanted_may_come_again_where_that_was_said() -> None:
    closings = _closings(At(), _CONFIRMS, may_come_again=True)
    _say(closings, 405)
    assert not closings.knows("7")


@pytest.mark.parametrize(("status", "again"), [(404, True), (410, True), (200, False), (400, False)])
def test_what_the_server_does_not_know_and_offers_is_said_again_later(status: int, again: bool) -> None:
    clock = At()
    closings = _closings(clock, _CLOSES)
    _say(closings, status)
    for _ in range(3):
        closings.offered("7")
        assert closings.was_told("7") is not again
        assert closings.knows("7")
        assert closings.next() is None, "in a while"
        if again:
            clock.s += RETRY_MAX_S
            assert _say(closings, status) == _CLOSES


def test_a_late_reply_and_old_ends_do_no_harm() -> None:
    closings = _closings(At(), _CLOSES)
    due = closings.next()
    assert due is not None
    closings.answered(due[0], Reply(status=200))
    closings.answered(due[0], Reply(status=200))
    for number in range(MAX_TOLD):
        closings.add(Closing(f"n{number}", (_CLOSES,)))
        _say(closings, 200)
    assert not closings.knows("7")


def test_a_server_that_names_ever_new_actions_is_told_of_so_many_at_a_time() -> None:
    closings = Closings(At(), Longest())
    for number in range(MAX_OPEN + 5):
        closings.add(Closing(str(number), (_CLOSES,)))
    assert not closings.knows(str(MAX_OPEN))
    assert _say(closings, 200) == _CLOSES
    closings.add(Closing(str(MAX_OPEN), (_CLOSES,)))
    assert closings.knows(str(MAX_OPEN))
