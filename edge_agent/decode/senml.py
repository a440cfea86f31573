"""The format `senml`: SenML packs in JSON, RFC 8428.

Rules: a pack is an array of records (section 5). Base fields hold from their record on (4.1). The resolved name is base
name plus name and keeps the alphabet of section 4.5.1; the resolved time is base time plus time, relative to the arrival
where it is below 2**28 (4.5.3); value is base value plus value. Records of strings, booleans, data and sums alone are
no readings. A name that ends in `_` and is not known makes its record unusable (4.4), as does a version that is not 10.
"""

from __future__ import annotations

import math
import re
from typing import Any

from edge_agent.config.settings import SenmlRoute
from edge_agent.decode.documents import parse
from edge_agent.decode.family import MAX_NAME_SOURCE_CHARS, MAX_READINGS, Ledger, finite, settle
from edge_agent.decode.streams import bind, clean_unit, render, too_long
from edge_agent.decode.times import TimeReader
from edge_agent.errors import DecodeError
from edge_agent.values import Reading

VERSION = 10
RELATIVE_BELOW_S = float(1 << 28)
UNIT_SIGNS = {"Cel": "°C", "Ohm": "Ω", "deg": "°"}
"""SenML units whose symbol in the registry (section 12.1) is not what people write."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-:./_]*")
_OTHER_VALUES = ("vs", "vb", "vd", "s")


class SenmlDecoder:
    """Reads SenML packs of one topic. See `edge_agent.decode.family.Decoder`."""

    __slots__ = ("_ledger", "_parts", "_times", "_unit")

    def __init__(self, route: SenmlRoute, topic: str, ledger: Ledger) -> None:
        self._parts = bind(route.stream, topic)
        self._unit = route.unit
        self._times = TimeReader(route, ledger, unit="s")
        self._ledger = ledger

    def decode(self, payload: bytes, arrived_s: float) -> list[Reading]:
        """The readings of a pack. Raises DecodeError."""
        pack = parse(payload)
        if type(pack) is not list:
            raise DecodeError("bad-senml", "a SenML pack is an array of records")
        if len(pack) > MAX_READINGS:
            raise DecodeError("too-many-values", f"{len(pack)} records, at most {MAX_READINGS} are read")
        readings: list[Reading] = []
        problems: list[DecodeError] = []
        base = _Base()
        for record in pack:
            try:
                base.take(record)
                reading = self._reading(record, base, arrived_s)
            except DecodeError as problem:
                problems.append(problem)
            else:
                if reading is not None:
                    readings.append(reading)
        return settle(readings, problems, self._ledger)

    def _reading(self, record: dict[str, Any], base: _Base, arrived_s: float) -> Reading | None:
        if "v" not in record and (not base.has_value or "n" not in record or any(key in record for key in _OTHER_VALUES)):
            return None
        name = _text(record, "n")
        if len(base.name) + len(name) > MAX_NAME_SOURCE_CHARS:
            raise too_long()
        name = base.name + name
        if not _NAME.fullmatch(name):
            raise DecodeError("bad-senml", "the name of a record is empty or has characters that RFC 8428 does not allow")
        value = base.value + _number(record, "v")
        time_s = base.time_s + _number(record, "t")
        if not math.isfinite(value) or not math.isfinite(time_s):
            raise DecodeError("out-of-range", "a value or time is too large once its base is added")
        if "t" in record or base.has_time:
            time_s = self._times.judge(time_s + arrived_s if time_s < RELATIVE_BELOW_S else time_s, arrived_s)
        else:
            time_s = arrived_s
        unit = _text(record, "u") or base.unit
        unit = clean_unit(UNIT_SIGNS.get(unit, unit), self._ledger) if unit else ""
        return Reading(render(self._parts, {"name": name}), time_s, value, unit or self._unit)


class _Base:
    """The base fields in force while a pack is read, first record to last."""

    def __init__(self) -> None:
        self.name = ""
        self.unit = ""
        self.time_s = 0.0
        self.value = 0.0
        self.has_time = False
        self.has_value = False

    def take(self, record: Any) -> None:
        """Take over the base fields of a record. Raises DecodeError when the record must not be used."""
        if type(record) is not dict:
            raise DecodeError("bad-senml", "a record is not an object")
        version = record.get("bver", VERSION)
        if version != VERSION or type(version) is bool:
            raise DecodeError("bad-senml", f"the version is not {VERSION}")
        if any(key.endswith("_") for key in record):
            raise DecodeError("bad-senml", "a record has a field that must be understood and is not known")
        if "bn" in record:
            self.name = _text(record, "bn")
        if "bu" in record:
            self.unit = _text(record, "bu")
        if "bt" in record:
            self.time_s, self.has_time = _number(record, "bt"), True
        if "bv" in record:
            self.value, self.has_value = _number(record, "bv"), True


def _text(record: dict[str, Any], key: str) -> str:
    value = record.get(key, "")
    if type(value) is not str:
        raise DecodeError("bad-senml", f"`{key}` is not a text")
    return value


def _number(record: dict[str, Any], key: str) -> float:
    value = record.get(key, 0.0)
    if type(value) is not float and type(value) is not int:
        raise DecodeError("not-a-number", f"`{key}` is not a number")
    return finite(value)
