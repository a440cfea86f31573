"""Pieces of a file on a web server, from servers that know ranges, ignore them, or get them wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from edge_agent.clock import SystemClock
from edge_agent.errors import LinkError, RepositoryRefusedError
from edge_agent.update import ranged
from edge_agent.update.exchange import Meter, Web
from edge_agent.update.ranged import FEW_BYTES, MAX_SHORT, Ranged
from tests.update.ranges import (
    Fault,
    Ranges,
    a_little_before,
    a_little_more,
    a_page,
    another_place,
    compressed,
    empty,
    ignoring_ranges,
    ranges,
    ranges_of_a_byte,
    redirecting,
    shorter_than_stated,
    unsatisfied,
    without_place,
)

DATA = os.urandom(300_000)


@pytest.fixture
def server() -> Iterator[Ranges]:
    with ranges({"file": DATA}) as served:
        yield served


def reading(server: Ranges, meter: Meter | None = None) -> Ranged:
    return Ranged(Web(SystemClock(), meter or Meter(1 << 30)), f"{server.url}/file")


def test_pieces_are_ranges_and_the_tag_of_the_first_goes_with_the_others(server: Ranges) -> None:
    file = reading(server)
    assert file.read(0, 100_000, 10.0) == DATA[:100_000]
    assert file.read(200_000, 50_000, 10.0) == DATA[200_000:250_000]
    assert file.read(250_000, 100_000, 10.0) == DATA[250_000:]
    assert [request.range for request in server.asked] == ["bytes=0-99999", "bytes=200000-249999", "bytes=250000-349999"]
    assert [request.if_range for request in server.asked] == ["", '"one"', '"one"']
    assert len({request.connection for request in server.asked}) == 1
    with pytest.raises(LinkError, match="status 416: the file is shorter"):
        file.read(300_000, 1, 10.0)


@pytest.mark.parametrize("fault", [None, ignoring_ranges])
def test_a_file_that_changed_is_said_once_and_then_the_new_one_is_read(server: Ranges, fault: Fault | None) -> None:
    server.fault = fault
    file = reading(server)
    file.read(0, 100, 10.0)
    server.tag, server.files = '"two"', {"file": DATA[::-1]}
    file.close()  # as where the connection broke off
    with pytest.raises(RepositoryRefusedError) as told:
        file.read(100, 100, 10.0)
    assert told.value.reason == "changed"
    assert file.read(0, 200, 10.0) == DATA[::-1][:200]


def test_a_weak_tag_is_no_sign(server: Ranges) -> None:
    server.tag = 'W/"one"'
    file = reading(server)
    file.read(0, 100, 10.0)
    server.tag = 'W/"two"'
    assert file.read(100, 100, 10.0) == DATA[100:200]
    assert [request.if_range for request in server.asked] == ["", ""]


def test_a_server_that_ignores_ranges_is_read_on_where_it_stands(server: Ranges) -> None:
    server.fault = ignoring_ranges
    meter = Meter(1 << 30)
    file = reading(server, meter)
    assert b"".join(file.read(at, 100_000, 10.0) for at in (0, 100_000, 200_000)) == DATA
    assert len(server.asked) == 1
    file.close()
    assert meter.received_bytes < len(DATA) + 10_000


def test_to_go_on_where_ranges_are_ignored_costs_what_is_before_and_not_without_end(
    server: Ranges, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.fault = ignoring_ranges
    meter = Meter(1 << 30)
    file = reading(server, meter)
    assert file.read(100_000, 1_000, 10.0) == DATA[100_000:101_000]
    assert meter.received_bytes > 100_000
    file.close()
    monkeypatch.setattr(ranged, "MAX_SKIPPED_BYTES", 99_999)
    before = meter.received_bytes
    with pytest.raises(LinkError, match="knows no ranges"):
        file.read(100_000, 1_000, 10.0)
    assert meter.received_bytes < before + 20_000


def test_what_came_before_the_connection_broke_is_kept(server: Ranges) -> None:
    server.fault = shorter_than_stated
    file = reading(server)
    first = file.read(0, 100_000, 10.0)
    assert first == DATA[:50_000]
    assert file.read(50_000, 50_000, 10.0) == DATA[50_000:75_000]


@pytest.mark.parametrize("answers", [shorter_than_stated, ranges_of_a_byte])
def test_answers_of_a_few_bytes_are_not_asked_for_without_end(server: Ranges, answers: Fault) -> None:
    server.fault = answers
    file, done = reading(server), 0
    for _ in range(MAX_SHORT + 1):
        done += len(file.read(done, 2 * FEW_BYTES - 2, 10.0))
    with pytest.raises(LinkError, match="again and again"):
        file.read(done, 2 * FEW_BYTES - 2, 10.0)
    assert len(server.asked) == MAX_SHORT + 1
    server.fault = None
    assert file.read(done, 100, 10.0) == DATA[done : done + 100]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (another_place, "not the range"),
        (a_little_before, "not the range"),
        (a_little_more, "not the range"),
        (without_place, "not the range"),
        (compressed, "compressed"),
        (redirecting, "redirects are not followed"),
        (unsatisfied, "status 416"),
        (a_page, "ended at"),
        (empty, "ended"),
    ],
)
def test_an_answer_that_is_not_the_piece_is_none(server: Ranges, fault: Fault, words: str) -> None:
    server.fault = fault
    with pytest.raises(LinkError, match=words):
        reading(server).read(150_000, 1_000, 10.0)


def test_a_missing_file_is_told(server: Ranges) -> None:
    with pytest.raises(LinkError, match="status 404: there is no such file"):
        Ranged(Web(SystemClock(), Meter(1 << 20)), f"{server.url}/other").read(0, 1, 10.0)
