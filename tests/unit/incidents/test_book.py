"""What belongs to one incident, when it opens and closes, and how storms, restarts and wrong clocks are taken."""

from __future__ import annotations

import tracemalloc

import pytest
from msgspec.structs import replace

from edge_agent.config.settings import IncidentSettings
from edge_agent.incidents import SITE, IncidentBook
from edge_agent.values import Anomaly, Incident, Kind
from tests.unit.incidents.anomalies import START_S, anomaly

SETTINGS = IncidentSettings()


def book(settings: IncidentSettings = SETTINGS) -> IncidentBook:
    return IncidentBook(settings, "salt")


def one(changed: list[Incident]) -> Incident:
    assert len(changed) == 1
    return changed[0]


def keep_last(changed: list[Incident], last: dict[str, Incident]) -> None:
    last.update((incident.id, incident) for incident in changed)


def test_an_anomaly_opens_an_incident_of_its_asset() -> None:
    incident = one(book().update([anomaly("hall/pump-1/flow", score=0.7)], START_S + 2))
    assert (incident.asset, incident.state, incident.revision) == ("hall/pump-1", "open", 1)
    assert (incident.opened_s, incident.closed_s) == (START_S + 2, None)
    assert (incident.anomaly_count, incident.stream_count, incident.severity) == (1, 1, 0.7)
    assert incident.id.startswith("hall-pump-1-20231114t221322z-")


def test_anomalies_of_an_asset_that_are_near_in_time_are_one_incident_and_other_assets_are_not() -> None:
    incidents = book()
    first = one(incidents.update([anomaly("pump-1/flow", 0, 5)], START_S + 5))
    second = one(incidents.update([anomaly("pump-1/vibration", 55, 56)], START_S + 56))
    other = one(incidents.update([anomaly("pump-2/flow", 55, 56)], START_S + 57))
    assert second.id == first.id
    assert [a.stream for a in second.anomalies] == ["pump-1/flow", "pump-1/vibration"]
    assert (second.revision, second.stream_count) == (2, 2)
    assert other.id != first.id


@pytest.mark.parametrize(("kind", "joins"), [("drift", True), ("noise", True), ("stuck", False), ("silence", False)])
def test_what_is_going_on_in_the_process_keeps_the_incident_joinable_a_dead_sensor_does_not(kind: Kind, joins: bool) -> None:
    incidents = book()
    first = one(incidents.update([anomaly("pump-1/temperature", 0, kind=kind)], START_S + 1))
    later = one(incidents.update([anomaly("pump-1/flow", 3_000)], START_S + 3_000))
    assert (later.id == first.id) is joins


def test_a_late_anomaly_joins_the_incident_that_it_lies_in() -> None:
    incidents = book()
    first = one(incidents.update([anomaly("pump-1/flow", 100, 110)], START_S + 110))
    late = one(incidents.update([anomaly("pump-1/vibration", -15, 10)], START_S + 115))
    much_too_late = one(incidents.update([anomaly("pump-1/power", -900, -800)], START_S + 116))
    assert late.id == first.id
    assert late.anomalies[0].stream == "pump-1/vibration"
    assert much_too_late.id != first.id


def test_a_sensor_whose_clock_is_an_hour_off_has_its_own_anomalies_grouped() -> None:
    incidents = book()
    first = one(incidents.update([anomaly("far/a", 3_600)], START_S))
    assert one(incidents.update([anomaly("far/b", 3_650)], START_S + 50)).id == first.id


def test_of_two_incidents_of_an_asset_the_most_recently_active_takes_the_next_anomaly() -> None:
    incidents = book()
    dead = one(incidents.update([anomaly("pump-1/level", 0, kind="silence")], START_S + 1))
    spike = one(incidents.update([anomaly("pump-1/flow", 200, 201)], START_S + 201))
    both_near = one(incidents.update([anomaly("pump-1/power", 110, 112)], START_S + 205))
    assert dead.id != spike.id == both_near.id


