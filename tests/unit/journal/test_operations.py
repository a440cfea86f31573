"""`edge_agent.journal.operations`: statements inside one transaction, on a database in memory."""

from __future__ import annotations

import sqlite3

import pytest

from edge_agent.journal.ledger import Ledger
from edge_agent.journal.limits import Limits
from edge_agent.journal.operations import Operations
from edge_agent.journal.rows import incident_row, message_row, read_text, seal_closure, summary_row
from edge_agent.journal.schema import migrate
from edge_agent.values import Message
from tests.journals import SetClock, closure, incident, message, summary, upkeep

LIMITS = Limits(
    max_outbox=10, keep_incidents=5, max_message_bytes=1000, max_message_age_s=3600.0, keep_log_entries=5, keep_dead_letters=3
)


class Open:
    """Operations on a database in memory, with their parts at hand."""

    def __init__(self) -> None:
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.db.text_factory = read_text
        migrate(self.db)
        self.ledger = Ledger()
        self.clock = SetClock(100.0)
        self.do = Operations(self.db, self.ledger, LIMITS, self.clock, upkeep(self.clock))

    def queue(self, *messages: Message) -> None:
        self.do.record([], [message_row(m) for m in messages])
        self.do.finish()

    def topics(self) -> list[str]:
        return [t for (t,) in self.db.execute("SELECT topic FROM outbox ORDER BY number")]

    def count(self, table: str) -> int:
        return int(self.db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])

    def drops(self) -> dict[str, tuple[int, int]]:
        rows = self.db.execute("SELECT reason, count, bytes FROM drops WHERE count > 0")
        return {reason: (count, size) for reason, count, size in rows}


@pytest.fixture
def opened() -> Open:
    return Open()


def test_counts_agree_with_the_tables(opened: Open) -> None:
    opened.do.record([incident_row(incident(n)) for n in range(3)], [message_row(message("ü", "12"))])
    opened.queue(message("s", "1", supersedes=True))
    opened.queue(message("s", "22", supersedes=True))
    assert (opened.ledger.incidents, opened.count("incidents")) == (3, 3)
    assert (opened.ledger.messages, opened.count("outbox")) == (2, 2)
    assert opened.ledger.message_bytes == 4 + 3
    opened.do.outbox.delete([1, 2, 3])
    assert (opened.ledger.messages, opened.ledger.message_bytes, opened.count("outbox")) == (0, 0, 0)


def test_moving_gives_a_new_number_at_the_end(opened: Open) -> None:
    opened.queue(message("a"), message("b"), message("c"))
    opened.do.outbox.move([1, 77])
    assert opened.topics() == ["b", "c", "a"]
    assert opened.ledger.messages == 3


def test_drop_takes_the_lowest_priority_and_the_oldest_of_it(opened: Open) -> None:
    opened.queue(message("a", priority=2), message("b", priority=0), message("c", priority=1), message("d", priority=0))
    assert opened.do.outbox.give_up(3, "file-full") == 3
    assert opened.topics() == ["a"]
    assert opened.drops() == {"file-full": (3, 3)}
    assert opened.do.outbox.give_up(3, "file-full") == 1
    assert opened.do.outbox.give_up(3, "file-full") == 0


def test_outbox_is_kept_at_its_limit(opened: Open) -> None:
    opened.queue(*[message(f"{n}", priority=n % 2) for n in range(14)])
    assert opened.topics() == ["1", "3", "5", "7", "8", "9", "10", "11", "12", "13"]
    assert opened.drops() == {"outbox-full": (4, 4)}


def test_too_large_message_is_counted(opened: Open) -> None:
    opened.queue(Message(topic="t", payload=bytes(1000)), message("small"))
    assert opened.topics() == ["small"]
    assert opened.drops() == {"too-large": (1, 1001)}


def test_reason_that_the_file_does_not_list_is_added(opened: Open) -> None:
    opened.db.execute("DELETE FROM drops")
    opened.do.drops.count("too-large", 2, 30)
    opened.do.drops.count("too-large", 1, 5)
    opened.do.drops.count("damaged-row", 0, 0)
    assert opened.db.execute("SELECT reason, count, bytes, first_s, last_s FROM drops").fetchall() == [
        ("too-large", 3, 35, 100.0, 100.0)
    ]


