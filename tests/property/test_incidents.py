"""Laws of the incident book that hold for any sequence of anomalies and any clock."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from edge_agent.config.settings import IncidentSettings
from edge_agent.incidents import IncidentBook
from edge_agent.values import KINDS, Anomaly, Incident

START_S = 1_700_000_000.0
STREAMS = ("pump-1/flow", "pump-1/vibration", "pump-2/flow", "tank", "site/power")
SMALL = IncidentSettings(storm_incidents=3, max_open_incidents=3, max_listed_anomalies=4)
LAWS = settings(max_examples=60, deadline=None)

anomalies = st.builds(
    lambda stream, onset_s, lasts_s, ended, kind, score: Anomaly(
        stream=stream,
        kind=kind,
        direction="up",
        onset_s=onset_s,
        peak_s=onset_s + lasts_s,
        end_s=onset_s + lasts_s if ended else None,
        score=score / 8,
    ),
    stream=st.sampled_from(STREAMS),
    # Few different onsets, so that updates of earlier anomalies and late ones are common.
    onset_s=st.integers(0, 12).map(lambda n: START_S + 50.0 * n),
    lasts_s=st.sampled_from((0.0, 3.0, 200.0)),
    ended=st.booleans(),
    kind=st.sampled_from(KINDS),
    score=st.integers(0, 8),
)
# The clock goes forward, stands still, goes back, and jumps by decades either way.
steps_s = st.sampled_from((0.0, 1.0, 20.0, 61.0, 130.0, 4_000.0, -30.0, 1.7e9, -1.7e9))
batches = st.lists(st.tuples(steps_s, st.lists(anomalies, max_size=6)), max_size=25)


def run(book: IncidentBook, steps: list[tuple[float, list[Anomaly]]], start_s: float = START_S) -> list[Incident]:
    changed = []
    now_s = start_s
    for step_s, batch in steps:
        now_s += step_s
        changed += book.update(batch, now_s)
    return changed


def later(anomaly: Anomaly, by_s: float) -> Anomaly:
    end_s = None if anomaly.end_s is None else anomaly.end_s + by_s
    return replace(anomaly, onset_s=anomaly.onset_s + by_s, peak_s=anomaly.peak_s + by_s, end_s=end_s)


def run_out(book: IncidentBook, now_s: float, used: IncidentSettings) -> list[Incident]:
    """Let time pass until everything must be closed."""
    changed = []
    for _ in range(int(used.max_open_s / 3_600) + 2):
        now_s += 3_600
        changed += book.tick(now_s)
    return changed


def last_revisions(changed: list[Incident]) -> dict[str, Incident]:
    return {incident.id: incident for incident in changed}


@LAWS
@given(batches)
def test_each_anomaly_is_counted_in_exactly_one_incident_and_every_incident_closes(
    steps: list[tuple[float, list[Anomaly]]],
) -> None:
    book = IncidentBook(SMALL, "salt")
    changed = run(book, steps)
    changed += run_out(book, START_S, SMALL)
    last = last_revisions(changed)
    assert book.open == ()
    assert all(incident.state == "closed" for incident in last.values())
    keys = {anomaly.key for _, batch in steps for anomaly in batch}
    assert sum(incident.anomaly_count for incident in last.values()) == len(keys)
    listed = [anomaly.key for incident in last.values() for anomaly in incident.anomalies]
    assert len(listed) == len(set(listed))
    assert set(listed) <= keys


@LAWS
@given(batches)
def test_revisions_grow_by_one_and_nothing_follows_a_close(steps: list[tuple[float, list[Anomaly]]]) -> None:
    book = IncidentBook(SMALL, "salt")
    seen: dict[str, Incident] = {}
    now_s = START_S
    for step_s, batch in steps:
        now_s += step_s
        changed = book.update(batch, now_s)
        assert len({incident.id for incident in changed}) == len(changed)
        for incident in changed:
            before = seen.get(incident.id)
            assert incident.revision == (before.revision + 1 if before else 1)
            assert before is None or before.state == "open"
            seen[incident.id] = incident
        assert set(book.open) == {incident for incident in seen.values() if incident.state == "open"}


@LAWS
@given(batches)
def test_incidents_stay_within_their_bounds(steps: list[tuple[float, list[Anomaly]]]) -> None:
    book = IncidentBook(SMALL, "salt")
    now_s = START_S
    for step_s, batch in steps:
        now_s += step_s
        for incident in book.update(batch, now_s):
            onsets = [(anomaly.onset_s, anomaly.stream) for anomaly in incident.anomalies]
            assert onsets == sorted(onsets)
            assert 1 <= len(incident.anomalies) <= SMALL.max_listed_anomalies
            assert len(incident.anomalies) <= incident.anomaly_count
            assert len({anomaly.stream for anomaly in incident.anomalies}) <= incident.stream_count <= incident.anomaly_count
            assert incident.severity >= max(anomaly.score for anomaly in incident.anomalies)
            assert incident.opened_s <= incident.updated_s
            assert incident.storm or {anomaly.asset for anomaly in incident.anomalies} == {incident.asset}
        assert len(book.open) <= SMALL.max_open_incidents + 1
        assert sum(incident.storm for incident in book.open) <= 1


@LAWS
@given(batches, st.randoms(use_true_random=False))
def test_the_order_of_different_anomalies_in_a_batch_makes_no_difference(
    steps: list[tuple[float, list[Anomaly]]], chance: random.Random
) -> None:
    distinct = [(step_s, list({anomaly.key: anomaly for anomaly in batch}.values())) for step_s, batch in steps]
    shuffled = [(step_s, chance.sample(batch, len(batch))) for step_s, batch in distinct]
    assert run(IncidentBook(SMALL, "salt"), distinct) == run(IncidentBook(SMALL, "salt"), shuffled)


@LAWS
@given(batches, batches)
def test_a_restored_book_continues_and_nothing_stays_going_on_for_ever(
    before: list[tuple[float, list[Anomaly]]], after: list[tuple[float, list[Anomaly]]]
) -> None:
    roomy = IncidentSettings(storm_incidents=3, max_open_incidents=3, max_listed_anomalies=256)
    first = IncidentBook(roomy, "boot-1")
    changed = run(first, before)
    second = IncidentBook(roomy, "boot-2", first.open)
    # After a restart the detectors begin anew: what they report has onsets of its own.
    anew = [(step_s, [later(anomaly, 5_000.5) for anomaly in batch]) for step_s, batch in after]
    changed += run(second, anew)
    changed += run_out(second, START_S, roomy)
    last = last_revisions(changed)
    assert second.open == ()
    keys = {anomaly.key for _, batch in before + anew for anomaly in batch}
    assert sum(incident.anomaly_count for incident in last.values()) == len(keys)


@LAWS
@given(st.lists(st.tuples(st.text(max_size=40), st.floats(-1e12, 1e12)), max_size=40))
def test_ids_are_unique_and_fit_for_a_topic(openings: list[tuple[str, float]]) -> None:
    book = IncidentBook(IncidentSettings(max_open_incidents=1_024, storm_incidents=1_000), "salt")
    ids = [
        incident.id
        for asset, now_s in openings
        for incident in book.update(
            [Anomaly(stream=f"{asset}/x", kind="spike", direction="up", onset_s=now_s, peak_s=now_s, score=0.5)], now_s
        )
        if incident.revision == 1
    ]
    assert len(ids) == len(set(ids))
    assert all(set(i) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") and len(i) <= 63 for i in ids)