def test_an_update_revises_the_anomaly_and_is_not_counted_again() -> None:
    incidents = book()
    incidents.update([anomaly(kind="spike")], START_S)
    refined = one(incidents.update([anomaly(kind="shift", peak=3)], START_S + 3))
    ended = one(incidents.update([anomaly(kind="shift", peak=3, end=9)], START_S + 9))
    assert (refined.anomalies[0].kind, refined.anomaly_count) == ("shift", 1)
    assert (ended.anomalies[0].end_s, ended.anomaly_count, ended.revision) == (START_S + 9, 1, 3)
    assert incidents.update([anomaly(kind="shift", peak=3, end=9)], START_S + 10) == []


def test_of_two_updates_in_one_batch_the_later_is_the_newer() -> None:
    incident = one(book().update([anomaly(kind="spike"), anomaly(kind="shift", end=4)], START_S + 4))
    assert (incident.anomalies[0].kind, incident.anomalies[0].end_s) == ("shift", START_S + 4)


def test_an_incident_closes_when_all_has_ended_and_nothing_happened_for_a_while() -> None:
    incidents = book()
    incidents.update([anomaly(end=1)], START_S + 1)
    assert incidents.tick(START_S + 60.9) == []
    closed = one(incidents.tick(START_S + 61))
    assert (closed.state, closed.closed_s, closed.updated_s, closed.revision) == ("closed", START_S + 61, START_S + 61, 2)
    assert incidents.open == ()


def test_an_incident_stays_open_while_an_anomaly_goes_on_but_not_longer_than_allowed() -> None:
    incidents = book()
    incidents.update([anomaly()], START_S)
    for hour in range(1, 24):
        assert incidents.tick(START_S + 3_600 * hour) == []
    closed = one(incidents.tick(START_S + 86_400))
    assert (closed.state, closed.anomalies[0].end_s) == ("closed", None)
    # Its end changes nothing and opens nothing; the next anomaly of the stream opens an incident.
    assert incidents.update([anomaly(end=86_500)], START_S + 86_500) == []
    assert incidents.update([anomaly(end=86_500)], START_S + 86_501) == []
    assert one(incidents.update([anomaly(onset=86_600)], START_S + 86_600)).revision == 1


def test_what_is_over_is_closed_before_something_new_can_join_it() -> None:
    incidents = book()
    first = one(incidents.update([anomaly(onset=0, end=1)], START_S + 1))
    closed, opened = incidents.update([anomaly(onset=70)], START_S + 70)
    assert (closed.id, closed.state, closed.anomaly_count) == (first.id, "closed", 1)
    assert (opened.state, opened.anomaly_count) == ("open", 1)


def test_an_anomaly_that_comes_back_to_life_keeps_the_incident_open() -> None:
    incidents = book()
    incidents.update([anomaly(end=1)], START_S + 1)
    revived = one(incidents.update([anomaly()], START_S + 30))
    assert revived.anomalies[0].end_s is None
    assert incidents.tick(START_S + 200) == []
    incidents.update([anomaly(end=210)], START_S + 210)
    assert incidents.tick(START_S + 269) == []
    assert one(incidents.tick(START_S + 271)).anomaly_count == 1


def test_a_new_anomaly_ends_the_one_before_it_on_its_stream() -> None:
    incidents = book()
    incidents.update([anomaly(onset=0, peak=5)], START_S + 5)
    incident = one(incidents.update([anomaly(onset=20, kind="silence")], START_S + 25))
    assert [(a.end_s, a.ending) for a in incident.anomalies] == [(START_S + 20, "unknown"), (None, "returned")]
    incident = one(incidents.update([anomaly(onset=10)], START_S + 26))
    assert [a.end_s for a in incident.anomalies] == [START_S + 20, START_S + 20, None]
    # The stream speaks again, and the first turns out to have gone on.
    incidents.update([anomaly(onset=20, end=40, kind="silence")], START_S + 40)
    incident = one(incidents.update([anomaly(onset=0, peak=5)], START_S + 41))
    assert [a.end_s for a in incident.anomalies] == [None, START_S + 20, START_S + 40]
    assert incident.anomaly_count == 3


