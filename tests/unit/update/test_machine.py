"""The update machine: every stage, every event, and the laws that no sequence of events breaks."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from edge_agent.release.manifest import MAX_COUNTER, MAX_LEAP
from edge_agent.update.machine import (
    MAX_CUTS,
    MAX_OUTCOMES,
    MAX_TRIES,
    Again,
    Begins,
    Broke,
    Cancelled,
    Event,
    Failed,
    Fetched,
    Found,
    Installed,
    Passed,
    Reported,
    RollBack,
    Rotten,
    Soaked,
    Spared,
    Told,
    after,
    needed,
    speaks,
    why_not,
)
from edge_agent.update.record import Candidate, Ended, Held, Record


def held(counter: int) -> Held:
    return Held(release=f"r-{counter}", counter=counter, manifest_sha256=f"{counter:064x}")


def found(counter: int) -> Found:
    return Found(Candidate(held=held(counter), source="repository", ticket=str(counter)))


def run(record: Record, *events: Event) -> Record:
    for event in events:
        record = after(record, event, 10.0)
    return record


IN_TRIAL = (Fetched(), Installed(), Begins(), Passed(), Begins())


def committed(record: Record, counter: int) -> Record:
    return run(record, found(counter), *IN_TRIAL, Soaked())


def test_a_release_goes_all_the_way_and_the_one_before_is_kept() -> None:
    record = committed(committed(Record(), 1), 2)
    assert (record.stage, record.active, record.previous) == ("idle", held(2), held(1))
    assert [each.result for each in record.ended] == ["committed", "committed"]
    assert needed(record) == {held(1).manifest_sha256, held(2).manifest_sha256}


def test_what_speaks_is_the_candidate_in_its_trial_only() -> None:
    record = committed(Record(), 1)
    assert speaks(record) == held(1)
    record = run(record, found(2), Fetched(), Installed(), Begins())
    assert speaks(record) == held(1)
    assert speaks(run(record, Passed())) == held(2)


@pytest.mark.parametrize(
    ("events", "result"),
    [
        ((Fetched(), Failed("bad")), "refused"),
        ((Fetched(), Installed(), Begins(), Failed("bad")), "refused"),
        ((*IN_TRIAL, Failed("bad")), "rolled-back"),
        ((Cancelled("no"),), "cancelled"),
        ((*IN_TRIAL, Cancelled("no")), "cancelled"),
    ],
)
def test_what_ends_badly_is_not_taken_again(events: tuple[Event, ...], result: str) -> None:
    before = committed(Record(), 1)
    record = run(before, found(5), *events)
    assert (record.stage, record.active, record.ended[-1].result) == ("idle", held(1), result)
    assert "failed here" in why_not(record, held(5))
    assert "failed here" in why_not(record, held(4))
    assert why_not(record, held(6)) == ""
    assert why_not(run(record, Again()), held(5)) == ""


def test_no_single_release_uses_up_all_counters_that_there_are() -> None:
    assert why_not(Record(), held(MAX_COUNTER)) == "", "the first release of a fleet may have any"
    for before in (committed(Record(), 1), run(Record(), found(1), Failed("bad"))):
        assert why_not(before, held(1 + MAX_LEAP)) == ""
        assert "more than" in why_not(before, held(2 + MAX_LEAP))


def test_tries_are_counted_before_they_are_made() -> None:
    probing = run(committed(Record(), 1), found(2), Fetched(), Installed())
    for _ in range(MAX_TRIES):
        probing = run(probing, Begins())
        assert probing.stage == "probing"
    assert run(probing, Begins()).ended[-1].result == "refused"
    trial = run(committed(Record(), 1), found(2), Fetched(), Installed(), Begins(), Passed())
    for _ in range(MAX_TRIES):
        trial = run(trial, Begins())
        assert speaks(trial) == held(2)
    assert run(trial, Begins()).ended[-1].result == "rolled-back"
    assert speaks(run(trial, Begins())) == held(1)


def test_a_try_that_was_ended_in_order_is_given_back_and_never_more_than_there_were() -> None:
    probing = run(Record(), found(2), Fetched(), Installed(), Begins())
    assert run(probing, Spared()).tries_left == MAX_TRIES
    assert run(probing, Spared(), Spared()).tries_left == MAX_TRIES
    trial = run(probing, Passed())
    for _ in range(5 * MAX_TRIES):
        trial = run(trial, Begins(), Spared())
    assert (trial.stage, trial.tries_left) == ("trial", MAX_TRIES)
    assert run(Record(), Spared()) == Record()


TRIED: tuple[tuple[Event, ...], ...] = ((Fetched(),), (Fetched(), Installed()), (Fetched(), Installed(), Begins(), Passed()))


@pytest.mark.parametrize("events", TRIED)
def test_a_device_that_goes_down_is_no_crash_but_does_not_go_down_for_ever(events: tuple[Event, ...]) -> None:
    record = run(committed(Record(), 1), found(2), *events, Begins("boot 0"))
    stage = record.stage
    for number in range(1, MAX_CUTS):
        record = run(record, Begins(f"boot {number}"))
        assert (record.stage, record.tries_left, record.cuts) == (stage, MAX_TRIES - 1, number)
    given_up = run(record, Begins("the last boot"))
    assert given_up.ended[-1].result == ("rolled-back" if stage == "trial" else "refused")
    assert "10 times" in given_up.ended[-1].reason
    assert (speaks(given_up), given_up.refused_counter) == (held(1), 2)


def test_crashes_between_cuts_are_counted_as_ever() -> None:
    record = run(Record(), found(2), Fetched(), Installed(), Begins(), Passed())
    for boot in ("a", "a", "b", "b"):
        record = run(record, Begins(boot))
    assert (record.stage, record.tries_left, record.cuts) == ("trial", 0, 1)
    assert run(record, Begins("b")).ended[-1].reason == "the agent went down 3 times with it"


def test_an_installation_that_an_older_version_did_not_count_has_its_tries() -> None:
    record = replace(run(Record(), found(2), Fetched()), tries_left=0)
    for _ in range(MAX_TRIES):
        record = run(record, Begins())
        assert record.stage == "verified"
    assert run(record, Begins()).ended[-1].result == "refused"


def test_the_soak_adds_up_over_stops_in_order_is_not_added_to_by_a_cut_and_begins_anew_after_a_crash() -> None:
    record = run(Record(), found(2), Fetched(), Installed(), Begins(), Passed())
    record = run(record, Begins("a"), Spared(100.0), Begins("a"), Spared(50.0))
    assert record.soaked_s == 150.0
    assert run(record, Begins("a"), Begins("b")).soaked_s == 150.0
    assert run(record, Begins("a"), Begins("a")).soaked_s == 0.0
    assert run(record, Begins("a"), Soaked()).soaked_s == 0.0


def test_a_newer_release_takes_the_place_of_one_that_is_fetched_and_an_older_does_not() -> None:
    record = run(Record(), found(2), Broke("no network"), found(3))
    assert record.candidate is not None
    assert record.candidate.held == held(3)
    assert record.ended[-1].result == "cancelled"
    assert run(record, found(2)).candidate == record.candidate


WAITS: tuple[tuple[Event, ...], ...] = (
    (Fetched(),),
    (Fetched(), Begins(), Broke("no room")),
    (Fetched(), Installed()),
    (Fetched(), Installed(), Begins(), Spared()),
    (Fetched(), Installed(), Begins(), Passed()),
    (Fetched(), Installed(), Begins(), Passed(), Begins(), Spared()),
)


@pytest.mark.parametrize("events", WAITS)
def test_what_waits_gives_way_to_a_newer_release_and_is_no_failure(events: tuple[Event, ...]) -> None:
    waiting = run(committed(Record(), 1), found(3), *events)
    assert run(waiting, found(2)).candidate == waiting.candidate
    record = run(waiting, found(9))
    assert (record.stage, record.candidate and record.candidate.held, record.active) == ("fetching", held(9), held(1))
    assert (record.ended[-1].held, record.ended[-1].result, record.refused_counter) == (held(3), "cancelled", -1)
    assert (record.tries_left, record.boot, record.cuts, record.soaked_s) == (0, "", 0, 0.0)


def test_a_trial_under_way_is_not_broken_off_by_a_newer_release() -> None:
    record = run(committed(Record(), 1), found(3), *IN_TRIAL)
    assert run(record, found(9)) == record


def test_the_same_release_found_again_keeps_its_attempts() -> None:
    record = run(Record(), found(2), Broke("a"), Broke("b"), found(2))
    assert record.candidate is not None
    assert record.candidate.attempts == 2


def test_a_rollback_goes_to_the_one_before_then_to_the_factory_release() -> None:
    record = run(committed(committed(Record(), 1), 2), RollBack("asked"))
    assert (record.active, record.previous) == (held(1), None)
    assert run(record, RollBack("asked")).active is None
    assert run(record, RollBack("a"), RollBack("b")).active is None
    assert "failed here" in why_not(record, held(2))


def test_what_rotted_may_be_installed_again() -> None:
    record = run(committed(committed(Record(), 1), 2), Rotten("damaged"), Rotten("damaged too"))
    assert record.active is None
    assert why_not(record, held(2)) == ""
    assert why_not(record, held(1)) == ""
    assert why_not(record, replace(held(2), manifest_sha256="f" * 64)) != ""
    healed = committed(record, 2)
    assert (healed.active, healed.previous, healed.rotten) == (held(2), None, ())


def test_what_ran_or_is_older_is_not_taken() -> None:
    record = committed(committed(Record(), 1), 5)
    assert why_not(record, held(5)) == "it runs already"
    assert "not above 5" in why_not(record, held(4))
    assert why_not(record, held(6)) == ""


def test_outcomes_are_kept_until_told_and_bounded() -> None:
    record = Record()
    for counter in range(MAX_OUTCOMES + 5):
        record = run(record, found(counter), Failed("bad"), *([Told()] if counter < 5 else []))
    assert len(record.ended) == MAX_OUTCOMES
    assert [each.held.counter for each in record.ended] == list(range(5, MAX_OUTCOMES + 5))
    record = run(record, Reported("repository", "7"))
    assert [each.held.counter for each in record.ended if each.reported] == [7]


def test_what_the_source_knows_goes_before_what_it_still_has_to_be_told() -> None:
    record = Record()
    for counter in range(MAX_OUTCOMES):
        record = run(record, found(counter), Failed("bad"))
    record = run(record, Told(), Reported("repository", "3"), found(MAX_OUTCOMES), Failed("bad"))
    assert [each.held.counter for each in record.ended] == [each for each in range(MAX_OUTCOMES + 1) if each != 3]


PLAIN: tuple[Event, ...] = (
    Broke("x"),
    Fetched(),
    Installed(),
    Begins("one boot"),
    Begins("another"),
    Passed(),
    Spared(5.0),
    Failed("x"),
    Soaked(),
    Cancelled("x"),
    RollBack("x"),
    Rotten("x"),
    Told(),
    Reported("repository", "1"),
    Again(),
)
EVENTS = st.one_of(st.integers(0, 9).map(found), st.sampled_from(PLAIN))


def test_the_strategy_knows_every_event() -> None:
    assert {Found, *map(type, PLAIN)} == set(get_args(Event))


@given(st.lists(EVENTS, max_size=40))
def test_no_sequence_of_events_breaks_the_laws(events: list[Event]) -> None:
    record = Record()
    ever_active: set[Held | None] = {None}
    for event in events:
        if isinstance(event, Found) and why_not(record, event.candidate.held):
            continue
        before, record = record, after(record, event, 1.0)
        # What is active was in a trial, and commits only by soaking.
        if record.active not in ever_active:
            assert isinstance(event, Soaked)
            assert before.stage == "trial"
            assert before.candidate is not None
            assert record.active == before.candidate.held
        ever_active.add(record.active)
        # A candidate stands exactly while a stage needs one.
        assert (record.candidate is None) == (record.stage == "idle")
        # Whoever speaks is active or in its trial.
        assert speaks(record) == record.active or record.stage == "trial"
        # An outcome that was said stays said.
        kept = [each for each in record.ended if isinstance(each, Ended)]
        assert len(kept) <= MAX_OUTCOMES
        if len(before.ended) < MAX_OUTCOMES:
            assert [e.result for e in record.ended][: len(before.ended)] == [e.result for e in before.ended]
        # Tries only grow when a stage is entered, or by one that was spared.
        assert 0 <= record.tries_left <= MAX_TRIES
        if record.stage == before.stage and record.candidate == before.candidate:
            given_back = isinstance(event, Spared) or (isinstance(event, Broke) and record.stage == "verified")
            assert record.tries_left <= before.tries_left + given_back
        assert 0 <= record.cuts < MAX_CUTS
        assert not record.boot or record.stage in ("verified", "probing", "trial")
