"""An incident read back from its JSON: what `explain FILE` is given, by the agent itself or written by hand.

Rules: all problems are told at once, each with its place and what is expected there. Keys that are not known are left
alone. Only `anomalies`, and in each `stream`, `kind` and `onset`, must be there; the rest has defaults that follow from
them. What is there must be right: a time out of order, a count too small or a control character in a name is refused,
not repaired, because the sentence would state it.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeVar, get_args

from edge_agent.errors import IncidentFormatError
from edge_agent.messages import strict_json
from edge_agent.messages.times import format_time, parse_time
from edge_agent.values import KINDS, Anomaly, Direction, Ending, Incident, IncidentState, Kind

MAX_FILE_BYTES = 1_000_000
MAX_FILE_ANOMALIES = 1_000
_MAX_NAME_CHARACTERS = 1_024
_MAX_UNIT_CHARACTERS = 256
_MAX_SIGNATURE_BYTES = 256
_MAX_PROBLEMS = 20
_MAX_WHOLE = 2**53
_ID = re.compile(r"[a-z0-9-]{1,128}")
_DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
_STATES: tuple[IncidentState, ...] = get_args(IncidentState)
_ENDINGS: tuple[Ending, ...] = get_args(Ending)
_USUAL_DIRECTION: Mapping[Kind, Direction] = {"spike": "up", "dip": "down"}

_Word = TypeVar("_Word", bound=str)


def parse_incident(data: bytes, source: str) -> Incident:
    """Read an incident document; `source` names it in messages. Raises IncidentFormatError."""
    try:
        document = strict_json.load(data, MAX_FILE_BYTES)
    except ValueError as error:
        raise IncidentFormatError("bad-json", f"{source}: {error}") from None
    if not isinstance(document, dict):
        raise IncidentFormatError("bad-incident", f'{source}: is no JSON object; expected {{"anomalies": [...]}}')
    fields = _Fields(document, "", [])
    incident = _incident(fields)
    if fields.problems:
        shown = [f"{source}: {problem}" for problem in fields.problems[:_MAX_PROBLEMS]]
        if len(fields.problems) > _MAX_PROBLEMS:
            shown.append(f"{source}: and {len(fields.problems) - _MAX_PROBLEMS} more")
        raise IncidentFormatError("bad-incident", "\n".join(shown))
    return incident


_KNOWN = frozenset(name.removesuffix("_s") for name in Incident.__struct_fields__ + Anomaly.__struct_fields__)
"""Names that are something else than a misspelt one: a key is never suggested for another that is right."""


class _Fields:
    """The members of one JSON object at `path`; problems are collected and a stand-in is returned for a bad member."""

    def __init__(self, members: Mapping[str, object], path: str, problems: list[str]) -> None:
        self.members = members
        self.path = path
        self.problems = problems

    def report(self, key: str, problem: str) -> None:
        self.problems.append(f"{self.path}{key}: {problem}")

    def has(self, key: str) -> bool:
        return self.members.get(key) is not None

    def require(self, key: str, expected: str) -> bool:
        if self.has(key):
            return True
        near = get_close_matches(key, [name for name in self.members if name not in _KNOWN], 1, 0.7)
        self.report(key, f"is missing; expected {expected}" + (f"; is {near[0]!r} meant?" if near else ""))
        return False

    def text(self, key: str, default: str, most: int) -> str:
        value = self.members.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            self.report(key, f"is {_kind_of(value)}; expected text")
        elif len(value) > most:
            self.report(key, f"has {len(value)} characters; at most {most} are allowed")
        elif bad := strict_json.bad_character(value):
            self.report(key, f"contains the control character {bad}; remove it")
        else:
            return value
        return default

    def number(self, key: str, default: float | None, least: float = -1e300, most: float = 1e300) -> float | None:
        value = self.members.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.report(key, f"is {_kind_of(value)}; expected a number")
        elif not least <= value <= most:
            self.report(key, f"is {_shown(value)}; expected a number from {least:g} to {most:g}")
        else:
            return float(value)
        return default

    def whole(self, key: str, default: int, least: int) -> int:
        value = self.members.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            self.report(key, f"is {_kind_of(value)}; expected a whole number")
        elif not least <= value <= _MAX_WHOLE:
            self.report(key, f"is {_shown(value)}; expected a whole number from {least} to 2^53")
        else:
            return value
        return default

    def time(self, key: str) -> float | None:
        if not self.has(key):
            return None
        try:
            return parse_time(self.members[key])
        except ValueError as error:
            self.report(key, str(error))
            return None

    def word(self, key: str, words: tuple[_Word, ...], default: _Word) -> _Word:
        value = self.members.get(key)
        if value is None:
            return default
        for word in words:
            if value == word:
                return word
        near = get_close_matches(value.lower(), words, 1, 0.5) if isinstance(value, str) else []
        shown = repr(value[:40]) if isinstance(value, str) else _kind_of(value)
        self.report(key, f"{shown} is none of {', '.join(words)}" + (f"; is {near[0]!r} meant?" if near else ""))
        return default

    def flag(self, key: str) -> bool:
        value = self.members.get(key)
        if value is not None and not isinstance(value, bool):
            self.report(key, f"is {_kind_of(value)}; expected true or false")
        return value is True


def _incident(fields: _Fields) -> Incident:
    anomalies = _anomalies(fields)
    streams = len({anomaly.stream for anomaly in anomalies})
    assets = {anomaly.asset for anomaly in anomalies}
    known_s = [time_s for a in anomalies for time_s in (a.onset_s, a.peak_s, a.end_s) if time_s is not None] or [0.0]
    ended = all(anomaly.end_s is not None for anomaly in anomalies)
    usual: IncidentState = "closed" if fields.has("closed") or ended else "open"
    state = fields.word("state", _STATES, usual)
    opened_s = fields.time("opened")
    opened_s = min(known_s) if opened_s is None else opened_s
    updated_s = fields.time("updated")
    closed_s = fields.time("closed")
    if closed_s is not None and state == "open":
        fields.report("closed", "is set while the state is open; remove one of them")
    if closed_s is not None and closed_s < opened_s:
        fields.report("closed", f"{format_time(closed_s)} is before opened, {format_time(opened_s)}")
    if updated_s is None:
        updated_s = max(opened_s, max(known_s)) if closed_s is None else closed_s
    incident_id = fields.text("id", "unnamed", 128)
    if not _ID.fullmatch(incident_id):
        fields.report("id", "expected 1 to 128 of a-z, 0-9 and -")
    anomaly_count = fields.whole("anomaly_count", len(anomalies), len(anomalies))
    stream_count = fields.whole("stream_count", streams, streams)
    if stream_count > anomaly_count:
        fields.report("stream_count", f"is {stream_count}, more than the {anomaly_count} anomalies")
    return Incident(
        id=incident_id,
        asset=fields.text("asset", assets.pop() if len(assets) == 1 else "site", _MAX_NAME_CHARACTERS),
        state=state,
        revision=fields.whole("revision", 1, 1),
        opened_s=opened_s,
        updated_s=updated_s,
        closed_s=updated_s if state == "closed" and closed_s is None else closed_s,
        anomalies=tuple(sorted(anomalies, key=lambda anomaly: (anomaly.onset_s, anomaly.stream))),
        anomaly_count=anomaly_count,
        stream_count=stream_count,
        severity=_or(fields.number("severity", None, 0, 1), max((anomaly.score for anomaly in anomalies), default=0.0)),
        storm=fields.flag("storm"),
    )


def _anomalies(fields: _Fields) -> list[Anomaly]:
    if not fields.require("anomalies", "a list of anomalies"):
        return []
    listed = fields.members["anomalies"]
    if not isinstance(listed, list) or not listed:
        fields.report("anomalies", f"is {_kind_of(listed)}; expected a list of at least one anomaly")
        return []
    if len(listed) > MAX_FILE_ANOMALIES:
        fields.report("anomalies", f"has {len(listed):,} entries; at most {MAX_FILE_ANOMALIES:,} are read")
        return []
    anomalies: dict[tuple[str, float], Anomaly] = {}
    for index, members in enumerate(listed):
        path = f"anomalies[{index}]"
        if not isinstance(members, dict):
            fields.problems.append(f"{path}: is {_kind_of(members)}; expected an object with stream, kind and onset")
            continue
        anomaly = _anomaly(_Fields(members, f"{path}.", fields.problems))
        if anomaly is not None and anomaly.key in anomalies:
            fields.problems.append(f"{path}: has the same stream and onset as one before it; keep one")
        elif anomaly is not None:
            anomalies[anomaly.key] = anomaly
    return list(anomalies.values())


def _anomaly(fields: _Fields) -> Anomaly | None:
    """The anomaly, or None if it has problems; they are collected."""
    before = len(fields.problems)
    fields.require("stream", 'a name such as "pump-3/vibration"')
    fields.require("kind", f"one of {', '.join(KINDS)}")
    fields.require("onset", "a time")
    stream = fields.text("stream", "", _MAX_NAME_CHARACTERS)
    if fields.members.get("stream") == "":
        fields.report("stream", "is empty; expected a name")
    kind = fields.word("kind", KINDS, "spike")
    onset_s = fields.time("onset")
    end_s = fields.time("end")
    peak_s = fields.time("peak")
    peak_s = onset_s if peak_s is None else peak_s
    observed, baseline = fields.number("observed", None), fields.number("baseline", None)
    usual: Ending = "ongoing" if end_s is None else "returned"
    ending = fields.word("ending", _ENDINGS, usual)
    if onset_s is not None and peak_s is not None:
        _check_order(fields, onset_s, peak_s, end_s, ending)
    anomaly = Anomaly(
        stream=stream,
        kind=kind,
        direction=fields.word("direction", _DIRECTIONS, _implied_direction(kind, observed, baseline)),
        onset_s=onset_s or 0.0,
        peak_s=peak_s or 0.0,
        end_s=end_s,
        score=_or(fields.number("score", None, 0, 1), 1.0),
        observed=observed,
        baseline=baseline,
        unit=fields.text("unit", "", _MAX_UNIT_CHARACTERS),
        magnitude=_or(fields.number("magnitude", None), 0.0),
        ending=ending,
        kind_confidence=_or(fields.number("kind_confidence", None, 0, 1), 1.0),
        signature=_signature(fields),
    )
    return anomaly if len(fields.problems) == before else None


def _check_order(fields: _Fields, onset_s: float, peak_s: float, end_s: float | None, ending: Ending) -> None:
    if end_s is not None and end_s < onset_s:
        fields.report("end", f"{format_time(end_s)} is before onset, {format_time(onset_s)}")
    elif peak_s < onset_s:
        fields.report("peak", f"{format_time(peak_s)} is before onset, {format_time(onset_s)}")
    elif end_s is not None and peak_s > end_s:
        fields.report("peak", f"{format_time(peak_s)} is after end, {format_time(end_s)}")
    if (end_s is None) != (ending == "ongoing"):
        expected = "ongoing while there is no end" if end_s is None else "another word than ongoing, as there is an end"
        fields.report("ending", f"{ending!r} contradicts end; expected {expected}")


def _implied_direction(kind: Kind, observed: float | None, baseline: float | None) -> Direction:
    """The direction where none is given: of the values where there are two, else of the kind."""
    directed = kind in ("spike", "dip", "shift", "drift")
    if directed and observed is not None and baseline is not None and observed != baseline:
        return "up" if observed > baseline else "down"
    return _USUAL_DIRECTION.get(kind, "none")


def _signature(fields: _Fields) -> bytes:
    text = fields.text("signature", "", 2 * _MAX_SIGNATURE_BYTES)
    try:
        signature = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        fields.report("signature", "is no base64; leave it out if you have none")
        return b""
    if len(signature) > _MAX_SIGNATURE_BYTES:
        fields.report("signature", f"holds {len(signature)} bytes; at most {_MAX_SIGNATURE_BYTES} are read")
    return signature


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _kind_of(value: object) -> str:
    """What a JSON value is, in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "text"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return "an object"


def _shown(number: float) -> str:
    """A number for a message, however many digits it was written with."""
    return f"{number:.6g}" if abs(number) < _MAX_WHOLE or isinstance(number, float) else "too large"
