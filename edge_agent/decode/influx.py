"""The format `influx`: InfluxDB line protocol, one point a line.

    measurement[,tag=value...] field=value[,field=value...] [timestamp]

Rules, from the line protocol reference of InfluxDB 2: a backslash takes the meaning from `,` and a space in measurements,
from `,`, `=` and a space in tags and field names, from `"` and itself in texts; anywhere else it is an ordinary character.
Integers end in `i`, unsigned ones in `u`; texts stand in double quotes and may hold line ends; booleans are `t`, `f`,
`true`, `false` in their usual capitals. NaN and infinity are not allowed. Lines that begin with `#` are comments.
Texts and booleans are no readings and no errors; a line without any number is set aside, as is one that breaks a rule.
"""

from __future__ import annotations

import math
import re

from edge_agent.config.settings import InfluxRoute
from edge_agent.decode.family import MAX_NAME_SOURCE_CHARS, MAX_READINGS, Ledger, settle
from edge_agent.decode.streams import bind, render, safe, too_long, with_field
from edge_agent.decode.times import SCALE_S, TimeReader
from edge_agent.errors import DecodeError
from edge_agent.values import Reading

# No possessive quantifiers: nested ones match wrongly in Debian 12's Python, 3.11.2. No alternative here begins as another one
# does, so a match that fails gives each character back once.
_KEY = r"(?:[^,= \n\\]|\\[,= ]|\\(?![,= ]))+"
_SKIP = re.compile(r"(?:[ \r\n]|#[^\n]*(?:\n|\Z))*")
_SERIES = re.compile(rf"((?:[^, \n\\]|\\[, ]|\\(?![, ]))+)((?:,{_KEY}={_KEY})*)")
_TAG = re.compile(rf",({_KEY})=({_KEY})")
_FIELD = re.compile(rf'({_KEY})=("(?:[^"\\]|\\[\s\S])*"|[^, \n"]+)')
_REST = re.compile(r"(?: +(-?[0-9]{1,19}))?[ \r]*(?:\n|\Z)")
_FLOAT = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"([+-]?[0-9]{1,20})[iu]")
_BOOLEANS = frozenset(("t", "T", "true", "True", "TRUE", "f", "F", "false", "False", "FALSE"))
_ESCAPED = re.compile(r"\\([,= ])")
MAX_SERIES_CHARS = 1_024
"""The longest measurement with its tags. Most are below 200; the names of all fields of a line are made from it."""


class InfluxDecoder:
    """Reads line protocol of one topic. See `edge_agent.decode.family.Decoder`."""

    __slots__ = ("_bare", "_labels", "_last", "_ledger", "_parts", "_scale_s", "_times", "_unit", "_units")

    def __init__(self, route: InfluxRoute, topic: str, ledger: Ledger) -> None:
        parts = bind(route.stream, topic)
        self._bare = parts
        self._parts = with_field(parts)
        self._labels: dict[tuple[str, str], tuple[str, str]] = {}
        self._last: tuple[str, dict[str, str]] = ("", {})
        """The latest series that was taken apart; its other fields follow at once."""
        self._unit = route.unit
        self._units = route.units
        self._times = TimeReader(route, ledger)
        self._scale_s = SCALE_S[route.precision]
        self._ledger = ledger

    def decode(self, payload: bytes, arrived_s: float) -> list[Reading]:
        """The readings of all lines. Raises DecodeError."""
        try:
            text = payload.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DecodeError("bad-encoding", f"not UTF-8: {error.reason}") from None
        if text.startswith("\ufeff"):
            raise DecodeError("bad-encoding", "the payload begins with a byte order mark")
        readings: list[Reading] = []
        problems: list[DecodeError] = []
        position = _after(_SKIP, text, 0)
        if position == len(text):
            raise DecodeError("empty", "there is no line in it")
        while position < len(text):
            try:
                position = self._line(text, position, arrived_s, readings)
            except _BadLine as bad:
                problems.append(DecodeError(bad.reason, bad.detail))
                position = _next_line(text, bad.position)
            if len(readings) > MAX_READINGS or len(problems) > MAX_READINGS:
                raise DecodeError("too-many-values", f"more than {MAX_READINGS} values or faulty lines")
            position = _after(_SKIP, text, position)
        return settle(readings, problems, self._ledger)

    def _line(self, text: str, position: int, arrived_s: float, readings: list[Reading]) -> int:
        """Reads one line, appends its readings and returns where the next line begins. Raises _BadLine."""
        series = _SERIES.match(text, position)
        if series is None or text[series.end() : series.end() + 1] != " ":
            raise _BadLine(position, "bad-line", "no measurement and tags, then a space")
        if len(series[0]) > MAX_SERIES_CHARS:
            raise _BadLine(series.end(), "bad-stream-name", f"measurement and tags are longer than {MAX_SERIES_CHARS} characters")
        numbers, end = _fields(text, series.end())
        rest = _REST.match(text, end)
        if rest is None:
            raise _BadLine(end, "bad-line", "something that is no timestamp follows the fields")
        if not numbers:
            raise _BadLine(rest.end() - 1, "no-value", "a line has no numeric field")
        time_s = arrived_s
        if rest[1] is not None:
            time_s = self._times.judge(int(rest[1]) * self._scale_s, arrived_s)
        try:
            key = series[0]
            for name, value in numbers.items():
                stream, unit = self._label(key, name)
                readings.append(Reading(stream, time_s, value, unit))
        except DecodeError as problem:
            raise _BadLine(rest.end() - 1, problem.reason, problem.detail) from None
        return rest.end()

    def _label(self, series: str, field: str) -> tuple[str, str]:
        """The stream and unit of a field of a series, remembered while the ledger has room."""
        label = self._labels.get((series, field))
        if label is None:
            if len(field) > MAX_NAME_SOURCE_CHARS:
                raise too_long()
            if self._last[0] != series:
                self._last = (series, _series_fills(series))
            parts = self._bare if field == "value" else self._parts
            label = render(parts, {**self._last[1], "field": field}), self._units.get(field, self._unit)
            if self._ledger.may_remember(series):
                self._labels[series, field] = label
        return label