def closed_and_explained(opened: Open, number: int) -> None:
    opened.do.record([incident_row(incident(number, state="closed"))], [])
    opened.do.record_summary(summary_row(summary(number)), [])


def test_removing_an_incident_takes_its_summary_and_closure(opened: Open) -> None:
    closed_and_explained(opened, 1)
    assert opened.do.close_incident("i-000001", seal_closure(closure(1)), None, [])
    assert opened.do.drop_incidents(5) == 1
    assert [opened.count(t) for t in ("incidents", "summaries", "closures")] == [0, 0, 0]
    assert opened.ledger.incidents == 0


@pytest.mark.parametrize("why", ["open", "unexplained", "explained earlier", "undelivered"])
def test_what_must_stay_is_not_removed(opened: Open, why: str) -> None:
    closed_and_explained(opened, 1)
    match why:
        case "open":
            opened.do.record([incident_row(incident(1, 2))], [])
            opened.do.record_summary(summary_row(summary(1, 2)), [])
        case "unexplained":
            opened.do.record([incident_row(incident(2, state="closed"))], [])
            assert opened.do.drop_incidents(5) == 1
            opened.do.record([incident_row(incident(1, state="closed"))], [])
        case "explained earlier":
            opened.do.record([incident_row(incident(1, 2, state="closed"))], [])
        case _:
            opened.do.record_summary(summary_row(summary(1)), [message_row(message("t"))])
    assert opened.do.drop_incidents(5) == 0


def test_message_queued_before_an_incident_also_holds_it(opened: Open) -> None:
    """Numbers of the outbox are compared, not owners: too careful is right here."""
    opened.queue(message("older"))
    closed_and_explained(opened, 1)
    assert opened.do.drop_incidents(5) == 1, "nothing of it waits"


def test_incidents_are_kept_at_their_limit_and_blocked_ones_are_looked_at_again(opened: Open) -> None:
    for n in range(8):
        opened.do.record([incident_row(incident(n, state="closed"))], [])
    assert opened.ledger.incidents == 8, "none is explained"
    opened.do.finish()
    for n in range(8):
        opened.do.record_summary(summary_row(summary(n)), [])
    closed_and_explained(opened, 8)
    opened.do.finish()
    closed_and_explained(opened, 9)
    opened.do.finish()
    assert opened.ledger.incidents == opened.count("incidents") <= 5
    assert opened.db.execute("SELECT max(id) FROM incidents").fetchone() == ("i-000009",)


@pytest.mark.parametrize("table", ["incidents", "summaries", "closures", "outbox"])
def test_only_unusable_rows_are_discarded(opened: Open, table: str) -> None:
    opened.do.record([incident_row(incident(1))], [message_row(message("t"))])
    opened.do.record_summary(summary_row(summary(1)), [])
    opened.do.close_incident("i-000001", seal_closure(closure(1)), None, [])
    opened.do.discard_row(table, 1, "damaged-row")
    assert opened.count(table) == 1, "the row is good: it was replaced since it was read"
    opened.db.execute(f"UPDATE {table} SET crc = crc + 1")
    opened.do.discard_row(table, 1, "damaged-row")
    opened.do.discard_row(table, 1, "damaged-row")
    assert opened.count(table) == 0
    assert opened.drops()["damaged-row"][0] == 1
    assert opened.db.execute("SELECT count(*) FROM incidents WHERE explained IS NULL").fetchone()[0] == (table == "summaries")


def test_closure_with_a_revision_of_an_incident_not_seen_before_stores_both(opened: Open) -> None:
    assert opened.do.close_incident("i-000001", seal_closure(closure(1)), incident_row(incident(1, 2, "closed")), [])
    assert [opened.count(t) for t in ("incidents", "closures")] == [1, 1]


def test_a_revision_that_was_explained_before_it_came_is_explained(opened: Open) -> None:
    opened.do.record([incident_row(incident(1))], [])
    opened.do.record_summary(summary_row(summary(1, 2)), [])
    opened.do.record([incident_row(incident(1, 2))], [])
    opened.ledger.commit([])
    assert opened.ledger.to_explain(10) == []
    opened.do.record([incident_row(incident(1, 3))], [])
    opened.ledger.commit([])
    assert opened.ledger.to_explain(10) == [1]
