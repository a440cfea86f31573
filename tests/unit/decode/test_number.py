"""The format `number`: what counts as a number, and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from edge_agent.config.settings import NumberRoute
from edge_agent.decode.family import Ledger
from edge_agent.decode.number import NumberDecoder
from edge_agent.errors import DecodeError
from edge_agent.values import Reading


def decode(payload: bytes, topic: str = "hall/temperature", **options: Any) -> list[Reading]:
    return NumberDecoder(NumberRoute(topic="#", **options), topic, Ledger()).decode(payload, 100.0)


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (b"21.5", 21.5),
        (b"-3", -3.0),
        (b"0", 0.0),
        (b" 21.5\r\n", 21.5),
        (b"\t7 ", 7.0),
        (b"+4", 4.0),
        (b".5", 0.5),
        (b"5.", 5.0),
        (b"007", 7.0),
        (b"1e3", 1000.0),
        (b"-1.25E-2", -0.0125),
        (b"1e-400", 0.0),
        (b"123456789012345678901234567890", 123456789012345678901234567890.0),
        (b"4" + b" " * 200, 4.0),
    ],
)
def test_numbers(payload: bytes, value: float) -> None:
    assert decode(payload) == [Reading("hall/temperature", 100.0, value, "")]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"nan", "not-a-number"),
        (b"Infinity", "not-a-number"),
        (b"21,5", "not-a-number"),
        (b"1_000", "not-a-number"),
        (b"0x1F", "not-a-number"),
        (b"21.5 C", "not-a-number"),
        (b"1 2", "not-a-number"),
        (b"unavailable", "not-a-number"),
        (b"true", "not-a-number"),
        (b'"3"', "not-a-number"),
        (b"[3]", "not-a-number"),
        (b"1" + b"0" * 400, "not-a-number"),
        (b"1e400", "out-of-range"),
        (b"+1e400", "out-of-range"),
        (b"\xef\xbb\xbf3", "bad-encoding"),
        (b" " * 100 + b"3x", "not-a-number"),
    ],
)
def test_what_is_not_a_number(payload: bytes, reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(payload)
    assert caught.value.reason == reason


def test_the_name_and_unit_come_from_the_route() -> None:
    (reading,) = decode(b"1", topic="a/b/c", stream="{-1} of {1}", unit="bar")
    assert reading == Reading("c of a", 100.0, 1.0, "bar")