class _BadLine(Exception):  # noqa: N818  # it ends one line, not the decoding: the caller turns it into a DecodeError
    """A line is not usable; reading goes on after the first line end from `position` on."""

    def __init__(self, position: int, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.position = position
        self.reason = reason
        self.detail = detail


def _fields(text: str, position: int) -> tuple[dict[str, float], int]:
    """The numeric fields from `position`, a space, on, and where they end. Raises _BadLine."""
    numbers: dict[str, float] = {}
    seen: set[str] = set()
    while text[position : position + 1] == " ":
        position += 1
    while True:
        found = _FIELD.match(text, position)
        if found is None:
            raise _BadLine(position, "bad-line", "a field is not name=value")
        name = _ESCAPED.sub(r"\1", found[1])
        if name in seen:
            raise _BadLine(found.end(), "duplicate-key", "a field stands twice in one line")
        seen.add(name)
        if not found[2].startswith('"') and found[2].rstrip("\r") not in _BOOLEANS:
            numbers[name] = _value(found[2].rstrip("\r"), found.end())
        position = found.end()
        if text[position : position + 1] != ",":
            return numbers, position
        position += 1


def _value(text: str, end: int) -> float:
    """A numeric field value. Raises _BadLine."""
    integer = _INTEGER.fullmatch(text)
    if integer is not None:
        number = int(integer[1])
        low, high = (-(1 << 63), (1 << 63) - 1) if text[-1] == "i" else (0, (1 << 64) - 1)
        if not low <= number <= high:
            raise _BadLine(end, "out-of-range", "an integer does not fit 64 bits")
        return float(number)
    if _FLOAT.fullmatch(text) is None:
        raise _BadLine(end, "bad-line", "a field value is no number, text or boolean")
    value = float(text)
    if not math.isfinite(value):
        raise _BadLine(end, "out-of-range", "a number is larger than a floating-point number can hold")
    return value


def _series_fills(series: str) -> dict[str, str]:
    """What `{measurement}`, `{tags}` and `{tag.NAME}` stand for, made safe. Raises DecodeError for a tag that stands twice."""
    found = _SERIES.fullmatch(series)
    assert found is not None  # it is what _SERIES matched before
    tags: dict[str, str] = {}
    for key, value in _TAG.findall(found[2]):
        key = _ESCAPED.sub(r"\1", key)
        if key in tags:
            raise DecodeError("duplicate-key", "a tag stands twice in one line")
        tags[key] = safe(_ESCAPED.sub(r"\1", value))
    fills = {f"tag.{key}": value for key, value in tags.items()}
    fills["tags"] = "/".join(tags[key] for key in sorted(tags))
    fills["measurement"] = safe(re.sub(r"\\([, ])", r"\1", found[1]))
    return fills


def _after(pattern: re.Pattern[str], text: str, position: int) -> int:
    found = pattern.match(text, position)
    return position if found is None else found.end()


def _next_line(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end + 1
