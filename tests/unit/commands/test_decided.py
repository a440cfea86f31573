"""Stored summaries against the log, and sentences written again: what fits, what cannot be repeated, and what differs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from pathlib import Path

import pytest
from msgspec.structs import replace

import edge_agent
from edge_agent.commands.audit import verify
from edge_agent.commands.decided import check_summaries, explain_again
from edge_agent.commands.logs import BROKEN, entries
from edge_agent.config.settings import JournalSettings, Settings, WriterSettings
from edge_agent.engines.speaking import Speaker, open_speaker
from edge_agent.journal import JOURNAL_NAME, Journal
from edge_agent.journal.reader import Reader
from edge_agent.messages.decisions import decision_entry
from edge_agent.values import Incident, Summary
from tests.journals import SetClock
from tests.writing import ONSET_S, anomaly, evidence, incident

CLOSED = incident(anomaly(end_s=ONSET_S + 30.0), state="closed", closed_s=ONSET_S + 90.0)


@pytest.fixture(scope="module")
def speaker() -> Speaker:
    return open_speaker(lambda error: pytest.fail(str(error)))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(tmp_path / JOURNAL_NAME, JournalSettings(), SetClock()) as opened:
        yield opened


@pytest.fixture
def reader(journal: Journal, tmp_path: Path) -> Iterator[Reader]:
    opened = Reader(str(tmp_path / JOURNAL_NAME), lambda table, number, reason: None, lambda: None)
    yield opened
    opened.close()


def say(journal: Journal, found: Incident, summary: Summary) -> None:
    """Store an incident, its summary and its decision, as the agent does."""
    journal.record([found], [])
    journal.record_summary(summary, [], audit=decision_entry(found, summary))


def test_a_sentence_of_the_same_release_and_evidence_is_written_again_to_the_byte(
    journal: Journal, reader: Reader, speaker: Speaker
) -> None:
    say(journal, CLOSED, speaker.explain(CLOSED, evidence(), ONSET_S, UTC))
    plain = replace(CLOSED, id="pump-3-2")
    say(journal, plain, speaker.explain(plain, None, ONSET_S, UTC, by_template=True))
    checked = check_summaries(reader, list(entries(reader, "audit")))
    assert (len(checked.said), checked.absent, checked.problems) == (2, 0, ())
    again = explain_again(checked.said, Settings())
    assert (again.same, again.skipped, again.problems) == (2, {}, ())


def test_a_sentence_that_the_release_would_not_say_is_told(
    journal: Journal, reader: Reader, speaker: Speaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    honest = speaker.explain(CLOSED, None, ONSET_S, UTC)
    say(journal, CLOSED, replace(honest, text=honest.text.replace("7.25", "7.24")))
    checked = check_summaries(reader, list(entries(reader, "audit")))
    again = explain_again(checked.said, Settings())
    assert again.same == 0
    assert "7.25 mm/s" in again.problems[0].splitlines()[0]
    assert "7.24 mm/s" in again.problems[0].splitlines()[1]
    assert verify(Settings(state_dir=str(tmp_path)), "audit") == 0
    assert verify(Settings(state_dir=str(tmp_path)), "audit", explain=True) == BROKEN
    assert "said otherwise now" in capsys.readouterr().out


def test_times_in_another_zone_are_another_sentence(journal: Journal, reader: Reader, speaker: Speaker) -> None:
    say(journal, CLOSED, speaker.explain(CLOSED, None, ONSET_S, UTC))
    checked = check_summaries(reader, list(entries(reader, "audit")))
    assert explain_again(checked.said, Settings(writer=WriterSettings(timezone="Asia/Tokyo"))).problems


def test_what_cannot_be_repeated_is_counted_with_the_reason(
    journal: Journal, reader: Reader, speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = speaker.explain(CLOSED, None, ONSET_S, UTC)
    for number, summary in enumerate(
        (
            replace(honest, route="cloud", revised=True, model="openai:m"),
            replace(honest, release="factory-0"),
            replace(honest, reasons=("explaining-failed",)),
        )
    ):
        found = replace(CLOSED, id=f"pump-3-{number}")
        say(journal, found, replace(summary, incident_id=found.id))
    opened = replace(CLOSED, id="pump-3-open", state="open", closed_s=None)
    say(journal, opened, speaker.explain(opened, None, ONSET_S, UTC))
    version = edge_agent.__version__
    monkeypatch.setattr(edge_agent, "__version__", "0.0.1")
    older = replace(CLOSED, id="pump-3-older")
    say(journal, older, speaker.explain(older, None, ONSET_S, UTC))
    monkeypatch.setattr(edge_agent, "__version__", version)
    checked = check_summaries(reader, list(entries(reader, "audit")))
    assert checked.problems == ()
    again = explain_again(checked.said, Settings())
    assert again.same == 0
    assert again.skipped == {
        "a stronger model's wording": 1,
        "written by release factory-0, which is not on this device any more": 1,
        "only counted, because explaining failed": 1,
        "still open, or not explained yet as it was closed": 1,
        f"written by version 0.0.1 of the agent, this is {version}": 1,
    }


def test_a_summary_without_an_entry_is_counted(journal: Journal, reader: Reader, speaker: Speaker) -> None:
    journal.record([CLOSED], [])
    journal.record_summary(speaker.explain(CLOSED, None, ONSET_S, UTC), [])
    journal.record([replace(CLOSED, id="pump-3-unexplained")], [])
    checked = check_summaries(reader, [])
    assert (checked.said, checked.absent, checked.problems) == ([], 1, ())


def test_an_incident_that_went_on_since_its_summary_still_fits(journal: Journal, reader: Reader, speaker: Speaker) -> None:
    opened = replace(CLOSED, state="open", closed_s=None)
    say(journal, opened, speaker.explain(opened, None, ONSET_S, UTC))
    journal.record([replace(CLOSED, revision=2)], [])
    checked = check_summaries(reader, list(entries(reader, "audit")))
    assert (len(checked.said), checked.problems) == (1, ())


def test_an_incident_that_was_changed_in_the_journal_is_not_the_one_that_was_decided_on(
    journal: Journal, reader: Reader, speaker: Speaker
) -> None:
    journal.record([replace(CLOSED, severity=0.5)], [])
    summary = speaker.explain(CLOSED, None, ONSET_S, UTC)
    journal.record_summary(summary, [], audit=decision_entry(CLOSED, summary))
    (problem,) = check_summaries(reader, list(entries(reader, "audit"))).problems
    assert "the stored summary is not what entry 1 says:\n  input: recorded " in problem


def test_what_the_agent_writes_while_the_log_is_read_is_no_problem(journal: Journal, reader: Reader, speaker: Speaker) -> None:
    opened = replace(CLOSED, state="open", closed_s=None)
    say(journal, opened, speaker.explain(opened, None, ONSET_S, UTC))
    before = list(entries(reader, "audit"))
    later = replace(CLOSED, revision=2)
    say(journal, later, speaker.explain(later, None, ONSET_S, UTC))
    checked = check_summaries(reader, before)
    assert (len(checked.said), checked.problems) == (1, ())
    assert checked.said[0].entry.revision == 2