def test_an_operator_closes_an_incident_and_its_anomalies_open_no_other() -> None:
    incidents = book()
    opened = one(incidents.update([anomaly()], START_S))
    closed = incidents.close(opened.id, START_S + 10)
    assert closed is not None
    assert (closed.state, closed.closed_s, closed.revision) == ("closed", START_S + 10, 2)
    assert incidents.close(opened.id, START_S + 11) is None
    assert incidents.update([anomaly(peak=20)], START_S + 20) == []
    assert incidents.update([anomaly(peak=20, end=30)], START_S + 30) == []
    assert one(incidents.update([anomaly(onset=40)], START_S + 40)).id != opened.id


def test_a_reading_for_reading_update_is_told_only_now_and_then_and_in_full_at_the_close() -> None:
    incidents = book()
    incidents.update([anomaly()], START_S)
    told = [incident for n in range(1, 301) for incident in incidents.update([anomaly(peak=n)], START_S + n)]
    assert 20 <= len(told) <= 60
    incidents.update([anomaly(peak=301, end=301)], START_S + 301)
    closed = one(incidents.tick(START_S + 400))
    assert closed.anomalies[0].peak_s == START_S + 301


def test_a_much_higher_severity_is_told_at_once() -> None:
    incidents = book()
    incidents.update([anomaly(score=0.5)], START_S)
    assert incidents.update([anomaly(score=0.55)], START_S + 0.1) == []
    assert one(incidents.update([anomaly(score=0.9)], START_S + 0.2)).severity == 0.9


def test_the_most_severe_are_listed_by_onset_and_all_are_counted() -> None:
    incidents = book(IncidentSettings(max_listed_anomalies=4))
    batch = [anomaly(f"pump-1/s{n}", onset=n, end=n, score=(n * 7 % 20) / 20) for n in range(20)]
    incident = one(incidents.update(batch, START_S + 20))
    expected = sorted(sorted(batch, key=lambda a: a.score)[-4:], key=lambda a: a.onset_s)
    assert list(incident.anomalies) == expected
    assert (incident.anomaly_count, incident.stream_count) == (20, 20)
    # Updates of those that are not listed are known too, and one that grows severe is listed.
    known = one(incidents.update([anomaly("pump-1/s0", onset=0, end=0, score=1.0)], START_S + 30))
    assert (known.anomaly_count, known.anomalies[0].stream) == (20, "pump-1/s0")


@pytest.mark.parametrize("assets", [1, 1_000])
@pytest.mark.parametrize("ends", ["at-once", "in-another-batch", "never"])
def test_ten_thousand_anomalies_in_a_minute_are_a_handful_of_incidents_and_each_is_counted_once(assets: int, ends: str) -> None:
    incidents = book()
    last: dict[str, Incident] = {}
    revisions = 0
    for n in range(0, 10_000, 25):
        onset = 60 * n / 10_000
        batch = [anomaly(f"asset-{m % assets}/s{m}", onset, onset if ends == "at-once" else None) for m in range(n, n + 25)]
        for changed in (
            incidents.update(batch, START_S + onset),
            incidents.update([anomaly(a.stream, onset, onset + 1) for a in batch], START_S + onset)
            if ends == "in-another-batch"
            else [],
        ):
            keep_last(changed, last)
            revisions += len(changed)
    for hour in range(1, 27):
        keep_last(incidents.tick(START_S + 3_600 * hour), last)
    assert len(last) <= SETTINGS.storm_incidents + 1
    assert revisions <= 50 * len(last)
    assert sum(incident.anomaly_count for incident in last.values()) == 10_000
    assert sum(incident.stream_count for incident in last.values()) == 10_000
    assert all(incident.state == "closed" for incident in last.values())


