"""YAML text to a plain tree in which everything knows its place: file, line and column.

Rules: scalars stay text; what they mean is decided where a type is known, so that `host: no` is the text `no` and not a
boolean. Duplicate keys, tags (`!secret`, `!!python/...`), merge keys (`<<`) and a second document are problems. Anchors
and aliases work, as shared parts of the tree: nothing is ever copied, so a "billion laughs" stays as small as its text.
Depth and the number of nodes are bounded. Whatever the text, only problems come out of it, never an exception.
"""

from __future__ import annotations

from typing import TypeAlias

import yaml
from msgspec import Struct

MAX_DEPTH = 16
MAX_NODES = 20_000
NULLS = frozenset(("", "~", "null", "Null", "NULL"))


class Place(Struct, frozen=True):
    """Where something stands; lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Problem(Struct, frozen=True):
    """Something wrong, or probably not meant, at one place."""

    place: Place
    key: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.key}: {self.text}"


class Scalar(Struct, frozen=True):
    """A text; `plain` when it stood without quotes, so that it may be a number, a boolean or nothing."""

    place: Place
    text: str
    plain: bool

    @property
    def is_null(self) -> bool:
        """Whether nothing stands here."""
        return self.plain and self.text in NULLS


class Sequence(Struct, frozen=True):
    """A list."""

    place: Place
    items: tuple[Node, ...]


class Mapping(Struct, frozen=True):
    """A map from distinct keys."""

    place: Place
    members: tuple[Member, ...]

    def get(self, key: str) -> Member | None:
        """The member of that key."""
        return next((member for member in self.members if member.key == key), None)


class Member(Struct, frozen=True):
    """A key, where it stands, and its value."""

    key: str
    place: Place
    value: Node


Node: TypeAlias = Scalar | Sequence | Mapping


class _Open:
    """A list or map that is being read; in a map every second node is a key."""

    def __init__(self, event: yaml.CollectionStartEvent, place: Place) -> None:
        self.is_map = isinstance(event, yaml.MappingStartEvent)
        self.anchor: str | None = event.anchor
        self.place = place
        self.nodes: list[Node] = []


class _Stop(Exception):  # noqa: N818  # it carries no error of its own; the problem is already noted
    """There is no use in reading on."""


class TreeReader:
    """Builds the tree of one text from the events of PyYAML, without recursion."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._open: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._nodes = 0
        self._documents = 0
        self._root: Node | None = None
        self.problems: list[Problem] = []

    def read(self, text: str) -> Node | None:
        """The tree, or None where the text is empty or not YAML; then `problems` says more."""
        try:
            for event in yaml.parse(text, Loader=yaml.SafeLoader):
                self._take(event)
        except _Stop:
            return None
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            column = error.position - (text.rfind("\n", 0, error.position) + 1) + 1
            self._note(Place(self._file, line, column), "syntax", "a control character stands here, which YAML does not allow")
            return None
        except yaml.YAMLError as error:
            self._note(*_syntax(error, self._file))
            return None
        return self._root

    def _take(self, event: yaml.Event) -> None:
        mark = event.start_mark
        place = Place(self._file, 1, 1) if mark is None else Place(self._file, mark.line + 1, mark.column + 1)
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._stop(place, "a second document begins here; one file holds one")
        elif isinstance(event, yaml.NodeEvent):
            self._nodes += 1
            if self._nodes > MAX_NODES:
                self._stop(place, f"the file has more than {MAX_NODES} values")
            self._node(event, place)
        elif isinstance(event, yaml.CollectionEndEvent):
            closed = self._open.pop()
            node = self._mapping(closed) if closed.is_map else Sequence(closed.place, tuple(closed.nodes))
            self._add(node, closed.anchor)

    def _node(self, event: yaml.NodeEvent, place: Place) -> None:
        if isinstance(event, yaml.AliasEvent):
            known = self._anchors.get(event.anchor or "")
            if known is None:
                self._note(place, "syntax", f"`*{event.anchor}` refers to nothing before it")
                known = Scalar(place, "", plain=True)
            self._add(known, None)
            return
        tag = getattr(event, "tag", None)
        if tag is not None:
            self._note(place, "syntax", f"the tag `{tag}` is not supported; secrets are paths to files")
        if isinstance(event, yaml.CollectionStartEvent):
            if len(self._open) >= MAX_DEPTH:
                self._stop(place, f"nested deeper than {MAX_DEPTH} levels")
            self._open.append(_Open(event, place))
        elif isinstance(event, yaml.ScalarEvent):
            self._add(Scalar(place, event.value, plain=event.style is None), event.anchor)

    def _add(self, node: Node, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        if self._open:
            self._open[-1].nodes.append(node)
        else:
            self._root = node

    def _mapping(self, closed: _Open) -> Mapping:
        members: dict[str, Member] = {}
        for key, value in zip(closed.nodes[::2], closed.nodes[1::2], strict=True):
            if not isinstance(key, Scalar):
                self._note(key.place, "syntax", "a key must be a word")
            elif key.text == "<<":
                self._note(key.place, "<<", "merge keys are not supported; write the keys out")
            elif key.text in members:
                first = members[key.text].place
                self._note(key.place, key.text, f"duplicate key; it stands on line {first.line} already")
            else:
                members[key.text] = Member(key.text, key.place, value)
        return Mapping(closed.place, tuple(members.values()))

    def _note(self, place: Place, key: str, text: str) -> None:
        self.problems.append(Problem(place, key, text))

    def _stop(self, place: Place, text: str) -> None:
        self._note(place, "syntax", text)
        raise _Stop


def _syntax(error: yaml.YAMLError, file: str) -> tuple[Place, str, str]:
    """A syntax error of PyYAML in our form."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    place = Place(file, mark.line + 1, mark.column + 1) if mark is not None else Place(file, 1, 1)
    text = getattr(error, "problem", None) or "not YAML"
    context = getattr(error, "context", None)
    if "\\t" in text:
        text = "a tab stands here; indent with spaces"
    elif context:
        text = f"{text} ({context})"
    return place, "syntax", " ".join(text.split())
