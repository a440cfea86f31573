"""An incident read back: by the agent's own hand, by a person's, and what is refused."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from edge_agent.errors import IncidentFormatError
from edge_agent.messages.documents import encode, incident_document
from edge_agent.messages.incident_file import MAX_FILE_BYTES, parse_incident
from tests.unit.messages.values import ANOMALY, AT_S, INCIDENT

KIND_WORDS = "spike, dip, shift, drift, stuck, noise, silence"
SMALL: dict[str, object] = {"stream": "pump-3/flow", "kind": "dip", "onset": "2026-11-22T10:00:00Z"}


def parse(document: object) -> object:
    return parse_incident(json.dumps(document).encode(), "i.json")


def problems(document: object) -> list[str]:
    with pytest.raises(IncidentFormatError) as caught:
        parse(document)
    return caught.value.detail.splitlines()


def test_what_the_agent_publishes_is_read_back_as_it_was() -> None:
    closed = replace(INCIDENT, state="closed", closed_s=INCIDENT.updated_s, storm=True)
    # What `ending` says before there is an end is not published.
    ongoing = replace(INCIDENT, anomalies=(replace(ANOMALY, end_s=None, ending="ongoing"),))
    for incident in (INCIDENT, closed, ongoing):
        assert parse_incident(encode(incident_document(incident)), "i.json") == incident


def test_stream_kind_and_onset_are_enough() -> None:
    incident = parse_incident(json.dumps({"anomalies": [SMALL]}).encode(), "i.json")
    (anomaly,) = incident.anomalies
    assert (incident.id, incident.asset, incident.state, incident.revision) == ("unnamed", "pump-3", "open", 1)
    assert (incident.opened_s, incident.updated_s, incident.closed_s) == (AT_S, AT_S, None)
    assert (incident.anomaly_count, incident.stream_count, incident.severity, incident.storm) == (1, 1, 1.0, False)
    assert (anomaly.direction, anomaly.peak_s, anomaly.end_s, anomaly.score) == ("down", AT_S, None, 1.0)
    assert (anomaly.observed, anomaly.baseline, anomaly.unit, anomaly.signature) == (None, None, "", b"")


def test_a_direction_that_is_not_given_is_that_of_the_values_before_that_of_the_kind() -> None:
    fell: dict[str, object] = {"kind": "spike", "observed": 1, "baseline": 2}
    for fields, direction in ((fell, "down"), ({**fell, "baseline": None}, "up")):
        (anomaly,) = parse_incident(json.dumps({"anomalies": [{**SMALL, **fields}]}).encode(), "i.json").anomalies
        assert anomaly.direction == direction


def test_the_rest_follows_from_what_is_there() -> None:
    document = {
        "note": "keys that are not known are left alone",
        "anomalies": [
            {**SMALL, "stream": "pump-4/flow", "onset": AT_S + 9, "end": AT_S + 30, "score": 0.4},
            {**SMALL, "kind": "shift", "onset": AT_S, "end": AT_S + 20, "observed": 2, "baseline": 1, "score": 0.6},
        ],
    }
    incident = parse_incident(json.dumps(document).encode(), "i.json")
    assert [a.stream for a in incident.anomalies] == ["pump-3/flow", "pump-4/flow"]
    assert incident.anomalies[0].direction == "up"
    assert (incident.asset, incident.state, incident.severity) == ("site", "closed", 0.6)
    assert (incident.opened_s, incident.updated_s, incident.closed_s) == (AT_S, AT_S + 30, AT_S + 30)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"kind": "spkie"},
            f"anomalies[0].kind: 'spkie' is none of {KIND_WORDS}; is 'spike' meant?",
        ),
        (
            {"kind": "Spike"},
            f"anomalies[0].kind: 'Spike' is none of {KIND_WORDS}; is 'spike' meant?",
        ),
        ({"kind": 3}, f"anomalies[0].kind: a number is none of {KIND_WORDS}"),
        ({"direction": "downward"}, "anomalies[0].direction: 'downward' is none of up, down, none; is 'down' meant?"),
        ({"onset": None}, "anomalies[0].onset: is missing; expected a time"),
        ({"onset": "noon"}, "anomalies[0].onset: 'noon' is no ISO 8601 time; expected such as \"2026-11-22T10:00:00Z\""),
        ({"end": "2026-11-22T09:00:00Z"}, "anomalies[0].end: 2026-11-22T09:00:00Z is before onset, 2026-11-22T10:00:00Z"),
        ({"peak": "2026-11-22T09:00:00Z"}, "anomalies[0].peak: 2026-11-22T09:00:00Z is before onset, 2026-11-22T10:00:00Z"),
        (
            {"end": "2026-11-22T10:00:01Z", "peak": "2026-11-22T10:00:02Z"},
            "anomalies[0].peak: 2026-11-22T10:00:02Z is after end, 2026-11-22T10:00:01Z",
        ),
        ({"ending": "returned"}, "anomalies[0].ending: 'returned' contradicts end; expected ongoing while there is no end"),
        ({"stream": ""}, "anomalies[0].stream: is empty; expected a name"),
        ({"stream": 5}, "anomalies[0].stream: is a number; expected text"),
        ({"stream": "a\nb"}, "anomalies[0].stream: contains the control character U+000A; remove it"),
        ({"stream": "x" * 1_025}, "anomalies[0].stream: has 1025 characters; at most 1024 are allowed"),
        ({"unit": "\u202e"}, "anomalies[0].unit: contains the control character U+202E; remove it"),
        ({"score": 1.5}, "anomalies[0].score: is 1.5; expected a number from 0 to 1"),
        ({"observed": "7"}, "anomalies[0].observed: is text; expected a number"),
        ({"observed": True}, "anomalies[0].observed: is true; expected a number"),
        ({"observed": 10**400}, "anomalies[0].observed: is too large; expected a number from -1e+300 to 1e+300"),
        ({"signature": "?"}, "anomalies[0].signature: is no base64; leave it out if you have none"),
    ],
)
def test_a_problem_of_an_anomaly_names_its_place_and_what_is_expected(changes: dict[str, object], problem: str) -> None:
    assert problems({"anomalies": [SMALL | changes]}) == [f"i.json: {problem}"]


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([SMALL], 'is no JSON object; expected {"anomalies": [...]}'),
        ({}, "anomalies: is missing; expected a list of anomalies"),
        ({"anomalys": [SMALL]}, "anomalies: is missing; expected a list of anomalies; is 'anomalys' meant?"),
        ({"anomalies": []}, "anomalies: is an empty list; expected a list of at least one anomaly"),
        ({"anomalies": {}}, "anomalies: is an object; expected a list of at least one anomaly"),
        ({"anomalies": [7]}, "anomalies[0]: is a number; expected an object with stream, kind and onset"),
        ({"anomalies": [SMALL, SMALL]}, "anomalies[1]: has the same stream and onset as one before it; keep one"),
        ({"anomalies": [SMALL], "id": "Pump 3"}, "id: expected 1 to 128 of a-z, 0-9 and -"),
        ({"anomalies": [SMALL], "state": "opened"}, "state: 'opened' is none of open, closed; is 'open' meant?"),
        ({"anomalies": [SMALL], "revision": 0}, "revision: is 0; expected a whole number from 1 to 2^53"),
        ({"anomalies": [SMALL], "anomaly_count": 0}, "anomaly_count: is 0; expected a whole number from 1 to 2^53"),
        ({"anomalies": [SMALL], "anomaly_count": 2.5}, "anomaly_count: is a number; expected a whole number"),
        ({"anomalies": [SMALL], "stream_count": 2}, "stream_count: is 2, more than the 1 anomalies"),
        ({"anomalies": [SMALL], "storm": "yes"}, "storm: is text; expected true or false"),
        ({"anomalies": [SMALL], "state": "open", "closed": AT_S}, "closed: is set while the state is open; remove one of them"),
        ({"anomalies": [SMALL], "closed": 5}, "closed: 1970-01-01T00:00:05Z is before opened, 2026-11-22T10:00:00Z"),
        (
            {"anomalies": [SMALL | {"onset": AT_S + n} for n in range(1_001)]},
            "anomalies: has 1,001 entries; at most 1,000 are read",
        ),
    ],
)
def test_a_problem_of_an_incident_names_its_place_and_what_is_expected(document: object, problem: str) -> None:
    assert problems(document)[0] == f"i.json: {problem}"


def test_all_problems_are_told_at_once_up_to_twenty() -> None:
    told = problems({"id": "?", "anomalies": [{"stram": "a", "kind": "x", "onset": "y"}] * 9})
    assert "i.json: anomalies[0].stream: is missing; expected a name such as \"pump-3/vibration\"; is 'stram' meant?" in told
    assert len(told) == 21
    assert told[-1] == "i.json: and 8 more"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "i.json: is empty"),
        (b"not json", "i.json: is no JSON at line 1, column 1"),
        (b'{"anomalies": [{"score": NaN}]}', "i.json: contains NaN"),
        (b'{"a":1}\n{"a":2}', "i.json: holds more than one JSON value: the second begins at line 2"),
        (b" " * (MAX_FILE_BYTES + 1), "i.json: is 1,000,001 bytes long"),
    ],
)
def test_what_is_no_document_is_refused(data: bytes, expected: str) -> None:
    with pytest.raises(IncidentFormatError, match=expected) as caught:
        parse_incident(data, "i.json")
    assert caught.value.reason == "bad-json"
