"""MQTT topic filters: whether one is valid, what it matches, and whether it leaves anything for another.

The grammar and the matching are those of MQTT 5.0, section 4.7, shared subscriptions those of section 4.8.2. Rules: no
state, no I/O; a filter or topic is split into levels once and travels as a tuple of levels.
"""

from __future__ import annotations

from typing import TypeAlias

Levels: TypeAlias = tuple[str, ...]

MAX_TOPIC_BYTES = 65_535
SHARE = "$share"


def filter_problem(topic_filter: str) -> str:
    """What is wrong with a topic filter, as a clause for people; empty when it is valid."""
    if not topic_filter:
        return "is empty; name a topic such as `sensors/#`"
    if "\0" in topic_filter:
        return "holds the character NUL, which no topic may hold"
    if len(topic_filter.encode("utf-8", "surrogatepass")) > MAX_TOPIC_BYTES:
        return f"is longer than {MAX_TOPIC_BYTES} bytes"
    levels = topic_filter.split("/")
    if levels[0] == SHARE:
        if len(levels) < 3 or not levels[1] or "+" in levels[1] or "#" in levels[1]:
            return "is no shared subscription: `$share/GROUP/FILTER`, with a group without `+` and `#`"
        levels = levels[2:]
        if levels == [""]:
            return "is no shared subscription: the filter after the group is empty"
    for number, level in enumerate(levels, start=1):
        if "#" in level and (level != "#" or number < len(levels)):
            return "has `#` where it may not stand: only alone, as the last level"
        if "+" in level and level != "+":
            return "has `+` beside other characters; it stands for one whole level"
    return ""


def filter_levels(topic_filter: str) -> Levels:
    """The levels of a valid filter that are compared with a topic; the group of a shared subscription is left out."""
    levels = tuple(topic_filter.split("/"))
    return levels[2:] if levels[0] == SHARE else levels


def matches(levels: Levels, topic: Levels) -> bool:
    """Whether the filter of `levels` matches a topic. A leading wildcard does not match a topic that begins with `$`."""
    if topic[0].startswith("$") and levels[0] in ("+", "#"):
        return False
    if levels[-1] == "#":
        parents = len(levels) - 1  # `a/#` matches `a` too
        return len(topic) >= parents and all(map(_level_matches, levels[:parents], topic))
    return len(levels) == len(topic) and all(map(_level_matches, levels, topic))


def covers(first: Levels, second: Levels) -> bool:
    """Whether every topic that `second` matches is matched by `first` too."""
    if first[0] in ("+", "#") and second[0].startswith("$"):
        return False
    for position, level in enumerate(first):
        if level == "#":
            return True  # also right after the last level of `second`: `a/#` matches `a`
        if position == len(second):
            return False
        other = second[position]
        if other == "#":
            return position == 0 and first == ("+", "#")  # every topic has a first level
        if level not in ("+", other):
            return False
    return len(second) == len(first)


def overlaps(levels: Levels, tree: Levels) -> bool:
    """Whether the filter matches some topic at or below `tree`, which holds no wildcards."""
    for position, level in enumerate(levels):
        if level == "#":
            return True
        if position == len(tree):
            return True
        if level not in ("+", tree[position]):
            return False
    return len(levels) >= len(tree)


def _level_matches(level: str, other: str) -> bool:
    return level in ("+", other)
