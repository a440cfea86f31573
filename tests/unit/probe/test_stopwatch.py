"""What the stopwatch measures of a writer, and by which clock."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from edge_agent.errors import EngineError
from edge_agent.probe.stopwatch import Stopwatch, times
from edge_agent.values import Draft, Prompt

PROMPT = Prompt(pieces=("<s>",), max_pieces=5)
DRAFT = Draft(skeleton="at", logprobs=(-0.1,), finished=True)


class Hands:
    """Clocks that a writer turns."""

    def __init__(self) -> None:
        self.wall_s = self.cpu_s = 100.0

    def times(self) -> tuple[float, float]:
        return self.wall_s, self.cpu_s


class Taking:
    """A writer that takes so long for each sentence in turn: (wall, processor)."""

    def __init__(self, hands: Hands, taken: Sequence[tuple[float, float]], answers: int = 1) -> None:
        self._hands = hands
        self._taken = iter(taken)
        self._answers = answers

    def write(self, prompts: Sequence[Prompt]) -> list[Draft]:
        assert len(prompts) == 1
        wall_s, cpu_s = next(self._taken)
        self._hands.wall_s += wall_s
        self._hands.cpu_s += cpu_s
        return [DRAFT] * self._answers


def test_a_busy_device_does_not_count_and_the_slowest_does() -> None:
    hands, told = Hands(), list[int]()
    watch = Stopwatch(Taking(hands, [(9.0, 1.0), (2.0, 8.0), (1.0, 1.5)]), told.append, times=hands.times)
    assert watch.write([PROMPT] * 3) == [DRAFT] * 3
    assert watch.slowest_s == 2.0
    assert watch.sentences == 3
    assert told == [1, 2, 3]


def test_where_the_process_only_waits_the_wall_clock_counts() -> None:
    hands = Hands()
    watch = Stopwatch(Taking(hands, [(9.0, 1.0)]), lambda _: None, by_wall=True, times=hands.times)
    watch.write([PROMPT])
    assert watch.slowest_s == 9.0


@pytest.mark.parametrize("answers", [0, 2])
def test_one_prompt_has_one_answer(answers: int) -> None:
    hands = Hands()
    watch = Stopwatch(Taking(hands, [(1.0, 1.0)], answers), lambda _: None, times=hands.times)
    with pytest.raises(EngineError, match=f"{answers} answers"):
        watch.write([PROMPT])


def test_the_machines_own_clocks_go_forward() -> None:
    wall_s, cpu_s = times()
    assert times() >= (wall_s, cpu_s)
