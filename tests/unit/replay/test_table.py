"""A recording's rows: times in any common form, values or none, and what is refused with its place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from edge_agent.errors import InputError
from edge_agent.replay.table import Table

START = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "write_time",
    [
        lambda moment: moment.isoformat(),
        lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        lambda moment: str(int(moment.timestamp())),
        lambda moment: str(int(moment.timestamp() * 1e3)),
        lambda moment: str(int(moment.timestamp() * 1e9)),
    ],
)
def test_times_are_iso_or_numbers_in_any_common_unit(write_time: object) -> None:
    assert callable(write_time)
    rows = [f"{write_time(START + timedelta(seconds=60 * i))},1" for i in range(3)]
    assert [row.time_s for row in Table(["timestamp,value", *rows], "x.csv")] == [START.timestamp() + 60 * i for i in range(3)]


def test_an_unknown_column_to_ignore_is_named_with_those_there_are() -> None:
    with pytest.raises(InputError, match=r"x.csv:1: labels: is no stream of this file; it has a, b"):
        Table(["t,a,b"], "x.csv", ["labels"])
    with pytest.raises(InputError, match="every column is ignored"):
        Table(["t,a,b"], "x.csv", ["a", "b"])


def test_a_table_is_read_with_either_delimiter_and_a_byte_order_mark() -> None:
    for text in (["\ufefft,a,b", "0,1,2"], ["t;a;b", "0;1;2"]):
        table = Table(text, "x.csv")
        assert table.streams == ("a", "b")
        assert [row.values for row in table] == [(1.0, 2.0)]


def test_a_value_that_is_no_number_is_named_with_its_line_and_column() -> None:
    with pytest.raises(InputError, match=r"x.csv:3: a: 'warm' is no number"):
        list(Table(["t,a", "0,1", "1,warm"], "x.csv"))
