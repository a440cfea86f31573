"""The format `json`: a scalar, an object, or an array of samples, with paths to what matters in them.

Rules, in the order in which they apply:
* A number at the top is the reading. Texts, booleans, null and numbers within quotes are not numbers.
* An object gives the values at the configured paths or, without any, all its numeric members; nested objects give
  `outer.inner`; arrays in it are left alone unless a path or `samples` leads into them.
* An array at the top, or at `samples`, is a list of samples, oldest first; each is read as a document of its own.
* What a path leads to may be missing or null: then it gives no reading. Anything else that is no number is set aside.
* Time: at the configured path, or `time`, `timestamp`, `ts`; of the sample, else of the message, else of the arrival.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias

from edge_agent.config.settings import JsonRoute
from edge_agent.decode.documents import REFUSED, decode_json, inspect, refusal
from edge_agent.decode.family import MAX_NAME_SOURCE_CHARS, MAX_READINGS, Ledger, finite, settle
from edge_agent.decode.streams import FieldLabels, bind, clean_unit, too_long
from edge_agent.decode.times import TimeReader
from edge_agent.errors import DecodeError
from edge_agent.values import Reading

TIME_NAMES = ("time", "timestamp", "ts")
"""Where the time of an object is looked for when no path is configured."""

Path: TypeAlias = tuple[str, ...]
_SPLIT = re.compile(r"((?:[^.\\]|\\.|\\$)*)(?:\.|$)")


def split_path(path: str) -> Path:
    """The steps of a path: names of members or positions in arrays, between dots; a backslash takes a dot's meaning away."""
    steps: list[str] = []
    position = 0
    while position <= len(path):
        found = _SPLIT.match(path, position)
        assert found is not None  # the pattern matches the empty text
        steps.append(re.sub(r"\\(.)", r"\1", found[1]))
        position = found.end() + (0 if found.end() > found.end(1) else 1)
    return tuple(steps)


