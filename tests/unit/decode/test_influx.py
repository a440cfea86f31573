"""The format `influx`: vectors for each rule of the line protocol that the format documents."""

from __future__ import annotations

from typing import Any

import pytest

from edge_agent.config.settings import InfluxRoute
from edge_agent.decode.family import MAX_READINGS, Ledger
from edge_agent.decode.influx import InfluxDecoder
from edge_agent.errors import DecodeError
from edge_agent.values import Reading

NOW_S = 1_790_000_000.0


def decode(text: str, notes: Ledger | None = None, **options: Any) -> list[Reading]:
    route = InfluxRoute(topic="#", **options)
    return InfluxDecoder(route, "telegraf/x", Ledger() if notes is None else notes).decode(text.encode(), NOW_S)


def values(text: str, **options: Any) -> dict[str, float]:
    return {reading.stream: reading.value for reading in decode(text, **options)}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("m v=1", {"m/v": 1.0}),
        ("m v=1.5e3,w=-2i,x=3u,y=+.5,z=4.", {"m/v": 1500.0, "m/w": -2.0, "m/x": 3.0, "m/y": 0.5, "m/z": 4.0}),
        ("cpu,host=a,cpu=cpu0 usage=12.5", {"cpu/cpu0/a/usage": 12.5}),
        (r"my\ m\,x,t\ k=v\,1 f\=1=2", {"my m,x/v,1/f=1": 2.0}),
        (r"m\x,t=a\b f=1", {r"m\x/a\b/f": 1.0}),
        ("a=b f=1", {"a=b/f": 1.0}),
        ('m s="a b,c=d",v=1', {"m/v": 1.0}),
        (r'm s="say \"hi\" \\",v=1', {"m/v": 1.0}),
        ('m s="two\nlines",v=1', {"m/v": 1.0}),
        ("m b=t,c=F,d=true,e=FALSE,v=1", {"m/v": 1.0}),
        ("m v=1\r\n", {"m/v": 1.0}),
        ("m b=t\r\nm v=2\r\n", {"m/v": 2.0}),
        ("  m   v=1   ", {"m/v": 1.0}),
        ("# said\n\nm v=1\n# more", {"m/v": 1.0}),
        ("m v=9223372036854775807i", {"m/v": 9.223372036854775807e18}),
        ("m v=18446744073709551615u", {"m/v": 1.8446744073709552e19}),
        ("temperature,room=kitchen value=21", {"temperature/kitchen/value": 21.0}),
    ],
)
def test_lines(line: str, expected: dict[str, float]) -> None:
    assert values(line) == expected


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("m", "bad-line"),
        ("m ", "bad-line"),
        ("m,t v=1", "bad-line"),
        ("m,t= v=1", "bad-line"),
        (",t=a v=1", "bad-line"),
        ("m v=", "bad-line"),
        ("m v", "bad-line"),
        ("m v=1,", "bad-line"),
        ("m v=1 x", "bad-line"),
        ("m v=1 1 2", "bad-line"),
        ("m v=1 12345678901234567890", "bad-line"),
        ("m v=NaN", "bad-line"),
        ("m v=-inf", "bad-line"),
        ("m v=1f", "bad-line"),
        ("m v=-1u", "out-of-range"),
        ("m v=9223372036854775808i", "out-of-range"),
        ("m v=1e400", "out-of-range"),
        ("m v=0x10", "bad-line"),
        ("m v=1_0", "bad-line"),
        ('m v="open', "bad-line"),
        ("m v=1,v=2", "duplicate-key"),
        ("m,t=a,t=b v=1", "duplicate-key"),
        ('m v="x",b=t', "no-value"),
        ("# only this", "empty"),
        ("", "empty"),
        ("\ufeffm v=1", "bad-encoding"),
    ],
)
def test_lines_that_are_set_aside(line: str, reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(line)
    assert caught.value.reason == reason


def test_a_faulty_line_is_noted_and_the_others_are_read() -> None:
    notes = Ledger()
    readings = decode('m v=1\nm v=\nm v="x"\nm,t=a,t=b v=1\nm v=2', notes)
    assert [reading.value for reading in readings] == [1.0, 2.0]
    assert notes.take() == {"bad-line": 1, "no-value": 1, "duplicate-key": 1}


@pytest.mark.parametrize(("precision", "stamp"), [("s", "1789999990"), ("ms", "1789999990000"), ("ns", "1789999990000000000")])
def test_timestamps_have_the_precision_of_the_route(precision: str, stamp: str) -> None:
    (reading,) = decode(f"m v=1 {stamp}", precision=precision)
    assert reading.time_s == pytest.approx(NOW_S - 10, abs=1e-5)


def test_without_a_timestamp_or_with_one_that_cannot_be_believed_the_arrival_counts() -> None:
    notes = Ledger()
    assert [reading.time_s for reading in decode("m v=1\nm v=2 5\nm v=3 -1", notes)] == [NOW_S] * 3
    assert notes.take() == {"time-out-of-window": 2}


def test_names_from_tags_and_topic() -> None:
    line = "cpu,host=pi,cpu=total usage=1,value=2"
    assert values(line, stream="{tag.host}/{measurement}") == {"pi/cpu/usage": 1.0, "pi/cpu": 2.0}
    assert values(line, stream="{1}/{field}/{tag.cpu}") == {"telegraf/usage/total": 1.0, "telegraf/value/total": 2.0}
    with pytest.raises(DecodeError) as caught:
        decode(line, stream="{tag.rack}/{field}")
    assert caught.value.reason == "bad-stream-name"


def test_units_by_field() -> None:
    units = {reading.stream: reading.unit for reading in decode("m a=1,b=2", unit="bar", units={"a": "°C"})}
    assert units == {"m/a": "°C", "m/b": "bar"}


def test_more_values_than_allowed_are_refused_whole() -> None:
    assert len(decode("m v=1\n" * MAX_READINGS)) == MAX_READINGS
    with pytest.raises(DecodeError, match="too-many-values"):
        decode("m v=1\n" * (MAX_READINGS + 1))
    with pytest.raises(DecodeError, match="too-many-values"):
        decode("m\n" * (MAX_READINGS + 1))


def test_series_and_fields_too_long_to_name_a_stream_by_are_set_aside() -> None:
    ledger = Ledger()
    readings = decode(f"m,t={'x' * 1_024} v=1\nm {'f' * 257}=1\nm v=2", ledger)
    assert [reading.value for reading in readings] == [2.0]
    assert ledger.take() == {"bad-stream-name": 2}


def test_series_beyond_the_cache_are_still_named() -> None:
    lines = "\n".join(f"m,n=s{number} value=1" for number in range(3_000))
    assert {reading.stream for reading in decode(lines, stream="{tag.n}")} == {f"s{number}" for number in range(3_000)}
