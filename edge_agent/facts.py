"""Incident to facts, and facts to print: what may be said of an incident, and the only place where digits are printed.

Rules: pure. A value that contradicts its own anomaly (a baseline on the wrong side of the peak, an end before the onset) is
left out and named in `Facts.reasons`, never repaired. Printed values keep enough digits that two different numbers of one
anomaly never print alike. Times are printed in the zone given; the first time of a text carries the date and the zone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo

from msgspec.structs import replace

from edge_agent.values import Anomaly, Direction, Evidence, Facts, Incident

DIRECTED_KINDS = frozenset({"spike", "dip", "shift", "drift"})
"""Kinds of which a direction is stated."""
MOVED = {"up": "rose", "down": "fell"}
"""How a direction is printed: a verb in the past tense."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]  # not strftime, whose names follow the process's locale
_MAX_NAME = 120


def gather(incident: Incident, evidence: Evidence | None) -> Facts:
    """The facts of an incident: each listed anomaly with what contradicts itself taken out, ordered by onset and name."""
    reasons: list[str] = []
    kept = []
    for anomaly in incident.anomalies:
        checked, why = _consistent(anomaly)
        kept.append(checked)
        reasons.extend(why)
    if evidence is not None and not evidence.cause.strip():
        evidence = None
    return Facts(
        incident=incident,
        anomalies=tuple(sorted(kept, key=lambda a: (a.onset_s, a.stream))),
        evidence=evidence,
        reasons=tuple(dict.fromkeys(reasons)),
    )


def _consistent(anomaly: Anomaly) -> tuple[Anomaly, list[str]]:
    reasons = []
    observed, baseline, end_s = anomaly.observed, anomaly.baseline, anomaly.end_s
    if observed is not None and not math.isfinite(observed):
        observed = None
        reasons.append("observed-not-finite")
    if baseline is not None and not math.isfinite(baseline):
        baseline = None
        reasons.append("baseline-not-finite")
    if end_s is not None and end_s < anomaly.onset_s:
        end_s = None
        reasons.append("end-before-onset")
    direction = _direction(anomaly, observed, baseline)
    if anomaly.kind in DIRECTED_KINDS and observed is not None and baseline is not None:
        rises = observed > baseline
        if observed == baseline or rises != (direction == "up"):
            baseline = None
            reasons.append("baseline-contradicts-direction")
    return replace(anomaly, observed=observed, baseline=baseline, end_s=end_s, direction=direction), reasons


def _direction(anomaly: Anomaly, observed: float | None, baseline: float | None) -> Direction:
    if anomaly.kind not in DIRECTED_KINDS:
        return "none"
    if anomaly.direction != "none":
        return anomaly.direction
    if observed is not None and baseline is not None and observed != baseline:
        return "up" if observed > baseline else "down"
    return "none"


def print_values(values: Sequence[float], unit: str) -> list[str]:
    """Print the numbers of one anomaly with four significant digits, or as many more as keep different ones apart."""
    distinct = len(set(values))
    for digits in range(4, 18):
        printed = [_plain(value, digits) for value in values]
        if len(set(printed)) >= distinct:
            break
    suffix = unit if unit in ("%", "°") else f" {unit}" if unit else ""
    return [text + suffix for text in printed]


def _plain(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    if 1e-4 <= abs(value) < 1e7:
        decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
        text = f"{value:.{decimals}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.{digits - 1}e}"


def print_duration(duration_s: float) -> str:
    """Print a duration with its two largest units: `12 s`, `3 min 20 s`, `2 h 5 min`, `3 days 4 h`."""
    if duration_s < 10:
        return f"{_plain(max(duration_s, 0.001), 2)} s"
    seconds = round(duration_s)
    if seconds < 60:
        return f"{seconds} s"
    minutes = round(duration_s / 60)
    if seconds < 3600:
        return _two(seconds // 60, "min", seconds % 60, "s")
    hours = round(duration_s / 3600)
    if minutes < 24 * 60:
        return _two(minutes // 60, "h", minutes % 60, "min")
    days = hours // 24
    return _two(days, "day" if days == 1 else "days", hours % 24, "h")


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large} {large_unit} {small} {small_unit}" if small else f"{large} {large_unit}"


def print_time(time_s: float, zone: tzinfo, previous_s: float | None) -> str:
    """Print a time of day to the second; with date and zone unless `previous_s` was printed just before on the same day."""
    moment = _moment(time_s, zone)
    clock = f"{moment:%H:%M:%S}"
    if previous_s is not None and _moment(previous_s, zone).date() == moment.date():
        return clock
    return f"{clock} {_zone_name(moment)} on {print_date(time_s, zone)}"


def print_date(time_s: float, zone: tzinfo) -> str:
    """Print a date as `3 October 2026`."""
    moment = _moment(time_s, zone)
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}"


def _zone_name(moment: datetime) -> str:
    return moment.tzname() or "UTC"


def _moment(time_s: float, zone: tzinfo) -> datetime:
    return (_EPOCH + timedelta(seconds=math.floor(time_s))).astimezone(zone)


def print_name(name: str) -> str:
    """Print a stream's or asset's name, or a cause: without control characters, shortened where it is very long."""
    clean = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    return clean if len(clean) <= _MAX_NAME else clean[: _MAX_NAME - 1] + "…"


def print_names(names: Sequence[str]) -> str:
    """Print a list of names: `a`, `a and b`, `a, b and c`."""
    printed = [print_name(name) for name in names]
    return printed[0] if len(printed) == 1 else f"{', '.join(printed[:-1])} and {printed[-1]}"
