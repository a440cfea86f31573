"""Laws of the formats: what is written is read back, whatever the names, numbers and times; what is read never crashes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from edge_agent.errors import IncidentFormatError, RequestError
from edge_agent.messages import (
    RequestBody,
    Topics,
    encode,
    escape_stream,
    format_time,
    incident_document,
    parse_answer_request,
    parse_close,
    parse_incident,
    parse_request,
    parse_time,
    unescape_stream,
)
from edge_agent.messages.strict_json import bad_character
from edge_agent.messages.topics import MAX_STREAM_BYTES
from edge_agent.values import KINDS, Anomaly, Incident

LAWS = settings(max_examples=100, deadline=None)
times_s = st.floats(-6e10, 2.5e11)
names = st.text(min_size=1, max_size=40).filter(lambda text: bad_character(text) is None)
shares = st.floats(0, 1)
numbers = st.none() | st.floats(-1e300, 1e300)


@st.composite
def anomalies(draw: st.DrawFn) -> Anomaly:
    onset_s, peak_s, end_s = sorted((draw(times_s), draw(times_s), draw(times_s)))
    ended = draw(st.booleans())
    return Anomaly(
        stream=draw(names),
        kind=draw(st.sampled_from(KINDS)),
        direction=draw(st.sampled_from(("up", "down", "none"))),
        onset_s=onset_s,
        peak_s=peak_s,
        end_s=end_s if ended else None,
        score=draw(shares),
        observed=draw(numbers),
        baseline=draw(numbers),
        unit=draw(names | st.just("")),
        magnitude=draw(st.floats(-1e300, 1e300)),
        ending=draw(st.sampled_from(("returned", "adopted", "unknown"))) if ended else "ongoing",
        kind_confidence=draw(shares),
        signature=draw(st.binary(max_size=64)),
    )


def on_paper(anomaly: Anomaly) -> Anomaly:
    """The anomaly with its times as a document can hold them."""
    return replace(
        anomaly,
        onset_s=parse_time(format_time(anomaly.onset_s)),
        peak_s=parse_time(format_time(anomaly.peak_s)),
        end_s=None if anomaly.end_s is None else parse_time(format_time(anomaly.end_s)),
    )


@LAWS
@given(st.lists(anomalies(), min_size=1, max_size=5), names, times_s, st.integers(0, 1_000), st.booleans())
def test_an_incident_that_is_written_is_read_back(
    listed: list[Anomaly], asset: str, opened_s: float, unlisted: int, closed: bool
) -> None:
    by_key = {anomaly.key: anomaly for anomaly in map(on_paper, listed)}
    kept = tuple(sorted(by_key.values(), key=lambda a: (a.onset_s, a.stream)))
    opened_s = parse_time(format_time(opened_s))
    incident = Incident(
        id="pump-3-20261122t100001z-0a1b2c",
        asset=asset,
        state="closed" if closed else "open",
        revision=1 + unlisted,
        opened_s=opened_s,
        updated_s=opened_s + 10,
        closed_s=opened_s + 10 if closed else None,
        anomalies=kept,
        anomaly_count=len(kept) + unlisted,
        stream_count=len({anomaly.stream for anomaly in kept}),
        severity=max(anomaly.score for anomaly in kept),
        storm=closed,
    )
    written = encode(incident_document(incident))
    read = parse_incident(written, "written")
    assert replace(read, updated_s=0.0, closed_s=None) == replace(incident, updated_s=0.0, closed_s=None)
    assert abs(read.updated_s - incident.updated_s) < 1e-3
    assert encode(incident_document(read)) == written


@LAWS
@given(st.floats(-1e9, 4e9))
def test_a_time_is_read_back_within_a_microsecond_and_written_the_same_again(time_s: float) -> None:
    text = format_time(time_s)
    assert abs(parse_time(text) - time_s) <= 1e-6
    assert format_time(parse_time(text)) == text


@LAWS
@given(st.lists(st.floats(-1e12, 1e12), min_size=2, max_size=2).map(sorted))
def test_times_keep_their_order(pair: list[float]) -> None:
    assert parse_time(format_time(pair[0])) <= parse_time(format_time(pair[1]))


@LAWS
@given(st.text(st.characters(), max_size=60) | st.text("%/+#$2B~a\x00", max_size=400))
def test_a_stream_is_read_back_from_its_topic_and_the_topic_can_be_published_to(stream: str) -> None:
    levels = escape_stream(stream)
    if len(levels.encode()) < MAX_STREAM_BYTES:
        assert unescape_stream(levels) == stream
    topic = Topics("edge", "gw-1").anomaly(stream)
    assert not set("+#\x00") & set(topic)
    assert len(topic.encode()) < 65_535


KEYS = ("anomalies", "stream", "kind", "onset", "peak", "end", "score", "id", "closed", "signature", "x")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20) | st.sampled_from(KINDS),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.sampled_from(KEYS), children),
    max_leaves=20,
)


@LAWS
@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_whatever_is_given_is_read_or_refused_with_its_source_and_never_crashes(data: bytes) -> None:
    try:
        incident = parse_incident(data, "any.json")
    except IncidentFormatError as error:
        refusal = error.detail.splitlines()
    else:
        refusal = []
        assert parse_incident(encode(incident_document(incident)), "again") == incident
    assert all(line.startswith("any.json: ") for line in refusal)


@LAWS
@given(st.binary(max_size=100) | json_values.map(lambda value: json.dumps(value).encode()))
def test_a_request_is_read_or_refused_and_never_crashes(data: bytes) -> None:
    try:
        body = parse_request(data)
    except RequestError:
        return
    if "incident" not in body.members:
        with pytest.raises(RequestError):
            parse_close(body)


sentences = st.lists(st.text(st.characters(), max_size=40), max_size=3)
answers = st.fixed_dictionaries({}, optional={"id": json_values, "sentences": sentences | json_values, "model": json_values})


@LAWS
@given(answers | st.fixed_dictionaries({"specversion": st.just("1.0") | json_values, "data": answers | json_values}))
def test_an_answer_is_read_or_refused_and_what_is_read_says_what_was_sent(members: dict[str, object]) -> None:
    given_as = json.loads(json.dumps(members))
    try:
        read = parse_answer_request(RequestBody(None, given_as))
    except RequestError:
        return
    data = given_as["data"] if "specversion" in given_as else given_as
    assert json.loads(read.text) == {"sentences": data["sentences"]}
    assert read.question_id == data["id"].strip()
