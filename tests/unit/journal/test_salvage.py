"""`edge_agent.journal.salvage`: what is readable is carried over, and an interruption at any step changes nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_agent.config.settings import JournalSettings
from edge_agent.errors import StorageError
from edge_agent.journal.salvage import KEPT_ASIDE, finish_swap, salvage
from edge_agent.journal.store import suspect_path
from tests.journals import closure, incident, message, open_journal, summary, waiting

SETTINGS = JournalSettings(max_bytes=4 << 20)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A whole journal with something in every table."""
    path = tmp_path / "journal.db"
    with open_journal(path) as journal:
        journal.record([incident(n, state="closed") for n in range(40)], [message(f"t/{n}") for n in range(110)])
        for n in range(0, 40, 4):
            journal.record_summary(summary(n), [])
        journal.close_incident(closure(3))
    return path


def found(counts: dict[str, int]) -> dict[str, int]:
    """The tables of which anything was carried over."""
    return {table: count for table, count in counts.items() if count}


def test_whole_file_is_carried_over_whole(path: Path) -> None:
    before = path.read_bytes()
    counts = salvage(str(path), SETTINGS.max_bytes, 5.0)
    assert found(counts) == {"incidents": 40, "summaries": 10, "closures": 1, "outbox": 99, "meters": 2}
    assert path.read_bytes() == before
    aside = finish_swap(str(path))
    assert Path(aside).read_bytes() == before
    with open_journal(path) as journal:
        assert not journal.opening.damage
        assert [s.incident for s in journal.incidents(100)] == [incident(n, state="closed") for n in reversed(range(40))]
        assert len(waiting(journal)) == 99
        stored = journal.incident("i-000003")
        assert stored is not None
        assert stored.closure == closure(3)
        assert stored.number == 4
        assert {d.reason: d.count for d in journal.drops()} == {"outbox-full": 11, "damaged-file": 1}


def test_nothing_to_finish(path: Path) -> None:
    assert finish_swap(str(path)) == ""


def test_rows_on_both_sides_of_a_fault_are_found(path: Path) -> None:
    with open_journal(path, JournalSettings(max_bytes=4 << 20, max_outbox=1000)) as journal:
        journal.record([], [message(f"more/{n}", "x" * 900) for n in range(300)])
    db = sqlite3.connect(path)
    [(page,)] = db.execute("SELECT pageno FROM dbstat WHERE name = 'outbox' AND pagetype = 'leaf' LIMIT 1 OFFSET 40").fetchall()
    total = db.execute("SELECT count(*) FROM outbox").fetchone()[0]
    db.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * 2048)
        file.write(b"\xff" * 2048)
    counts = salvage(str(path), 4 << 20, 5.0)
    assert total - 10 <= counts["outbox"] < total
    assert counts["incidents"] == 40


def test_rows_with_a_wrong_checksum_are_left(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("UPDATE incidents SET crc = 1 WHERE number = 5")
    db.execute("UPDATE outbox SET payload = x'00' WHERE number = (SELECT max(number) FROM outbox)")
    db.commit()
    db.close()
    counts = salvage(str(path), 4 << 20, 5.0)
    # Incident 5 had a summary, which means nothing without it.
    assert found(counts) == {"incidents": 39, "summaries": 9, "closures": 1, "outbox": 98, "meters": 2}


def change_schema(path: Path, old: str, new: bytes) -> None:
    """Change a definition as a flipped bit would."""
    data = path.read_bytes()
    assert old.encode() in data
    path.write_bytes(data.replace(old.encode(), new, 1))


def test_rows_are_found_when_their_key_lost_its_name(path: Path) -> None:
    change_schema(path, "outbox (\n            number INTEGER PRIMARY", b"outbox (\n            number INTEGER XRIMARY")
    assert salvage(str(path), 4 << 20, 5.0)["outbox"] == 99


def test_definition_that_is_no_text_any_more_costs_what_it_defines(path: Path) -> None:
    change_schema(path, "CREATE TABLE closures", b"CR\xccATE TABLE closures")
    assert found(salvage(str(path), 4 << 20, 5.0)).keys() >= {"incidents", "summaries", "outbox"}
    finish_swap(str(path))
    with open_journal(path) as journal:
        assert not journal.opening.damage


def test_no_more_than_the_newest_damaged_files_are_kept(path: Path) -> None:
    asides = []
    for n in range(KEPT_ASIDE + 2):
        salvage(str(path), 4 << 20, float(n))
        asides.append(finish_swap(str(path)))
    assert asides == [f"{path}.damaged-{n}" for n in range(1, KEPT_ASIDE + 3)]
    assert sorted(p.name for p in path.parent.glob("*.damaged-*")) == [Path(a).name for a in asides[-KEPT_ASIDE:]]


def test_leftover_of_an_interrupted_build_is_not_used(path: Path) -> None:
    Path(f"{path}.salvage.tmp").write_bytes(b"half")
    Path(f"{path}.salvage.tmp-wal").write_bytes(b"half")
    assert finish_swap(str(path)) == ""
    assert salvage(str(path), 4 << 20, 5.0)["incidents"] == 40


class PowerCut(BaseException):
    """Stands for the power cut."""


def cut_at(step: int, real: Callable[..., Any]) -> Callable[..., Any]:
    """`real`, until its `step`-th call, which does not happen."""
    calls = 0

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == step:
            raise PowerCut
        return real(*args, **kwargs)

    return call


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_interruption_at_any_rename_is_finished_at_the_next_opening(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    shutil.copy(path, f"{path}.copy")
    with open_journal(path) as journal:
        journal.record([incident(100)], [])
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", f"{path}.crashed{suffix}")
    for suffix in ("", "-wal"):
        shutil.move(f"{path}.crashed{suffix}", f"{path}{suffix}")
    Path(suspect_path(str(path))).touch()
    monkeypatch.setattr(os, "replace", cut_at(step, os.replace))
    with pytest.raises(PowerCut):
        open_journal(path)
    monkeypatch.undo()
    with open_journal(path) as journal:
        assert journal.opening.damage
        assert len(journal.incidents(100)) == 41
        assert {d.reason: d.count for d in journal.drops()} == {"outbox-full": 11, "damaged-file": 1}
        asides = sorted(p.name for p in path.parent.glob("*.damaged-*"))
        assert asides == ["journal.db.damaged-1", "journal.db.damaged-1-wal"]
    with open_journal(path) as journal:
        assert not journal.opening.damage


def test_disk_that_refuses_the_new_file_leaves_the_old(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()
    with pytest.raises(StorageError, match="salvaging"):
        salvage(str(path), 8 * 2048, 5.0)
    assert path.read_bytes() == before
    assert finish_swap(str(path)) == ""
