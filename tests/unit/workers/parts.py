"""What the tests of the workers share: a link without a network, a journal that can be made to refuse, real readings."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

from edge_agent.clock import Clock, SystemClock
from edge_agent.config.settings import DetectSettings, IncidentSettings, JournalSettings, NumberRoute
from edge_agent.decode.router import Router
from edge_agent.detect.bank import DetectorBank
from edge_agent.errors import StorageError
from edge_agent.incidents import IncidentBook
from edge_agent.journal import Journal
from edge_agent.messages import Topics
from edge_agent.mqtt import LinkCounters, Request, UserProperties
from edge_agent.pipeline import Screener
from edge_agent.values import Arrival, Message
from edge_agent.workers.screen import Core

TOPICS = Topics("edge", "gw")
START_S = 1_790_000_000.0


class StepClock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.s = START_S

    def now_s(self) -> float:
        return self.s

    def monotonic_s(self) -> float:
        return self.s


class MemoryLink:
    """Keeps the link's promises without a network: a token comes back once, confirmed or lost; lost at `disconnect`."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.asked: list[Request] = []
        self.acked: list[Arrival | Request] = []
        self.at_ack: Callable[[], None] = lambda: None
        """Called before anything is acknowledged."""
        self.connected = True
        self.session = 1
        self.room = 1_000
        self.confirming = True
        self.sent: list[Message] = []
        """Everything that was handed over, also what was lost."""
        self.marks: list[dict[str, str]] = []
        """The user properties of each of `sent`."""
        self.reached: list[Message] = []
        """What was confirmed."""
        self._tokens = itertools.count(1)
        self._under_way: dict[int, Message] = {}
        self._published: list[int] = []
        self._lost: list[tuple[int, str]] = []
        self.queued = 0
        self.counters = LinkCounters(0, 1, {}, {}, 0, {})

    def drain(self, max_messages: int, timeout_s: float) -> list[Arrival]:
        batch, self.arrivals = self.arrivals[:max_messages], self.arrivals[max_messages:]
        return batch

    def requests(self) -> list[Request]:
        asked, self.asked = self.asked, []
        return asked

    def ack(self, items: Iterable[Arrival | Request]) -> None:
        self.at_ack()
        self.acked.extend(items)

    def publish(self, message: Message, properties: UserProperties = ()) -> int | None:
        if not self.connected or len(self._under_way) >= self.room:
            return None
        token = next(self._tokens)
        self.sent.append(message)
        self.marks.append(dict(properties))
        self._under_way[token] = message
        if self.confirming:
            self.confirm()
        return token

    @property
    def under_way(self) -> list[Message]:
        """What was handed over and neither confirmed nor lost, oldest first."""
        return list(self._under_way.values())

    def confirm(self, oldest: int | None = None) -> None:
        """Confirm all that is under way, or so many."""
        for token in list(self._under_way)[:oldest]:
            self.reached.append(self._under_way.pop(token))
            self._published.append(token)

    def refuse(self, reason: str, oldest: int | None = None) -> None:
        """Refuse all that is under way, or so many."""
        for token in list(self._under_way)[:oldest]:
            del self._under_way[token]
            self._lost.append((token, reason))

    def disconnect(self, reason: str = "connection-lost") -> None:
        self.connected = False
        self.refuse(reason)

    def connect(self) -> None:
        self.session += 1
        self.connected = True

    def published(self, timeout_s: float) -> list[int]:
        tokens, self._published = self._published, []
        return tokens

    def lost(self) -> list[tuple[int, str]]:
        lost, self._lost = self._lost, []
        return lost


class RefusingJournal:
    """A real journal whose writing methods refuse as often as `refusals` says, and fail unexpectedly as often as `defects`."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.refusals = 0
        self.defects = 0

    def __getattr__(self, name: str) -> Any:
        if name in ("record", "record_summary", "close_incident", "bury") and (self.refusals > 0 or self.defects > 0):
            return self._refuse
        return getattr(self._journal, name)

    def _refuse(self, *args: object, **kwargs: object) -> None:
        if self.defects > 0:
            self.defects -= 1
            raise ZeroDivisionError("defect")
        self.refusals -= 1
        raise StorageError("disk full")

    def as_journal(self) -> Journal:
        return cast("Journal", self)


def open_journal(folder: Path) -> Journal:
    return journal_at(folder, SystemClock())


def journal_at(folder: Path, clock: Clock) -> Journal:
    return Journal.open(folder / "journal.db", JournalSettings(), clock)


def new_core() -> Core:
    settings = IncidentSettings(join_within_s=60.0, close_after_s=30.0)
    bank = DetectorBank(DetectSettings(), None)
    book = IncidentBook(settings, salt="test")
    router = Router([NumberRoute(topic="s/#", stream="{2}/{3}", qos=1)], own_root=TOPICS.base)
    return Core(Screener(router, bank, book), bank, book)


def readings(count: int, *, spike_at: int = -1, first_mid: int = 1, start_s: float = START_S) -> list[Arrival]:
    """One reading a second of `pump/level`, alternating a little about 10; 500 at `spike_at`."""
    return [
        Arrival(
            topic="s/pump/level",
            payload=b"500" if place == spike_at else b"%.2f" % (10 + (place * 7 % 5) / 10),
            arrived_s=start_s + place,
            qos=1,
            mid=first_mid + place,
            session=1,
        )
        for place in range(count)
    ]
