"""`edge_agent.journal.lanes`: the numbers by priority agree with a plain set, whatever is kept or undone."""

from __future__ import annotations

import random

from edge_agent.journal.lanes import Lanes


def in_order(there: dict[int, int]) -> list[int]:
    return sorted(there, key=lambda number: (there[number], number))


def test_lowest_priority_first_then_oldest() -> None:
    lanes = Lanes()
    for number, priority in ((1, 2), (2, 0), (3, 1), (4, 0)):
        lanes.add(number, priority)
    assert lanes.first(3) == [2, 4, 3]
    assert lanes.first(10) == [2, 4, 3, 1]
    assert lanes.first(0) == []


def test_agrees_with_a_set_over_commits_and_rollbacks() -> None:
    rng = random.Random(5)
    lanes, there, number = Lanes(), dict[int, int](), 0
    for _ in range(300):
        before = dict(there)
        for _ in range(rng.randrange(1, 40)):
            if there and rng.random() < 0.5:
                gone = rng.choice(list(there))
                lanes.remove(gone, there.pop(gone))
            else:
                number += rng.randrange(1, 3)
                there[number] = rng.randrange(3)
                lanes.add(number, there[number])
        if rng.random() < 0.3:
            lanes.rollback()
            there = before
        else:
            lanes.commit()
        assert lanes.first(1_000_000) == in_order(there)


def test_a_number_may_change_its_lane_and_come_back() -> None:
    lanes = Lanes()
    for number in (1, 2, 3):
        lanes.add(number, 1)
    lanes.commit()
    lanes.remove(2, 1)
    lanes.add(2, 0)
    assert lanes.first(9) == [2, 1, 3]
    lanes.rollback()
    assert lanes.first(9) == [1, 2, 3]
    lanes.remove(2, 1)
    lanes.remove(2, 1)
    lanes.add(2, 1)
    assert lanes.first(9) == [1, 2, 3]


def test_memory_of_what_is_gone_is_given_back_behind_one_that_stays() -> None:
    lanes = Lanes()
    lanes.add(0, 1)
    for number in range(1, 20_000):
        lanes.add(number, 1)
        lanes.commit()
        lanes.remove(number, 1)
        lanes.commit()
    assert lanes.first(5) == [0]
    assert len(lanes._lanes[1].numbers) < 3_000
