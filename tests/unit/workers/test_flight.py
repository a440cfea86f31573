"""What was handed to the link: which messages may leave the outbox, and that no topic ends with an old word."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.workers.flight import Flight


def flight_of(*topics: str) -> Flight:
    """Tokens 101, 102 ... stand for the numbers 1, 2 ..."""
    flight = Flight()
    for number, topic in enumerate(topics, start=1):
        flight.add(100 + number, number, topic)
    return flight


def test_a_confirmed_message_may_leave() -> None:
    flight = flight_of("a")
    assert flight.number(101) == 1
    assert flight.confirmed(101) == [1]
    assert flight.number(101) is None
    assert 1 not in flight
    assert len(flight) == 0


def test_a_confirmed_message_waits_for_the_older_one_of_its_topic() -> None:
    flight = flight_of("a", "a", "b")
    assert flight.confirmed(102) == []
    assert 2 in flight
    assert flight.confirmed(103) == [3]
    assert flight.confirmed(101) == [1, 2]


def test_behind_a_refused_one_nothing_of_its_topic_leaves() -> None:
    flight = flight_of("a", "a", "b")
    flight.refused(101)
    assert flight.confirmed(102) == []
    assert flight.confirmed(103) == [3]
    assert len(flight) == 0
    assert 1 in flight
    assert 2 in flight
    flight.again()
    assert 1 not in flight
    assert 2 not in flight


def test_one_that_is_given_up_holds_nothing() -> None:
    flight = flight_of("a", "a")
    assert flight.confirmed(102) == []
    assert flight.removed(101) == [2]
    assert 1 not in flight
    assert flight_of("a").removed(101) == []


def test_a_token_that_nobody_knows_stands_for_nothing() -> None:
    assert flight_of("a").number(7) is None


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["confirm", "refuse", "remove"])), max_size=8), st.randoms())
def test_no_message_leaves_before_an_older_one_of_its_topic(fates: list[tuple[str, str]], rng: object) -> None:
    flight = flight_of(*(topic for topic, _ in fates))
    order = list(range(1, len(fates) + 1))
    rng.shuffle(order)  # type: ignore[attr-defined]  # hypothesis gives a random.Random that it can shrink
    left: list[int] = []
    for number in order:
        match fates[number - 1][1]:
            case "confirm":
                left += flight.confirmed(100 + number)
            case "remove":
                left += flight.removed(100 + number)
            case _:
                flight.refused(100 + number)
    for topic in "ab":
        numbers = [number for number, (name, _) in enumerate(fates, start=1) if name == topic]
        refused = [number for number in numbers if fates[number - 1][1] == "refuse"]
        confirmed = [number for number in numbers if fates[number - 1][1] == "confirm"]
        before = [number for number in confirmed if not refused or number < refused[0]]
        assert [number for number in left if fates[number - 1][0] == topic] == before
        assert all(number in flight for number in refused + [n for n in confirmed if n not in before])
