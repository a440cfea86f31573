"""The judge: does a published text say anything of an incident that the incident's own numbers do not bear out?

Rules: it judges the text that people read, not a skeleton, from the anomalies alone. It shares no code with what plans,
prints, verifies or phrases; what a word means and how exact a printed number has to be is decided anew here. What is said must
be so, each anomaly may be told once, and all of them must be told or counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice, product
from typing import Literal

from msgspec import Struct

from edge_agent.values import Anomaly, Evidence, Incident
from edge_ota.calibrate.claims import Claim, Moment, Number, Past, State, Told, UnreadableError, half_a_digit, plain
from edge_ota.calibrate.reading import Reader, is_name

DIGITS = 4
"""A printed number is right if it is the value rounded to this many significant digits, or to more where more are printed."""
AROUND = timedelta(seconds=11)
""""Around" allows ten seconds, and one for the fraction of a second that is not printed."""
MAX_COMBINATIONS = 4_096
"""Of several streams that each have several anomalies, so many combinations are tried."""
SAME_TIME_S = 1.0 + 1e-6
_SLACK = 1e-6
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DIRECTED = ("spike", "dip", "shift", "drift")


class Judgement(Struct, frozen=True):
    """What is wrong with a text, in words; both empty for a text that is true and whole."""

    unsupported: tuple[str, ...]
    """Statements that the incident does not bear out."""
    untold: tuple[str, ...]
    """What should have been told and was not."""

    @property
    def is_sound(self) -> bool:
        """Whether nothing is said that is not so."""
        return not self.unsupported

    @property
    def is_whole(self) -> bool:
        """Whether it is sound and nothing is left out."""
        return not self.unsupported and not self.untold


def judge(incident: Incident, evidence: Evidence | None, text: str, zone: tzinfo = UTC) -> Judgement:
    """Judge a text about an incident. `zone` is the time zone that its times are told in. Raises nothing for any text."""
    anomalies = incident.anomalies
    try:
        told = Reader(text, [a.stream for a in anomalies], [a.unit for a in anomalies]).read()
    except UnreadableError as error:
        return Judgement((str(error),), ())
    bench = _Bench(incident, zone)
    unsupported, untold = bench.weigh(told.claims)
    unsupported += _wrong_counts(incident, told)
    if told.past is not None:
        unsupported += _wrong_past(told.past, evidence, zone)
    return Judgement(tuple(unsupported), tuple(untold))


class _Case(Struct, frozen=True):
    """One claim with the anomalies that it is held to be about, and when those were by what is told."""

    claim: Claim
    anomalies: tuple[Anomaly, ...]
    at_s: float


class _Bench:
    """Holds claims against the anomalies of one incident."""

    def __init__(self, incident: Incident, zone: tzinfo) -> None:
        self._zone = zone
        self._by_name: dict[str, list[Anomaly]] = {}
        for anomaly in incident.anomalies:
            self._by_name.setdefault(plain(anomaly.stream), []).append(anomaly)
        self._newest_s = {name: max(a.onset_s for a in found) for name, found in self._by_name.items()}
        self._furthest: list[str] = []

    def weigh(self, claims: Sequence[Claim]) -> tuple[list[str], list[str]]:
        """Find anomalies that bear out all claims, each of another one. Returns what is unsupported and what is untold."""
        self._furthest = []
        cases = self._assign(claims, [])
        if cases is None:
            return [f"{', '.join(claims[len(self._furthest) - 1].names)}: {self._furthest[-1]}"], []
        return [], [f"{case.anomalies[0].stream}: {what}" for case in cases for what in self._unsaid(case)]

    def _assign(self, claims: Sequence[Claim], before: list[_Case]) -> list[_Case] | None:
        if len(before) == len(claims):
            return before
        claim = claims[len(before)]
        used = {id(a) for case in before for a in case.anomalies}
        why = "no such anomaly"
        for members in self._candidates(claim, used):
            case = _Case(claim, members, min(_told_at_s(a) for a in members))
            problem = self._problem(case) or _wrong_relation(case, before)
            if problem is None:
                found = self._assign(claims, [*before, case])
                if found is not None:
                    return found
                problem = ""
            why = problem or why
        if len(self._furthest) <= len(before):
            self._furthest = [*[""] * len(before), why]
        return None

    def _candidates(self, claim: Claim, used: set[int]) -> Iterator[tuple[Anomaly, ...]]:
        """The anomalies that a claim may be about: any of the stream; of several streams those that fit best come first."""
        if len(set(claim.names)) < len(claim.names):
            return
        per_name = [
            sorted(
                (a for a in self._by_name[name] if id(a) not in used),
                key=lambda a: self._wrong_member(claim, a) is not None,
            )
            for name in claim.names
        ]
        yield from islice(product(*per_name), MAX_COMBINATIONS)

    def _problem(self, case: _Case) -> str | None:
        claim = case.claim
        for anomaly in case.anomalies:
            problem = self._wrong_member(claim, anomaly)
            if problem is not None:
                return problem
        if len(case.anomalies) > 1:
            if claim.reached or claim.usual or claim.spread or claim.lasted_s:
                return "a value or a duration is told that cannot be that of all"
            return _wrong_lead(claim, case.anomalies)
        if claim.moved_together or claim.lead:
            return "told as several, is one"
        return _wrong_values(claim, case.anomalies[0]) or _wrong_duration(claim, case.anomalies[0])

    def _wrong_member(self, claim: Claim, anomaly: Anomaly) -> str | None:
        """What is wrong with saying of this anomaly what is said of each."""
        if anomaly.kind not in claim.kinds:
            return f"is a {anomaly.kind}"
        if claim.up is not None and _direction(anomaly) != ("up" if claim.up else "down"):
            return "the direction is not so"
        if claim.state is not None and claim.state != self._state(anomaly):
            return f"is {self._state(anomaly) or 'of no known end'}, not {claim.state}"
        if claim.state == "adopted" and anomaly.kind in ("spike", "dip"):
            return "what became usual is not its peak"
        if claim.time is not None and not self._is_at(claim.time, _told_at_s(anomaly)):
            return "the time is not so"
        return None

    def _state(self, anomaly: Anomaly) -> State | None:
        if anomaly.end_s is None:
            overtaken = anomaly.onset_s < self._newest_s[plain(anomaly.stream)]
            return None if overtaken or anomaly.ending == "unknown" else "ongoing"
        if not anomaly.onset_s <= anomaly.end_s < math.inf or anomaly.ending in ("unknown", "ongoing"):
            return None
        return "returned" if anomaly.ending == "returned" else "adopted"

    def _is_at(self, moment: Moment, time_s: float) -> bool:
        local = (_EPOCH + timedelta(seconds=math.floor(time_s))).astimezone(self._zone)
        if (local.tzname() or "UTC") != moment.zone:
            return False
        stated = datetime(moment.day.year, moment.day.month, moment.day.day, *_clock(moment))
        apart = abs(local.replace(tzinfo=None) - stated)
        return apart <= AROUND if moment.around else apart == timedelta(0)

    def _unsaid(self, case: _Case) -> list[str]:
        """What is known of an anomaly and should have been told."""
        claim, anomaly = case.claim, case.anomalies[0]
        unsaid = ["when"] if claim.time is None and claim.relation != "same-time" else []
        if claim.up is None and all(_direction(a) not in (None, "none") for a in case.anomalies):
            unsaid.append("which way")
        if len(case.anomalies) > 1 or anomaly.kind == "silence":
            return unsaid
        if claim.state is None and self._state(anomaly) == "ongoing":
            unsaid.append("that it goes on")
        told = claim.spread if anomaly.kind == "noise" else claim.reached
        usual = claim.spread_usual if anomaly.kind == "noise" else claim.usual
        if told is None and _finite(anomaly.observed) and not _contradicts(anomaly):
            unsaid.append("how far")
        if (
            usual is None
            and told is not None
            and _finite(anomaly.baseline)
            and not _contradicts(anomaly)
            and anomaly.kind != "stuck"
        ):
            unsaid.append("what is usual")
        return unsaid


def _told_at_s(anomaly: Anomaly) -> float:
    """When an anomaly was, as told: a spike or dip whose value is told was when it had that value; all else when it began."""
    return anomaly.peak_s if anomaly.kind in ("spike", "dip") and _finite(anomaly.observed) else anomaly.onset_s


def _direction(anomaly: Anomaly) -> Literal["up", "down", "none"] | None:
    """The way an anomaly went; "none" where that is not known, None where its record contradicts itself or its kind has none."""
    if anomaly.kind not in _DIRECTED or _contradicts(anomaly):
        return None
    if anomaly.direction != "none" or not (_finite(anomaly.observed) and _finite(anomaly.baseline)):
        return anomaly.direction
    return "up" if (anomaly.observed or 0.0) > (anomaly.baseline or 0.0) else "down"


def _contradicts(anomaly: Anomaly) -> bool:
    """Whether the values of an anomaly cannot be what its kind and direction say."""
    observed, usual = anomaly.observed, anomaly.baseline
    if anomaly.kind == "noise" and observed is not None and math.isfinite(observed):
        return observed <= 0 or (usual is not None and math.isfinite(usual) and observed <= usual)
    if (
        anomaly.kind not in _DIRECTED
        or observed is None
        or usual is None
        or not math.isfinite(observed)
        or not math.isfinite(usual)
    ):
        return False
    return observed == usual or (anomaly.direction != "none" and (observed > usual) != (anomaly.direction == "up"))


def _wrong_values(claim: Claim, anomaly: Anomaly) -> str | None:
    is_noise = anomaly.kind == "noise"
    level, spread = (claim.reached, claim.usual), (claim.spread, claim.spread_usual)
    if any(spread if not is_noise else level) or (anomaly.kind == "silence" and any(level)):
        return "a value is told that such an anomaly does not have"
    reached, usual = spread if is_noise else level
    if reached is not None and not _is_value(reached, anomaly.observed, anomaly.unit):
        return "the value is not so"
    if usual is not None and (_contradicts(anomaly) or not _is_value(usual, anomaly.baseline, anomaly.unit)):
        return "the usual value is not so"
    if is_noise and reached is not None and _contradicts(anomaly):
        return "the spread is not above the usual one"
    if reached is None or usual is None or anomaly.kind == "stuck":
        return None
    if reached.digits == usual.digits or (claim.up is not None and (reached.digits > usual.digits) != claim.up):
        return "the values told do not differ as is said"
    return None


def _is_value(told: Number, value: float | None, unit: str) -> bool:
    if value is None or not math.isfinite(value) or told.unit != plain(unit):
        return False
    last = told.digits.as_tuple().exponent
    shown = 0.5 * 10.0**last if isinstance(last, int) else 0.0
    return abs(float(told.digits) - value) <= min(shown, half_a_digit(value, DIGITS)) * (1 + _SLACK)


def _wrong_duration(claim: Claim, anomaly: Anomaly) -> str | None:
    if claim.lasted_s is None:
        return None
    if anomaly.end_s is None:
        return "a duration is told of what has no end"
    lasted_s = anomaly.end_s - _told_at_s(anomaly)
    least_s, most_s = claim.lasted_s
    slack_s = _SLACK * (1 + abs(lasted_s))
    return None if least_s - slack_s <= lasted_s <= most_s + slack_s else "the duration is not so"


def _wrong_lead(claim: Claim, anomalies: Sequence[Anomaly]) -> str | None:
    if not claim.lead:
        return None
    leading = [a for a in anomalies if plain(a.stream) == claim.lead]
    if not leading:
        return "the one furthest from normal is none of them"
    lead, *_ = leading
    if len({a.magnitude != 0 for a in anomalies}) > 1:
        return "which is furthest from normal is not known"
    if any((abs(a.magnitude), a.score) >= (abs(lead.magnitude), lead.score) for a in anomalies if a is not lead):
        return "another is as far from normal"
    if claim.lead_reached is None or not _is_value(claim.lead_reached, lead.observed, lead.unit):
        return "the value of the one furthest from normal is not so"
    return None


def _wrong_relation(case: _Case, before: Sequence[_Case]) -> str | None:
    if not case.claim.relation:
        return None
    if not before:
        return "is told in relation to nothing"
    later_s = case.at_s - before[-1].at_s
    if case.claim.relation == "then":
        return None if later_s > 0 else "was not after the one before"
    return None if abs(later_s) <= SAME_TIME_S else "was not at the same time"


def _wrong_counts(incident: Incident, told: Told) -> list[str]:
    if told.counted_asset and not is_name(told.counted_asset, incident.asset):
        return [f"the incident is not on {told.counted_asset}"]
    total = sum(len(claim.names) for claim in told.claims) + (told.counted or 0)
    if told.counted == 0 or total != incident.anomaly_count:
        return [f"tells and counts {total} of {incident.anomaly_count} anomalies"]
    return []


def _wrong_past(past: Past, evidence: Evidence | None, zone: tzinfo) -> list[str]:
    if evidence is None:
        return ["no past incident is known"]
    day = (_EPOCH + timedelta(seconds=math.floor(evidence.opened_s))).astimezone(zone).date()
    right = past.day == day and is_name(past.asset, evidence.asset) and is_name(past.cause, evidence.cause)
    return [] if right else ["the past incident is not so"]


def _clock(moment: Moment) -> tuple[int, int, int]:
    return moment.hour, moment.minute, moment.second


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
