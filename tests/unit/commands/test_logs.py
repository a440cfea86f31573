"""The chain of a log is verified on a real journal, whole and tampered with."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from edge_agent.chain import ANCHOR, link
from edge_agent.commands.journal import open_reader
from edge_agent.commands.logs import BROKEN, anchor_of, entries, verify_log
from edge_agent.config.settings import JournalSettings, Settings
from edge_agent.journal import JOURNAL_NAME, Journal
from tests.journals import SetClock
from tests.unit.commands.escalations import escalation, store
from tests.writing import anomaly, incident


def written(folder: Path, count: int, keep: int = 20_000) -> Settings:
    """A closed journal whose egress log got `count` entries."""
    with Journal.open(folder / JOURNAL_NAME, JournalSettings(keep_log_entries=keep), SetClock()) as journal:
        store(journal, incident(anomaly()))
        for number in range(count):
            journal.settle(escalation(attempts=number), egress=b'{"n":%d}' % number)
    return Settings(state_dir=str(folder))


def tamper(folder: Path, statement: str) -> None:
    db = sqlite3.connect(folder / JOURNAL_NAME)
    with db:
        db.execute(statement)
    db.close()


def test_a_whole_log_is_whole_and_tells_its_newest_hash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = written(tmp_path, 3)
    newest = ANCHOR
    for number in range(3):
        newest = link(newest, b'{"n":%d}' % number)
    assert verify_log(settings, "egress") == 0
    assert capsys.readouterr().out == f"egress log: entries 1 to 3 are whole\nnewest hash: {newest.hex()}\n"
    assert verify_log(settings, "egress", f" {newest.hex().upper()}\n") == 0
    assert verify_log(settings, "audit") == 0
    assert "audit log: no entries" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("statement", "broken"),
    [
        ("UPDATE egress SET body = '{\"n\":7}' WHERE number = 2", 2),
        ("UPDATE egress SET body = body || ' ' WHERE number = 1", 1),
        ("UPDATE egress SET hash = zeroblob(32) WHERE number = 3", 3),
        ("DELETE FROM egress WHERE number = 2", 3),
        ("DELETE FROM egress WHERE number = 1", 2),
        ("INSERT INTO egress (number, hash, body) VALUES (9, zeroblob(32), '{}')", 9),
        ("UPDATE egress SET number = -1 WHERE number = 3", 4),
    ],
)
def test_the_first_entry_that_does_not_follow_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], statement: str, broken: int
) -> None:
    settings = written(tmp_path, 4)
    tamper(tmp_path, statement)
    assert verify_log(settings, "egress") == BROKEN
    assert f"broken at entry {broken}:" in capsys.readouterr().out


def test_a_log_whose_end_was_cut_off_is_found_by_a_hash_noted_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = written(tmp_path, 4)
    verify_log(settings, "egress")
    noted = capsys.readouterr().out.split()[-1]
    tamper(tmp_path, "DELETE FROM egress WHERE number = 4")
    assert verify_log(settings, "egress") == 0
    assert verify_log(settings, "egress", noted) == BROKEN
    assert f"no entry has the hash {noted}" in capsys.readouterr().out


def test_a_log_that_lost_its_oldest_entries_to_the_cap_is_whole_from_there_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = written(tmp_path, 260, keep=100)
    with open_reader(settings) as reader:
        assert reader is not None
        kept = list(entries(reader, "egress"))
        anchor = reader.log_anchor("egress")
    assert kept[0].number > 1
    assert verify_log(settings, "egress", anchor.hex()) == 0
    told = f"entries {kept[0].number} to 260 are whole; the {kept[0].number - 1} before were removed for their age"
    assert told in capsys.readouterr().out


def test_all_pages_of_a_log_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.commands.logs.PAGE", 3)
    with open_reader(written(tmp_path, 10)) as reader:
        assert reader is not None
        assert [entry.number for entry in entries(reader, "egress")] == list(range(1, 11))
        assert [entry.number for entry in entries(reader, "egress", after=8)] == [9, 10]


def test_without_a_journal_there_is_nothing_to_verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify_log(Settings(state_dir=str(tmp_path)), "egress") == 0
    assert verify_log(Settings(state_dir=str(tmp_path)), "egress", "00" * 32) == BROKEN
    assert "no entries" in capsys.readouterr().out


def test_what_an_entry_follows_from_is_the_entry_before_it_or_the_last_that_was_removed(tmp_path: Path) -> None:
    with open_reader(written(tmp_path, 260, keep=100)) as reader:
        assert reader is not None
        kept = list(entries(reader, "egress"))
        first = kept[0].number
        assert anchor_of(reader, "egress", 0) == anchor_of(reader, "egress", first - 1) == reader.log_anchor("egress")
        assert anchor_of(reader, "egress", first) == kept[0].hash
        assert anchor_of(reader, "egress", 259) == kept[-2].hash
