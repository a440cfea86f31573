"""A law of the spool: what was brought whole is given, and never a part of it, however carrier, kills and medium come."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.errors import TryLaterError
from edge_agent.escalate.contract import Reply, Request
from edge_agent.escalate.spool import SETTLE_S, SpoolBackend

IDS = ("q-a", "q-b", "q-c")
LAWS = settings(max_examples=60, deadline=None)
ids = st.sampled_from(IDS)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), ids),
        st.tuples(st.just("bring"), ids),
        st.tuples(st.just("begin-to-bring"), ids),
        st.tuples(st.sampled_from(("collect", "kill", "pull", "return", "wait")), st.just("")),
    ),
    max_size=30,
)


def answer_to(id: str) -> bytes:
    return json.dumps({"sentences": [f"the answer to {id}", "and more of it"]}).encode()


class World:
    """The folder of a stick, a spool that uses it, and what has been kept of the replies."""

    def __init__(self, folder: Path) -> None:
        self.stick, self.away = folder / "stick", folder / "away"
        for name in ("questions", "answers"):
            (self.stick / name).mkdir(parents=True)
        self.s = 0.0
        self.kept: set[str] = set()
        self.brought: set[str] = set()
        self.start()

    def now_s(self) -> float:
        return self.s

    def monotonic_s(self) -> float:
        return self.s

    def start(self) -> None:
        self.spool = SpoolBackend(self.stick, self, owned=False, max_questions=10)

    @property
    def there(self) -> Path:
        """Where the stick is now; a carrier can write on it anywhere."""
        return self.stick if self.stick.is_dir() else self.away

    def take(self, what: str, id: str) -> None:
        """One step."""
        match what:
            case "ask":
                try:
                    self.spool.send(Request(id=id, body=b"{}"))
                except TryLaterError:
                    assert self.there == self.away
            case "bring" | "begin-to-bring":
                whole = answer_to(id)
                (self.there / "answers" / f"{id}.answer.json").write_bytes(whole if what == "bring" else whole[:-9])
                (self.brought.add if what == "bring" else self.brought.discard)(id)
            case "collect":
                self.collect()
            case "kill":
                self.start()
            case "wait":
                self.s += 0.4 * SETTLE_S
            case "pull" if self.there == self.stick:
                self.stick.rename(self.away)
            case "return" if self.there == self.away:
                self.away.rename(self.stick)

    def collect(self) -> list[Reply]:
        """What is given is kept at once, as the worker does before its next call."""
        try:
            replies = self.spool.collect()
        except TryLaterError:
            assert self.there == self.away
            return []
        for reply in replies:
            assert json.loads(reply.text) == json.loads(answer_to(reply.id))
            self.kept.add(reply.id)
        assert len({reply.id for reply in replies}) == len(replies)
        return replies


@LAWS
@given(steps)
def test_what_was_brought_whole_is_given_and_in_the_end_nothing_is_left(taken: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        for what, id in taken:
            world.take(what, id)
        world.take("return", "")
        world.s += 10 * SETTLE_S
        for _ in range(4):
            world.collect()
            world.s += SETTLE_S
        assert world.brought <= world.kept
        assert world.collect() == []
        assert list((world.stick / "answers").iterdir()) == []