def test_a_storm_opens_one_incident_for_the_site_until_it_is_calm() -> None:
    incidents = book(IncidentSettings(storm_incidents=3))
    storm = incidents.update([anomaly(f"asset-{n}/x", onset=n, end=n) for n in range(6)], START_S + 6)
    assert [incident.asset for incident in storm] == ["asset-0", "asset-1", "asset-2", SITE]
    site = storm[-1]
    assert (site.storm, site.anomaly_count) == (True, 3)
    # What the site took in goes on there; calm is when openings are rare again.
    joined = one(incidents.update([anomaly("asset-4/y", onset=20, end=20)], START_S + 20))
    assert (joined.id, joined.anomaly_count) == (site.id, 4)
    # Calm again: an asset that is new opens its own incident even while the site's is still open.
    *closed, alone = incidents.update([anomaly("asset-9/x", onset=68, end=68)], START_S + 67.5)
    assert {incident.state for incident in closed} == {"closed"}
    assert (alone.asset, alone.storm) == ("asset-9", False)
    assert site.id in [incident.id for incident in incidents.open]


def test_while_too_many_are_open_the_site_takes_in_the_rest_however_slowly_they_come() -> None:
    incidents = book(IncidentSettings(max_open_incidents=5))
    last: dict[str, Incident] = {}
    for n in range(40):
        keep_last(incidents.update([anomaly(f"asset-{n}/x", onset=100 * n)], START_S + 100 * n), last)
    assert len(incidents.open) == 6
    keep_last(incidents.tick(START_S + 4_300), last)
    assert sum(incident.anomaly_count for incident in last.values()) == 40
    assert incidents.close(incidents.open[0].id, START_S + 4_301)
    assert one(incidents.update([anomaly("asset-99/x", onset=4_302)], START_S + 4_302)).asset == "asset-99"


def test_memory_does_not_grow_with_the_number_of_anomalies() -> None:
    incidents = book()
    streams = [f"asset-{n % 100}/s{n}" for n in range(1_000)]

    def storm(seconds: range) -> None:
        for at_s in seconds:
            batch = [
                Anomaly(stream=s, kind="spike", direction="up", onset_s=at_s, peak_s=at_s, end_s=at_s, score=0.6) for s in streams
            ]
            incidents.update(batch, at_s)

    storm(range(20))  # more keys than are remembered
    tracemalloc.start()
    try:
        storm(range(20, 40))
        after_20_000, _ = tracemalloc.get_traced_memory()
        storm(range(40, 60))
        after_40_000, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # By then all that is remembered was allocated while it was traced; from there on the new takes the place of the old.
    assert after_40_000 < after_20_000 * 1.1 + 100_000
    # An update of the first anomaly, forgotten among the ended ones but still listed, is an update all the same.
    listed = next(incident for incident in incidents.open if not incident.storm).anomalies[0]
    incidents.update([replace(listed, end_s=1.0)], 60)
    assert sum(incident.anomaly_count for incident in incidents.tick(3_600)) == 60_000


def test_setting_the_clock_from_1970_to_today_closes_nothing_that_goes_on() -> None:
    incidents = book()
    opened = one(incidents.update([anomaly("pump-1/flow", onset=-START_S + 5)], 5.0))
    assert [incident.state for incident in incidents.tick(START_S)] in ([], ["open"])
    ended = one(incidents.update([anomaly("pump-1/flow", onset=-START_S + 5, end=10)], START_S + 10))
    assert (ended.id, ended.state) == (opened.id, "open")
    assert one(incidents.tick(START_S + 71)).state == "closed"


def test_a_clock_that_goes_back_delays_but_never_prevents_the_close() -> None:
    incidents = book()
    opened = one(incidents.update([anomaly(end=0)], START_S))
    assert incidents.tick(START_S - 1e6) == []
    assert incidents.tick(START_S - 1e6 + 59) == []
    closed = one(incidents.tick(START_S - 1e6 + 60))
    assert closed.state == "closed"
    assert opened.opened_s <= closed.updated_s == closed.closed_s


