"""`edge_agent.journal.outbox`: what goes without having been delivered, in which order, and how it is counted."""

from __future__ import annotations

import sqlite3

import pytest

from edge_agent.journal.drops import Drops
from edge_agent.journal.ledger import Ledger
from edge_agent.journal.limits import Limits
from edge_agent.journal.outbox import SWEEP_ROWS, Outbox
from edge_agent.journal.rows import message_row, open_dead_letter
from edge_agent.journal.schema import migrate
from edge_agent.values import Message
from tests.journals import TwoClocks, message, upkeep

LIMITS = Limits(
    max_outbox=10_000, keep_incidents=5, max_message_bytes=1000, max_message_age_s=3600.0, keep_log_entries=5, keep_dead_letters=3
)


class Open:
    """An outbox on a database in memory, with its parts at hand."""

    def __init__(self, limits: Limits = LIMITS, limit_bytes: int = 0) -> None:
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        migrate(self.db)
        self.clock = TwoClocks(100.0)
        self.ledger = Ledger()
        self.drops = Drops(self.db, self.clock, None)
        self.upkeep = upkeep(self.clock, limit_bytes=limit_bytes)
        self.outbox = Outbox(self.db, self.ledger, self.drops, limits, self.clock, self.upkeep)

    def queue(self, *messages: Message) -> None:
        self.outbox.queue([message_row(m) for m in messages])
        self.ledger.commit([])

    def topics(self) -> list[str]:
        return [t for (t,) in self.db.execute("SELECT topic FROM outbox ORDER BY number")]

    def counted(self) -> dict[str, tuple[int, int]]:
        self.drops.store_noted()
        rows = self.db.execute("SELECT reason, count, bytes FROM drops WHERE count > 0")
        return {reason: (count, size) for reason, count, size in rows}


@pytest.fixture
def opened() -> Open:
    return Open()


def sweep_all(opened: Open) -> int:
    """Sweep until the whole outbox was looked at; in how many steps."""
    steps = 1
    opened.outbox.sweep()
    while opened.outbox.sweeping:
        opened.outbox.sweep()
        steps += 1
    return steps


def test_what_waited_too_long_goes_and_nothing_else(opened: Open) -> None:
    opened.queue(message("old"), message("s", "1", supersedes=True), message("report", priority=3))
    opened.clock.pass_s(3000.0)
    opened.queue(message("new"), message("s", "22", supersedes=True))
    sweep_all(opened)
    assert opened.topics() == ["old", "s", "report", "new"]
    opened.clock.pass_s(601.0)
    sweep_all(opened)
    assert opened.topics() == ["s", "report", "new"], "what was replaced is as new as its content; the report stays"
    assert opened.counted() == {"too-old": (1, 3)}
    opened.clock.pass_s(10_000.0)
    sweep_all(opened)
    assert opened.topics() == ["report"]


@pytest.mark.parametrize("step_s", [1.7e9, -1.7e9])
def test_a_clock_that_is_set_makes_nothing_old_or_young(opened: Open, step_s: float) -> None:
    opened.queue(message("first"))
    opened.clock.pass_s(60.0)
    opened.clock.wall_s += step_s
    sweep_all(opened)
    assert opened.topics() == ["first"]
    opened.clock.pass_s(3541.0)
    sweep_all(opened)
    assert opened.topics() == []


def test_no_step_looks_at_more_than_a_few(opened: Open) -> None:
    opened.queue(*(message(f"{n}") for n in range(3 * SWEEP_ROWS)))
    opened.clock.pass_s(3601.0)
    opened.queue(message("new"))
    opened.outbox.sweep()
    assert opened.ledger.messages == 2 * SWEEP_ROWS + 1
    assert sweep_all(opened) == 3
    assert opened.topics() == ["new"]
    assert not opened.outbox.sweep_due
    opened.clock.pass_s(37.0)
    assert opened.outbox.sweep_due


def test_beyond_the_days_writes_only_what_a_person_must_see_is_stored() -> None:
    opened = Open(limit_bytes=100)
    opened.queue(message("before", priority=0))
    opened.upkeep.wear.day_bytes = 100
    opened.queue(message("routine", "x", priority=0), message("usual", "xx"), message("seen", priority=2))
    assert opened.topics() == ["before", "seen"]
    assert opened.counted() == {"write-budget": (2, 8 + 7)}
    opened.upkeep.wear.day_bytes = 99
    opened.queue(message("usual"))
    assert opened.topics() == ["before", "seen", "usual"]


def test_a_buried_message_is_a_dead_letter_and_counted(opened: Open) -> None:
    opened.queue(message("a", "1"), message("b", "22", priority=2))
    assert opened.outbox.bury(2, "packet-too-large")
    assert not opened.outbox.bury(2, "packet-too-large")
    opened.ledger.commit([])
    assert opened.topics() == ["a"]
    assert opened.ledger.messages == opened.ledger.dead_letters == 1
    row = opened.db.execute(
        "SELECT number, reason, queued_s, buried_s, priority, flags, crc, topic, correlation, payload FROM dead_letters"
    ).fetchone()
    letter = open_dead_letter(*row)
    assert (letter.message, letter.reason) == (message("b", "22", priority=2), "packet-too-large")  # type: ignore[union-attr]  # it is whole
    assert opened.counted() == {"buried": (1, 3)}


def test_only_the_newest_dead_letters_are_kept(opened: Open) -> None:
    opened.queue(*(message(f"{n}") for n in range(5)))
    for number in range(1, 6):
        assert opened.outbox.bury(number, "refused")
    assert [t for (t,) in opened.db.execute("SELECT topic FROM dead_letters ORDER BY number")] == ["2", "3", "4"]
    assert opened.counted() == {"buried": (5, 5), "dead-letter-expired": (2, 2)}


def test_none_are_kept_where_none_shall_be() -> None:
    opened = Open(Limits(**{**{name: getattr(LIMITS, name) for name in LIMITS.__struct_fields__}, "keep_dead_letters": 0}))
    opened.queue(message("a"))
    assert opened.outbox.bury(1, "refused")
    assert opened.ledger.dead_letters == 0
    assert opened.counted() == {"buried": (1, 1), "dead-letter-expired": (1, 1)}


def test_a_report_of_drops_that_cannot_be_delivered_reports_nothing_about_itself(opened: Open) -> None:
    opened.queue(message("drops", supersedes=True, priority=3))
    assert opened.outbox.bury(1, "refused")
    assert opened.counted() == {}
    assert opened.ledger.report == 0


def test_no_statement_searches_the_outbox(opened: Open) -> None:
    """However many wait, queueing, giving up and burying look only at rows whose numbers are known."""
    opened.queue(*(message(f"{n}", priority=n % 3) for n in range(50)))
    seen: list[str] = []
    opened.db.set_trace_callback(seen.append)
    opened.queue(message("s", "1", supersedes=True))
    opened.queue(message("s", "2", supersedes=True))
    opened.outbox.give_up(5, "outbox-full")
    opened.outbox.bury(20, "refused")
    opened.clock.pass_s(4000.0)
    opened.outbox.sweep()
    opened.db.set_trace_callback(None)
    plans = {
        plan
        for statement in seen
        if statement.lstrip().startswith(("SELECT", "UPDATE", "DELETE"))
        for *_, plan in opened.db.execute(f"EXPLAIN QUERY PLAN {statement}")
        if "drops" not in plan
    }
    assert plans
    assert not [plan for plan in plans if plan.startswith("SCAN") or "TEMP B-TREE" in plan], plans
