"""Topics of a gateway, and stream names as topic levels."""

from __future__ import annotations

import pytest

from edge_agent.messages.topics import MAX_STREAM_BYTES, Topics, escape_stream, unescape_stream

TOPICS = Topics("edge", "gw-1")


def test_every_topic_stands_below_root_and_gateway() -> None:
    assert [TOPICS.status, TOPICS.health, TOPICS.info, TOPICS.summary, TOPICS.update, TOPICS.requests, TOPICS.question] == [
        f"edge/gw-1/{name}" for name in ("status", "health", "info", "summary", "update", "request/+", "question")
    ]
    assert TOPICS.anomaly("pump-3/vibration") == "edge/gw-1/anomaly/pump-3/vibration"
    assert TOPICS.incident("i-1") == "edge/gw-1/incident/i-1"
    assert TOPICS.summary_of("i-1") == "edge/gw-1/summary/i-1"
    assert TOPICS.drops == "edge/gw-1/drops"
    assert TOPICS.telemetry == "edge/gw-1/telemetry"
    assert TOPICS.escalation("i-1") == "edge/gw-1/escalation/i-1"
    assert (TOPICS.request("close"), TOPICS.response("close")) == ("edge/gw-1/request/close", "edge/gw-1/response/close")
    assert Topics("site/hall 2", "gw-1").status == "site/hall 2/gw-1/status"


@pytest.mark.parametrize(
    ("topic", "command"),
    [
        ("edge/gw-1/request/status", "status"),
        ("edge/gw-1/request/", None),
        ("edge/gw-1/request/update/start", None),
        ("edge/gw-2/request/status", None),
        ("edge/gw-1/response/status", None),
    ],
)
def test_the_command_of_a_request_is_the_last_level(topic: str, command: str | None) -> None:
    assert TOPICS.command_of(topic) == command


@pytest.mark.parametrize(
    ("stream", "levels"),
    [
        ("pump-3/vibration", "pump-3/vibration"),
        ("Öl °C", "Öl °C"),
        ("a+b", "a%2Bb"),
        ("a#", "a%23"),
        ("50%", "50%25"),
        ("a%2Bb", "a%252Bb"),
        ("$SYS/load", "%24SYS/load"),
        ("cost/$", "cost/$"),
        ("nul\x00", "nul%00"),
        ("line\n", "line%0A"),
        ("half\ud800", "half%ED%A0%80"),
    ],
)
def test_what_may_not_stand_in_a_topic_is_escaped(stream: str, levels: str) -> None:
    assert escape_stream(stream) == levels
    assert unescape_stream(levels) == stream


@pytest.mark.parametrize("character", ["x", "ö", "+", "\U0001f600"])
def test_a_name_too_long_for_a_topic_is_cut_and_stays_distinct(character: str) -> None:
    longest = character * 5_000
    cut = escape_stream(longest)
    assert len(cut.encode()) <= MAX_STREAM_BYTES
    assert cut.startswith(escape_stream(character) * 50)
    assert cut != escape_stream(longest + character)
    assert "%~" in cut
