"""What is shown for each published message, and how it reaches a terminal or a file."""

from __future__ import annotations

import io

import msgspec
import pytest

from edge_agent.demo.show import BOLD, Board, Line, Screen
from edge_agent.messages import (
    Health,
    Topics,
    anomaly_message,
    health_message,
    incident_messages,
    summary_messages,
)
from edge_agent.values import Anomaly, Incident, Message, Summary

TOPICS = Topics("edge", "demo")
START_S = 1_700_000_000.0
ANOMALY = Anomaly(
    stream="pump-1/flow",
    kind="shift",
    direction="down",
    onset_s=START_S + 20,
    peak_s=START_S + 21,
    score=0.9,
    observed=1,
    baseline=2,
)
OPEN = Incident(
    id="i-1", asset="pump-1", state="open", revision=1, opened_s=START_S + 20, updated_s=START_S + 20, anomalies=(ANOMALY,),
    anomaly_count=1, stream_count=1, severity=0.9,
)  # fmt: skip
SUMMARY = Summary(
    incident_id="i-1", revision=1, text="The flow of pump-1 fell.", skeleton="The <stream> fell.",
    slots=(), confidence=0.97, route="writer",
    verdict="local", reasons=(), release="r-1", written_s=START_S + 21, asset="pump-1",
)  # fmt: skip


@pytest.fixture
def board() -> Board:
    return Board(TOPICS.base, START_S)


def take(board: Board, messages: tuple[Message, ...], at_s: float = 22.0) -> list[str]:
    return [line.text for message in messages for line in board.take(message.topic, message.payload, START_S + at_s)]


def test_an_incident_is_shown_when_it_opens_and_when_it_closes_but_not_for_each_change(board: Board) -> None:
    assert "incident i-1 opened" in take(board, incident_messages(TOPICS, OPEN))[0]
    assert take(board, incident_messages(TOPICS, OPEN)) == []
    closed = Incident(
        **{name: getattr(OPEN, name) for name in OPEN.__struct_fields__} | {"state": "closed", "closed_s": START_S + 32}
    )
    (line,) = take(board, incident_messages(TOPICS, closed), at_s=32.0)
    assert "pump-1: incident closed after 10 s" in line
    assert board.incidents == 1


def test_a_sentence_is_shown_once_with_its_route_and_confidence(board: Board) -> None:
    shown = "\n".join(take(board, summary_messages(TOPICS, SUMMARY)))
    assert "The flow of pump-1 fell." in shown
    assert "route writer, confidence 0.97, release r-1" in shown
    assert shown.count("fell") == 1, "it is published on two topics and shown for one"
    assert take(board, summary_messages(TOPICS, SUMMARY)) == []
    newer = msgspec.structs.replace(SUMMARY, revision=2, text="The flow of pump-1 fell further.")
    assert take(board, summary_messages(TOPICS, newer)) == [], "the same wording with newer facts"
    other = msgspec.structs.replace(newer, skeleton="The <stream> fell and came back.")
    assert take(board, summary_messages(TOPICS, other)) != []


def test_an_anomaly_is_kept_with_its_first_time_and_its_latest_kind(board: Board) -> None:
    early = Anomaly(stream="pump-1/flow", kind="drift", direction="down", onset_s=START_S + 20, peak_s=START_S + 20, score=0.5)
    assert take(board, (anomaly_message(TOPICS, early),), at_s=20.5) == []
    take(board, (anomaly_message(TOPICS, ANOMALY),), at_s=25.0)
    (found,) = board.anomalies
    assert (found.stream, found.kind, found.onset_s, found.said_s) == ("pump-1/flow", "shift", 20.0, 20.5)


def test_health_says_how_many_streams_are_known(board: Board) -> None:
    health = Health(version="1", release="r", boot_id="b", started_s=START_S, time_s=START_S, streams=21)
    take(board, (health_message(TOPICS, health),))
    assert board.streams_known == 21
    assert take(board, (health_message(TOPICS, health),)) == []


def test_what_the_agent_reports_of_itself_is_shown_once_while_it_lasts(board: Board) -> None:
    ill = Health(version="1", release="r", boot_id="b", started_s=START_S, time_s=START_S, problems=("journal: full",))
    assert "the agent reports: journal: full" in take(board, (health_message(TOPICS, ill),))[0]
    assert take(board, (health_message(TOPICS, ill),)) == []
    take(board, (health_message(TOPICS, msgspec.structs.replace(ill, problems=())),))
    assert take(board, (health_message(TOPICS, ill),)) != []


@pytest.mark.parametrize("payload", [b"{", b"[]", b"{}", b'{"id": 1}', b'"text"', b"\xff", b'{"stream": "a", "onset": "never"}'])
@pytest.mark.parametrize("topic", [TOPICS.anomaly("a"), TOPICS.incident("a"), TOPICS.summary_of("a")])
def test_what_cannot_be_read_is_said_and_nothing_ends(board: Board, topic: str, payload: bytes) -> None:
    assert "cannot be read" in take(board, (Message(topic=topic, payload=payload),))[0]


def test_what_others_publish_is_left_alone(board: Board) -> None:
    assert take(board, (Message(topic="edge/demonstration/incident/x", payload=b"{}"),)) == []


def test_a_file_gets_no_colours_and_each_progress_once() -> None:
    out = io.StringIO()
    screen = Screen(out, plain=True)
    screen.progress("warming up")
    screen.progress("warming up")
    screen.show([Line("a line", BOLD), Line("under it", indented=True)])
    assert out.getvalue() == "warming up\na line\n          under it\n"


def test_on_a_terminal_the_progress_stays_below_what_is_shown() -> None:
    out = io.StringIO()
    screen = Screen(out, plain=False)
    screen.progress("warming up")
    screen.show([Line("a line", BOLD)])
    screen.progress("")
    text = out.getvalue()
    assert text.index("warming up") < text.index("a line") < text.rindex("warming up")
    assert "\r\x1b[K" in text
    assert text.endswith("\r\x1b[K")
