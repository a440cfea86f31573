"""A law of the configuration: whatever is done to a good file, the answer is settings or a list of problems with places."""

from __future__ import annotations

import re

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.config.load import check_text, effective, load_text
from edge_agent.config.settings import Settings
from edge_agent.errors import ConfigError

GOOD = """\
gateway:
  id: pump-house
mqtt:
  host: broker.example   # a comment
  port: 8883
  protocol: "5"
  tls: {insecure_skip_hostname: false}
routes:
  - topic: plant/+/+
    format: json
    stream: "{2}/{3}/{field}"
    value: [temperature, vibration.rms]
    units: {temperature: "°C"}
  - &second
    topic: telegraf/#
    format: influx
    precision: ms
  - {topic: senml/+, format: senml, qos: 1}
detect:
  false_alarms_per_stream_day: 0.5
writer: {timezone: Europe/Berlin, enabled: yes}
log_level: info
"""
LINE = re.compile(r"(?s)f:[0-9]+:[0-9]+: \S.*: .+")
PIECES = st.sampled_from(
    ["\t", "\n", ":", ": ", "- ", "*second", "&a ", "{", "}", "[", "]", '"', "'", "#", "!!set ", "~", "|", "<<: ", "é", "\0",
     "\x85", "9" * 30, "-1", "1e999", "true", "null", "---\n", "...", "%", "@", "{topic}", "+", "mqtt:", "\ud800"]
)  # fmt: skip
EDITS = st.lists(st.tuples(st.integers(0, len(GOOD)), st.integers(0, 12), PIECES | st.just("")), min_size=1, max_size=4)


def edited(edits: list[tuple[int, int, str]]) -> str:
    text = GOOD
    for position, removed, added in edits:
        text = text[:position] + added + text[position + removed :]
    return text


def test_the_file_is_good_to_begin_with() -> None:
    assert load_text(GOOD).gateway.id == "pump-house"


@given(edits=EDITS)
@settings(max_examples=250, deadline=None)
def test_a_damaged_file_gives_settings_or_problems_with_places(edits: list[tuple[int, int, str]]) -> None:
    text = edited(edits)
    report = check_text(text, "f")
    assert (report.settings is None) == bool(report.problems)
    for line in (*report.problems, *report.warnings):
        assert LINE.fullmatch(line), line
    problems: tuple[str, ...] = ()
    try:
        loaded = load_text(text, "f")
    except ConfigError as error:
        problems = error.problems
    else:
        assert msgspec.convert(effective(loaded), Settings).routes == loaded.routes
    assert problems == report.problems


@given(content=st.binary(max_size=120))
@settings(max_examples=200, deadline=None)
def test_any_bytes(content: bytes) -> None:
    report = check_text(content, "f")
    assert (report.settings is None) == bool(report.problems)
    assert all(LINE.fullmatch(line) for line in report.problems)
