"""What every decoder of the table must keep, whatever a sensor, a bug or an attacker publishes.

For each route below: nothing but DecodeError leaves the decoder, with a reason of the fixed set; readings are finite,
bounded in number, named so that the name fits an MQTT topic; the same payload gives the same readings.
"""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.config.settings import InfluxRoute, JsonRoute, NumberRoute, RouteSettings, SenmlRoute
from edge_agent.decode.family import MAX_READINGS, Ledger
from edge_agent.decode.router import Router
from edge_agent.decode.streams import MAX_NAME_CHARS, MAX_UNIT_CHARS
from edge_agent.decode.table import DECODERS
from edge_agent.errors import DecodeError
from edge_agent.values import Arrival, Reading

NOW_S = 1_790_000_000.0
TOPIC = "plant/pump-3/vibration"

REASONS = {
    "bad-encoding", "bad-json", "bad-line", "bad-senml", "bad-stream-name", "duplicate-key", "empty", "no-route", "no-value",
    "not-a-number", "out-of-range", "too-deep", "too-large", "too-many-values",
}  # fmt: skip
NOTES = REASONS | {"bad-time", "bad-unit", "clock-unset", "time-out-of-window"}

ROUTES: tuple[RouteSettings, ...] = (
    NumberRoute(topic="#"),
    JsonRoute(topic="#"),
    JsonRoute(topic="#", value=("value",), time="t"),
    JsonRoute(topic="#", value=("a.b", "c.0", "v"), stream="{1}/{field}", unit_path="u"),
    JsonRoute(topic="#", samples="data", sample_interval_s=0.1, time_unit="ms"),
    InfluxRoute(topic="#"),
    InfluxRoute(topic="#", stream="{topic}/{tag.host}", precision="s"),
    SenmlRoute(topic="#"),
)
GOOD: dict[type[RouteSettings], bytes] = {
    NumberRoute: b"21.5",
    JsonRoute: b'{"value": 21.5, "v": 21.5, "data": [21.5]}',
    InfluxRoute: b"m,host=a value=21.5",
    SenmlRoute: b'[{"n":"t","v":21.5}]',
}
HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \r\n\t ",
    "nul": b"\0",
    "nul in text": b'{"value\\u0000": 1, "a": "\\u0000"}',
    "100 kB of brackets": b"[" * 100_000,
    "100 kB of objects": b'{"a":' * 100_000,
    "deep and closed": b"[" * 900 + b"]" * 900,
    "deep behind a duplicate": b'{"a":' + b"[" * 900 + b"1" + b"]" * 900 + b',"a":1}',
    "100 kB of digits": b"1" * 100_000,
    "100 kB of text": b'"' + b"x" * 100_000 + b'"',
    "100 kB of commas": b"," * 100_000,
    "100 kB of quotes": b'"' * 100_001,
    "100 kB of backslashes": b"a\\" * 50_000,
    "100 kB of equals": b"a=" * 50_000,
    "100 kB of spaces then a letter": b" " * 100_000 + b"x",
    "100 kB of lines": b"m v=1\n" * 17_000,
    "100 kB of faulty lines": b"m\n" * 50_000,
    "100 kB of tags": b"m" + b",a=b" * 25_000 + b" v=1",
    "100 kB of samples": b"[" + b"1," * 50_000 + b"1]",
    "100 kB of members": b"{" + b",".join(b'"k%d":1' % n for n in range(9_000)) + b"}",
    "10^400": b"1" + b"0" * 400,
    "10^400 as exponent": b"1e400",
    "10^400 in an object": b'{"value": 1e400, "v": 1e400, "data": [1e400]}',
    "309 digits": b'{"value": ' + b"9" * 309 + b"}",
    "huge integer time": b'{"value": 1, "time": ' + b"9" * 300 + b', "t": ' + b"9" * 300 + b"}",
    "NaN": b"NaN",
    "nan": b"nan",
    "Infinity": b"-Infinity",
    "inf": b"inf",
    "NaN member": b'{"value": NaN}',
    "infinite field": b"m,host=a value=inf",
    "not UTF-8": b'{"value": "\xff\xfe"}',
    "not UTF-8 bare": b"\xff\xfe\xfd",
    "surrogate": b'{"\\ud800": 1}',
    "half an escape": b'{"a\\u00',
    "byte order mark": b"\xef\xbb\xbf21.5",
    "true": b"true",
    "null": b"null",
    "number as text": b'"21.5"',
    "number as text in an object": b'{"value": "21.5"}',
    "boolean member": b'{"value": true, "v": false}',
    "arrays of arrays": b"[[[1],[2]],[[3]]]",
    "empty object": b"{}",
    "empty array": b"[]",
    "duplicate": b'{"value": 1, "value": 2}',
    "duplicate by escape": b'{"value": 1, "val\\u0075e": 2}',
    "duplicate hidden by colons": b'{"value": 1, "value": 2, "x": "\\u003a"}',
    "duplicate within": b'[{"a": {"n": 1, "n": 2}}]',
    "hexadecimal": b"0x10",
    "underscores": b"1_000",
    "decimal comma": b"21,5",
    "with unit": b"21.5 C",
    "two numbers": b"21.5 22.5",
    "arabic digits": "٢١".encode(),
    "trailing comma": b'{"value": 1,}',
    "comment": b'{"value": 1} // one',
    "only a comment": b"# nothing",
    "unterminated text": b'm,host=a v="abc',
    "wildcards in names": b'[{"n":"a+b/#","v":1}]',
    "very long name": b'{"' + b"n" * 5_000 + b'": 1, "value": 1}',
    "long name around many": b'{"' + b"+" * 60_000 + b'":{' + b",".join(b'"%d":1' % n for n in range(4_000)) + b"}}",
    "name around many": b'{"' + b"+" * 256 + b'":{' + b",".join(b'"%d":1' % n for n in range(4_000)) + b"}}",
    "many fields of many tags": b"m"
    + b"".join(b",t%d=+" % n for n in range(140))
    + b" "
    + b",".join(b"f%d=1" % n for n in range(4_000)),
    "long base name": b'[{"bn":"' + b"k" * 60_000 + b'","v":1},' + b",".join([b'{"v":1}'] * 4_000) + b"]",
    "escapes without end": b"[" + b",".join([b'{"v\\u0061":1,"t":":"}'] * 4_000) + b"]",
    "bidirectional name": '{"a\u202eb": 1, "value": 2}'.encode(),
    "html": b"<html><script>alert(1)</script></html>",
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    "protobuf": b"\x08\x96\x01\x12\x03abc",
}
BAD_FOR_ALL = ("empty", "blank", "nul", "100 kB of brackets", "100 kB of digits", "10^400 as exponent", "NaN", "inf", "not UTF-8",
               "byte order mark", "true", "null", "number as text", "arrays of arrays", "duplicate", "duplicate by escape",
               "duplicate hidden by colons", "duplicate within", "hexadecimal", "underscores", "html", "gzip")  # fmt: skip


