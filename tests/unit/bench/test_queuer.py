"""The process with the backlog: what it says, and that it fails when the backlog cannot be delivered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.bench import queuer
from edge_agent.bench.queuer import TOPICS, Queuer, incident, settings_of
from edge_agent.clock import SystemClock
from edge_agent.journal import Journal
from edge_agent.messages import incident_messages


def test_an_incident_is_one_message_of_about_700_bytes_on_its_own_topic() -> None:
    messages = [message for number in range(300) for message in incident_messages(TOPICS, incident(number))]
    assert len({message.topic for message in messages}) == len(messages) == 300
    assert all(600 < len(message.topic) + len(message.payload) < 800 for message in messages)


def test_it_fills_up_to_a_level_and_times_beyond_it(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "journal.db", settings_of(50), SystemClock()) as journal:
        filling = Queuer(journal, tmp_path / "plain")
        filling.fill(30)
        assert journal.counts().outbox == 30
        ours_ms, plain_ms = filling.timed(4)
        filling.fill(20)
        filling.close()
        assert journal.counts().outbox == filling.queued == 34
        assert len(ours_ms) == len(plain_ms) == 4
        assert (tmp_path / "plain").stat().st_size > 4 * 600


def test_it_says_one_object_a_line_and_the_end(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def measured(port: int, backlog: int, samples: int) -> Iterator[dict[str, Any]]:
        yield {"what": "queued", "given": [port, backlog, samples]}

    monkeypatch.setattr(queuer, "run", measured)
    assert queuer.main(["--port", "1", "--backlog", "2", "--samples", "3"]) == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert said == [{"what": "queued", "given": [1, 2, 3]}, {"what": "end"}]
