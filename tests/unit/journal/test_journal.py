"""`edge_agent.journal.journal`: what callers see, on a real file."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from msgspec.structs import replace

from edge_agent.chain import first_break
from edge_agent.config.settings import JournalSettings
from edge_agent.errors import StorageError
from edge_agent.journal import Journal
from edge_agent.journal.logs import Logs
from edge_agent.journal.operations import Operations
from edge_agent.journal.rows import message_row
from edge_agent.values import Message
from tests.deadline import eventually
from tests.journals import SetClock, anomaly, closure, incident, message, open_journal, store_history, summary, waiting


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def test_new_journal_is_empty_and_says_so(path: Path) -> None:
    with open_journal(path) as journal:
        assert journal.opening.created
        assert not journal.opening.damage
        assert not journal.open_incidents()
        assert not journal.to_explain(10)
        assert not journal.outbox(0, 10)
        assert not journal.drops()
        assert journal.incident("i-000001") is None
        assert journal.summary("i-000001") is None
        counts = journal.counts()
    assert (counts.incidents, counts.outbox, counts.oldest_message_age_s, counts.dropped) == (0, 0, 0.0, 0)


def test_what_was_recorded_is_there_after_reopening(path: Path) -> None:
    first, second = incident(1, signature=bytes(range(32))), incident(2, revision=4, state="closed")
    with open_journal(path) as journal:
        journal.record([first, second], [message("a", "1"), message("b", "2")])
        journal.record_summary(summary(2, revision=4), [message("c", "3")])
    with open_journal(path) as journal:
        assert not journal.opening.created
        assert journal.opening.version_before == 2
        assert [s.incident for s in journal.incidents(10)] == [second, first]
        assert journal.open_incidents() == [first]
        assert journal.to_explain(10) == [first]
        assert journal.summary("i-000002") == summary(2, revision=4)
        assert [m.topic for m in waiting(journal)] == ["a", "b", "c"]


def test_message_comes_back_as_it_was(path: Path) -> None:
    sent = [
        Message(
            topic="ü/x",
            payload=bytes(range(256)),
            qos=2,
            retain=True,
            supersedes=True,
            response_correlation=b"\0\xff",
            priority=2,
        ),
        Message(topic="t", payload=b"", qos=0, priority=0),
    ]
    with open_journal(path) as journal:
        journal.record([], sent)
        assert waiting(journal) == sent


def test_only_newer_revision_replaces_an_incident(path: Path) -> None:
    with open_journal(path) as journal:
        journal.record([incident(1, revision=3)], [])
        journal.record([incident(1, revision=2, state="closed")], [message("late")])
        stored = journal.incident("i-000001")
        assert stored is not None
        assert stored.incident == incident(1, revision=3)
        assert [m.topic for m in waiting(journal)] == ["late"]
        journal.record([incident(1, revision=4, state="closed")], [])
        assert journal.open_incidents() == []
        assert len(journal.incidents(10)) == 1


def test_incident_is_explained_until_its_next_revision(path: Path) -> None:
    with open_journal(path) as journal:
        journal.record([incident(2), incident(1)], [])
        assert [i.id for i in journal.to_explain(10)] == ["i-000002", "i-000001"]
        assert [i.id for i in journal.to_explain(1)] == ["i-000002"]
        journal.record_summary(summary(2), [])
        assert [i.id for i in journal.to_explain(10)] == ["i-000001"]
        journal.record([incident(2, revision=2)], [])
        assert [i.revision for i in journal.to_explain(10)] == [2, 1]
        stored = journal.incident("i-000002")
        assert stored is not None
        assert stored.explained_revision == 1


def test_older_summary_is_ignored_with_its_messages(path: Path) -> None:
    with open_journal(path) as journal:
        journal.record([incident(1, revision=5)], [])
        journal.record_summary(summary(1, revision=5, text="new"), [message("s", "new")])
        journal.record_summary(summary(1, revision=4, text="old"), [message("s", "old")])
        stored = journal.summary("i-000001")
        assert stored is not None
        assert stored.text == "new"
        assert [m.payload for m in waiting(journal)] == [b"new"]


def test_summary_of_same_revision_replaces(path: Path) -> None:
    with open_journal(path) as journal:
        journal.record([incident(1)], [])
        journal.record_summary(summary(1, text="template"), [])
        journal.record_summary(summary(1, text="better"), [])
        stored = journal.summary("i-000001")
        assert stored is not None
        assert stored.text == "better"


def test_summary_of_an_unknown_incident_is_still_published(path: Path) -> None:
    with open_journal(path) as journal:
        journal.record_summary(summary(9), [message("s")])
        assert journal.summary("i-000009") is None
        assert len(waiting(journal)) == 1


def test_incidents_are_listed_newest_first_in_pages_and_by_state(path: Path) -> None:
    with open_journal(path) as journal:
        journal.record([incident(n, state="closed" if n % 2 else "open") for n in range(10)], [])
        page = journal.incidents(4)
        assert [s.incident.id for s in page] == ["i-000009", "i-000008", "i-000007", "i-000006"]
        assert [s.incident.id for s in journal.incidents(2, before=page[-1].number)] == ["i-000005", "i-000004"]
        assert [s.incident.id for s in journal.incidents(2, state="open")] == ["i-000008", "i-000006"]


def test_closing_stores_cause_and_note_and_makes_a_past_incident(path: Path) -> None:
    low, high = bytes(32), bytes([7] * 32)
    anomalies = (anomaly(1, 0, low, 0.5), anomaly(1, 1, high, 0.8), anomaly(1, 2, b"", 0.9))
    closed = replace(incident(1, revision=2, state="closed"), anomalies=anomalies)
    with open_journal(path) as journal:
        journal.record([incident(1, signature=low), incident(2, signature=low)], [])
        assert journal.close_incident(closure(1, note="replaced"), [message("done")], incident=closed)
        assert not journal.close_incident(closure(77), [message("never")])
        past = journal.past_incident("i-000001")
        assert past is not None
        assert (past.incident_id, past.cause, past.signature) == ("i-000001", "bearing wear", high)
        assert list(journal.past_incidents()) == [past]
        assert list(journal.past_incidents(since_number=past.number)) == []
        stored = journal.incident("i-000001")
        assert stored is not None
        assert stored.closure == closure(1, note="replaced")
        assert [m.topic for m in waiting(journal)] == ["done"]
        assert journal.past_incident("i-000002") is None
        assert journal.past_incident("i-000077") is None


def test_incident_without_signature_cause_or_end_is_not_past(path: Path) -> None:
    with open_journal(path) as journal:
        journal.record(
            [incident(1, state="closed"), incident(2, signature=b"s" * 32), incident(3, state="closed", signature=b"s" * 32)], []
        )
        for number, cause in ((1, "wear"), (2, "wear"), (3, "")):
            assert journal.close_incident(closure(number, cause=cause))
        assert list(journal.past_incidents()) == []
        assert journal.close_incident(closure(3, cause="wear"))
        assert [p.incident_id for p in journal.past_incidents()] == ["i-000003"]


def test_past_incidents_reach_over_pages(path: Path) -> None:
    settings = JournalSettings(max_bytes=8 << 20, keep_incidents=10_000)
    with open_journal(path, settings) as journal:
        journal.record([incident(n, state="closed", signature=b"s" * 32) for n in range(600)], [])
        with ThreadPoolExecutor(16) as pool:
            assert all(pool.map(lambda n: journal.close_incident(closure(n)), range(600)))
        assert [p.incident_id for p in journal.past_incidents()] == [f"i-{n:06d}" for n in range(600)]


# --- the outbox ---


def test_outbox_is_read_in_order_from_a_number(path: Path) -> None:
    with open_journal(path) as journal:
        journal.record([], [message(f"t/{n}") for n in range(5)])
        first = journal.outbox(0, 2)
        assert [q.message.topic for q in first] == ["t/0", "t/1"]
        assert [q.message.topic for q in journal.outbox(first[-1].number, 10)] == ["t/2", "t/3", "t/4"]


def test_delivered_messages_go_and_never_come_back(path: Path) -> None:
    with open_journal(path) as journal:
        journal.record([], [message(f"t/{n}") for n in range(5)])
        numbers = [q.number for q in journal.outbox(0, 3)]
        journal.delivered(numbers)
        assert [m.topic for m in waiting(journal)] == ["t/3", "t/4"]
        eventually(lambda: journal.counts().outbox == 2)
    with open_journal(path) as journal:
        assert [m.topic for m in waiting(journal)] == ["t/3", "t/4"]


def test_closing_takes_delivered_messages_out(path: Path) -> None:
    with open_journal(path) as journal:
        journal.record([], [message("t")])
        journal.delivered([q.number for q in journal.outbox(0, 1)])
    with open_journal(path) as journal:
        assert waiting(journal) == []


def test_numbers_grow_after_the_outbox_was_empty(path: Path) -> None:
    with open_journal(path) as journal:
        journal.record([], [message("a")])
        [queued] = journal.outbox(0, 10)
        number = queued.number
        journal.delivered([number])
        eventually(lambda: journal.counts().outbox == 0)
        journal.record([], [message("b")])
        assert [q.message.topic for q in journal.outbox(number, 10)] == ["b"]


def test_delivering_unknown_numbers_does_nothing(path: Path) -> None:
    with open_journal(path) as journal:
        journal.record([], [message("a")])
        journal.delivered([5000, -1])
        journal.record([], [])
        assert journal.counts().outbox == 1


def test_superseding_message_takes_the_place_of_the_waiting_one(path: Path) -> None:
    with open_journal(path) as journal:
        journal.record([], [message("s", "1", supersedes=True), message("x"), message("s", "plain")])
        journal.record([], [message("s", "2", supersedes=True)])
        assert [(m.topic, m.payload) for m in waiting(journal)] == [("s", b"2"), ("x", b""), ("s", b"plain")]
        counts = journal.counts()
        assert (counts.outbox, counts.outbox_bytes) == (3, 2 + 1 + 6)


def test_superseding_works_across_a_restart(path: Path) -> None:
    with open_journal(path) as journal:
        journal.record([], [message("s", "1", supersedes=True), message("x")])
    with open_journal(path) as journal:
        journal.record([], [message("s", "2", supersedes=True)])
        assert [(m.topic, m.payload) for m in waiting(journal)] == [("s", b"2"), ("x", b"")]


def test_message_that_was_handed_out_is_not_replaced(path: Path) -> None:
    """Its acknowledgement would take the new content for delivered."""
    with open_journal(path) as journal:
        journal.record([], [message("s", "1", supersedes=True)])
        [queued] = journal.outbox(0, 1)
        number = queued.number
        journal.record([], [message("s", "2", supersedes=True)])
        journal.delivered([number])
        assert [m.payload for m in waiting(journal)] == [b"2"]
        assert [q.message.payload for q in journal.outbox(number, 10)] == [b"2"]


def test_new_content_is_delivered_even_if_the_old_was_read_while_it_was_replaced(path: Path) -> None:
    with open_journal(path) as journal:
        journal.record([], [message("s", "1", supersedes=True)])
        taken: list[int] = []

        def read_during_the_transaction(operations: Operations) -> None:
            operations.record([], [message_row(message("s", "2", supersedes=True))])
            taken.extend(q.number for q in journal.outbox(0, 10))

        journal._wait(journal._committer.submit(read_during_the_transaction, "critical"))
        assert taken
        journal.delivered(taken)
        eventually(lambda: journal.counts().outbox == 1)
        assert [q.message.payload for q in journal.outbox(taken[-1], 10)] == [b"2"]


def test_age_of_the_oldest_message_survives_a_clock_that_jumps_back(path: Path) -> None:
    clock = SetClock(1000.0)
    with open_journal(path, clock=clock) as journal:
        journal.record([], [message("a")])
        clock.time_s = 1060.0
        assert journal.counts().oldest_message_age_s == 60.0
        clock.time_s = 0.0
        assert journal.counts().oldest_message_age_s == 0.0


# --- caps ---


def test_full_outbox_drops_the_lowest_priority_first_then_the_oldest(path: Path) -> None:
    with open_journal(path) as journal:
        journal.record([], [message("high", priority=2)])
        journal.record([], [message(f"usual/{n}") for n in range(50)])
        journal.record([], [message(f"low/{n}", priority=0) for n in range(49)])
        assert journal.counts().outbox == 100
        journal.record([], [message(f"new/{n}") for n in range(60)])
        topics = [m.topic for m in waiting(journal)]
        assert topics[0] == "high"
        assert not [t for t in topics if t.startswith("low")]
        assert topics[-1] == "new/59"
        [drop] = journal.drops()
        assert drop.reason == "outbox-full"
        assert drop.count == 110 + 50 - len(topics) == journal.counts().dropped
        assert 0 <= 100 - len(topics) <= 1
        assert len(topics) == journal.counts().outbox


def test_drops_are_counted_over_restarts_with_first_and_last_time(path: Path) -> None:
    clock = SetClock(1000.0)
    with open_journal(path, clock=clock) as journal:
        journal.record([], [message(f"{n}") for n in range(101)])
    clock.time_s = 2000.0
    with open_journal(path, clock=clock) as journal:
        journal.record([], [message(f"{n}") for n in range(10)])
        [drop] = journal.drops()
        assert (drop.first_s, drop.last_s) == (1000.0, 2000.0)
        assert drop.count == 111 - journal.counts().outbox


def test_message_too_large_for_the_journal_is_counted_not_stored(path: Path) -> None:
    with open_journal(path) as journal:
        journal.record([incident(1)], [Message(topic="big", payload=bytes(1 << 18)), message("small")])
        assert [m.topic for m in waiting(journal)] == ["small"]
        assert [(d.reason, d.count, d.bytes) for d in journal.drops()] == [("too-large", 1, (1 << 18) + 3)]
        assert journal.incident("i-000001") is not None


def test_oldest_closed_incidents_make_room_and_open_ones_stay(path: Path) -> None:
    with open_journal(path) as journal:
        journal.record([incident(0)], [])
        journal.record_summary(summary(0), [])
        store_history(journal, range(1, 110))
        store_history(journal, range(110, 130))
        ids = [s.incident.id for s in journal.incidents(1000)]
        assert "i-000000" in ids
        assert "i-000129" in ids
        assert "i-000001" not in ids
        assert len(ids) == journal.counts().incidents <= 101
        assert [d.reason for d in journal.drops()] == ["incident-expired"]
        assert journal.counts().dropped == 0
        assert journal.summary("i-000001") is None


def test_unexplained_and_undelivered_incidents_are_not_removed(path: Path) -> None:
    with open_journal(path) as journal:
        journal.record([incident(0, state="closed")], [])
        store_history(journal, range(1, 3))
        journal.record([incident(3, state="closed")], [message("waits")])
        journal.record_summary(summary(3), [])
        store_history(journal, range(4, 150))
        ids = {s.incident.id for s in journal.incidents(1000)}
        assert {"i-000000", "i-000003", "i-000149"} <= ids
        assert "i-000001" not in ids
        journal.delivered([q.number for q in journal.outbox(0, 10)])
        journal.record_summary(summary(0), [])
        store_history(journal, range(150, 160))
        ids = {s.incident.id for s in journal.incidents(1000)}
        assert not {"i-000000", "i-000003"} & ids


def test_file_stays_within_its_size_and_gives_up_history_before_messages(path: Path) -> None:
    settings = JournalSettings(max_bytes=1 << 20, max_outbox=100_000, keep_incidents=100_000)
    with open_journal(path, settings) as journal:
        store_history(journal, range(300))
        messages = [message(f"m/{n}", "x" * 1000, priority=n % 2) for n in range(1500)]
        for n in range(0, 350, 5):
            journal.record([], messages[n : n + 5])
        reasons = {d.reason for d in journal.drops()}
        assert reasons == {"incident-expired"}
        for n in range(350, 1500, 5):
            journal.record([], messages[n : n + 5])
        assert {d.reason for d in journal.drops()} == {"incident-expired", "file-full"}
        left = [int(m.topic[2:]) for m in waiting(journal)]
        assert left[-1] == 1499
        dropped = next(d for d in journal.drops() if d.reason == "file-full")
        assert dropped.count + len(left) == 1500
        assert dropped.count == 1500 - len(left)
        assert sum(1 for n in left if n % 2) > sum(1 for n in left if not n % 2)
        assert journal.counts().file_bytes <= settings.max_bytes + (64 << 10)
        assert path.stat().st_size <= settings.max_bytes


def fill(journal: Journal) -> None:
    for n in range(0, 100_000, 4):
        journal.record([incident(k, anomaly_count=8) for k in range(n, n + 4)], [])


def test_full_of_what_must_stay_is_an_error_and_the_journal_goes_on(path: Path) -> None:
    settings = JournalSettings(max_bytes=1 << 20, keep_incidents=100_000)
    with open_journal(path, settings) as journal:
        with pytest.raises(StorageError, match=r"raise journal\.max_bytes"):
            fill(journal)
        stored = journal.counts().incidents
        assert stored > 50
        assert journal.drops() == []
        assert journal.counts().incidents == stored == len(journal.incidents(100_000))
        for n in range(0, stored, 4):
            journal.record([incident(k, revision=2, state="closed") for k in range(n, n + 4)], [])
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: journal.record_summary(summary(n, revision=2), [], "critical"), range(stored)))
        journal.record([incident(200_000, anomaly_count=8)], [])
        assert journal.incident("i-200000") is not None


# --- errors, threads, processes ---


def test_text_that_cannot_be_stored_fails_alone(path: Path) -> None:
    with open_journal(path) as journal:
        with pytest.raises(StorageError, match="cannot be stored"):
            journal._wait(journal._committer.submit(lambda o: o.drops.count("too-large", 1 << 70, 0), "critical"))
        journal.record([], [message("fine")])
        assert len(waiting(journal)) == 1


def test_closed_journal_refuses(path: Path) -> None:
    journal = open_journal(path)
    journal.close()
    journal.close()
    with pytest.raises(StorageError, match="closed"):
        journal.record([incident(1)], [])
    journal.delivered([1])


def test_second_opening_is_refused_in_this_process_and_in_another(path: Path) -> None:
    with open_journal(path) as journal:
        with pytest.raises(StorageError, match="another edge-agent"):
            open_journal(path)
        code = (
            "import sys; from pathlib import Path; from tests.journals import open_journal\n"
            "from edge_agent.errors import StorageError\n"
            f"try: open_journal(Path({str(path)!r}))\n"
            "except StorageError: sys.exit(7)\n"
        )
        assert subprocess.run([sys.executable, "-c", code], cwd=os.getcwd(), timeout=60, check=False).returncode == 7
        journal.record([incident(1)], [])
    with open_journal(path) as journal:
        assert len(journal.open_incidents()) == 1


def test_missing_folder_and_folder_in_place_of_the_file_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="folder must exist"):
        open_journal(tmp_path / "absent" / "journal.db")
    (tmp_path / "journal.db").mkdir()
    with pytest.raises(StorageError, match="not a file"):
        open_journal(tmp_path / "journal.db")
    (tmp_path / "journal.db").rmdir()
    open_journal(tmp_path / "journal.db").close()


def test_many_threads_write_and_read_at_once_and_share_commits(path: Path) -> None:
    settings = JournalSettings(max_bytes=8 << 20, max_outbox=10_000)
    with open_journal(path, settings) as journal:

        def write(n: int) -> bool:
            journal.record([incident(n)], [message(f"t/{n}")])
            return journal.incident(f"i-{n:06d}") is not None

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(write, range(400)))
        counts = journal.counts()
        assert (counts.incidents, counts.outbox, counts.operations) == (400, 400, 400)
        assert counts.commits < 400
        assert sorted(m.topic for m in waiting(journal)) == sorted(f"t/{n}" for n in range(400))


def test_every_commit_is_synced(path: Path) -> None:
    with open_journal(path) as journal:
        assert journal._store._db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert journal._store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_row_with_a_wrong_checksum_is_left_out_deleted_and_counted_once(path: Path) -> None:
    with open_journal(path) as journal:
        journal.record([incident(1), incident(2)], [message("a", "1"), message("b", "2")])
        journal.record_summary(summary(2), [])
    db = sqlite3.connect(path)
    db.execute("UPDATE incidents SET body = replace(CAST(body AS TEXT), '3.75', '3.85') WHERE id = 'i-000001'")
    db.execute("UPDATE outbox SET payload = x'39' WHERE topic = 'a'")
    db.execute("UPDATE summaries SET body = x'00'")
    db.commit()
    db.close()
    with open_journal(path) as journal:
        assert not journal.opening.damage
        for _ in range(3):
            assert journal.to_explain(10) == []
            assert [m.topic for m in waiting(journal)] == ["b"]
            assert journal.incident("i-000001") is None
        assert journal.summary("i-000002") is None
        eventually(lambda: [(d.reason, d.count) for d in journal.drops()] == [("damaged-row", 3)])
        assert [i.id for i in journal.to_explain(10)] == ["i-000002"], "a lost summary is written again"
        assert journal.counts().incidents == 1
        assert journal.counts().outbox == 1


def test_damage_found_while_running_is_said_and_repaired_at_the_next_start(path: Path) -> None:
    settings = JournalSettings(max_bytes=4 << 20, max_outbox=10_000)
    with open_journal(path, settings) as journal:
        journal.record([incident(n) for n in range(200)], [message(f"t/{n}", "x" * 500) for n in range(200)])
    with open_journal(path, settings) as journal:
        size = path.stat().st_size
        with open(path, "r+b") as file:
            file.seek(2048)
            file.write(b"\xee" * (size - 2048))
        with pytest.raises(StorageError, match="damaged; restart"):
            journal.incidents(10)
        assert journal.damaged
    with open_journal(path, settings) as journal:
        assert journal.opening.damage
        assert Path(journal.opening.aside).exists()
        assert not journal.damaged
        journal.record([incident(500)], [])
        assert [d.reason for d in journal.drops()] == ["damaged-file"]
    with open_journal(path, settings) as journal:
        assert not journal.opening.damage


def test_open_is_a_class_method_that_takes_text_paths(path: Path) -> None:
    Journal.open(str(path), JournalSettings(), SetClock()).close()
    assert sorted(os.listdir(path.parent)) == ["journal.db", "journal.db.lock", "journal.db.reserve"]


def test_an_entry_of_a_log_stands_with_its_meter_and_message_or_none_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_journal(tmp_path / "journal.db") as journal:
        journal.record_log("egress", b"one", messages=[message("t/1")], meters={"telemetry": b"1"})
        with monkeypatch.context() as patched:
            patched.setattr(Logs, "append", refuse_to_append)
            with pytest.raises(StorageError):
                journal.record_log("egress", b"two", messages=[message("t/2")], meters={"telemetry": b"2"})
        assert [entry.body for entry in journal.log("egress")] == [b"one"]
        assert first_break(journal.log("egress")) is None
        assert waiting(journal) == [message("t/1")]
        assert journal.meter("telemetry") == b"1"
        assert journal.log("audit") == []


def refuse_to_append(*_: object) -> None:
    raise sqlite3.OperationalError("disk I/O error")


def test_what_stood_there_before_the_start_is_marked(path: Path) -> None:
    with open_journal(path) as journal:
        journal.record([], [message("a")])
        assert [q.before_start for q in journal.outbox(0, 10)] == [False]
    with open_journal(path) as journal:
        journal.record([], [message("b")])
        assert [(q.message.topic, q.before_start) for q in journal.outbox(0, 10)] == [("a", True), ("b", False)]
