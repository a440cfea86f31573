"""`audit verify` and `audit export` on a real journal: whole, tampered with, shortened, cut off, and as a file elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from edge_agent.commands.audit import export, verify, verify_file
from edge_agent.commands.journal import open_reader
from edge_agent.commands.logs import BROKEN, Log, meaning_of_break, read_log
from edge_agent.config.settings import JournalSettings, Settings
from edge_agent.errors import InputError
from edge_agent.journal import JOURNAL_NAME, Journal
from edge_agent.messages.decisions import decision_entry
from edge_agent.pipeline import TEMPLATE_ONLY, explain
from tests.journals import SetClock, tamper
from tests.unit.test_chain import chain_of
from tests.writing import ONSET_S, anomaly, incident


def decided(folder: Path, count: int, keep: int = 20_000) -> Settings:
    """A closed journal with `count` incidents, each explained and its decision logged."""
    with Journal.open(folder / JOURNAL_NAME, JournalSettings(keep_log_entries=keep), SetClock()) as journal:
        for number in range(1, count + 1):
            found = incident(anomaly(), id=f"pump-3-{number}", state="closed", closed_s=ONSET_S + 60.0)
            journal.record([found], [])
            summary = explain(found, None, None, TEMPLATE_ONLY, ONSET_S)
            journal.record_summary(summary, [], audit=decision_entry(found, summary))
    return Settings(state_dir=str(folder))


def exported(settings: Settings, path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> Path:
    capsysbinary.readouterr()
    assert export(settings, "audit") == 0
    path.write_bytes(capsysbinary.readouterr().out)
    return path


def head_of(capsys: pytest.CaptureFixture[str]) -> bytes:
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("head "))
    return bytes.fromhex(line.removeprefix("head "))


def test_a_whole_log_is_told_with_its_head_and_the_summaries_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = decided(tmp_path, 3)
    assert verify(settings, "audit") == 0
    said = capsys.readouterr().out
    assert "audit log: 3 entries, 1 to 3, are whole and in order\n  3 of edge-agent-decision/1\nhead " in said
    assert "summaries: 3 are what the log says\n" in said


def test_no_journal_and_an_empty_log_are_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(Settings(state_dir=str(tmp_path)), "audit") == 0
    assert verify(decided(tmp_path, 0), "audit") == 0
    assert capsys.readouterr().out.count("audit log: no entries") == 2
    assert verify(Settings(state_dir=str(tmp_path)), "egress", head=bytes(range(32))) == BROKEN


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE audit SET body = replace(body, 'template', 'writer') WHERE number = 2", "broken at entry 2: it was changed"),
        ("UPDATE audit SET hash = zeroblob(32) WHERE number = 4", "broken at entry 4: it was changed"),
        ("DELETE FROM audit WHERE number = 2", "broken at entry 3: entry 2 is missing"),
        ("DELETE FROM audit WHERE number IN (2, 3)", "broken at entry 4: entries 2 to 3 are missing"),
        ("DELETE FROM audit WHERE number = 1", "broken at entry 2: it was changed, or an entry before it"),
    ],
)
def test_a_broken_chain_names_the_first_entry_and_what_it_means(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], statement: str, says: str
) -> None:
    settings = decided(tmp_path, 4)
    tamper(tmp_path, statement)
    assert verify(settings, "audit") == BROKEN
    assert says in capsys.readouterr().out


def test_a_cut_end_is_found_by_a_head_that_was_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = decided(tmp_path, 3)
    verify(settings, "audit")
    head = head_of(capsys)
    assert verify(settings, "audit", head=head) == 0
    tamper(tmp_path, "DELETE FROM audit WHERE number = 3")
    assert verify(settings, "egress") == 0
    assert verify(settings, "audit", head=head) == BROKEN
    assert f"does not hold {head.hex()}: entries were cut off at its end, or it was written anew" in capsys.readouterr().out


def test_a_log_that_grew_since_still_holds_the_head(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = decided(tmp_path, 2)
    verify(settings, "audit")
    head = head_of(capsys)
    with Journal.open(tmp_path / JOURNAL_NAME, JournalSettings(), SetClock()) as journal:
        found = incident(anomaly(), id="pump-3-9")
        summary = explain(found, None, None, TEMPLATE_ONLY, ONSET_S)
        journal.record([found], [])
        journal.record_summary(summary, [], audit=decision_entry(found, summary))
    assert verify(settings, "audit", head=head) == 0


def test_a_log_written_anew_over_other_decisions_does_not_hold_the_head(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verify(decided(tmp_path, 3), "audit")
    head = head_of(capsys)
    other = tmp_path / "other"
    other.mkdir()
    assert verify(decided(other, 4), "audit", head=head) == 0  # the same decisions and one more
    tamper(other, "UPDATE audit SET body = CAST(replace(body, 'pump-3-1', 'pump-3-0') AS BLOB)")
    with open_reader(Settings(state_dir=str(other))) as reader:
        assert reader is not None
        forged = chain_of(*(entry.body for entry in read_log(reader, "audit").entries))
    for entry in forged:
        tamper(other, f"UPDATE audit SET hash = x'{entry.hash.hex()}' WHERE number = {entry.number}")
    capsys.readouterr()
    assert verify(Settings(state_dir=str(other)), "audit", head=head) == BROKEN
    assert "4 entries, 1 to 4, are whole" in capsys.readouterr().out


def test_a_shortened_log_is_whole_from_its_anchor_and_exports_with_it(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    settings = decided(tmp_path, 240, keep=100)
    assert verify(settings, "audit") == 0
    said = capsysbinary.readouterr().out
    assert b"before them were removed for their age" in said
    assert b"have no entry: they were written before it began" in said
    path = exported(settings, tmp_path / "audit.jsonl", capsysbinary)
    assert b'"body":null' in path.read_bytes().splitlines()[0]
    assert verify_file(path) == 0
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[1:]))
    assert verify_file(path) == BROKEN, "without its anchor nothing says what the oldest entry follows from"


def test_an_exported_log_is_verified_without_the_journal(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    settings = decided(tmp_path, 3)
    path = exported(settings, tmp_path / "audit.jsonl", capsysbinary)
    (tmp_path / JOURNAL_NAME).unlink()
    assert verify_file(path) == 0
    assert b"3 entries, 1 to 3, are whole" in capsysbinary.readouterr().out
    path.write_bytes(path.read_bytes().replace(b"pump-3-2", b"pump-3-9"))
    assert verify_file(path) == BROKEN
    assert b"broken at entry 2: it was changed" in capsysbinary.readouterr().out


def test_a_damaged_log_is_exported_as_it_stands(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    settings = decided(tmp_path, 2)
    tamper(tmp_path, "UPDATE audit SET body = x'ff00fe' WHERE number = 2")
    path = exported(settings, tmp_path / "audit.jsonl", capsysbinary)
    assert verify_file(path) == BROKEN
    assert b"broken at entry 2" in capsysbinary.readouterr().out


def test_a_file_that_is_no_log_is_refused_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("{}\n")
    with pytest.raises(InputError, match=r"x:1: is no entry of a log"):
        verify_file(tmp_path / "x")
    with pytest.raises(InputError, match=r"absent: No such file"):
        verify_file(tmp_path / "absent")


def test_a_summary_that_is_not_what_the_log_says_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = decided(tmp_path, 2)
    with Journal.open(tmp_path / JOURNAL_NAME, JournalSettings(), SetClock()) as journal:
        summary = journal.summary("pump-3-2")
        assert summary is not None
        journal.record_summary(replace(summary, text="All is well."), [])  # without an entry, as no agent does
    assert verify(settings, "audit") == BROKEN
    said = capsys.readouterr().out
    assert "are whole and in order" in said
    assert "pump-3-2: the stored summary is not what entry 2 says:\n  text: recorded " in said


def test_the_egress_log_is_verified_and_exported_the_same_way(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    settings = decided(tmp_path, 1)
    assert verify(settings, "egress") == 0
    assert export(settings, "egress") == 0
    assert capsysbinary.readouterr().out == b"egress log: no entries\n"


def test_an_order_that_was_changed_is_told() -> None:
    first, second, third = chain_of(b"one", b"two", b"three")
    assert meaning_of_break([first, third, second], 3) == "entry 2 is missing"
    assert meaning_of_break([second, third, first], 1) == "it stands after entry 3: the order was changed"


def test_the_head_of_a_log_is_its_newest_hash_or_what_it_follows_from() -> None:
    entries = chain_of(b"one", b"two")
    assert Log(bytes(32), entries).head == entries[-1].hash
    assert Log(entries[0].hash, []).head == entries[0].hash
    assert Log(entries[0].hash, entries[1:]).knows(entries[0].hash)
    assert not Log(bytes(32), entries).knows(b"x" * 32)
