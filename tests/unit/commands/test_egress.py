"""`egress log` on a real journal, for people and as a log's file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from edge_agent.chain import first_break
from edge_agent.commands.egress import show_log
from edge_agent.config.settings import Settings
from edge_agent.egress.log import egress_entry
from edge_agent.messages.log_lines import parse_log
from tests.unit.commands.escalations import escalation, store
from tests.unit.workers.parts import START_S, open_journal
from tests.writing import anomaly, incident


def test_the_log_is_listed_for_people_and_as_json(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    configured = Settings(state_dir=str(tmp_path))
    assert show_log(configured, limit=5, as_json=False) == 0
    assert capfdbinary.readouterr().out == b"nothing left the device\n"
    assert show_log(configured, limit=5, as_json=True) == 0
    assert capfdbinary.readouterr().out == b""
    with open_journal(tmp_path) as journal:
        store(journal, incident(anomaly()), escalation())
        entry = egress_entry(
            kind="question",
            request_id="q-0123456789abcdef01234567",
            backend="openai",
            destination="models.example:443",
            body=b"body",
            attempt=1,
            allow=("values",),
            now_s=START_S,
        )
        journal.settle(escalation(), egress=entry)
        journal.settle(escalation(attempts=2), egress=b"damaged")
    assert show_log(configured, limit=5, as_json=False) == 0
    assert capfdbinary.readouterr().out.decode() == (
        "1  2026-09-21T14:13:20Z  question q-0123456789abcdef01234567, attempt 1, to models.example:443 (openai)\n"
        f"    4 bytes, SHA-256 {hashlib.sha256(b'body').hexdigest()}; allowed: values\n"
        "2  cannot be read; see `edge-agent egress verify`\n"
    )
    assert show_log(configured, limit=2, as_json=True) == 0
    anchor, both = parse_log(capfdbinary.readouterr().out.splitlines(), "out")
    assert (first_break(both, anchor), [found.body for found in both]) == (None, [entry, b"damaged"])
    assert show_log(configured, limit=1, as_json=True) == 0
    anchor, last = parse_log(capfdbinary.readouterr().out.splitlines(), "out")
    assert (anchor, last, first_break(last, anchor)) == (both[0].hash, both[1:], None)