def test_restored_anomalies_end_where_they_were_last_known_and_their_incident_closes() -> None:
    before = book()
    before.update([anomaly("pump-1/flow", peak=0), anomaly("pump-1/power", onset=2, end=3)], START_S + 4)
    after = IncidentBook(SETTINGS, "another", before.open)
    assert after.open == before.open
    assert after.tick(START_S + 1_000) == []
    closed = one(after.tick(START_S + 1_060))
    assert (closed.id, closed.state, closed.revision) == (before.open[0].id, "closed", 2)
    assert [(a.end_s, a.ending) for a in closed.anomalies] == [(START_S + 4, "unknown"), (START_S + 3, "returned")]


def test_a_new_anomaly_of_the_stream_ends_the_restored_one_and_joins_its_incident() -> None:
    before = book()
    opened = one(before.update([anomaly("pump-1/flow", peak=0)], START_S))
    after = IncidentBook(SETTINGS, "another", before.open)
    joined = one(after.update([anomaly("pump-1/flow", onset=90)], START_S + 90))
    assert (joined.id, joined.revision, joined.anomaly_count, joined.stream_count) == (opened.id, 2, 2, 1)
    assert [a.end_s for a in joined.anomalies] == [START_S + 90, None]
    # The new one is known to the detectors, so it is not ended for want of news.
    assert [incident.state for incident in after.tick(START_S + 500)] in ([], ["open"])


def test_a_restored_anomaly_that_is_told_again_is_the_same_one() -> None:
    before = book()
    before.update([anomaly("pump-1/flow")], START_S)
    after = IncidentBook(SETTINGS, "another", before.open)
    assert after.update([anomaly("pump-1/flow")], START_S + 5) == []
    assert after.tick(START_S + 500) == []
    assert one(after.update([anomaly("pump-1/flow", end=501)], START_S + 501)).anomaly_count == 1


def test_a_restored_incident_that_was_open_for_too_long_closes_at_once() -> None:
    before = book()
    before.update([anomaly()], START_S)
    after = IncidentBook(SETTINGS, "another", before.open)
    closed = one(after.tick(START_S + 86_400))
    assert (closed.state, closed.anomalies[0].end_s) == ("closed", START_S)


def test_a_restored_incident_goes_on_counting_from_what_it_had_counted() -> None:
    settings = IncidentSettings(max_listed_anomalies=4)
    before = book(settings)
    before.update([anomaly(f"pump-1/s{n}", onset=n, end=n, score=0.5 + n / 100) for n in range(20)], START_S + 20)
    after = IncidentBook(settings, "another", before.open)
    incident = one(after.update([anomaly("pump-1/other", onset=25, score=0.9)], START_S + 25))
    assert (incident.anomaly_count, incident.stream_count, incident.severity) == (21, 21, 0.9)


def test_a_restored_site_incident_takes_in_the_next_storm_and_closed_ones_are_left_out() -> None:
    settings = IncidentSettings(storm_incidents=2)
    before = IncidentBook(settings, "salt")
    site = before.update([anomaly(f"asset-{n}/x", onset=n) for n in range(4)], START_S + 4)[-1]
    ended = before.close(before.open[0].id, START_S + 5)
    assert ended is not None
    after = IncidentBook(settings, "another", (*before.open, ended))
    assert len(after.open) == 2
    changed = after.update([anomaly(f"other-{n}/x", onset=9, end=9) for n in range(4)], START_S + 9)
    assert [incident.id for incident in changed if incident.storm] == [site.id]


def test_ids_follow_from_the_salt() -> None:
    def first_id(salt: str) -> str:
        return one(IncidentBook(SETTINGS, salt).update([anomaly()], START_S)).id

    assert first_id("a") == first_id("a") != first_id("b")
