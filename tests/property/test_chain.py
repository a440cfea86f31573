"""Whatever is done to the middle of a chain is found; only its end can be cut off unseen, and only a noted head finds that."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from edge_agent.chain import ANCHOR, first_break
from edge_agent.values import LogEntry
from tests.unit.test_chain import chain_of

BODIES = st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=12)


@st.composite
def chains(draw: st.DrawFn, least: int = 1) -> list[LogEntry]:
    return chain_of(*draw(BODIES.filter(lambda bodies: len(bodies) >= least)))


@given(chains(), st.data())
def test_any_change_of_a_bit_is_found_where_it_is(entries: list[LogEntry], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(entries) - 1))
    part = data.draw(st.sampled_from(("body", "hash")))
    old: bytes = getattr(entries[at], part)
    bit = data.draw(st.integers(0, 8 * len(old) - 1))
    changed = bytearray(old)
    changed[bit // 8] ^= 1 << bit % 8
    entries[at] = replace(entries[at], **{part: bytes(changed)})
    assert first_break(entries) == at + 1


@given(chains(least=2), st.data())
def test_an_entry_taken_out_before_the_end_is_found(entries: list[LogEntry], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(entries) - 2))
    del entries[at]
    assert first_break(entries) == at + 2


@given(chains(least=2), st.data())
def test_two_entries_that_changed_places_are_found(entries: list[LogEntry], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(entries) - 2))
    second = data.draw(st.integers(first + 1, len(entries) - 1))
    entries[first], entries[second] = entries[second], entries[first]
    assert first_break(entries) == second + 1


@given(chains(least=2), st.data())
def test_bodies_that_changed_places_under_their_hashes_are_found(entries: list[LogEntry], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(entries) - 2))
    second = data.draw(st.integers(first + 1, len(entries) - 1))
    assume(entries[first].body != entries[second].body)
    one, other = entries[first], entries[second]
    entries[first], entries[second] = replace(one, body=other.body), replace(other, body=one.body)
    assert first_break(entries) == first + 1


@given(chains(), st.binary(max_size=40), st.binary(min_size=32, max_size=32), st.data())
def test_an_entry_put_in_is_found(entries: list[LogEntry], body: bytes, forged: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(entries)))
    entries.insert(at, LogEntry(number=at + 1, body=body, hash=forged))
    entries[at + 1 :] = [replace(entry, number=entry.number + 1) for entry in entries[at + 1 :]]
    broken = first_break(entries)
    assert broken is not None
    assert broken <= at + 2


@given(chains(least=2), BODIES, st.data())
def test_a_beginning_that_was_written_anew_does_not_lead_to_the_old_end(
    entries: list[LogEntry], others: list[bytes], data: st.DataObject
) -> None:
    at = data.draw(st.integers(1, len(entries) - 1))
    anew = chain_of(*others)
    assume([entry.body for entry in anew] != [entry.body for entry in entries[:at]])
    rest = [replace(entry, number=len(anew) + i) for i, entry in enumerate(entries[at:], 1)]
    assert first_break([*anew, *rest]) == len(anew) + 1


@given(chains(least=2), st.data())
def test_without_the_beginning_the_anchor_is_what_it_follows(entries: list[LogEntry], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(entries) - 1))
    assert first_break(entries[cut:], entries[cut - 1].hash) is None
    assert first_break(entries[cut:], ANCHOR) == cut + 1


@given(chains(least=2), st.data())
def test_a_cut_end_is_not_found_but_its_head_is_another(entries: list[LogEntry], data: st.DataObject) -> None:
    left = data.draw(st.integers(1, len(entries) - 1))
    assert first_break(entries[:left]) is None
    assert entries[-1].hash not in [entry.hash for entry in entries[:left]]
