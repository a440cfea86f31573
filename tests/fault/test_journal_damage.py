"""Damaged files: wherever bytes are flipped, zeroed or cut off, the journal opens, works, and never tells what was not stored."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.chain import first_break
from edge_agent.config.settings import JournalSettings
from edge_agent.journal import OpeningReport
from tests.journals import closure, escalation, incident, message, open_journal, summary, waiting

SETTINGS = JournalSettings(max_bytes=4 << 20, max_outbox=10_000)
INCIDENTS = {i.id: i for i in (incident(n, state="closed" if n % 2 else "open", signature=bytes(32)) for n in range(60))}
SUMMARIES = {s.incident_id: s for s in (summary(n, text=f"Text {n}.") for n in range(0, 60, 2))}
MESSAGES = {m.topic: m for m in (message(f"t/{n}", f"payload {n} " * 20) for n in range(90))}
ESCALATIONS = {e.incident_id: e for e in (escalation(n, severity=n / 100) for n in range(0, 40, 2))}
METERS = {f"meter-{n}": b"state %d" % n for n in range(8)}
LOG = [b"entry %d" % n for n in range(len(SUMMARIES))]
DEAD = {"t/3", "t/4"}
PLACES = 20

Damage = Callable[[bytearray, random.Random], None]


def flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 4, 32))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def flip_in_header(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(min(100, len(data)))] ^= 1 << rng.randrange(8)


def zero(data: bytearray, rng: random.Random) -> None:
    start, length = rng.randrange(len(data)), rng.choice((16, 512, 2048, 8192))
    data[start : start + length] = bytes(len(data[start : start + length]))


def cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


DAMAGES: tuple[Damage, ...] = (flip, flip_in_header, zero, cut)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two journals of the same content: `clean.db` was closed, `crashed.db` has most of it in its log."""
    folder = tmp_path_factory.mktemp("pristine")
    with open_journal(folder / "clean.db", SETTINGS) as journal:
        incidents, messages = list(INCIDENTS.values()), list(MESSAGES.values())
        for n in range(0, 60, 5):
            journal.record(incidents[n : n + 5], messages[n : n + 5])
        journal.record([], messages[60:])
        for one, entry in zip(SUMMARIES.values(), LOG, strict=True):
            asked = ESCALATIONS.get(one.incident_id)
            journal.record_summary(one, [], escalation=asked, audit=entry)
        journal.record_meters(METERS)
        journal.close_incident(closure(1))
        for queued in journal.outbox(0, 10):
            if queued.message.topic in DEAD:
                journal.bury(queued.number, "refused")
        for suffix in ("", "-wal"):
            shutil.copy(folder / f"clean.db{suffix}", folder / f"crashed.db{suffix}")
    return folder


def check_usable(path: Path) -> OpeningReport:
    """Opens, tells only what was stored, takes new things, and is whole at the next opening. Returns the first report."""
    with open_journal(path, SETTINGS) as journal:
        report = journal.opening
        for stored in journal.incidents(1000):
            assert stored.incident == INCIDENTS[stored.incident.id]
        for one in journal.to_explain(1000) + journal.open_incidents():
            assert one == INCIDENTS[one.id]
        for incident_id in INCIDENTS:
            found = journal.summary(incident_id)
            assert found is None or found == SUMMARIES[incident_id]
        assert all(p.cause == "bearing wear" and p.signature == bytes(32) for p in journal.past_incidents())
        for got in waiting(journal):
            assert got == MESSAGES[got.topic]
        for asked in journal.pending_escalations(1000):
            assert asked == ESCALATIONS[asked.incident_id]
        for name, body in METERS.items():
            assert journal.meter(name) in (None, body)
        for letter in journal.dead_letters(100):
            assert (letter.message, letter.reason) == (MESSAGES[letter.message.topic], "refused")
            assert letter.message.topic in DEAD
        entries = journal.log("audit")
        if first_break(entries, journal.log_anchor("audit")) is None:
            # What a chain cannot tell is that its end was cut off.
            assert [entry.body for entry in entries] == LOG[: len(entries)]
        journal.record_meters({"after": b"1"})
        journal.record([incident(1000)], [message("after")])
    with open_journal(path, SETTINGS) as journal:
        assert not journal.opening.damage, "damage that the first opening did not repair"
        assert journal.incident("i-001000") is not None
        assert "after" in {m.topic for m in waiting(journal)}
        assert journal.meter("after") == b"1"
    return report


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("which", ["clean.db", "crashed.db", "crashed.db-wal"])
def test_opens_whatever_happened_to_its_bytes(pristine: Path, tmp_path: Path, which: str, damage: Damage) -> None:
    rng = random.Random(f"{which} {damage.__name__}")
    original = (pristine / which).read_bytes()
    repaired = 0
    for place in range(PLACES):
        folder = tmp_path / str(place)
        folder.mkdir()
        name = which.removesuffix("-wal")
        for suffix in ("", "-wal"):
            if (pristine / (name + suffix)).exists():
                shutil.copy(pristine / (name + suffix), folder / (name + suffix))
        data = bytearray(original)
        damage(data, rng)
        (folder / which).write_bytes(data)
        report = check_usable(folder / name)
        if report.damage:
            repaired += 1
            assert not report.aside or Path(report.aside).exists()
        shutil.rmtree(folder)
    if which == "clean.db" and damage is cut:
        assert repaired > PLACES // 2


def test_one_bad_page_costs_only_its_rows(pristine: Path, tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    for page in range(8, (pristine / "clean.db").stat().st_size // 2048):
        data = bytearray((pristine / "clean.db").read_bytes())
        data[page * 2048 : (page + 1) * 2048] = b"\xff" * 2048
        path.write_bytes(data)
        with open_journal(path, SETTINGS) as journal:
            report = journal.opening
            counts = journal.counts()
            kept = counts.incidents + counts.outbox
            assert report.damage
            assert kept == report.salvaged_incidents + report.salvaged_messages
            if kept > 100:
                break
    assert kept > 100, "no page could be lost without losing most rows"


def test_file_of_noise_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    noise = random.Random(4).randbytes(40_000)
    path.write_bytes(noise)
    report = check_usable(path)
    assert report.damage
    assert report.salvaged == 0
    assert Path(report.aside).read_bytes() == noise


def test_log_without_database_is_set_aside(pristine: Path, tmp_path: Path) -> None:
    shutil.copy(pristine / "crashed.db-wal", tmp_path / "journal.db-wal")
    report = check_usable(tmp_path / "journal.db")
    assert "log" in report.damage
    assert Path(report.aside + "-wal").exists()
