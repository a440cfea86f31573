"""The other side of each backend, as the contract's suite needs it: what arrived there, and ways to answer, to fail and to lie.

A harness has one backend at a time, opened through the table from real settings; `kill` forgets it and opens another one on
what is left on disk, as a new process does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Protocol, cast

from msgspec import convert

from edge_agent.clock import SystemClock
from edge_agent.config.settings import JournalSettings, Settings
from edge_agent.errors import StorageError
from edge_agent.escalate.contract import Backend, Reply, Request
from edge_agent.escalate.spool import SETTLE_S
from edge_agent.escalate.table import Needs, open_backend
from edge_agent.journal import Journal
from edge_agent.messages import parse_request
from edge_agent.values import Message
from edge_agent.workers.requests import Desk, answer_answer
from tests.escalation.server import FaultServer

TIMEOUT_S = 0.6
"""Short: the suite waits for it."""
MAX_ANSWER_BYTES = 4_096
MANY = b" " * 3_000_000


class MovedClock(SystemClock):
    """The machine's clocks, set ahead by the test."""

    ahead_s = 0.0

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.ahead_s


class Harness(Protocol):
    """See the module."""

    backend: Backend

    def kill(self) -> None:
        """The process ends without a word, and another one starts."""

    def close(self) -> None:
        """The test is over."""

    def arrived(self) -> list[bytes]:
        """The bodies of the questions that the other side has, in the order in which they came."""

    def outside(self) -> bytes:
        """Every byte that the other side can see, with whatever stands around the bodies."""

    def answered(self, request: Request, text: str) -> list[Reply]:
        """Send the request; the other side answers with this text; all replies that the agent is given then."""

    def again(self, request: Request) -> list[Reply]:
        """The process is killed before the replies of `answered` were kept: what is given when it is back."""

    def break_off(self) -> None:
        """From now on the other side cannot be reached."""

    def mend(self) -> None:
        """It can be reached again."""

    def lies(self) -> Iterator[Callable[[Request], list[Reply]]]:
        """Answers that are none, too long or hostile; each gives what the agent is given of one."""


class OpenAiHarness:
    """A server on loopback."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server = FaultServer()
        self._port = self._server.port
        self.kill()

    def kill(self) -> None:
        openai = {
            "url": f"http://127.0.0.1:{self._port}/v1",
            "model": "m",
            "timeout_s": TIMEOUT_S,
            "connect_timeout_s": TIMEOUT_S,
            "max_answer_bytes": MAX_ANSWER_BYTES,
            "price_in_per_million": 3.0,
        }
        self.backend = _opened(self._folder, {"backend": "openai", "openai": openai}, _refuse_messages)

    def close(self) -> None:
        self._server.close()

    def arrived(self) -> list[bytes]:
        return [seen.body for seen in self._server.seen]

    def outside(self) -> bytes:
        return self._server.received

    def answered(self, request: Request, text: str) -> list[Reply]:
        return self._asked(request, f"text:{text}")

    def again(self, request: Request) -> list[Reply]:
        # The server cannot know that its answer was lost: it is asked again under the same id, and so may answer the same.
        self.kill()
        key = self._server.seen[-1].headers["idempotency-key"]
        text = json.loads(self._last_text)
        replies = self._asked(request, f"text:{json.dumps(text)}")
        assert self._server.seen[-1].headers["idempotency-key"] == key
        return replies

    def break_off(self) -> None:
        self._server.close()

    def mend(self) -> None:
        self._server = FaultServer(port=self._port)

    def lies(self) -> Iterator[Callable[[Request], list[Reply]]]:
        faults = """
            silent drip-head drip-body drip-chunks cut-json cut-body reset close gzip-bomb huge promised-huge huge-head many-heads
            continue-flood chunked-garbage chunked-cut chunked-negative not-http two-lengths odd-status html wrong-kind nan deep
            not-utf-8 lone-surrogate empty no-choices error-in-200 choices-wrong content-list length filtered refused null blank
            status:202 status:301 status:400 status:401 status:403 status:429 status:500 status:599 echo:500 redirect:http://a/
            """
        for fault in (*faults.split(), "text:" + "x" * MAX_ANSWER_BYTES, "text:\x1b[31m\u202e"):
            yield lambda request, fault=fault: self._asked(request, fault)  # type: ignore[misc]  # bound as it is now

    def _asked(self, request: Request, fault: str) -> list[Reply]:
        self._server.script.clear()
        self._server.script.append(fault)
        self._last_text = fault.removeprefix("text:")
        reply = self.backend.send(request)
        assert reply is not None
        return [reply]


class MqttHarness:
    """The agent's journal, and the requests that bring answers; the way from one to the other is the broker's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._broken = False
        self._journal = Journal.open(folder / "journal.db", JournalSettings(), SystemClock())
        self.kill()

    def kill(self) -> None:
        self._journal.close()
        self._journal = Journal.open(self._folder / "journal.db", JournalSettings(), SystemClock())
        self.backend = _opened(self._folder, {"backend": "mqtt", "mqtt": {"topic": "up/questions"}}, self._queue)

    def close(self) -> None:
        self._journal.close()

    def arrived(self) -> list[bytes]:
        return [message.payload for message in self._messages()]

    def outside(self) -> bytes:
        return b"".join(message.topic.encode() + message.payload for message in self._messages())

    def answered(self, request: Request, text: str) -> list[Reply]:
        assert self.backend.send(request) is None
        self._answer = json.dumps({"id": request.id, **json.loads(text)}).encode()
        return self._asked_to_take(self._answer)

    def again(self, request: Request) -> list[Reply]:
        # What was not acknowledged the broker sends again.
        self.kill()
        return self._asked_to_take(self._answer)

    def break_off(self) -> None:
        self._broken = True

    def mend(self) -> None:
        self._broken = False

    def lies(self) -> Iterator[Callable[[Request], list[Reply]]]:
        for payload in _hostile_answers():
            yield lambda request, payload=payload: self._asked_to_take(payload)  # type: ignore[misc]  # bound as it is now

    def _queue(self, message: Message) -> None:
        if self._broken:
            raise StorageError("the disk refused")
        self._journal.record((), [message])

    def _messages(self) -> list[Message]:
        return [queued.message for queued in self._journal.outbox(0, 1_000)]

    def _asked_to_take(self, payload: bytes) -> list[Reply]:
        taken: list[Reply] = []

        class Answers:
            def answer(self, reply: Reply) -> Future[str]:
                taken.append(reply)
                done: Future[str] = Future()
                done.set_result("answered")
                return done

        class Around:
            answers = Answers()

        answer_answer(cast(Desk, Around()), parse_request(payload))
        return taken + self.backend.collect()


