"""Pseudonyms: the same for the same name on one device, unlike any other device's, and of one kind each."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.egress.pseudonyms import Pseudonyms
from edge_agent.errors import EgressError

KEY = bytes(range(32))
NAMES = st.text(st.characters(), max_size=40)


@given(NAMES, NAMES)
@settings(max_examples=100)
def test_one_name_has_one_pseudonym_here_and_another_elsewhere(name: str, other: str) -> None:
    here, there = Pseudonyms(KEY), Pseudonyms(KEY[::-1])
    assert re.fullmatch("s-[0-9a-f]{16}", here.stream(name))
    assert (here.stream(name) == here.stream(other)) == (name == other)
    assert here.stream(name) == Pseudonyms(KEY).stream(name)
    assert here.stream(name) != there.stream(name)


@given(NAMES, NAMES, st.integers(0, 1 << 40), st.integers(0, 1 << 40))
@settings(max_examples=100)
def test_each_revision_of_each_incident_has_its_own_question(one: str, other: str, revision: int, later: int) -> None:
    names = Pseudonyms(KEY)
    assert re.fullmatch("q-[0-9a-f]{24}", names.request_id(one, revision))
    assert (names.request_id(one, revision) == names.request_id(other, later)) == ((one, revision) == (other, later))


def test_an_incident_shares_nothing_with_a_stream_of_its_name() -> None:
    names = Pseudonyms(KEY)
    assert names.stream("pump-3\x001")[2:] != names.request_id("pump-3", 1)[2:18]


def test_revisions_and_names_cannot_be_moved_into_each_other() -> None:
    names = Pseudonyms(KEY)
    assert names.request_id("a\x001", 2) != names.request_id("a", 12)
    assert names.request_id("a1", 2) != names.request_id("a", 12)


def test_half_a_surrogate_pair_has_a_pseudonym() -> None:
    assert Pseudonyms(KEY).stream("\ud800") != Pseudonyms(KEY).stream("?")


@pytest.mark.parametrize("key", [b"", KEY[:-1]])
def test_a_short_key_is_refused(key: bytes) -> None:
    with pytest.raises(EgressError, match="32"):
        Pseudonyms(key)


def test_the_key_is_not_shown() -> None:
    names = Pseudonyms(b"0123456789abcdef" * 2)
    assert "0123456789abcdef" not in repr(names) + str(names)