def checked(route: RouteSettings, payload: bytes, arrived_s: float = NOW_S) -> tuple[list[Reading] | str, Ledger]:
    """The readings, or the reason; everything that must hold of either is asserted here."""
    notes = Ledger()
    decoder = DECODERS[type(route)](route, TOPIC, notes)
    refused: DecodeError | None = None
    readings: list[Reading] = []
    try:
        readings = decoder.decode(payload, arrived_s)
    except DecodeError as error:
        refused = error
    if refused is not None:
        assert refused.reason in REASONS, refused.reason
        assert len(refused.detail) < 400
        return refused.reason, notes
    assert 1 <= len(readings) <= MAX_READINGS
    for reading in readings:
        assert type(reading.value) is float
        assert math.isfinite(reading.value)
        assert type(reading.time_s) is float
        assert math.isfinite(reading.time_s)
        assert 0 < len(reading.stream) <= MAX_NAME_CHARS
        assert reading.stream.isprintable()
        assert not set("+#") & set(reading.stream)
        assert "" not in reading.stream.split("/")
        assert len(reading.stream.encode("utf-8")) <= 4 * MAX_NAME_CHARS
        assert len(reading.unit) <= MAX_UNIT_CHARS
        assert reading.unit.isprintable()
    return readings, notes


def case(route: RouteSettings) -> str:
    return f"{type(route).__name__}:{route.stream}"


