"""Topic filters: the examples of MQTT 5.0, section 4.7, and the laws between matching, covering and overlapping."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.config.topics import covers, filter_levels, filter_problem, matches, overlaps


def match(topic_filter: str, topic: str) -> bool:
    return matches(filter_levels(topic_filter), tuple(topic.split("/")))


@pytest.mark.parametrize(
    ("topic_filter", "topic", "expected"),
    [
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
        ("sport/#", "sport", True),
        ("sport/#", "sports", False),
        ("#", "a/b", True),
        ("sport/tennis/+", "sport/tennis/player1", True),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("+/tennis/#", "sport/tennis", True),
        ("#", "$SYS/x", False),
        ("+/monitor/Clients", "$SYS/monitor/Clients", False),
        ("$SYS/#", "$SYS/x", True),
        ("$SYS/monitor/+", "$SYS/monitor/Clients", True),
        ("Accounts", "ACCOUNTS", False),
        ("te/+/+/+/+/m/+", "te/device/main///m/env", True),
        ("$share/group/a/+", "a/b", True),
    ],
)
def test_matching(topic_filter: str, topic: str, expected: bool) -> None:
    assert match(topic_filter, topic) is expected


@pytest.mark.parametrize("topic_filter", ["#", "+", "a", "/", "a/#", "+/a/+/#", "a//b", "$share/g/#", "$share/g//", "ä/b c"])
def test_valid_filters(topic_filter: str) -> None:
    assert filter_problem(topic_filter) == ""


@pytest.mark.parametrize(
    ("topic_filter", "said"),
    [
        ("", "empty"),
        ("a/#/b", "`#`"),
        ("a#", "`#`"),
        ("##", "`#`"),
        ("a+/b", "`+`"),
        ("a/+b", "`+`"),
        ("a\0", "NUL"),
        ("x" * 65_536, "longer"),
        ("$share", "shared"),
        ("$share/g", "shared"),
        ("$share//a", "shared"),
        ("$share/+/a", "shared"),
        ("$share/g/", "empty"),
    ],
)
def test_invalid_filters(topic_filter: str, said: str) -> None:
    assert said in filter_problem(topic_filter)


_LEVELS = st.sampled_from(["a", "b", "", "$x"])
_TOPICS = st.lists(_LEVELS, min_size=1, max_size=4).map(tuple)
_FILTERS = (
    st.tuples(st.lists(_LEVELS | st.just("+"), max_size=3), st.sampled_from(["a", "+", "#"]))
    .map(lambda pair: (*pair[0], pair[1]))
    .filter(bool)
)


@given(first=_FILTERS, second=_FILTERS, topic=_TOPICS)
@settings(max_examples=600, deadline=None)
def test_what_covers_another_matches_all_of_its_topics(
    first: tuple[str, ...], second: tuple[str, ...], topic: tuple[str, ...]
) -> None:
    if covers(first, second) and matches(second, topic):
        assert matches(first, topic)


@given(levels=_FILTERS, tree=st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=3).map(tuple), below=_TOPICS)
@settings(max_examples=600, deadline=None)
def test_a_filter_that_matches_within_a_tree_overlaps_it(
    levels: tuple[str, ...], tree: tuple[str, ...], below: tuple[str, ...]
) -> None:
    if matches(levels, tree) or matches(levels, (*tree, *below)):
        assert overlaps(levels, tree)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("#", "a/b", True),
        ("a/#", "a", True),
        ("a/#", "a/#", True),
        ("a/+", "a/b", True),
        ("+/#", "#", True),
        ("a/+/#", "a/#", False),
        ("a/b", "a/+", False),
        ("a/+", "a/#", False),
        ("#", "$SYS/#", False),
        ("a/b", "a/b/c", False),
        ("a/b/c", "a/b", False),
    ],
)
def test_covering(first: str, second: str, expected: bool) -> None:
    assert covers(filter_levels(first), filter_levels(second)) is expected


@pytest.mark.parametrize(
    ("topic_filter", "expected"),
    [
        ("edge/#", True),
        ("edge/g", True),
        ("edge/g/health", True),
        ("edge/+/anomaly/#", True),
        ("edge", False),
        ("edge/h/#", False),
    ],
)
def test_overlapping(topic_filter: str, expected: bool) -> None:
    assert overlaps(filter_levels(topic_filter), ("edge", "g")) is expected
