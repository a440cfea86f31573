"""The format `senml`: the rules of RFC 8428, each with a vector."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge_agent.config.settings import SenmlRoute
from edge_agent.decode.family import MAX_READINGS, Ledger
from edge_agent.decode.senml import SenmlDecoder
from edge_agent.errors import DecodeError
from edge_agent.values import Reading

NOW_S = 1_790_000_000.0


def decode(pack: object, notes: Ledger | None = None, **options: Any) -> list[Reading]:
    decoder = SenmlDecoder(SenmlRoute(topic="#", **options), "s/t", Ledger() if notes is None else notes)
    return decoder.decode(json.dumps(pack).encode(), NOW_S)


def test_a_single_record() -> None:
    assert decode([{"n": "urn:dev:ow:1", "u": "Cel", "v": 23.1}]) == [Reading("urn:dev:ow:1", NOW_S, 23.1, "°C")]


def test_base_fields_hold_from_their_record_on_until_they_are_given_again() -> None:
    pack = [
        {"bn": "dev1:", "bt": NOW_S - 10, "bu": "A", "bv": 100, "n": "current", "v": 1},
        {"n": "current", "t": 4, "v": 2},
        {"n": "voltage", "u": "V", "v": 3},
        {"bn": "dev2:", "bv": 0, "n": "x", "v": 4},
    ]
    assert decode(pack) == [
        Reading("dev1:current", NOW_S - 10, 101.0, "A"),
        Reading("dev1:current", NOW_S - 6, 102.0, "A"),
        Reading("dev1:voltage", NOW_S - 10, 103.0, "V"),
        Reading("dev2:x", NOW_S - 10, 4.0, "A"),
    ]


def test_a_first_record_of_base_fields_alone_is_no_reading() -> None:
    assert decode([{"bn": "a:", "bu": "V"}, {"n": "b", "v": 1}]) == [Reading("a:b", NOW_S, 1.0, "V")]


def test_times_below_2_28_are_relative_to_the_arrival() -> None:
    pack = [{"bn": "a", "t": -5, "v": 1}, {"t": 0, "v": 2}, {"v": 3}, {"t": 7, "v": 4}]
    assert [reading.time_s - NOW_S for reading in decode(pack)] == [-5.0, 0.0, 0.0, 7.0]


def test_a_time_that_cannot_be_believed_is_noted() -> None:
    notes = Ledger()
    assert decode([{"n": "a", "t": 3e8, "v": 1}], notes)[0].time_s == NOW_S
    assert notes.take() == {"time-out-of-window": 1}


def test_with_a_base_value_a_missing_value_counts_as_zero() -> None:
    assert [reading.value for reading in decode([{"bn": "a", "bv": 5, "v": 1}, {"n": "b"}])] == [6.0, 5.0]


def test_texts_booleans_data_and_sums_are_no_readings() -> None:
    pack = [{"n": "a", "vs": "x"}, {"n": "b", "vb": True}, {"n": "c", "vd": "AA"}, {"n": "d", "s": 3}, {"n": "e", "v": 1, "s": 9}]
    assert decode(pack) == [Reading("e", NOW_S, 1.0, "")]


@pytest.mark.parametrize(
    ("pack", "reason"),
    [
        ({"n": "a", "v": 1}, "bad-senml"),
        ([], "no-value"),
        ([1], "bad-senml"),
        ([{"v": 1}], "bad-senml"),
        ([{"n": "-a", "v": 1}], "bad-senml"),
        ([{"n": "a b", "v": 1}], "bad-senml"),
        ([{"n": "ä", "v": 1}], "bad-senml"),
        ([{"n": 3, "v": 1}], "bad-senml"),
        ([{"n": "a", "v": 1, "bver": 11}], "bad-senml"),
        ([{"n": "a", "v": 1, "x_": 0}], "bad-senml"),
        ([{"n": "a", "v": "1"}], "not-a-number"),
        ([{"n": "a", "v": True}], "not-a-number"),
        ([{"n": "a", "v": 1, "t": "1"}], "not-a-number"),
        ([{"n": "a", "bv": 1e308, "v": 1e308}], "out-of-range"),
        ([{"n": "a", "vs": "x"}], "no-value"),
        ([{"n": "a", "v": 1}] * (MAX_READINGS + 1), "too-many-values"),
    ],
)
def test_what_is_set_aside(pack: object, reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(pack)
    assert caught.value.reason == reason


def test_a_bad_record_is_noted_and_the_others_are_read() -> None:
    notes = Ledger()
    assert len(decode([{"n": "a", "v": 1}, {"n": "?", "v": 1}, 7, {"n": "b", "v": 2, "bver": 10}], notes)) == 2
    assert notes.take() == {"bad-senml": 2}


def test_unknown_fields_are_ignored_unless_they_must_be_understood() -> None:
    assert len(decode([{"n": "a", "v": 1, "l": "x", "y": [1]}])) == 1


def test_the_name_may_be_set_in_a_larger_one() -> None:
    (reading,) = decode([{"n": "t", "v": 1}], stream="{1}/{name}", unit="bar")
    assert reading == Reading("s/t", NOW_S, 1.0, "bar")
