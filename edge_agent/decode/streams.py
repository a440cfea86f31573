"""Names of streams and units from topics and payloads, made safe: bounded, printable, fit to be levels of an MQTT topic.

Rules: a name is never empty, has at most MAX_NAME_CHARS characters, no empty levels, and no character that is not
printable (controls, bidirectional and zero-width controls, surrogates) or is a wildcard of MQTT (`+`, `#`); each of
those becomes `_`. A longer name is cut and ends in a digest of the whole, so that two long names stay two streams. The
parts of a name are made safe one by one, and a part of a payload is bounded, so that the work is bounded by the payload.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping

from edge_agent.config.naming import Part, parse
from edge_agent.decode.family import MAX_NAME_SOURCE_CHARS, Ledger
from edge_agent.errors import DecodeError

MAX_NAME_CHARS = 200
MAX_UNIT_CHARS = 24
MAX_TOPIC_CHARS = 1_024
_DIGEST_CHARS = 12


def clean_name(name: str) -> str:
    """A stream name made safe. Raises DecodeError when nothing of it is left."""
    return _shaped(safe(name))


def _shaped(name: str) -> str:
    """A name of safe characters with its levels trimmed and its length bounded. Raises DecodeError when nothing is left."""
    levels = [level.strip() for level in name.split("/")]
    name = "/".join(level for level in levels if level)
    if not name:
        raise DecodeError("bad-stream-name", "the name of the stream is empty")
    if len(name) > MAX_NAME_CHARS:
        digest = hashlib.sha256(name.encode("utf-8")).hexdigest()[:_DIGEST_CHARS]
        name = f"{name[: MAX_NAME_CHARS - _DIGEST_CHARS - 1].rstrip('/ ')}~{digest}"
    return name


def clean_unit(unit: object, ledger: Ledger) -> str:
    """A unit from a payload, or no unit, noted, where it is not a short printable text."""
    if isinstance(unit, str) and len(unit) <= MAX_UNIT_CHARS and unit.isprintable():
        return unit.strip()
    ledger.note("bad-unit")
    return ""


def bind(template: str, topic: str) -> tuple[Part, ...]:
    """The parts of a template with everything that comes from the topic filled in, safe.

    Raises DecodeError for a missing level or a topic too long to name a stream by.
    """
    if len(topic) > MAX_TOPIC_CHARS:
        raise DecodeError("bad-stream-name", f"the topic is longer than {MAX_TOPIC_CHARS} characters")
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
        parts.append(part if part.hole else Part(safe(part.text)))
    return tuple(parts)


def render(parts: tuple[Part, ...], fills: Mapping[str, str]) -> str:
    """The stream's name for one message. Raises DecodeError when a hole cannot be filled or nothing is left.

    The parts are safe already, as `bind` makes them; what fills the holes is made so.
    """
    try:
        return _shaped("".join(safe(fills[part.text]) if part.hole else part.text for part in parts))
    except KeyError as missing:
        raise DecodeError("bad-stream-name", f"the message has no {missing.args[0]} to name the stream by") from None


class FieldLabels(dict[str, tuple[str, str]]):
    """(stream name, unit) by field; each is made once and remembered while the ledger has room, so that a look-up is a dict's.

    With `several`, a template without `{field}` gets `/` and the field at its end, except for the field `value`.
    """

    __slots__ = ("_bare", "_ledger", "_parts", "_unit", "_units")

    def __init__(self, parts: tuple[Part, ...], unit: str, units: Mapping[str, str], ledger: Ledger, *, several: bool) -> None:
        super().__init__()
        self._ledger = ledger
        self._bare = parts
        self._parts = with_field(parts) if several else parts
        self._unit = unit
        self._units = units

    def __missing__(self, field: str) -> tuple[str, str]:
        if len(field) > MAX_NAME_SOURCE_CHARS:
            raise too_long()
        parts = self._bare if field == "value" else self._parts
        label = render(parts, {"field": field}), self._units.get(field, self._unit)
        if self._ledger.may_remember(field):
            self[field] = label
        return label


def too_long() -> DecodeError:
    """The error for a part of a payload that is too long to name a stream by."""
    return DecodeError("bad-stream-name", f"a name in the payload is longer than {MAX_NAME_SOURCE_CHARS} characters")


def with_field(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """The parts of a name with `{field}` in them, at the end if they have none yet."""
    field = Part("field", hole=True)
    return parts if field in parts else (*parts, Part("/"), field)


def safe(text: str) -> str:
    """The text with every character that is not printable, or is a wildcard, made `_`, and every space an ordinary one."""
    if text.isprintable() and "+" not in text and "#" not in text:
        return text
    return "".join(map(_safe_character, text))


def _safe_character(character: str) -> str:
    if unicodedata.category(character) == "Zs":
        return " "  # spaces of every width
    return character if character.isprintable() and character not in "+#" else "_"
