"""`dead-letters` on a real journal, beside the agent that writes it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from edge_agent.commands import dead_letters
from edge_agent.commands.dead_letters import show_dead_letters
from edge_agent.config.settings import GatewaySettings, Settings
from edge_agent.messages import format_time
from edge_agent.values import Message
from tests.unit.workers.parts import START_S, StepClock, journal_at


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(gateway=GatewaySettings(id="gw"), state_dir=str(tmp_path))


def bury(folder: Path, *payloads: bytes) -> None:
    clock = StepClock()
    with journal_at(folder, clock) as journal:
        journal.record([], [Message(topic=f"edge/gw/anomaly/{n}", payload=payload) for n, payload in enumerate(payloads)])
        clock.s += 60
        for queued in journal.outbox(0, len(payloads)):
            journal.bury(queued.number, "refused-not-authorized")


def test_without_a_journal_or_without_any_there_are_none(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show_dead_letters(settings, limit=10, as_json=False) == 0
    bury(tmp_path)
    assert show_dead_letters(settings, limit=10, as_json=False) == 0
    assert capsys.readouterr().out == "no dead letters\n" * 2
    assert show_dead_letters(settings, limit=10, as_json=True) == 0
    assert capsys.readouterr().out == ""


def test_each_stands_in_a_line_with_its_reason_newest_first(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bury(tmp_path, b"1", b"22")
    assert show_dead_letters(settings, limit=10, as_json=False) == 0
    when = format_time(START_S + 60)
    assert capsys.readouterr().out.splitlines() == [
        f"{when}  refused-not-authorized  edge/gw/anomaly/1  2 bytes",
        f"{when}  refused-not-authorized  edge/gw/anomaly/0  1 byte",
    ]


def test_as_json_they_are_whole_whatever_their_bytes(
    settings: Settings, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    bury(tmp_path, '{"unit": "°C"}'.encode(), b"\xff\x00")
    assert show_dead_letters(settings, limit=10, as_json=True) == 0
    binary, text = map(json.loads, capsysbinary.readouterr().out.splitlines())
    assert text == {
        "number": 1,
        "topic": "edge/gw/anomaly/0",
        "reason": "refused-not-authorized",
        "queued": format_time(START_S),
        "buried": format_time(START_S + 60),
        "qos": 1,
        "retain": False,
        "payload": '{"unit": "°C"}',
    }
    assert base64.b64decode(binary["payload_base64"]) == b"\xff\x00"


def test_more_than_a_page_is_listed_up_to_the_limit(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "PAGE", 3)
    bury(tmp_path, *(b"%d" % number for number in range(10)))
    show_dead_letters(settings, limit=8, as_json=False)
    topics = [line.split()[2] for line in capsys.readouterr().out.splitlines()]
    assert topics == [f"edge/gw/anomaly/{number}" for number in range(9, 1, -1)]
