"""`egress preview` on a real journal: the bytes that the backends would send, and what is told of them."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import convert

from edge_agent.clock import SystemClock
from edge_agent.commands.preview import preview
from edge_agent.config.settings import Settings
from edge_agent.egress.log import egress_entry
from edge_agent.egress.pseudonyms import Pseudonyms
from edge_agent.egress.question import document, question_of
from edge_agent.errors import RequestError
from edge_agent.escalate.key import egress_key
from edge_agent.escalate.table import Needs, bodies, open_backend
from edge_agent.journal import Journal
from edge_agent.messages import encode, incident_document
from edge_agent.pipeline import plan_of
from edge_agent.values import Incident
from tests.unit.commands.escalations import escalation, store
from tests.unit.workers.parts import START_S, open_journal
from tests.writing import anomaly, incident

OPENAI = {"url": "http://127.0.0.1:9/v1", "model": "large"}
ONE = incident(anomaly(), id="pump-3-1")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with open_journal(tmp_path) as opened:
        yield opened


def settings(folder: Path, **escalation: Any) -> Settings:
    return convert({"gateway": {"id": "gw"}, "state_dir": str(folder), "escalation": {"openai": OPENAI, **escalation}}, Settings)


def question(of: Settings, found: Incident) -> Any:
    names = Pseudonyms(egress_key(of.state_dir))
    return question_of(
        plan_of(found, None),
        id=names.request_id(found.id, found.revision),
        severity=found.severity,
        allow=of.escalation.allow,
        pseudonyms=names,
    )


def encoded(of: Settings, found: Incident) -> bytes:
    return open_backend(Needs(settings=of, queue=print, clock=SystemClock())).encode(question(of, found))[0]


@pytest.mark.parametrize("backend", ["openai", "mqtt", "spool"])
@pytest.mark.parametrize("allow", [[], ["identifiers", "times", "values", "units", "severity"]])
def test_the_preview_is_what_the_backend_sends_and_nothing_else(
    tmp_path: Path, journal: Journal, capfdbinary: pytest.CaptureFixture[bytes], backend: Any, allow: list[str]
) -> None:
    store(journal, ONE)
    configured = settings(tmp_path, backend=backend, allow=allow)
    expected = encoded(configured, ONE)
    assert preview(configured) == 0
    assert capfdbinary.readouterr().out == expected
    assert preview(settings(tmp_path, allow=allow), incident_id="pump-3-1", backend=backend) == 0
    assert capfdbinary.readouterr().out == expected


def test_without_a_backend_the_document_itself_is_shown(
    tmp_path: Path, journal: Journal, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    store(journal, ONE)
    configured = settings(tmp_path)
    expected = document(question(configured, ONE))
    assert preview(configured) == 0
    shown = capfdbinary.readouterr()
    assert shown.out == expected
    assert b"goes to      nobody" in shown.err
    assert b"nothing but the form" in shown.err


def test_standard_error_says_where_to_with_what_and_which_name_a_pseudonym_stands_for(
    tmp_path: Path, journal: Journal, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    store(journal, incident(anomaly("a b\x1b[2Jis c"), id="pump-3-1"))
    configured = settings(
        tmp_path,
        backend="openai",
        allow=["identifiers"],
        openai={**OPENAI, "headers": {"X-Secret": "secret-1"}, "key_file": "/no"},
    )
    egress_key(tmp_path)
    assert preview(configured) == 0
    shown = capfdbinary.readouterr()
    err = shown.err.decode()
    assert "goes to      127.0.0.1:9 (openai)\n" in err
    assert "with         POST /v1/chat/completions HTTP/1.1\n" in err
    assert "with         Authorization: Bearer (from key_file)\n" in err
    assert "with         X-Secret: (from the configuration)\n" in err
    assert "asked again without that part" in err
    assert f"body         {len(shown.out):,} bytes, SHA-256 {hashlib.sha256(shown.out).hexdigest()}\n" in err
    assert "= a b [2Jis c\n" in err
    assert "\x1b" not in err
    assert "secret-1" not in err
    assert b"a b" not in shown.out


def test_of_several_incidents_the_newest_that_was_to_be_asked_about_is_shown(
    tmp_path: Path, journal: Journal, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    configured = settings(tmp_path)

    def shown() -> bytes:
        preview(configured)
        return capfdbinary.readouterr().err.splitlines()[0]

    with pytest.raises(RequestError, match="no incident in the journal yet"):
        shown()
    store(journal, ONE, uncertain=False)
    store(journal, incident(anomaly(), id="pump-3-2"), uncertain=False)
    assert shown() == b"incident     pump-3-2, revision 1 (the newest; none was to be asked about)"
    store(journal, ONE, escalation())
    assert shown() == b"incident     pump-3-1, revision 1 (the newest that was to be asked about)"
    store(journal, incident(anomaly(), id="pump-3-3"), escalation(incident_id="pump-3-3"))
    for number in range(4, 80):
        journal.record([incident(anomaly(), id=f"pump-3-{number}")], [])
    assert shown() == b"incident     pump-3-3, revision 1 (the newest that was to be asked about)"
    journal.record([incident(anomaly(), id="pump-3-3", revision=2)], [])
    assert b"pump-3-3, revision 2 (the newest that was to be asked about; asked about was revision 1, as q-0" in shown()


def test_what_is_not_there_is_said(tmp_path: Path, journal: Journal) -> None:
    with pytest.raises(RequestError, match="pump-3-9: there is no such incident"):
        preview(settings(tmp_path), incident_id="pump-3-9")
    journal.record([incident(id="empty-1")], [])
    with pytest.raises(RequestError, match="without anomalies"):
        preview(settings(tmp_path), incident_id="empty-1")
    with pytest.raises(RequestError, match="--file"):
        preview(settings(tmp_path / "elsewhere"))


def test_a_file_is_shown_without_a_journal_and_nothing_is_written(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(encode(incident_document(ONE)))))
    assert preview(settings(state, backend="spool", allow=["identifiers"]), file="-") == 0
    shown = capfdbinary.readouterr()
    assert json.loads(shown.out)["schema"] == "edge-agent-question/1"
    assert b"there is no " + str(state).encode() + b"/egress.key yet" in shown.err
    assert list(state.iterdir()) == []


def test_the_preview_says_whether_these_bytes_left(
    tmp_path: Path, journal: Journal, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    store(journal, ONE, escalation())
    configured = settings(tmp_path, backend="mqtt")
    asked = question(configured, ONE)

    def logged(allow: tuple[str, ...] = ()) -> bytes:
        preview(settings(tmp_path, backend="mqtt", allow=list(allow)))
        return capfdbinary.readouterr().err.splitlines()[-1]

    assert logged() == b"log          this question has not left"
    for attempt in (1, 2):
        entry = egress_entry(
            kind="question",
            request_id=asked.id,
            backend="mqtt",
            destination="edge/gw/question",
            body=encoded(configured, ONE),
            attempt=attempt,
            allow=(),
            now_s=START_S + attempt,
        )
        journal.settle(escalation(attempts=attempt), egress=entry)
    assert logged() == b"log          these very bytes left 2 times, last at 2026-09-21T14:13:22Z"
    assert logged(("values",)) == b"log          this question left with other bytes, last at 2026-09-21T14:13:22Z"


def test_a_question_that_left_in_another_form_is_shown_in_that_form(
    tmp_path: Path, journal: Journal, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    store(journal, ONE, escalation())
    configured = settings(tmp_path, backend="openai")
    asked = question(configured, ONE)
    first, *others = bodies(Needs(settings=configured, queue=print, clock=SystemClock()), asked)
    preview(configured)
    shown = capfdbinary.readouterr()
    assert shown.out == first
    assert b"is asked again without that part" in shown.err
    for attempt, body in enumerate([others[-1], others[0]], 1):
        entry = egress_entry(
            kind="question",
            request_id=asked.id,
            backend="openai",
            destination="127.0.0.1:9",
            body=body,
            attempt=attempt,
            allow=(),
            now_s=START_S,
        )
        journal.settle(escalation(attempts=attempt), egress=entry)
        preview(configured)
        shown = capfdbinary.readouterr()
        assert shown.out == body
        assert b"this is how it left" in shown.err
        assert shown.err.endswith(b"log          these very bytes left 1 time, last at 2026-09-21T14:13:20Z\n")
