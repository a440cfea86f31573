"""Templates of stream names, such as `{1}/{field}`: their grammar, and which placeholders a format offers.

Rules: pure; a template is parsed once into parts. A part is literal text or a hole; a hole is filled from the topic
(`{topic}`, `{1}`, `{-1}`) or from the message (`{field}`, `{measurement}`, `{tags}`, `{tag.NAME}`, `{name}`). Braces
have no other use in a template.
"""

from __future__ import annotations

import re

from msgspec import Struct

from edge_agent.config.topics import filter_levels

HOLES: dict[str, tuple[str, ...]] = {
    "number": ("topic",),
    "json": ("topic", "field"),
    "influx": ("topic", "measurement", "field", "tags", "tag.NAME"),
    "senml": ("topic", "name"),
}
"""The placeholders that each route format offers, beside the numbers of topic levels."""

_PIECES = re.compile(r"\{([^{}]*)\}|([^{}]+)|([{}])")
_LEVEL = re.compile(r"-?[0-9]{1,4}")


class Part(Struct, frozen=True):
    """A piece of a template: literal `text`, or, with `hole` true, the name of a placeholder."""

    text: str
    hole: bool = False

    @property
    def level(self) -> int | None:
        """The topic level that this hole stands for, counted from 1 or, negative, from the end; None for other parts."""
        return int(self.text) if self.hole and _LEVEL.fullmatch(self.text) else None


def parse(template: str) -> tuple[Part, ...]:
    """The parts of a template. Raises ValueError where a brace has no partner."""
    parts: list[Part] = []
    for found in _PIECES.finditer(template):
        if found[3] is not None:
            raise ValueError(f"has a `{found[3]}` without its partner at character {found.start() + 1}")
        parts.append(Part(found[2]) if found[2] is not None else Part(found[1].strip(), hole=True))
    return tuple(parts)


def template_problem(template: str, format_tag: str, topic_filter: str) -> str:
    """What is wrong with a template of a route, as a clause for people; empty when it is valid."""
    try:
        parts = parse(template)
    except ValueError as error:
        return str(error)
    levels = filter_levels(topic_filter)
    for part in parts:
        problem = _hole_problem(part, HOLES[format_tag], levels) if part.hole else ""
        if problem:
            return problem
    return ""


def merges_topics(template: str, topic_filter: str) -> bool:
    """Whether a valid template gives several topics that the filter matches one and the same stream name."""
    levels = filter_levels(topic_filter)
    wild = {number for number, level in enumerate(levels, start=1) if level in ("+", "#")}
    for part in parse(template):
        level = part.level
        if part.hole and level is None:
            return False  # `{topic}`, or something of the message: whether that tells sensors apart is the sender's business
        if level is not None:
            wild.discard(level if level > 0 else len(levels) + 1 + level)
            if levels[-1] == "#":
                wild.discard(len(levels))
    return bool(wild)


def _hole_problem(part: Part, offered: tuple[str, ...], levels: tuple[str, ...]) -> str:
    level = part.level
    if level is not None:
        if level == 0:
            return "has `{0}`; topic levels count from `{1}`, or from the end with `{-1}`"
        if levels[-1] != "#" and abs(level) > len(levels):
            return f"has `{{{part.text}}}`, but topics of this filter have {len(levels)} levels"
        return ""
    if part.text in offered and part.text != "tag.NAME":
        return ""
    if "tag.NAME" in offered and part.text.startswith("tag.") and len(part.text) > 4:
        return ""
    names = ", ".join(f"`{{{name}}}`" for name in (*offered, "1", "-1"))
    return f"has the unknown placeholder `{{{part.text}}}`; this format offers {names}"
