"""The inbox, on real folders: settled bundles, newest first, put aside or remembered, and nothing else touched."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest

from edge_agent.errors import LinkError
from edge_agent.update import Lead, Verdict
from edge_agent.update.inbox import (
    MAX_BUNDLES,
    MAX_COMPLAINTS,
    MISSING_S,
    REFUSE_S,
    RETRY_MIN_S,
    SCAN_S,
    SETTLE_S,
    Inbox,
)
from edge_agent.update.jobs import Bundle
from edge_agent.update.record import Ended, Held
from tests.deadline import eventually
from tests.unit.update.clocks import At, Longest

_HELD = Held(release="r", counter=1, manifest_sha256="0" * 64)


@contextmanager
def _inbox(folder: Path, clock: At, *, owned: bool = True) -> Iterator[Inbox]:
    inbox = Inbox(folder, clock, Longest(), owned=owned)
    try:
        yield inbox
    finally:
        inbox.close()


def _bundle(folder: Path, name: str, data: bytes = b"bundle", changed_s: int = 1_000) -> Path:
    path = folder / name
    path.write_bytes(data)
    os.utime(path, (changed_s, changed_s))
    return path


def _settled(inbox: Inbox, clock: At) -> Lead | None:
    """The lead after the folder was looked through and what is in it has settled."""
    clock.s += SCAN_S
    assert inbox.lead() is None
    clock.s += SETTLE_S
    return inbox.lead()


def _ended(lead: Lead, result: Literal["committed", "refused"]) -> Ended:
    return Ended(held=_HELD, result=result, reason="", at_s=0.0, source=lead.source, ticket=lead.ticket)


def test_a_bundle_is_offered_when_it_has_settled_and_not_while_it_grows(tmp_path: Path) -> None:
    clock = At()
    with _inbox(tmp_path, clock) as inbox:
        path = _bundle(tmp_path, "a.tar")
        assert inbox.lead() is None
        for size in range(3):
            clock.s += SETTLE_S
            _bundle(tmp_path, "a.tar", b"x" * size)
            assert inbox.lead() is None
        clock.s += SETTLE_S
        lead = inbox.lead()
        assert lead is not None
        assert lead.place == Bundle(path=str(path))
        clock.s += SCAN_S
        assert inbox.lead() is None  # one at a time


def test_the_newest_goes_first_and_what_is_no_bundle_never(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = At()
    _bundle(tmp_path, "old.tar", changed_s=10)
    _bundle(tmp_path, "new.tar", changed_s=30)
    _bundle(tmp_path, "middle.tar", changed_s=20)
    _bundle(tmp_path, "notes.txt")
    _bundle(tmp_path, ".hidden.tar")
    (tmp_path / "link.tar").symlink_to("old.tar")
    (tmp_path / "folder.tar").mkdir()
    os.mkfifo(tmp_path / "fifo.tar")
    _bundle(tmp_path, "\x1b[31m.tar")
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.tar"))).write_bytes(b"x")
    with _inbox(tmp_path, clock) as inbox:
        names = []
        lead = _settled(inbox, clock)
        while lead is not None:
            assert isinstance(lead.place, Bundle)
            names.append(Path(lead.place.path).name)
            lead.tell(Verdict.nothing)
            lead = inbox.lead()
        assert names == ["new.tar", "middle.tar", "old.tar"]
        clock.s += SCAN_S
        assert inbox.lead() is None
    assert caplog.text.count("left alone") == 5
    assert "\x1b" not in caplog.text
    assert len(list(tmp_path.iterdir())) == 10


def test_a_medium_full_of_rubbish_costs_few_looks_and_few_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = At()
    for number in range(100):
        _bundle(tmp_path, f"{number}.tar", changed_s=number)
        (tmp_path / f"{number}-folder.tar").mkdir()
    with _inbox(tmp_path, clock, owned=False) as inbox:
        looks = 0
        lead = _settled(inbox, clock)
        while lead is not None:
            looks += 1
            clock.s += REFUSE_S
            lead.tell(Verdict.refused)
            lead = inbox.lead()
        assert _settled(inbox, clock) is None
    assert looks == MAX_BUNDLES
    assert len(caplog.records) <= MAX_COMPLAINTS + looks


def test_what_is_rotten_on_a_medium_hides_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Rotten:
        name = "rotten.tar"

        def stat(self, *, follow_symlinks: bool) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    clock = At()
    _bundle(tmp_path, "good.tar")
    (good,) = os.scandir(tmp_path)
    monkeypatch.setattr("os.scandir", lambda folder: contextlib.nullcontext(iter([Rotten(), good])))
    with _inbox(tmp_path, clock) as inbox:
        assert _settled(inbox, clock) is not None
    assert "'rotten.tar' is left alone: Input/output error" in caplog.text


def test_a_bundle_that_may_not_be_read_is_left_alone_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path, meter: object) -> None:
        raise LinkError(f"{path}: Permission denied")

    clock = At()
    _bundle(tmp_path, "a.tar")
    with _inbox(tmp_path, clock) as inbox:
        monkeypatch.setattr("edge_agent.update.inbox.Regular", denied)  # nothing is denied to root
        assert _settled(inbox, clock) is None
        assert _settled(inbox, clock) is None
        assert caplog.text.count("cannot be read") == 1
        monkeypatch.undo()
        assert _settled(inbox, clock) is not None


@pytest.mark.parametrize(("result", "name"), [("committed", "a.tar.done"), ("refused", "a.tar.refused")])
def test_in_its_own_folder_what_is_done_with_is_renamed(
    tmp_path: Path, result: Literal["committed", "refused"], name: str
) -> None:
    clock = At()
    _bundle(tmp_path, "a.tar")
    with _inbox(tmp_path, clock) as inbox:
        lead = _settled(inbox, clock)
        assert lead is not None
        lead.tell(Verdict.taken)
        assert inbox.lead() is None
    with _inbox(tmp_path, clock) as inbox:  # after a restart
        assert inbox.ended(_ended(lead, result))
        assert inbox.ended(_ended(lead, result))
        assert _settled(inbox, clock) is None
    assert os.listdir(tmp_path) == [name]


def test_another_file_of_that_name_is_not_renamed(tmp_path: Path) -> None:
    clock = At()
    _bundle(tmp_path, "a.tar")
    with _inbox(tmp_path, clock) as inbox:
        lead = _settled(inbox, clock)
        assert lead is not None
        lead.tell(Verdict.taken)
        _bundle(tmp_path, "a.tar", changed_s=2_000)
        assert inbox.ended(_ended(lead, "committed"))
        lead = _settled(inbox, clock)
        assert lead is not None
        assert "2000000000000" in lead.ticket


def test_a_medium_is_not_touched_and_remembered_until_it_goes(tmp_path: Path) -> None:
    clock = At()
    folder = tmp_path / "stick"
    with _inbox(folder, clock, owned=False) as inbox:
        assert inbox.lead() is None  # it is not there
        assert not folder.exists()
        folder.mkdir()
        _bundle(folder, "a.tar")
        clock.s += MISSING_S
        assert inbox.lead() is None
        clock.s += SETTLE_S
        lead = inbox.lead()
        assert lead is not None
        lead.tell(Verdict.taken)
        assert inbox.ended(_ended(lead, "committed"))
        assert _settled(inbox, clock) is None
        folder.rename(tmp_path / "pulled")
        clock.s += SCAN_S
        assert inbox.lead() is None
        (tmp_path / "pulled").rename(folder)
        assert _settled(inbox, clock) is not None
    assert os.listdir(folder) == ["a.tar"]


def test_a_stick_that_is_pulled_while_it_is_read_is_tried_again_when_it_is_back(tmp_path: Path) -> None:
    clock = At()
    folder = tmp_path / "stick"
    folder.mkdir()
    _bundle(folder, "a.tar")
    with _inbox(folder, clock, owned=False) as inbox:
        lead = _settled(inbox, clock)
        assert lead is not None
        folder.rename(tmp_path / "pulled")
        lead.tell(Verdict.failed, "it is gone")
        assert _settled(inbox, clock) is None
        (tmp_path / "pulled").rename(folder)
        assert _settled(inbox, clock) is not None


def test_what_failed_is_tried_again_later_and_after_a_hint_at_once(tmp_path: Path) -> None:
    clock = At()
    _bundle(tmp_path, "a.tar")
    with _inbox(tmp_path, clock) as inbox:
        lead = _settled(inbox, clock)
        assert lead is not None
        lead.tell(Verdict.failed)
        assert inbox.lead() is None
        clock.s += RETRY_MIN_S
        lead = inbox.lead()
        assert lead is not None
        lead.tell(Verdict.failed)
        assert inbox.lead() is None
        inbox.hint()
        assert inbox.lead() is not None


def test_what_is_refused_may_still_be_being_copied_and_is_then_put_aside(tmp_path: Path) -> None:
    clock = At()
    _bundle(tmp_path, "a.tar")
    with _inbox(tmp_path, clock) as inbox:
        lead = _settled(inbox, clock)
        assert lead is not None
        lead.tell(Verdict.refused, "expired")
        assert os.listdir(tmp_path) == ["a.tar"]
        clock.s += REFUSE_S
        lead = inbox.lead()
        assert lead is not None
        lead.tell(Verdict.refused, "expired")
        assert os.listdir(tmp_path) == ["a.tar.refused"]


def test_what_runs_already_is_done_and_what_is_not_wanted_stays(tmp_path: Path) -> None:
    clock = At()
    _bundle(tmp_path, "runs.tar", changed_s=2_000)
    _bundle(tmp_path, "older.tar")
    with _inbox(tmp_path, clock) as inbox:
        lead = _settled(inbox, clock)
        assert lead is not None
        lead.tell(Verdict.runs)
        lead = inbox.lead()
        assert lead is not None
        lead.tell(Verdict.unwanted)
        assert _settled(inbox, clock) is None
        assert sorted(os.listdir(tmp_path)) == ["older.tar", "runs.tar.done"]


def test_a_change_wakes(tmp_path: Path) -> None:
    clock = At()
    with _inbox(tmp_path, clock) as inbox:
        assert inbox.lead() is None
        _bundle(tmp_path, "a.tar")

        def offered() -> bool:
            clock.s += SETTLE_S / 10  # far less than what would be waited unwoken
            return inbox.lead() is not None

        before_s = clock.s
        eventually(offered)
        assert clock.s - before_s < 1e6


def test_a_ticket_of_another_form_names_no_file(tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    path = _bundle(tmp_path, "a.tar", b"")
    with _inbox(tmp_path / "inbox", At()) as inbox:
        for ticket in ("", "a.tar", "0 1000000000000 ../a.tar", "x y z"):
            held = Ended(held=_HELD, result="committed", reason="", at_s=0.0, source="inbox", ticket=ticket)
            assert inbox.ended(held)
    assert path.exists()
