"""Reads a published text back into what it claims: who did what, which way, how far, when, and how it ended.

Rules: it knows the names and units of the incident and the words that sentences are made of, and nothing of how they are
planned, printed or verified. Phrases may stand in any order. A text is read whole: whatever is left over that has no known
meaning makes it unreadable, because an unread word could claim anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import NoReturn

from msgspec.structs import replace

from edge_agent.values import Kind
from edge_ota.calibrate.claims import ANY, Claim, Moment, Number, Past, State, Told, UnreadableError, half_a_digit, plain

_BURST: frozenset[Kind] = frozenset({"spike", "dip"})
_SHIFT: frozenset[Kind] = frozenset({"shift"})
_DRIFT: frozenset[Kind] = frozenset({"drift"})
_STUCK: frozenset[Kind] = frozenset({"stuck"})
_NOISE: frozenset[Kind] = frozenset({"noise"})
_SILENCE: frozenset[Kind] = frozenset({"silence"})
_DIRECTED = _BURST | _SHIFT | _DRIFT


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
_CLOCK = re.compile(
    r"(\d\d):(\d\d):(\d\d)"
    r"(?: ([A-Z]{2,6}(?:[+-]\d\d:\d\d)?|[+-]\d{2,4})\b)?"
    rf"(?: on (\d{{1,2}} (?:{'|'.join(_MONTHS)}) \d{{1,4}}))?"
)
_DAY = re.compile(rf"\d{{1,2}} (?:{'|'.join(_MONTHS)}) \d{{1,4}}")
_SPAN = r"(?P<span>\d+(?:\.\d+)? (?:s|min|h|days?)(?: \d+ (?:s|min|h))?)"
_NUMBER = r"-?\d+(?:\.\d+)?(?:e[+-]\d+)?"
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "day": 86_400.0, "days": 86_400.0}
_WHOLE_FROM_S = 10.0
"""From here on durations are printed in whole seconds."""
_LEFT_OUT = "…"
"""Stands in a name that was shortened in its middle."""
_LONG, _KEPT = 80, 30
"""A name of more characters may be shortened; so many are kept at least of its beginning and of its end."""
_TELLING = re.compile(
    r"(?:^| )(?:and|are|at|became|changed|did|drifted|fell|froze|from|got|has|have|is|left|normal|not|of|on|returned|rose|settled"
    r"|since|starting|stayed|stopped|then|to|together|usual|was|went|were|with)(?= |$)",
    re.IGNORECASE,
)
"""Words that tell: a name of several words with one of them among them could be read as a statement."""

_VERBS: tuple[tuple[str, frozenset[Kind]], ...] = (
    (r"left (?:its|their) usual range", _BURST),
    (r"changed its level", _SHIFT),
    (r"drifted away from its usual level", _DRIFT),
    (r"(?:froze|got stuck|stopped changing)", _STUCK),
    (r"became (?:noisy|erratic|unsteady)", _NOISE),
    (r"(?:went silent|fell silent|stopped reporting)", _SILENCE),
    (r"(?:rose|fell) sharply", _BURST),
    (r"(?:rose|fell) (?:suddenly|abruptly)", _BURST | _SHIFT),
    (r"(?:rose|fell) (?:slowly|steadily|gradually)", _DRIFT),
    (r"(?:rose|fell)", _SHIFT),
)
_ENDINGS: tuple[tuple[str, State, frozenset[Kind]], ...] = (
    (r"(?:has|have) stayed there since", "ongoing", _SHIFT),
    (r"(?:has|have) not changed since", "ongoing", _STUCK),
    (r"(?:has|have) not settled (?:since|yet)", "ongoing", _NOISE),
    (r"(?:has|have) not reported since", "ongoing", _SILENCE),
    (r"(?:has|have) not returned to normal(?: yet)?", "ongoing", ANY),
    (r"(?:is|are) not back to normal yet", "ongoing", ANY),
    (r"stayed stuck", "adopted", _STUCK),
    (r"stayed noisy", "adopted", _NOISE),
    (r"stayed silent", "adopted", _SILENCE),
    (r"stayed there", "adopted", _SHIFT | _DRIFT),
    (rf"did not change for {_SPAN}", "returned", _STUCK),
    (r"then moved again", "returned", _STUCK),
    (rf"settled (?:after {_SPAN}|LATER)", "returned", _NOISE),
    (r"then settled", "returned", _NOISE),
    (rf"reported again (?:after {_SPAN}|LATER)", "returned", _SILENCE),
    (r"then reported again", "returned", _SILENCE),
    (rf"(?:(?:was|were) back|returned) to normal (?:after {_SPAN}|LATER)", "returned", _DIRECTED),
    (r"then returned to normal", "returned", _DIRECTED),
)
_LATER = _SPAN.replace("span", "later") + " later"


class Reader:
    """Reads one text of an incident with these stream names and units. `read` may be called once."""

    def __init__(self, text: str, names: Iterable[str], units: Iterable[str]) -> None:
        self._text = text
        self._at = 0
        self._zone = ""
        self._day: date | None = None
        self._names = _forms(names)
        self._number = re.compile(f"({_NUMBER})({'|'.join(_unit_forms(units))})(?![^ ,.])(?!\\.[^ ])")

    def read(self) -> Told:
        """The claims of the text. Raises UnreadableError."""
        claims: list[Claim] = []
        counted: int | None = None
        counted_asset, past = "", None
        while self._at < len(self._text):
            self._take(" ")
            if found := self._take(r"This incident also holds (\d+) more anomal(?:y|ies)\."):
                self._new(counted is None)
                counted = int(found[1])
            elif found := self._take(rf'A similar past incident is that of ({_DAY.pattern}) on (.+?), closed as "([^"]*)"\.'):
                self._new(past is None)
                past = Past(_day(found[1]), found[2].strip('"'), found[3])
            elif found := self._take(r"(\d+) anomal(?:y|ies) on (.+)\.$"):
                self._new(not claims and counted is None)
                counted, counted_asset = int(found[1]), found[2].strip('"')
            else:
                claims += self._sentence()
        return Told(claims=tuple(claims), counted=counted, counted_asset=counted_asset, past=past)

    def _sentence(self) -> list[Claim]:
        claims = [self._clause()]
        while not self._take(r"\.(?= |$)"):
            if not self._take(r",? and (?=at the same time|then,? at )"):
                self._fail()
            claims.append(self._clause())
        return claims

    def _clause(self) -> Claim:
        claim = Claim(names=())
        if self._take(r"[Aa]t the same time,? "):
            claim = replace(claim, relation="same-time")
        elif self._take(r"[Tt]hen,? at (?=\d)"):
            claim = replace(claim, relation="then", time=self._moment(around=False))
            self._take(",")
            self._expect(" ")
        elif found := self._take(r"(?:At|From|Starting at)( )(?=\d)|(?:Around|From around|Starting around) (?=\d)"):
            claim = replace(claim, time=self._moment(around=found[1] is None))
            self._take(" on")
            self._expect(", ")
        claim = self._verb(replace(claim, names=self._subject()))
        while (more := self._phrase(claim)) is not None:
            claim = more
        return claim

    def _subject(self) -> tuple[str, ...]:
        names = [self._name()]
        while self._take(r"(?:,| and) "):
            names.append(self._name())
        self._expect(" ")
        return tuple(names)

    def _name(self) -> str:
        for form, name in self._names:
            if self._take(f"{form}(?=[ ,])"):
                return name
        return self._fail()

    def _verb(self, claim: Claim) -> Claim:
        for pattern, kinds in _VERBS:
            if found := self._take(rf"{pattern}(?=[ ,.])"):
                moved = re.match("rose|fell(?! silent)", found[0])
                return replace(claim, kinds=kinds, up=found[0].startswith("rose") if moved else None)
        return self._fail()

    def _phrase(self, claim: Claim) -> Claim | None:
        for read in (self._manner, self._when, self._values, self._leading, self._ending):
            more = read(claim)
            if more is not None:
                return more
        return None

    def _manner(self, claim: Claim) -> Claim | None:
        if self._take(" together(?=[ ,.])"):
            self._new(not claim.moved_together)
            return replace(claim, moved_together=True)
        if self._take(" to new levels(?=[ ,.])"):
            return replace(claim, kinds=claim.kinds & _SHIFT)
        if self._take(" to a new level(?= of )"):
            return replace(claim, kinds=claim.kinds & _SHIFT, reached=self._value(" of ", claim.reached))
        if self._take(" to a new level(?=[ ,.])"):
            return replace(claim, kinds=claim.kinds & _SHIFT)
        return None

    def _when(self, claim: Claim) -> Claim | None:
        found = self._take(r" (?:starting )?(?:at|(around)) (?=\d\d:\d\d:\d\d)| from (?:(around) )?(?=\d\d:\d\d:\d\d)")
        if found is None:
            return None
        moment = self._moment(around=found[1] is not None or found[2] is not None)
        if found[0].startswith(" from"):
            self._expect(" on")
        self._new(claim.time is None)
        return replace(claim, time=moment)

    def _values(self, claim: Claim) -> Claim | None:
        if self._take(r"(?=, with a spread of )"):
            spread = self._value(", with a spread of ", claim.spread)
            usual = self._value(" against a usual ", None) if self._take("(?= against a usual )") else None
            return replace(claim, spread=spread, spread_usual=usual)
        if self._take("(?=, its spread )"):
            spread = self._value(", its spread ", claim.spread)
            return replace(claim, spread=spread, spread_usual=self._value(" instead of the usual ", None))
        for opening in (" from a usual ", " from ", ", from ", ", against a usual ", ", instead of the usual ", ", where "):
            if self._take(f"(?={re.escape(opening)}-?\\d)"):
                usual = self._value(opening, claim.usual)
                if opening == ", where ":
                    self._expect(" is usual")
                return replace(claim, usual=usual)
        for opening in (" to ", " at "):
            if self._take(f"(?={opening}-?\\d)"):
                return replace(claim, reached=self._value(opening, claim.reached))
        return None

    def _leading(self, claim: Claim) -> Claim | None:
        if self._take(", most of all "):
            lead, opening = self._name(), ", to "
        elif self._take(", with (?!a spread of )"):
            lead, opening = self._name(), " furthest from normal, at "
        else:
            return None
        self._new(not claim.lead)
        return replace(claim, lead=lead, lead_reached=self._value(opening, claim.lead_reached))

    def _ending(self, claim: Claim) -> Claim | None:
        for pattern, state, kinds in _ENDINGS:
            found = self._take(rf",? and {pattern.replace('LATER', _LATER)}(?=[ ,.])")
            if found is None:
                continue
            spans = found.groupdict()
            span = spans.get("span") or spans.get("later")
            if not claim.kinds & kinds:
                raise UnreadableError(f"{found[0]!r} cannot be said of this")
            self._new(claim.state is None)
            return replace(claim, state=state, kinds=claim.kinds & kinds, lasted_s=_seconds(span) if span else None)
        return None

    def _value(self, opening: str, before: Number | None) -> Number:
        self._expect(re.escape(opening))
        found = self._number.match(self._text, self._at)
        if found is None or before is not None:
            return self._fail()
        self._at = found.end()
        return Number(Decimal(found[1]), found[2].strip().strip('"'))

    def _moment(self, *, around: bool) -> Moment:
        found = _CLOCK.match(self._text, self._at)
        if found is None:
            return self._fail()
        self._at = found.end()
        self._zone = found[4] or self._zone
        self._day = _day(found[5]) if found[5] else self._day
        if not self._zone or self._day is None:
            raise UnreadableError("the first time has no zone or no date")
        hour, minute, second = int(found[1]), int(found[2]), int(found[3])
        return Moment(hour=hour, minute=minute, second=second, zone=self._zone, day=self._day, around=around)

    def _take(self, pattern: str) -> re.Match[str] | None:
        found = re.compile(pattern).match(self._text, self._at)
        if found is not None:
            self._at = found.end()
        return found

    def _expect(self, pattern: str) -> None:
        if self._take(pattern) is None:
            self._fail()

    def _new(self, is_new: bool) -> None:
        """Fail where a thing is said for the second time."""
        if not is_new:
            self._fail()

    def _fail(self) -> NoReturn:
        raise UnreadableError(f"not a statement that is known: {self._text[self._at : self._at + 60]!r}")


def _forms(names: Iterable[str]) -> list[tuple[str, str]]:
    """Patterns of how each name may be printed, the longest names first, each with the name as a person reads it."""
    forms: list[tuple[str, str]] = []
    for name in sorted({plain(name) for name in names}, key=len, reverse=True):
        pattern = _pattern(name)
        forms.append((f'"{pattern}"', name))
        if _stands_alone(name):
            forms.append((pattern, name))
    return forms


def is_name(told: str, name: str) -> bool:
    """Whether a name, as it is told without its quotes, is this one, whole or shortened in its middle."""
    return re.fullmatch(_pattern(plain(name)), told) is not None


def _pattern(name: str) -> str:
    whole = re.escape(name)
    if len(name) <= _LONG:
        return whole
    first, last = re.escape(name[:_KEPT]), re.escape(name[-_KEPT:])
    return rf"(?:{whole}|{first}[^{_LEFT_OUT}]*{_LEFT_OUT}[^{_LEFT_OUT}\"]*{last})"


def _stands_alone(name: str) -> bool:
    """Whether a name without quotes can be told from the sentence around it."""
    words = name.split(" ")
    if not name or any(character in name for character in ',;"<>') or any(word.endswith(".") for word in words):
        return False
    return len(words) == 1 or _TELLING.search(name) is None


def _unit_forms(units: Iterable[str]) -> list[str]:
    """Patterns of how each unit may follow its number, the longest first."""
    forms: set[str] = set()
    for unit in {plain(unit) for unit in units}:
        escaped = re.escape(unit)
        forms |= {f" {escaped}", f' "{escaped}"', *([escaped] if unit in ("%", "°") else [])} if unit else {""}
    return sorted(forms, key=len, reverse=True)


def _day(text: str) -> date:
    day, month, year = text.split(" ")
    try:
        return date(int(year), _MONTHS.index(month) + 1, int(day))
    except ValueError as error:
        raise UnreadableError(f"{text}: {error}") from error


def _seconds(span: str) -> tuple[float, float]:
    """The least and the most seconds that a printed duration can stand for: it shows its two largest units, rounded."""
    parts = span.split(" ")
    total_s = sum(float(number) * _SECONDS[unit] for number, unit in zip(parts[::2], parts[1::2], strict=True))
    if parts[1] in ("day", "days"):
        slack_s = 1800.0
    elif parts[1] == "h":
        slack_s = 30.0
    elif total_s >= _WHOLE_FROM_S:
        slack_s = 0.5
    else:
        slack_s = half_a_digit(total_s, digits=2)
    return total_s - slack_s, total_s + slack_s
