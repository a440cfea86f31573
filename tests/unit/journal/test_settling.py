"""`edge_agent.journal.journal`: escalations and what is settled with them, meters, logs and dead letters, on a real file."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest
from msgspec.structs import replace

from edge_agent.chain import ANCHOR, first_break
from edge_agent.config.settings import JournalSettings
from tests.deadline import eventually
from tests.journals import SetClock, escalation, incident, message, open_journal, store_history, summary, waiting


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def test_an_escalation_is_stored_with_its_summary_and_the_entry_of_the_log(path: Path) -> None:
    with open_journal(path) as journal:
        journal.record([incident(1)], [])
        journal.record_summary(summary(1), [message("s")], escalation=escalation(1), audit=b"decided")
    with open_journal(path) as journal:
        assert journal.escalation("i-000001") == journal.escalation_of("q-000001-1") == escalation(1)
        assert journal.pending_escalations(10) == [escalation(1)]
        assert journal.pending_count() == 1
        assert [entry.body for entry in journal.log("audit")] == [b"decided"]
        assert journal.escalation("i-000002") is None
        assert journal.escalation_of("q-000002-1") is None


def test_what_comes_with_an_older_summary_is_ignored_with_it(path: Path) -> None:
    with open_journal(path) as journal:
        journal.record([incident(1, revision=2)], [])
        journal.record_summary(summary(1, revision=2), [])
        journal.record_summary(summary(1, revision=1), [message("s")], escalation=escalation(1), audit=b"late")
        assert (journal.escalation("i-000001"), journal.log("audit"), waiting(journal)) == (None, [], [])


def test_the_newest_revisions_escalation_takes_the_place_of_the_one_before(path: Path) -> None:
    with open_journal(path) as journal:
        journal.record([incident(1, revision=2)], [])
        journal.record_summary(summary(1, revision=1), [], escalation=escalation(1, 1))
        journal.record_summary(summary(1, revision=2), [], escalation=escalation(1, 2))
        assert journal.pending_escalations(10) == [escalation(1, 2)]
        assert journal.escalation_of("q-000001-1") is None
        journal.record_summary(summary(1, revision=2, text="again"), [], escalation=escalation(1, 1))
        assert journal.escalation("i-000001") == escalation(1, 2)


def test_pending_ones_come_most_severe_first_then_oldest(path: Path) -> None:
    with open_journal(path) as journal:
        journal.record([incident(n) for n in range(6)], [])
        for n, severity in ((4, 0.5), (1, 0.5), (2, 0.9), (0, 0.1), (3, 0.5)):
            journal.record_summary(summary(n), [], "critical", escalation=escalation(n, severity=severity))
        assert journal.settle(escalation(3, state="answered", severity=0.5))
        assert [e.incident_id[-1] for e in journal.pending_escalations(10)] == ["2", "1", "4", "0"]
        assert [e.incident_id[-1] for e in journal.pending_escalations(2, 1)] == ["1", "4"]
        assert journal.pending_count() == 4


def test_settling_stores_all_of_it_at_once(path: Path) -> None:
    revised = replace(summary(1, text="Better."), revised=True, route="cloud")
    with open_journal(path) as journal:
        journal.record([incident(1)], [])
        journal.record_summary(summary(1), [], escalation=escalation(1))
        assert journal.settle(escalation(1, state="sent"), meters={"budget": b"1"}, egress=b"question")
        answered = escalation(1, state="answered")
        assert journal.settle(answered, messages=[message("s")], summary=revised, meters={"budget": b"2"}, audit=b"answered")
    with open_journal(path) as journal:
        assert journal.escalation("i-000001") == answered
        assert journal.summary("i-000001") == revised
        assert journal.meter("budget") == b"2"
        assert [e.body for e in journal.log("egress")] == [b"question"]
        assert [e.body for e in journal.log("audit")] == [b"answered"]
        assert [m.topic for m in waiting(journal)] == ["s"]
        assert journal.to_explain(10) == []


@pytest.mark.parametrize("why", ["gone", "newer", "final", "explained since"])
def test_settling_what_is_outdated_stores_nothing_but_the_meters(path: Path, why: str) -> None:
    with open_journal(path) as journal:
        if why != "gone":
            journal.record([incident(1, revision=2)], [])
            journal.record_summary(summary(1), [], escalation=escalation(1))
        if why == "newer":
            journal.record_summary(summary(1, revision=2), [], escalation=escalation(1, 2))
        if why == "final":
            assert journal.settle(escalation(1, state="refused"))
        if why == "explained since":
            journal.record_summary(summary(1, revision=2), [])
        before = journal.escalation("i-000001"), journal.summary("i-000001")
        kept = journal.settle(
            escalation(1, state="answered"),
            messages=[message("s")],
            summary=summary(1, text="late"),
            meters={"budget": b"spent"},
            egress=b"e",
            audit=b"a",
        )
        assert not kept
        assert (journal.escalation("i-000001"), journal.summary("i-000001")) == before
        assert journal.meter("budget") == b"spent"
        assert (journal.log("audit"), journal.log("egress"), waiting(journal)) == ([], [], [])


def test_a_newer_revision_may_be_settled_over_a_final_older_one(path: Path) -> None:
    with open_journal(path) as journal:
        journal.record([incident(1, revision=2)], [])
        assert journal.settle(escalation(1, 1, state="dropped"))
        assert journal.settle(escalation(1, 2, state="sent"))
        assert journal.pending_escalations(10) == [escalation(1, 2, state="sent")]


def test_the_escalation_of_an_incident_that_is_removed_goes_with_it_counted_if_pending(path: Path) -> None:
    with open_journal(path) as journal:
        store_history(journal, range(110))
        for n in (105, 106):
            journal.record_summary(summary(n), [], escalation=escalation(n))
        assert journal.settle(escalation(106, state="answered"))
        store_history(journal, range(200, 310))
        assert journal.escalation("i-000105") is journal.escalation("i-000106") is None
        counted = {drop.reason: drop.count for drop in journal.drops()}
        assert counted["escalation-expired"] == 1
        assert journal.pending_count() == 0


# --- meters, logs, dead letters, the report of drops ---


def test_a_damaged_meter_is_none_and_counted(path: Path) -> None:
    with open_journal(path) as journal:
        assert journal.meter("budget") is None
        journal.record_meters({"budget": b"1", "breaker": b"2"})
    db = sqlite3.connect(path)
    db.execute("UPDATE meters SET body = x'39' WHERE name = 'budget'")
    db.commit()
    db.close()
    with open_journal(path) as journal:
        assert (journal.meter("budget"), journal.meter("breaker")) == (None, b"2")
        eventually(lambda: [(d.reason, d.count) for d in journal.drops()] == [("damaged-row", 1)])
        journal.record_meters({"budget": b"3"})
        assert journal.meter("budget") == b"3"


def test_a_log_is_read_in_pages_from_its_anchor_to_its_head(path: Path) -> None:
    settings = JournalSettings(max_bytes=1 << 20, keep_log_entries=100)
    with open_journal(path, settings) as journal:
        assert (journal.log_anchor("audit"), journal.log_head("audit")) == (ANCHOR, None)
        journal.record([incident(1)], [])
        for n in range(150):
            journal.record_summary(summary(1, text=f"{n}"), [], "critical", audit=b"%d" % n)
    with open_journal(path, settings) as journal:
        entries = journal.log("audit")
        assert [entry.body for entry in entries][-1] == b"149"
        assert 100 <= len(entries) <= 101
        assert first_break(entries, journal.log_anchor("audit")) is None
        assert journal.log_anchor("audit") != ANCHOR
        assert journal.log("audit", after=entries[3].number, limit=2) == entries[4:6]
        assert journal.log_head("audit") == entries[-1]
        journal.record_summary(summary(1), [], audit=b"on")
        assert first_break(journal.log("audit"), journal.log_anchor("audit")) is None


@pytest.mark.parametrize("change", ["body = x'00'", "hash = x'00'", "body = 'text'", "hash = 7", "body = NULL || x'00'"])
def test_a_damaged_entry_stays_and_is_found(path: Path, change: str) -> None:
    with open_journal(path) as journal:
        journal.record([incident(1)], [])
        for n in range(5):
            journal.record_summary(summary(1), [], "critical", audit=b"%d" % n)
    db = sqlite3.connect(path)
    with contextlib.suppress(sqlite3.IntegrityError):
        db.execute(f"UPDATE audit SET {change} WHERE number = 3")
    db.commit()
    damaged = db.total_changes > 0
    db.close()
    with open_journal(path) as journal:
        journal.record_summary(summary(1), [], audit=b"more")
        entries = journal.log("audit")
        assert len(entries) == 6
        assert first_break(entries) == (3 if damaged else None)


def test_dead_letters_are_listed_newest_first_in_pages(path: Path) -> None:
    clock = SetClock(1000.0)
    with open_journal(path, clock=clock) as journal:
        journal.record([], [message(f"t/{n}", "x", priority=n) for n in range(3)])
        clock.time_s = 1060.0
        for queued in journal.outbox(0, 10):
            journal.bury(queued.number, "packet-too-large")
        journal.bury(999, "packet-too-large")
    with open_journal(path, clock=clock) as journal:
        assert waiting(journal) == []
        letters = journal.dead_letters(2)
        assert [letter.message.topic for letter in letters] == ["t/2", "t/1"]
        assert (letters[0].reason, letters[0].queued_s, letters[0].buried_s) == ("packet-too-large", 1000.0, 1060.0)
        assert [x.message.topic for x in journal.dead_letters(5, before=letters[-1].number)] == ["t/0"]
        assert journal.counts().dead_letters == journal.counts().dropped == 3


def test_a_damaged_dead_letter_is_left_out_deleted_and_counted(path: Path) -> None:
    with open_journal(path) as journal:
        journal.record([], [message("a"), message("b")])
        for queued in journal.outbox(0, 10):
            journal.bury(queued.number, "refused")
    db = sqlite3.connect(path)
    db.execute("UPDATE dead_letters SET reason = 'other' WHERE topic = 'a'")
    db.commit()
    db.close()
    with open_journal(path) as journal:
        assert [letter.message.topic for letter in journal.dead_letters(10)] == ["b"]
        eventually(lambda: journal.counts().dead_letters == 1)
