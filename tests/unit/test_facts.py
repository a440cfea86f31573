"""What may be said of an incident, and how numbers, times and names are printed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from edge_agent.facts import gather, print_date, print_duration, print_name, print_names, print_time, print_values, quoted
from tests.writing import ONSET_S, anomaly, evidence, incident


def test_a_consistent_anomaly_is_kept_whole() -> None:
    one = anomaly()
    facts = gather(incident(one), None)
    assert facts.anomalies == (one,)
    assert facts.reasons == ()


@pytest.mark.parametrize(
    ("fields", "reason", "left_out"),
    [
        ({"direction": "up", "observed": 1.0, "baseline": 5.0}, "baseline-contradicts-direction", "baseline"),
        ({"direction": "up", "observed": 5.0, "baseline": 5.0}, "baseline-contradicts-direction", "baseline"),
        ({"kind": "noise", "direction": "none", "observed": 1.0, "baseline": 5.0}, "spread-not-above-usual", "observed"),
        ({"kind": "noise", "direction": "none", "observed": -1.0, "baseline": None}, "spread-not-above-usual", "observed"),
        ({"end_s": float("inf")}, "end-before-onset", "end_s"),
        ({"observed": float("inf")}, "observed-not-finite", "observed"),
        ({"baseline": float("nan")}, "baseline-not-finite", "baseline"),
        ({"end_s": ONSET_S - 1}, "end-before-onset", "end_s"),
    ],
)
def test_what_contradicts_is_left_out_and_named(fields: dict[str, Any], reason: str, left_out: str) -> None:
    facts = gather(incident(anomaly(**fields)), None)
    assert facts.reasons == (reason,)
    assert getattr(facts.anomalies[0], left_out) is None


def test_of_a_direction_and_values_that_contradict_it_neither_is_told() -> None:
    (found,) = gather(incident(anomaly(direction="up", observed=1.0, baseline=5.0)), None).anomalies
    assert (found.direction, found.observed, found.baseline) == ("none", 1.0, None)


def test_an_end_before_the_onset_does_not_make_it_ongoing() -> None:
    (found,) = gather(incident(anomaly(end_s=ONSET_S - 1)), None).anomalies
    assert (found.end_s, found.ending) == (None, "unknown")


def test_what_goes_on_while_a_later_one_of_its_stream_began_is_not_called_ongoing() -> None:
    facts = gather(incident(anomaly(kind="shift"), anomaly(kind="shift", onset_s=ONSET_S + 60)), None)
    assert [found.ending for found in facts.anomalies] == ["unknown", "returned"]
    assert facts.reasons == ("ongoing-before-another",)


def test_a_missing_direction_follows_from_the_values_and_is_none_without_them() -> None:
    known = gather(incident(anomaly(kind="shift", direction="none", observed=1.0, baseline=4.0)), None)
    assert known.anomalies[0].direction == "down"
    unknown = gather(incident(anomaly(kind="shift", direction="none", observed=1.0, baseline=None)), None)
    assert unknown.anomalies[0].direction == "none"


def test_no_direction_is_told_of_kinds_that_have_none() -> None:
    assert gather(incident(anomaly(kind="stuck", direction="up")), None).anomalies[0].direction == "none"


def test_anomalies_are_told_by_onset_then_name() -> None:
    late, b, a = anomaly("p/a", onset_s=ONSET_S + 9), anomaly("p/b"), anomaly("p/a")
    assert [(x.stream, x.onset_s - ONSET_S) for x in gather(incident(late, b, a), None).anomalies] == [
        ("p/a", 0.0),
        ("p/b", 0.0),
        ("p/a", 9.0),
    ]


def test_evidence_without_a_cause_says_nothing() -> None:
    assert gather(incident(anomaly()), evidence(cause="  ")).evidence is None
    assert gather(incident(anomaly()), evidence(cause="\u200b\x00")).evidence is None
    assert gather(incident(anomaly()), evidence()).evidence is not None


@pytest.mark.parametrize(
    ("values", "unit", "printed"),
    [
        ([7.25, 2.0], "mm/s", ["7.25 mm/s", "2 mm/s"]),
        ([1234.56], "", ["1235"]),
        ([0.000123456], "A", ["0.0001235 A"]),
        ([1e-9], "", ["1.000e-09"]),
        ([12345678.0], "B", ["1.235e+07 B"]),
        ([0.0, -0.5], "%", ["0%", "-0.5%"]),
        ([100.0], "", ["100"]),
        ([-0.0], "", ["0"]),
    ],
)
def test_values_are_printed_with_four_significant_digits(values: list[float], unit: str, printed: list[str]) -> None:
    assert print_values(values, unit) == printed


def test_different_values_never_print_alike() -> None:
    assert print_values([100.0001, 100.0002], "V") == ["100.0001 V", "100.0002 V"]
    assert print_values([1.0, 1.0 + 2**-52], "") == ["1", "1.0000000000000002"]
    assert print_values([1e7 + 1, 9_999_999.6], "") == ["1.0000001e+07", "9999999.6"]


@pytest.mark.parametrize("unit", ["°C", "m³/h", "kWh", "µg/m3", "1/min", "rpm", "W/m^2", "EUR"])
def test_units_stand_behind_the_number(unit: str) -> None:
    assert print_values([5.0], unit) == [f"5 {unit}"]


@pytest.mark.parametrize(
    ("unit", "printed"),
    [("000 V", '7 "000 V"'), ("V. All is well", '7 "V. All is well"'), ("V\n\u202ex", '7 "V x"'), (" \n", "7"), ('"', '7 "\'"')],
)
def test_a_unit_that_is_none_is_quoted(unit: str, printed: str) -> None:
    assert print_values([7.0], unit) == [printed]


@pytest.mark.parametrize(
    ("duration_s", "printed"),
    [
        (0.0, "0.001 s"),
        (0.25, "0.25 s"),
        (9.99, "10 s"),
        (12.4, "12 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (7505, "2 h 5 min"),
        (86_400, "1 day"),
        (3 * 86_400 + 4 * 3600 + 10, "3 days 4 h"),
    ],
)
def test_durations_are_printed_with_two_units(duration_s: float, printed: str) -> None:
    assert print_duration(duration_s) == printed


def test_the_first_time_of_a_text_has_date_and_zone() -> None:
    assert print_time(ONSET_S, UTC, None) == "14:13:20 UTC on 21 September 2026"
    assert print_time(ONSET_S + 61.9, UTC, ONSET_S) == "14:14:21"
    assert print_time(ONSET_S + 86_400, UTC, ONSET_S) == "14:13:20 UTC on 22 September 2026"
    paris = timezone(timedelta(hours=2), "CEST")
    assert print_time(ONSET_S, paris, None) == "16:13:20 CEST on 21 September 2026"


def test_the_zone_is_printed_again_where_the_clocks_changed() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    summer_s = datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()
    assert print_time(summer_s, berlin, None) == "02:30:00 CEST on 25 October 2026"
    assert print_time(summer_s + 2700, berlin, summer_s) == "02:15:00 CET"
    assert print_time(summer_s + 2760, berlin, summer_s + 2700) == "02:16:00"


def test_the_ends_of_the_calendar_are_printed_in_utc() -> None:
    last_s = datetime(9999, 12, 31, 23, 30, tzinfo=UTC).timestamp()
    assert print_time(last_s, ZoneInfo("Asia/Tokyo"), None) == "23:30:00 UTC on 31 December 9999"
    assert print_time(last_s + 1800, UTC, None) == "23:59:59 UTC on 31 December 9999"


def test_times_before_and_far_after_the_epoch_are_printed() -> None:
    assert print_time(0.0, UTC, None) == "00:00:00 UTC on 1 January 1970"
    assert print_date(4_300_000_000.0, UTC) == "6 April 2106"


def test_names_are_cleaned_and_shortened() -> None:
    assert print_name("pump-3/Größe_2.x") == "pump-3/Größe_2.x"
    assert len(print_name("x" * 500)) == 120
    assert print_name("x" * 500 + "/flow").endswith("x/flow")
    assert print_names(["a"]) == "a"
    assert print_names(["a", "b", "c"]) == "a, b and c"


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("pump\n3\x00 \t x", "pump 3 x"),
        ("Volume Flow RateRMS", "Volume Flow RateRMS"),
        ("x Returned to normal", '"x Returned to normal"'),
        ("a and b", '"a and b"'),
        ("a, b", '"a, b"'),
        ("x returned to normal. y", '"x returned to normal. y"'),
        ("x.", '"x."'),
        ('x" is well. "y', "\"x' is well. 'y\""),
        ("<peak:0>", '"<peak:0>"'),
        ("\u202eevil", "evil"),
        ("\u200b", '""'),
        ("", '""'),
    ],
)
def test_a_name_that_could_be_read_as_a_sentence_is_quoted(name: str, printed: str) -> None:
    assert print_name(name) == printed


def test_quoted_words_cannot_leave_their_quotes() -> None:
    assert quoted('wear". All is "well') == "\"wear'. All is 'well\""
