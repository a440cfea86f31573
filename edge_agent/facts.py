"""Incident to facts, and facts to print: what may be said of an incident, and the only place where digits are printed.

Rules: pure. What contradicts another fact of its anomaly (a baseline on the wrong side of the peak, an end before the onset)
is left out together with what it contradicts, since either may be the wrong one, and named in `Facts.reasons`; nothing is
repaired. Printed values keep enough digits that two different numbers of one anomaly never print alike. Times are printed in
the zone given; the first time of a text carries the date and the zone. Text from sensors and operators that could be read as
a part of the sentence is printed in quotes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo

from msgspec.structs import replace

from edge_agent.values import Anomaly, Direction, Evidence, Facts, Incident

DIRECTED_KINDS = frozenset({"spike", "dip", "shift", "drift"})
"""Kinds of which a direction is stated."""
MOVED = {"up": "rose", "down": "fell"}
"""How a direction is printed: a verb in the past tense."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_S = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)
_LAST_S = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)
# Not strftime, whose names follow the process's locale.
_MONTHS = (
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
)
_MAX_NAME = 120
_KEPT_TAIL = 40
"""Characters kept of the end of a name that is too long: names of one plant often differ in their last part alone."""
_PLAIN_NAME = re.compile(r"[\w/.:#+@%&=$~…()\[\]-]*[\w/)\]%+#-]")
_SENTENCE_WORDS = frozenset({"and", "are", "at", "became", "changed", "did", "drifted", "fell", "froze", "from", "got", "has"})
_SENTENCE_WORDS |= {
    "have",
    "is",
    "left",
    "normal",
    "not",
    "of",
    "on",
    "returned",
    "rose",
    "settled",
    "since",
    "starting",
    "stayed",
}
_SENTENCE_WORDS |= {"stopped", "then", "to", "together", "usual", "was", "went", "were", "with"}
"""Words that sentences are built with: a name of several words that has one could be read as a statement."""
_PLAIN_UNIT = re.compile(r"(?:1/)?(?:[^\W\d]|[%°$€£¥′″/])[\w%°$€£¥′″/·.*^()-]*")
"""A unit that begins like a number would be read as a part of it; `1/min` is the one habit of that kind."""


def gather(incident: Incident, evidence: Evidence | None) -> Facts:
    """The facts of an incident: each listed anomaly with what contradicts itself taken out, ordered by onset and name."""
    reasons: list[str] = []
    kept = []
    latest_s: dict[str, float] = {}
    for anomaly in incident.anomalies:
        latest_s[anomaly.stream] = max(anomaly.onset_s, latest_s.get(anomaly.stream, anomaly.onset_s))
    for anomaly in incident.anomalies:
        checked, why = _consistent(anomaly)
        if checked.end_s is None and anomaly.onset_s < latest_s[anomaly.stream]:
            checked = replace(checked, ending="unknown")
            why.append("ongoing-before-another")
        kept.append(checked)
        reasons.extend(why)
    if evidence is not None and not _clean(evidence.cause):
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
    ending = anomaly.ending
    if end_s is not None and not anomaly.onset_s <= end_s < math.inf:
        end_s, ending = None, "unknown"
        reasons.append("end-before-onset")
    direction = _direction(anomaly, observed, baseline)
    if anomaly.kind in DIRECTED_KINDS and not _agree(direction, observed, baseline):
        direction, baseline = "none", None
        reasons.append("baseline-contradicts-direction")
    if anomaly.kind == "noise" and observed is not None and observed <= max(0.0, baseline or 0.0):
        observed = baseline = None
        reasons.append("spread-not-above-usual")
    return replace(anomaly, observed=observed, baseline=baseline, end_s=end_s, ending=ending, direction=direction), reasons


def _agree(direction: Direction, observed: float | None, baseline: float | None) -> bool:
    """Whether the values lie as the direction says, or one of them is not known."""
    if observed is None or baseline is None:
        return True
    return observed != baseline and (observed > baseline) == (direction == "up")


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
        # As numbers: 1.000e+07 and 10000000 are two texts of one value.
        if len({float(text) for text in printed}) >= distinct:
            break
    suffix = unit if unit in ("%", "°") else f" {_print_unit(unit)}" if _clean(unit) else ""
    return [text + suffix for text in printed]


def _print_unit(unit: str) -> str:
    clean = _clean(unit)
    return clean if _PLAIN_UNIT.fullmatch(clean) else quoted(clean)


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
    """Print a time of day to the second, with zone and date unless `previous_s`, printed just before, had the same.

    Where the clocks were put forward or back between the two, the zone is printed again.
    """
    moment = _moment(time_s, zone)
    clock = f"{moment:%H:%M:%S}"
    if previous_s is not None:
        previous = _moment(previous_s, zone)
        if previous.date() == moment.date():
            return clock if previous.utcoffset() == moment.utcoffset() else f"{clock} {_zone_name(moment)}"
    return f"{clock} {_zone_name(moment)} on {print_date(time_s, zone)}"


def print_date(time_s: float, zone: tzinfo) -> str:
    """Print a date as `3 October 2026`."""
    moment = _moment(time_s, zone)
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}"


def _zone_name(moment: datetime) -> str:
    return moment.tzname() or "UTC"


def _moment(time_s: float, zone: tzinfo) -> datetime:
    # As a float the last microseconds of year 9999 are year 10000.
    moment = _EPOCH + timedelta(seconds=min(max(math.floor(time_s), _FIRST_S), _LAST_S))
    try:
        return moment.astimezone(zone)
    except OverflowError:  # the first hours of year 1 and the last of year 9999 have no local time in every zone
        return moment


def print_name(name: str) -> str:
    """Print a stream's or asset's name: cleaned, and in quotes if it could be read as more of a sentence than a name."""
    clean = _clean(name)
    words = clean.split(" ")
    plain = all(_PLAIN_NAME.fullmatch(word) for word in words)
    return clean if plain and (len(words) == 1 or _SENTENCE_WORDS.isdisjoint(clean.lower().split(" "))) else quoted(clean)


def quoted(text: str) -> str:
    """Print words of people or sensors in double quotes; those within become single, so that the text ends where it seems to."""
    return '"' + _clean(text).replace('"', "'") + '"'


def _clean(text: str) -> str:
    """Without control, format and invisible separator characters, and shortened in the middle where it is very long."""
    clean = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return clean if len(clean) <= _MAX_NAME else f"{clean[: _MAX_NAME - _KEPT_TAIL - 1]}…{clean[-_KEPT_TAIL:]}"


def print_names(names: Sequence[str]) -> str:
    """Print a list of names: `a`, `a and b`, `a, b and c`."""
    printed = [print_name(name) for name in names]
    return printed[0] if len(printed) == 1 else f"{', '.join(printed[:-1])} and {printed[-1]}"