every_route = pytest.mark.parametrize("route", ROUTES, ids=map(case, ROUTES))


def test_each_decoder_of_the_table_is_held_to_the_contract() -> None:
    assert {type(route) for route in ROUTES} == set(DECODERS)
    assert set(GOOD) == set(DECODERS)


@every_route
def test_a_good_payload_gives_its_value(route: RouteSettings) -> None:
    readings, _ = checked(route, GOOD[type(route)])
    assert isinstance(readings, list)
    assert readings[-1].value == 21.5


@every_route
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_payloads_are_set_aside_or_read_and_nothing_else(route: RouteSettings, name: str) -> None:
    first, _ = checked(route, HOSTILE[name])
    again, notes = checked(route, HOSTILE[name])
    assert first == again
    assert set(notes.take()) <= NOTES


@every_route
@pytest.mark.parametrize("name", BAD_FOR_ALL)
def test_what_no_format_allows_no_decoder_reads(route: RouteSettings, name: str) -> None:
    outcome, _ = checked(route, HOSTILE[name])
    assert isinstance(outcome, str), outcome


@every_route
@given(payload=st.binary(max_size=200))
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_any_bytes(route: RouteSettings, payload: bytes) -> None:
    assert checked(route, payload)[0] == checked(route, payload)[0]


_NAMES = st.sampled_from(["value", "v", "a", "b", "t", "time", "data", "n", "bn", "bt", "bv", "u", "+", "#/", "x:y", ""])
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
_JSON = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_NAMES, inner, max_size=5), max_leaves=12
)


@every_route
@given(document=_JSON, spaced=st.booleans())
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_any_json(route: RouteSettings, document: object, spaced: bool) -> None:
    text = json.dumps(document, indent=1) if spaced else json.dumps(document, ensure_ascii=False)
    outcome, _ = checked(route, text.encode("utf-8", "surrogatepass"))
    assert outcome != "duplicate-key"


_TOKENS = st.sampled_from([*',= "\\\n#', "m", "host=a", "v=1", "v=2i", 'v="x"', "t", "1790000000000000000", "-", "é", "e5"])


@every_route
@given(tokens=st.lists(_TOKENS, max_size=25))
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_any_lines(route: RouteSettings, tokens: list[str]) -> None:
    text = "".join(tokens).encode()
    assert checked(route, text)[0] == checked(route, text)[0]


@every_route
@pytest.mark.parametrize("arrived_s", [0.0, 1.5, 1e9, 4e9])
def test_the_wall_clock_may_be_wrong(route: RouteSettings, arrived_s: float) -> None:
    readings, _ = checked(route, GOOD[type(route)], arrived_s)
    assert isinstance(readings, list)
    assert {reading.time_s for reading in readings} == {arrived_s}


@given(topic=st.text(min_size=1, max_size=300))
@settings(max_examples=150, deadline=None)
def test_any_topic_through_the_router(topic: str) -> None:
    router = Router(ROUTES[1:2])
    reason = ""
    readings: list[Reading] = []
    try:
        readings = router.decode(Arrival(topic, b"1", NOW_S))
    except DecodeError as error:
        reason = error.reason
    assert reason in {"", "no-route", "bad-stream-name"}
    assert len(readings) == (0 if reason else 1)
    for reading in readings:
        assert 0 < len(reading.stream) <= MAX_NAME_CHARS
        assert reading.stream.isprintable()
        assert not set("+#") & set(reading.stream)
