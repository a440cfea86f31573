"""The format `json`: what becomes a reading, under which name, at which time, with which unit."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge_agent.config.settings import JsonRoute
from edge_agent.decode.family import MAX_READINGS, Ledger
from edge_agent.decode.json_payload import JsonDecoder, split_path
from edge_agent.errors import DecodeError
from edge_agent.values import Reading

NOW_S = 1_790_000_000.0


class Decoded:
    """What a decoder made of one document, with its notes."""

    def __init__(self, document: object, topic: str = "p/q", **options: Any) -> None:
        notes = Ledger()
        payload = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.readings = JsonDecoder(JsonRoute(topic="#", **options), topic, notes).decode(payload, NOW_S)
        self.notes = notes.take()

    @property
    def values(self) -> dict[str, float]:
        return {reading.stream: reading.value for reading in self.readings}

    @property
    def delays_s(self) -> list[float]:
        return [round(reading.time_s - NOW_S, 6) for reading in self.readings]


def refused(document: object, **options: Any) -> str:
    with pytest.raises(DecodeError) as caught:
        Decoded(document, **options)
    return caught.value.reason


def test_a_scalar_is_the_reading() -> None:
    assert Decoded(b" 21.5 ").readings == [Reading("p/q", NOW_S, 21.5, "")]
    assert Decoded(3, unit="bar").readings == [Reading("p/q", NOW_S, 3.0, "bar")]
    assert Decoded(3, stream="{1}/{field}").values == {"p/value": 3.0}


def test_the_member_value_has_the_topics_name_and_others_are_appended() -> None:
    assert Decoded({"value": 1.5}).values == {"p/q": 1.5}
    assert Decoded({"value": 1, "n": 2}).values == {"p/q": 1.0, "p/q/n": 2.0}
    assert Decoded({"temperature": 21, "humidity": 40.5}).values == {"p/q/temperature": 21.0, "p/q/humidity": 40.5}


def test_members_that_are_no_numbers_are_left_alone() -> None:
    document = {"a": 1, "b": True, "c": "2", "d": None, "e": [3], "f": {}, "g": {"h": 4, "i": "5"}}
    decoded = Decoded(document)
    assert decoded.values == {"p/q/a": 1.0, "p/q/g.h": 4.0}
    assert decoded.notes == {}


@pytest.mark.parametrize("name", ["time", "timestamp", "ts"])
def test_a_time_is_taken_where_one_stands_and_is_no_reading(name: str) -> None:
    for document in ({"value": 1.5, name: NOW_S - 60}, {"a": 1, "b": 2, name: NOW_S - 60}):
        decoded = Decoded(document)
        assert set(decoded.delays_s) == {-60.0}
        assert not any("t" in stream.rpartition("/")[2] for stream in decoded.values)


def test_a_time_within_a_nested_object_is_no_reading_either() -> None:
    assert Decoded({"s": {"x": 1, "time": 5, "ts": 6}}).values == {"p/q/s.x": 1.0}


@pytest.mark.parametrize(
    ("document", "options"),
    [
        ({"value": 1, "at": {"when": (NOW_S - 5) * 1e3}}, {"time": "at.when"}),
        ({"value": 1, "at": (NOW_S - 5) * 1e6}, {"time": "at", "time_unit": "us"}),
        ({"value": 1, "at": "2026-09-21T14:13:15Z"}, {"time": "at"}),
        ({"value": 1, "at": "2026-09-21T16:13:15"}, {"time": "at", "timezone": "Europe/Berlin"}),
    ],
)
def test_a_configured_time(document: object, options: dict[str, Any]) -> None:
    decoded = Decoded(document, **options)
    assert decoded.delays_s == [-5.0]
    assert decoded.values == {"p/q": 1.0}
    assert decoded.notes == {}


def test_a_time_that_cannot_be_believed_gives_way_to_the_arrival_and_is_noted() -> None:
    assert Decoded({"value": 1.0, "time": 12.5}).notes == {"time-out-of-window": 1}
    assert Decoded({"value": 1.0, "time": "soon"}).notes == {"bad-time": 1}
    assert Decoded({"value": 1.0, "time": 12.5}).delays_s == [0.0]
    assert Decoded({"value": 1.0, "time": None}).notes == {}


def test_paths_lead_into_objects_and_arrays() -> None:
    document = {"ENERGY": {"Power": [10, 20], "Voltage": 230}, "a.b": 5}
    assert Decoded(document, value=("ENERGY.Power.1",)).values == {"p/q": 20.0}
    assert Decoded(document, value=("ENERGY.Voltage", r"a\.b")).values == {"p/q/ENERGY.Voltage": 230.0, r"p/q/a\.b": 5.0}


def test_a_missing_or_null_value_gives_no_reading_and_a_wrong_one_is_noted() -> None:
    decoded = Decoded({"a": 1, "b": None, "d": "x"}, value=("a", "b", "c", "d"))
    assert decoded.values == {"p/q/a": 1.0}
    assert decoded.notes == {"not-a-number": 1}
    assert refused({"z": 1}, value=("a",)) == "no-value"
    assert refused({"a": None}, value=("a",)) == "no-value"
    assert refused({"a": "1"}, value=("a",)) == "not-a-number"
    assert refused({"a": True, "b": [1]}, value=("a", "b")) == "not-a-number"


def test_units_by_field_from_the_payload_or_of_the_route() -> None:
    document = {"t": 21, "p": 3, "u": "°C"}
    units = {reading.stream: reading.unit for reading in Decoded(document, unit="bar", units={"t": "K"}).readings}
    assert units == {"p/q/t": "K", "p/q/p": "bar"}
    (reading,) = Decoded(document, value=("t",), unit="bar", unit_path="u").readings
    assert reading.unit == "°C"
    decoded = Decoded({"t": 21, "u": "\u202ex"}, value=("t",), unit="bar", unit_path="u")
    assert decoded.readings[0].unit == "bar"
    assert decoded.notes == {"bad-unit": 1}


def test_an_array_of_numbers_is_samples_of_one_stream_with_the_last_at_the_time_of_arrival() -> None:
    decoded = Decoded([1, 2, 3], sample_interval_s=0.5)
    assert [reading.value for reading in decoded.readings] == [1.0, 2.0, 3.0]
    assert {reading.stream for reading in decoded.readings} == {"p/q"}
    assert decoded.delays_s == [-1.0, -0.5, 0.0]


def test_samples_at_a_path_with_the_messages_time_or_their_own() -> None:
    document = {"time": NOW_S - 10, "data": [{"x": 1}, {"x": 2, "time": NOW_S - 3}]}
    decoded = Decoded(document, samples="data", value=("x",), sample_interval_s=1.0)
    assert decoded.delays_s == [-11.0, -3.0]
    assert decoded.values == {"p/q": 2.0}


def test_samples_that_are_pairs() -> None:
    decoded = Decoded([[NOW_S - 2, 7], [NOW_S - 1, 8]], value=("1",), time="0")
    assert decoded.delays_s == [-2.0, -1.0]
    assert [reading.value for reading in decoded.readings] == [7.0, 8.0]


def test_a_bad_sample_is_noted_and_the_others_are_read() -> None:
    decoded = Decoded([{"x": 1}, "x", {"x": "no"}, {}, {"x": 2}], value=("x",))
    assert [reading.value for reading in decoded.readings] == [1.0, 2.0]
    assert decoded.notes == {"no-value": 2, "not-a-number": 1}


@pytest.mark.parametrize(
    ("document", "options", "reason"),
    [
        ("21.5", {}, "not-a-number"),
        (True, {}, "not-a-number"),
        (None, {}, "not-a-number"),
        ({}, {}, "no-value"),
        ([], {}, "no-value"),
        ({"a": "b"}, {}, "no-value"),
        ({"time": NOW_S}, {}, "no-value"),
        ([[1], [2]], {}, "not-a-number"),
        ({"data": 3}, {"samples": "data"}, "no-value"),
        ([1] * (MAX_READINGS + 1), {}, "too-many-values"),
        ({f"k{n}": n for n in range(MAX_READINGS + 1)}, {}, "too-many-values"),
        ([{f"k{n}": n for n in range(100)}] * 42, {}, "too-many-values"),
        (b'{"a": 1, "a": 2}', {}, "duplicate-key"),
        (b'{"a": ' + b"9" * 309 + b"}", {}, "out-of-range"),
    ],
)
def test_what_is_set_aside(document: object, options: dict[str, Any], reason: str) -> None:
    assert refused(document, **options) == reason


def test_as_many_samples_as_allowed_are_read() -> None:
    assert len(Decoded([1] * MAX_READINGS).readings) == MAX_READINGS


def test_paths_are_split_at_dots_that_no_backslash_precedes() -> None:
    assert split_path("a") == ("a",)
    assert split_path("a.b.0") == ("a", "b", "0")
    assert split_path(r"a\.b.c") == ("a.b", "c")
    assert split_path(r"a\\.b") == ("a\\", "b")
    assert split_path("a..b") == ("a", "", "b")
    assert split_path("a.") == ("a", "")
