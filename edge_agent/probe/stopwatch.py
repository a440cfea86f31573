"""A writer with a watch: it writes as the writer inside it does, one sentence at a time, and remembers the slowest.

Rules: what is measured is the processor's time where that is less than the wall clock's: a device that is busy with other things
is no fault of a release, and neither is a second thread. On a GPU, which a process merely waits for, the wall clock counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from edge_agent.errors import EngineError
from edge_agent.pipeline import Writer
from edge_agent.values import Draft, Prompt

Times = Callable[[], tuple[float, float]]
"""The wall clock and the processor time of this process, both in seconds."""


def times() -> tuple[float, float]:
    """The machine's own."""
    return time.monotonic(), time.process_time()


class Stopwatch:
    """Implements `pipeline.Writer`. `tell` is called before each sentence, with its number from 1 on."""

    def __init__(self, writer: Writer, tell: Callable[[int], None], *, by_wall: bool = False, times: Times = times) -> None:
        self.sentences = 0
        self.slowest_s = 0.0
        self._writer = writer
        self._tell = tell
        self._by_wall = by_wall
        self._times = times

    def write(self, prompts: Sequence[Prompt]) -> list[Draft]:
        """See `pipeline.Writer`. Raises EngineError, also where there is not one draft for a prompt."""
        return [self._one(prompt) for prompt in prompts]

    def _one(self, prompt: Prompt) -> Draft:
        self.sentences += 1
        self._tell(self.sentences)
        wall_s, cpu_s = self._times()
        drafts = self._writer.write([prompt])
        wall_s, cpu_s = (now - before for now, before in zip(self._times(), (wall_s, cpu_s), strict=True))
        self.slowest_s = max(self.slowest_s, wall_s if self._by_wall else min(wall_s, cpu_s))
        if len(drafts) != 1:
            raise EngineError(f"the writer gave {len(drafts)} answers to one prompt")
        return drafts[0]
