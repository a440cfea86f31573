"""Comparing what was found with what really was."""

from __future__ import annotations

from edge_agent.demo.pump import Fault
from edge_agent.demo.truth import Found, compare, lines
from edge_agent.values import Direction, Kind


def fault(stream: str, kind: Kind, start_s: float, *, lasts_s: float = 5.0, direction: Direction = "up") -> Fault:
    return Fault(stream=stream, kind=kind, direction=direction, start_s=start_s, end_s=start_s + lasts_s, size=1.0)


def found(stream: str, kind: str, onset_s: float, said_s: float | None = None) -> Found:
    return Found(stream, kind, "up", onset_s, onset_s if said_s is None else said_s)


STREAMS = ("p/a", "p/b")


def test_a_fault_is_found_by_an_anomaly_of_its_stream_within_its_time() -> None:
    faults = [fault("p/a", "spike", 10.0), fault("p/b", "drift", 20.0)]
    comparison = compare(faults, [found("p/a", "spike", 10.1), found("p/a", "spike", 21.5)], STREAMS, 60.0)
    assert [bool(match.found) for match in comparison.matches] == [True, False]
    assert [one.onset_s for one in comparison.beside] == [21.5], "the other stream's fault does not excuse it"


def test_the_way_back_belongs_to_the_fault_and_what_comes_later_does_not() -> None:
    comparison = compare([fault("p/a", "shift", 10.0)], [found("p/a", "shift", t) for t in (9.5, 20.9, 21.1)], STREAMS, 60.0)
    assert len(comparison.matches[0].found) == 2
    assert len(comparison.beside) == 1


def test_a_wrong_name_is_found_but_not_named() -> None:
    comparison = compare([fault("p/a", "drift", 10.0)], [found("p/a", "shift", 12.0)], STREAMS, 60.0)
    assert comparison.matches[0].found
    assert comparison.matches[0].named is None
    assert "1 of 1 faults found, 0 named" in "\n".join(lines(comparison))


def test_a_fault_that_only_just_began_is_not_held_against_the_agent_nor_is_finding_it() -> None:
    comparison = compare([fault("p/a", "drift", 58.0)], [found("p/a", "drift", 59.0)], STREAMS, 60.0)
    assert comparison.matches == ()
    assert comparison.beside == ()


def test_what_has_no_truth_is_counted_apart() -> None:
    comparison = compare([fault("p/a", "spike", 10.0)], [found("host/load", "shift", 10.0)], STREAMS, 60.0)
    assert comparison.unjudged == 1
    assert comparison.beside == ()
    text = "\n".join(lines(comparison))
    assert "0 anomalies of the pumps" in text
    assert "1 anomaly of this host's own metrics" in text


def test_the_lines_say_missed_found_and_beside() -> None:
    faults = [fault("p/a", "spike", 10.0), fault("p/b", "stuck", 20.0, direction="none")]
    text = "\n".join(lines(compare(faults, [found("p/a", "spike", 10.0, 10.4), found("p/a", "dip", 40.0)], STREAMS, 60.0)))
    assert "after  0.4 s as spike" in text
    assert "missed" in text
    assert "1 of 2 faults found, 1 named as what they are." in text
    assert "at   40.0 s  p/a: dip" in text


def test_without_a_fault_that_was_due_it_says_so() -> None:
    assert "longer" in lines(compare([], [], STREAMS, 5.0))[0]