class SpoolHarness:
    """A folder and its carrier."""

    def __init__(self, folder: Path) -> None:
        self._root = folder / "spool"
        self._folder = folder
        self._clock = MovedClock()
        self.kill()

    def kill(self) -> None:
        self.backend = _opened(self._folder, {"backend": "spool"}, _refuse_messages, self._clock)

    def close(self) -> None:
        pass

    def arrived(self) -> list[bytes]:
        found = sorted((self._root / "questions").glob("*.question.json"), key=lambda path: path.stat().st_mtime_ns)
        return [path.read_bytes() for path in found]

    def outside(self) -> bytes:
        files = [path for path in self._root.rglob("*") if path.is_file()]
        return b"".join(path.name.encode() + path.read_bytes() for path in files)

    def answered(self, request: Request, text: str) -> list[Reply]:
        assert self.backend.send(request) is None
        self._bring(request, text.encode())
        return self.backend.collect()

    def again(self, request: Request) -> list[Reply]:
        self.kill()
        return self.backend.collect()

    def break_off(self) -> None:
        self._root.rename(self._root.with_name("pulled"))
        self._root.write_text("in the way")

    def mend(self) -> None:
        self._root.unlink()
        self._root.with_name("pulled").rename(self._root)

    def lies(self) -> Iterator[Callable[[Request], list[Reply]]]:
        for payload in _hostile_answers():
            yield lambda request, payload=payload: self._lied(request, payload)  # type: ignore[misc]  # bound as it is now

    def _lied(self, request: Request, payload: bytes) -> list[Reply]:
        self._bring(request, payload)
        replies = self.backend.collect()
        self._clock.ahead_s += SETTLE_S
        return replies + self.backend.collect()

    def _bring(self, request: Request, data: bytes) -> None:
        folder = self._root / "answers"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{request.id}.answer.json").write_bytes(data)


HARNESSES: Mapping[str, Callable[[Path], Harness]] = {"openai": OpenAiHarness, "mqtt": MqttHarness, "spool": SpoolHarness}


def _opened(
    folder: Path, escalation: dict[str, Any], queue: Callable[[Message], None], clock: SystemClock | None = None
) -> Backend:
    settings = convert({"state_dir": str(folder), "escalation": escalation}, Settings)
    return open_backend(Needs(settings=settings, queue=queue, clock=clock or SystemClock()))


def _refuse_messages(message: Message) -> None:
    raise AssertionError("this backend publishes nothing")


def _hostile_answers() -> Iterator[bytes]:
    """Bytes that come as an answer and are none, or one that says something that must not be passed on as it is."""
    yield from (b"", b"{", b"\xff\xfe", b"[]", b"7", b"null", b"[" * 50_000, MANY, b'{"sentences": ["' + MANY + b'"]}')
    for members in (
        {"sentences": "text"},
        {"sentences": [["nested"]]},
        {"sentences": ["a"], "id": "../../etc/passwd"},
        {"sentences": ["a"], "id": "q-" + "0" * 24, "model": "\x1b[31m" + "m" * 10_000},
        {"sentences": ["x" * 60_000]},
        {"sentences": ["\ud800\u202e\x00"] * 500},
        {"specversion": "1.0", "data": "text"},
        {"specversion": "9.9", "data": {"sentences": ["a"]}},
    ):
        yield json.dumps(members).encode()