class JsonDecoder:
    """Reads JSON payloads of one topic. See `edge_agent.decode.family.Decoder`."""

    __slots__ = (
        "_interval_s", "_labels", "_ledger", "_one", "_paths", "_read", "_samples_path", "_time_fields", "_time_path",
        "_times", "_unit_path",
    )  # fmt: skip

    def __init__(self, route: JsonRoute, topic: str, ledger: Ledger) -> None:
        self._ledger = ledger
        parts = bind(route.stream, topic)
        self._labels = FieldLabels(parts, route.unit, route.units, ledger, several=len(route.value) != 1)
        self._times = TimeReader(route, ledger, unit=route.time_unit, zone=route.timezone)
        self._time_path = split_path(route.time) if route.time else None
        self._time_fields = frozenset((".".join(self._time_path),) if self._time_path else TIME_NAMES)
        self._unit_path = split_path(route.unit_path) if route.unit_path else None
        self._samples_path = split_path(route.samples) if route.samples else None
        self._interval_s = route.sample_interval_s
        self._paths = tuple((path, split_path(path)) for path in route.value)
        self._read: Callable[[Any, float, list[Reading]], None] = self._at_paths if self._paths else self._all_members
        self._one: tuple[str, str, str] | None = None
        """Member, stream and unit where one member at the top is all there is to read."""
        if not route.unit_path and not self._paths:
            self._one = ("value", *self._labels["value"])
        elif not route.unit_path and len(self._paths) == len(self._paths[0][1]) == 1:
            self._one = (self._paths[0][1][0], *self._labels[self._paths[0][0]])

    def decode(self, payload: bytes, arrived_s: float) -> list[Reading]:
        """The readings of one document. Raises DecodeError."""
        try:  # `parse` written out: a call costs a tenth of what a small document does
            document = decode_json(payload)
        except REFUSED as error:
            raise refusal(payload, error) from None
        kind = type(document)
        if kind is dict and self._samples_path is None:
            size = len(document)
            if payload.count(b":") != size:
                inspect(payload, document)
            time_s = arrived_s if size == 1 and self._time_path is None else self._time(document, arrived_s)
            if self._one is not None and (self._paths or size == 1 or (size == 2 and not self._time_fields.isdisjoint(document))):
                name, stream, unit = self._one
                value = document.get(name)
                if type(value) is float:
                    return [Reading(stream, time_s, value, unit)]
            readings: list[Reading] = []
            self._read(document, time_s, readings)
            return readings
        if kind is float or kind is int:
            stream, unit = self._labels["value"]
            return [Reading(stream, arrived_s, finite(document), unit)]
        if kind is dict or kind is list:
            inspect(payload, document)
            return self._samples(document, arrived_s)
        raise DecodeError("not-a-number", f"the document is {_called(document)}")

    def _time(self, document: dict[str, Any], arrived_s: float) -> float:
        if self._time_path is not None:
            value = _follow(document, self._time_path)
        else:
            value = document.get("time")
            if value is None:
                value = document.get("timestamp")
                if value is None:
                    value = document.get("ts")
        return arrived_s if value is None else self._times.read(value, arrived_s)

    def _all_members(self, document: Any, time_s: float, readings: list[Reading]) -> None:
        """Every numeric member, at any depth, in the document's order."""
        if type(document) is not dict:
            raise DecodeError("not-a-number", f"a sample is {_called(document)}")
        labels, time_fields = self._labels, self._time_fields
        stated = self._stated_unit(document) if self._unit_path is not None else ""
        count = len(readings)
        for name, value in document.items():
            kind = type(value)
            if kind is float or kind is int:
                if name not in time_fields:
                    stream, unit = labels[name]
                    readings.append(Reading(stream, time_s, value if kind is float else finite(value), stated or unit))
            elif kind is dict:
                self._nested(value, name, time_s, stated, readings)
        if len(readings) == count:
            raise DecodeError("no-value", "the object has no numeric member")
        _bounded(readings)

    def _nested(self, inner: dict[str, Any], prefix: str, time_s: float, stated: str, readings: list[Reading]) -> None:
        """The members of an inner object; how deep that goes, `inspect` has bounded."""
        if len(prefix) > MAX_NAME_SOURCE_CHARS:
            raise too_long()
        for name, value in inner.items():
            field = f"{prefix}.{name}"
            kind = type(value)
            if kind is float or kind is int:
                if field not in self._time_fields and name not in self._time_fields:
                    stream, unit = self._labels[field]
                    readings.append(Reading(stream, time_s, finite(value), stated or unit))
            elif kind is dict:
                self._nested(value, field, time_s, stated, readings)

    def _at_paths(self, document: Any, time_s: float, readings: list[Reading]) -> None:
        """The values at the configured paths."""
        stated = self._stated_unit(document) if self._unit_path is not None else ""
        problems: list[DecodeError] = []
        found: list[Reading] = []
        for field, path in self._paths:
            value = _follow(document, path)
            kind = type(value)
            if kind is float or kind is int:
                stream, unit = self._labels[field]
                found.append(Reading(stream, time_s, finite(value), stated or unit))
            elif value is not None:
                problems.append(DecodeError("not-a-number", f"`{field}` is {_called(value)}"))
        if not found and not problems:
            raise DecodeError("no-value", "nothing stands at " + ", ".join(f"`{field}`" for field, _ in self._paths))
        readings += settle(found, problems, self._ledger)

    def _samples(self, document: Any, arrived_s: float) -> list[Reading]:
        """An array of samples: numbers, objects or, with paths, arrays."""
        time_s = self._time(document, arrived_s) if type(document) is dict else arrived_s
        samples = document if self._samples_path is None else _follow(document, self._samples_path)
        if type(samples) is not list:
            raise DecodeError("no-value", "there is no array where the samples should be")
        if len(samples) > MAX_READINGS:
            raise DecodeError("too-many-values", f"{len(samples)} samples, at most {MAX_READINGS} are read")
        readings: list[Reading] = []
        problems: list[DecodeError] = []
        for behind, sample in zip(range(len(samples) - 1, -1, -1), samples, strict=True):
            at_s = time_s - behind * self._interval_s
            try:
                self._sample(sample, at_s, arrived_s, readings)
            except DecodeError as problem:
                problems.append(problem)
            _bounded(readings)
        return settle(readings, problems, self._ledger)

    def _sample(self, sample: Any, at_s: float, arrived_s: float, readings: list[Reading]) -> None:
        kind = type(sample)
        if (kind is float or kind is int) and not self._paths:
            stream, unit = self._labels["value"]
            readings.append(Reading(stream, at_s, finite(sample), unit))
            return
        own = self._own_time(sample)
        self._read(sample, at_s if own is None else self._times.read(own, arrived_s), readings)

    def _own_time(self, sample: Any) -> Any:
        if self._time_path is not None:
            return _follow(sample, self._time_path)
        if type(sample) is dict:
            return next((sample[name] for name in TIME_NAMES if sample.get(name) is not None), None)
        return None

    def _stated_unit(self, document: Any) -> str:
        stated = _follow(document, self._unit_path or ())
        return "" if stated is None else clean_unit(stated, self._ledger)


def _follow(document: Any, path: Path) -> Any:
    """What stands at a path; None where it leads nowhere."""
    for step in path:
        if type(document) is dict:
            document = document.get(step)
        elif type(document) is list and step.isdecimal() and len(step) < 7 and int(step) < len(document):
            document = document[int(step)]
        else:
            return None
    return document


def _bounded(readings: list[Reading]) -> None:
    if len(readings) > MAX_READINGS:
        raise DecodeError("too-many-values", f"more than {MAX_READINGS} values")


def _called(value: Any) -> str:
    """What a JSON value is called by people."""
    names = {str: "a text", bool: "a boolean", dict: "an object", list: "an array", type(None): "null"}
    return names.get(type(value), "a number")
