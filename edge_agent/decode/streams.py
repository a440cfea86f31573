"""Names of streams and units from topics and payloads, made safe: bounded, printable, fit to be levels of an MQTT topic.

Rules: a name is never empty, has at most MAX_NAME_CHARS characters, no empty levels, and no character that is not
printable (controls, bidirectional and zero-width controls, surrogates) or is a wildcard of MQTT (`+`, `#`); each of
those becomes `_`. A longer name is cut and ends in a digest of the whole, so that two long names stay two streams.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping

from edge_agent.config.naming import Part, parse
from edge_agent.decode.family import Notes
from edge_agent.errors import DecodeError

MAX_NAME_CHARS = 200
MAX_UNIT_CHARS = 24
_MAX_CACHED_LABELS = 1_024
_DIGEST_CHARS = 12


def clean_name(name: str) -> str:
    """A stream name made safe. Raises DecodeError when nothing of it is left."""
    if not name.isprintable() or "+" in name or "#" in name:
        name = "".join(map(_safe, name))
    levels = [level.strip() for level in name.split("/")]
    name = "/".join(level for level in levels if level)
    if not name:
        raise DecodeError("bad-stream-name", "the name of the stream is empty")
    if len(name) > MAX_NAME_CHARS:
        digest = hashlib.sha256(name.encode("utf-8")).hexdigest()[:_DIGEST_CHARS]
        name = f"{name[: MAX_NAME_CHARS - _DIGEST_CHARS - 1].rstrip('/ ')}~{digest}"
    return name


def clean_unit(unit: object, notes: Notes) -> str:
    """A unit from a payload, or no unit, noted, where it is not a short printable text."""
    if isinstance(unit, str) and len(unit) <= MAX_UNIT_CHARS and unit.isprintable():
        return unit.strip()
    notes.note("bad-unit")
    return ""


def bind(template: str, topic: str) -> tuple[Part, ...]:
    """The parts of a template with everything that comes from the topic filled in. Raises DecodeError for a missing level."""
    levels = topic.split("/")
    parts: list[Part] = []
    for part in parse(template):
        level = part.level
        if level is not None:
            if not 1 <= abs(level) <= len(levels):
                raise DecodeError("bad-stream-name", f"the topic has no level {level} to name the stream by")
            part = Part(levels[level - 1 if level > 0 else level])
        elif part.hole and part.text == "topic":
            part = Part(topic)
        parts.append(part)
    return tuple(parts)


def render(parts: tuple[Part, ...], fills: Mapping[str, str]) -> str:
    """The stream's name for one message. Raises DecodeError when a hole cannot be filled or nothing is left."""
    try:
        return clean_name("".join(fills[part.text] if part.hole else part.text for part in parts))
    except KeyError as missing:
        raise DecodeError("bad-stream-name", f"the message has no {missing.args[0]} to name the stream by") from None


class FieldLabels(dict[str, tuple[str, str]]):
    """(stream name, unit) by field, each made once. A cache: when full it is emptied, which keeps a look-up a plain dict's.

    With `several`, a template without `{field}` gets `/` and the field at its end, except for the field `value`.
    """

    def __init__(self, parts: tuple[Part, ...], unit: str, units: Mapping[str, str], *, several: bool) -> None:
        super().__init__()
        self._bare = parts
        self._parts = with_field(parts) if several else parts
        self._unit = unit
        self._units = units

    def __missing__(self, field: str) -> tuple[str, str]:
        parts = self._bare if field == "value" else self._parts
        label = render(parts, {"field": field}), self._units.get(field, self._unit)
        if len(self) >= _MAX_CACHED_LABELS:
            self.clear()
        self[field] = label
        return label


def with_field(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """The parts of a name with `{field}` in them, at the end if they have none yet."""
    field = Part("field", hole=True)
    return parts if field in parts else (*parts, Part("/"), field)


def _safe(character: str) -> str:
    if unicodedata.category(character) == "Zs":
        return " "  # spaces of every width
    return character if character.isprintable() and character not in "+#" else "_"
