"""The facts that may leave: of each slot, under which of the operator's allowances, and in which closed form of text.

Rules: pure. What a slot prints holds text from sensors (names, units) and from the configuration (time zones), so nothing
that it prints is handed on: it is read strictly, and what leaves is written anew from what was understood: a pseudonym for
each name, the digits of a number or a time, a unit of the reviewed list. A fact that is not understood whole stays home. Names
and operators' words have no form here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from edge_agent.egress.pseudonyms import Pseudonyms
from edge_agent.egress.units import REVIEWED_UNITS

FactKind: TypeAlias = Literal["identifiers", "times", "values", "units"]

FACTS_OF: Final[Mapping[str, tuple[FactKind, ...]]] = {
    "stream": ("identifiers",),
    "streams": ("identifiers",),
    "moved": ("values",),
    "lead": ("identifiers",),
    "peak": ("values", "units"),
    "base": ("values", "units"),
    "at": ("times",),
    "for": ("times",),
}
"""By role of a slot, in the canonical order of slots: under which allowances something of it may leave."""

_PSEUDONYM = "s-[0-9a-f]{16}"
_CLOCK = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
_MONTH = "(?:January|February|March|April|May|June|July|August|September|October|November|December)"
_DATE = f" on (?:[1-9]|[12][0-9]|3[01]) {_MONTH} [1-9][0-9]{{0,3}}"
_NUMBER = r"-?(?:(?:0|[1-9][0-9]{0,7})(?:\.[0-9]{1,20})?|[1-9](?:\.[0-9]{1,17})?e[+-][0-9]{2,3})"
_COUNT = "(?:0|[1-9][0-9]{0,6})"
_DURATION = (
    rf"{_COUNT}(?:\.[0-9]{{1,4}})? s|{_COUNT} min(?: {_COUNT} s)?|{_COUNT} h(?: {_COUNT} min)?|{_COUNT} days?(?: {_COUNT} h)?"
)

_FORMS: Final[Mapping[tuple[str, FactKind], re.Pattern[str]]] = {
    ("stream", "identifiers"): re.compile(_PSEUDONYM),
    ("streams", "identifiers"): re.compile(f"{_PSEUDONYM}(?:, {_PSEUDONYM}){{0,3}} and {_PSEUDONYM}"),
    ("lead", "identifiers"): re.compile(_PSEUDONYM),
    ("moved", "values"): re.compile("rose|fell"),
    ("peak", "values"): re.compile(_NUMBER),
    ("base", "values"): re.compile(_NUMBER),
    ("peak", "units"): re.compile("|".join(re.escape(unit) for unit in sorted(REVIEWED_UNITS))),
    ("base", "units"): re.compile("|".join(re.escape(unit) for unit in sorted(REVIEWED_UNITS))),
    ("at", "times"): re.compile(f"{_CLOCK}(?:{_DATE})?"),
    ("for", "times"): re.compile(_DURATION),
}
_PRINTED_TIME = re.compile(rf"(?P<clock>{_CLOCK})(?: [^ ]+)?(?P<date>{_DATE})?")
_PRINTED_VALUE = re.compile(rf"(?P<number>{_NUMBER})(?:(?P<sign>[%°])| (?P<unit>.+))?", re.DOTALL)
_PRINTED_NAMES = re.compile(r'"[^"]*"|, | and |[^", ]+(?: (?!and )[^", ]+)*')


def fits(role: str, kind: FactKind, text: str) -> bool:
    """Whether a text has the closed form of this fact."""
    form = _FORMS.get((role, kind))
    return form is not None and form.fullmatch(text) is not None


def leaving(role: str, kind: FactKind, printed: str, pseudonyms: Pseudonyms) -> str | None:
    """What leaves of a slot that prints `printed`, under the allowance `kind`; None where nothing may."""
    text = _rewritten(role, kind, printed, pseudonyms)
    return text if text is not None and fits(role, kind, text) else None


def _rewritten(role: str, kind: FactKind, printed: str, pseudonyms: Pseudonyms) -> str | None:
    match role, kind:
        case (("stream" | "lead"), "identifiers"):
            return pseudonyms.stream(printed)
        case "streams", "identifiers":
            return _names(printed, pseudonyms)
        case (("peak" | "base"), ("values" | "units")):
            found = _PRINTED_VALUE.fullmatch(printed)
            if found is None:
                return None
            return found["number"] if kind == "values" else found["sign"] or found["unit"]
        case "at", "times":
            found = _PRINTED_TIME.fullmatch(printed)
            return None if found is None else found["clock"] + (found["date"] or "")
        case ("moved", "values") | ("for", "times"):
            return printed
    return None


def _names(printed: str, pseudonyms: Pseudonyms) -> str | None:
    """Pseudonyms for a printed list of names, in an order of their own, which says nothing of the names'."""
    pieces = _PRINTED_NAMES.findall(printed)
    names, stops = pieces[::2], pieces[1::2]
    if "".join(pieces) != printed or len(names) != len(stops) + 1 or stops != [*[", "] * (len(names) - 2), " and "]:
        return None
    *most, last = sorted(pseudonyms.stream(name) for name in names)
    return f"{', '.join(most)} and {last}"
