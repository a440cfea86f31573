"""The hash chain: its formula, where it begins, and how the first broken entry is named."""

from __future__ import annotations

import hashlib

import pytest
from msgspec.structs import replace

from edge_agent.chain import ANCHOR, first_break, link
from edge_agent.values import LogEntry


def chain_of(*bodies: bytes, anchor: bytes = ANCHOR, first: int = 1) -> list[LogEntry]:
    """A whole chain over these bodies."""
    entries, before = [], anchor
    for number, body in enumerate(bodies, first):
        before = link(before, body)
        entries.append(LogEntry(number=number, body=body, hash=before))
    return entries


WHOLE = chain_of(b"one", b"two", b"three")


def test_a_link_is_sha256_over_the_hash_before_and_the_body() -> None:
    assert link(ANCHOR, b"one") == hashlib.sha256(bytes(32) + b"one").digest()
    assert WHOLE[1].hash == hashlib.sha256(WHOLE[0].hash + b"two").digest()


def test_a_whole_chain_and_an_empty_one_have_no_break() -> None:
    assert first_break(WHOLE) is None
    assert first_break([]) is None


def test_what_follows_a_removed_beginning_is_whole_from_the_hash_of_the_last_one_that_was_removed() -> None:
    assert first_break(WHOLE[1:], WHOLE[0].hash) is None
    assert first_break(WHOLE[1:]) == 2


@pytest.mark.parametrize(
    ("entries", "broken"),
    [
        ([replace(WHOLE[0], body=b"0ne"), *WHOLE[1:]], 1),
        ([WHOLE[0], replace(WHOLE[1], hash=bytes(32)), WHOLE[2]], 2),
        ([WHOLE[0], WHOLE[2]], 3),
        ([WHOLE[1], WHOLE[0], WHOLE[2]], 2),
        ([WHOLE[0], WHOLE[0], *WHOLE[1:]], 1),
        ([*WHOLE[:2], replace(WHOLE[2], number=2)], 2),
    ],
)
def test_the_first_entry_that_does_not_follow_is_named(entries: list[LogEntry], broken: int) -> None:
    assert first_break(entries) == broken


def test_an_end_that_was_cut_off_cannot_be_told_from_a_log_that_is_shorter() -> None:
    assert first_break(WHOLE[:2]) is None
