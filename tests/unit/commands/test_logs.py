"""The chain of a log is verified on a real journal, whole and tampered with."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from edge_agent.chain import ANCHOR, first_break, link
from edge_agent.commands.journal import open_reader
from edge_agent.commands.logs import BROKEN, entries, read_log, verify_log
from edge_agent.config.settings import JournalSettings, Settings
from edge_agent.journal import JOURNAL_NAME, Journal, LogName
from edge_agent.journal.reader import Reader
from edge_agent.values import LogEntry
from tests.journals import SetClock, tamper
from tests.unit.commands.escalations import escalation, store
from tests.writing import anomaly, incident


def written(folder: Path, count: int, keep: int = 20_000) -> Settings:
    """A closed journal whose egress log got `count` entries."""
    with Journal.open(folder / JOURNAL_NAME, JournalSettings(keep_log_entries=keep), SetClock()) as journal:
        store(journal, incident(anomaly()))
        for number in range(count):
            journal.settle(escalation(attempts=number), egress=b'{"n":%d}' % number)
    return Settings(state_dir=str(folder))


def test_a_whole_log_is_whole_and_tells_its_newest_hash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = written(tmp_path, 3)
    newest = ANCHOR
    for number in range(3):
        newest = link(newest, b'{"n":%d}' % number)
    assert verify_log(settings, "egress") == 0
    assert capsys.readouterr().out == f"egress log: 3 entries, 1 to 3, are whole and in order\n  3 of ?\nhead {newest.hex()}\n"
    assert verify_log(settings, "egress", newest) == 0
    assert verify_log(settings, "audit") == 0
    assert "audit log: no entries" in capsys.readouterr().out


def test_a_log_of_one_entry_is_told_in_the_singular(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify_log(written(tmp_path, 1), "egress") == 0
    assert capsys.readouterr().out.startswith("egress log: 1 entry, 1, is whole and in order\n  1 of ?\nhead ")


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
    noted = bytes.fromhex(capsys.readouterr().out.split()[-1])
    tamper(tmp_path, "DELETE FROM egress WHERE number = 4")
    assert verify_log(settings, "egress") == 0
    assert verify_log(settings, "egress", noted) == BROKEN
    assert f"does not hold {noted.hex()}: entries were cut off" in capsys.readouterr().out


def test_a_log_that_lost_its_oldest_entries_to_the_cap_is_whole_from_there_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = written(tmp_path, 260, keep=100)
    with open_reader(settings) as reader:
        assert reader is not None
        kept = list(entries(reader, "egress"))
        anchor = reader.log_anchor("egress")
    assert kept[0].number > 1
    assert verify_log(settings, "egress", anchor) == 0
    first = kept[0].number
    told = f"{len(kept)} entries, {first} to 260, are whole and in order; the {first - 1} before them were removed for their age"
    assert told in capsys.readouterr().out


def test_all_pages_of_a_log_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.commands.logs.PAGE", 3)
    with open_reader(written(tmp_path, 10)) as reader:
        assert reader is not None
        assert [entry.number for entry in entries(reader, "egress")] == list(range(1, 11))
        assert [entry.number for entry in entries(reader, "egress", after=8)] == [9, 10]


def test_without_a_journal_there_is_nothing_to_verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify_log(Settings(state_dir=str(tmp_path)), "egress") == 0
    assert verify_log(Settings(state_dir=str(tmp_path)), "egress", bytes(range(32))) == BROKEN
    assert "no entries" in capsys.readouterr().out


def test_a_log_that_is_shortened_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    with Journal.open(tmp_path / JOURNAL_NAME, JournalSettings(keep_log_entries=100), SetClock()) as journal:
        store(journal, incident(anomaly()))

        def append(count: int) -> None:
            for number in range(count):
                journal.settle(escalation(attempts=number), egress=b"{}")

        class Shortened:
            """A reader between whose first two answers the agent removes the oldest entries."""

            def __init__(self, reader: Reader) -> None:
                self._reader, self._calls = reader, 0

            def log_anchor(self, name: LogName) -> bytes:
                return self._reader.log_anchor(name)

            def log(self, name: LogName, after: int, limit: int) -> list[LogEntry]:
                self._calls += 1
                if self._calls == 1:
                    append(200)
                return self._reader.log(name, after, limit)

        append(90)
        with open_reader(Settings(state_dir=str(tmp_path))) as reader:
            assert reader is not None
            log = read_log(cast(Reader, Shortened(reader)), "egress")
        assert log.entries[0].number > 1
        assert first_break(log.entries, log.anchor) is None
