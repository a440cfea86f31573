"""From a tree of YAML to plain values of the types that the settings have, with a problem for each that does not fit.

The types are read from the structs themselves (`msgspec.inspect`), so a setting is declared once. Rules: every problem
is collected, none ends the reading; a value that does not fit is left out, so that what depends on other values can
still be checked; a text setting takes a scalar as it is written, a number or boolean only what is written without quotes.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from typing import Any, Final

from msgspec import inspect

from edge_agent.config.yaml_tree import Mapping, Node, Place, Problem, Scalar, Sequence

MAX_PROBLEMS = 200
"""After that many the rest is left out: one mistake was made many times."""
MAX_VISITS = 100_000
"""Values looked at; a file can hold fewer, only aliases of aliases reach this."""

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9_]{0,17})")
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,4})?")
_TRUE = frozenset(("true", "yes", "on"))
_FALSE = frozenset(("false", "no", "off"))


class _Nothing:
    """Stands for a value that did not fit."""


NOTHING: Final = _Nothing()


class Full(Exception):  # noqa: N818  # it ends the reading early, what it means is among the problems already
    """So many problems or values that reading on helps nobody."""


class Shape:
    """Reads nodes against types; then tells what did not fit, and where each given value stands.

    `places` goes by key, such as `routes[2].topic`. `indices` has, for each list, the positions of the items that fitted.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.places: dict[str, Place] = {}
        self.indices: dict[str, list[int]] = {}
        self._visits = 0

    def read(self, node: Node, wanted: inspect.Type, key: str) -> Any:
        """The node's value as plain Python, or NOTHING."""
        self._visits += 1
        if self._visits > MAX_VISITS:
            self.note(node.place, key, f"the file has more than {MAX_VISITS} values once its aliases are followed")
            raise Full
        described = ""
        if isinstance(wanted, inspect.Metadata):
            described = str((wanted.extra_json_schema or {}).get("description", ""))
            wanted = wanted.type
        self.places[key] = node.place
        match wanted:
            case inspect.UnionType():
                return self._union(node, wanted, key)
            case inspect.StructType():
                return self._struct(node, wanted, key)
            case inspect.VarTupleType():
                return self._list(node, wanted, key)
            case inspect.DictType():
                return self._dict(node, wanted, key)
        if not isinstance(node, Scalar):
            return self.note(node.place, key, f"needs {_called(wanted)}, not {_called(node)}")
        if node.is_null:
            return self.note(node.place, key, "has no value; write one or remove the line")
        match wanted:
            case inspect.StrType():
                return self._text(node, wanted, key, described)
            case inspect.BoolType():
                return self._boolean(node, key)
            case inspect.IntType() | inspect.FloatType():
                return self._number(node, wanted, key)
            case inspect.LiteralType():
                return self._literal(node, wanted, key)
        raise TypeError(f"settings of type {wanted!r} cannot be read from YAML; see edge_agent/config/shape.py")

    def note(self, place: Place, key: str, text: str) -> _Nothing:
        """Add a problem. Raises Full when there are too many."""
        if len(self.problems) >= MAX_PROBLEMS:
            self.problems.append(Problem(place, key, f"and more: only the first {MAX_PROBLEMS} problems are listed"))
            raise Full
        self.problems.append(Problem(place, key or "file", text))
        return NOTHING

    def _union(self, node: Node, wanted: inspect.UnionType, key: str) -> Any:
        structs = [one for one in wanted.types if isinstance(one, inspect.StructType) and one.tag is not None]
        if len(structs) == len(wanted.types):
            return self._tagged(node, structs, key)
        others = [one for one in wanted.types if not isinstance(one, inspect.NoneType)]
        if isinstance(node, Scalar) and node.is_null:
            return None
        if len(others) == 1:
            return self.read(node, others[0], key)
        raise TypeError(f"the union {wanted!r} cannot be read from YAML; see edge_agent/config/shape.py")

    def _tagged(self, node: Node, structs: list[inspect.StructType], key: str) -> Any:
        if not isinstance(node, Mapping):
            return self.note(node.place, key, f"needs a map, not {_called(node)}")
        tag_field = str(structs[0].tag_field)
        tags = [str(one.tag) for one in structs]
        member = node.get(tag_field)
        tag = member.value.text if member is not None and isinstance(member.value, Scalar) else ""
        if tag in tags:
            return self._struct(node, structs[tags.index(tag)], key)
        if member is None:
            self.note(node.place, key, f"`{tag_field}` is missing; one of {_listed(tags)}")
        else:
            shown = f"`{tag}` is no {tag_field}; " if tag else ""
            self.note(member.value.place, f"{key}.{tag_field}", shown + nearest(tag, tags))
        # The rest is read as the likeliest kind, so that its problems are told at once too.
        likeliest = structs[tags.index(next(iter(difflib.get_close_matches(tag, tags, 1)), tags[0]))]
        elsewhere = frozenset(field.encode_name for one in structs for field in one.fields)
        values = self._struct(node, likeliest, key, elsewhere)
        return values if values is NOTHING else {**values, tag_field: likeliest.tag}

    def _struct(self, node: Node, wanted: inspect.StructType, key: str, elsewhere: frozenset[str] = frozenset()) -> Any:
        if isinstance(node, Scalar) and node.is_null:
            return {}  # a section whose lines are all comments
        if not isinstance(node, Mapping):
            return self.note(node.place, key, f"needs keys and values, not {_called(node)}")
        fields = {field.encode_name: field for field in wanted.fields}
        valid = [*fields, *([str(wanted.tag_field)] if wanted.tag is not None else [])]
        values: dict[str, Any] = {}
        for member in node.members:
            inner = f"{key}.{member.key}" if key else member.key
            field = fields.get(member.key)
            if field is not None:
                value = self.read(member.value, field.type, inner)
                if value is not NOTHING:
                    values[member.key] = value
            elif member.key == wanted.tag_field and wanted.tag is not None:
                values[member.key] = wanted.tag
            elif member.key not in elsewhere:
                self.note(member.place, inner, "unknown key; " + nearest(member.key, valid))
        given = {member.key for member in node.members}
        complete = True
        for field in wanted.fields:
            if field.required and field.encode_name not in given:
                self.note(node.place, key, f"`{field.encode_name}` is missing")
            complete &= not field.required or field.encode_name in values
        return values if complete else NOTHING

    def _list(self, node: Node, wanted: inspect.VarTupleType, key: str) -> Any:
        if isinstance(node, Scalar) and node.is_null:
            return []
        if not isinstance(node, Sequence):
            shown = f", such as [{node.text}]" if isinstance(node, Scalar) and re.fullmatch(r"[\w.-]{1,40}", node.text) else ""
            return self.note(node.place, key, f"needs a list{shown}, not {_called(node)}")
        values = [self.read(item, wanted.item_type, f"{key}[{index}]") for index, item in enumerate(node.items)]
        self.indices[key] = [index for index, value in enumerate(values) if value is not NOTHING]
        return [value for value in values if value is not NOTHING]

    def _dict(self, node: Node, wanted: inspect.DictType, key: str) -> Any:
        if isinstance(node, Scalar) and node.is_null:
            return {}
        if not isinstance(node, Mapping):
            return self.note(node.place, key, f"needs keys and values, not {_called(node)}")
        values = {member.key: self.read(member.value, wanted.value_type, f"{key}.{member.key}") for member in node.members}
        return {name: value for name, value in values.items() if value is not NOTHING}

    def _text(self, node: Scalar, wanted: inspect.StrType, key: str, described: str) -> Any:
        text = node.text
        if any(ord(character) < 32 or ord(character) == 127 for character in text):
            return self.note(node.place, key, "has a line end or control character in it")
        if wanted.min_length is not None and len(text) < wanted.min_length:
            return self.note(node.place, key, "is empty" if not text else f"is shorter than {wanted.min_length} characters")
        if wanted.max_length is not None and len(text) > wanted.max_length:
            return self.note(node.place, key, f"is longer than {wanted.max_length} characters")
        if wanted.pattern is not None and re.search(wanted.pattern, text) is None:
            return self.note(node.place, key, f"`{shortened(text)}` does not fit: {described or 'pattern ' + wanted.pattern}")
        return text

    def _boolean(self, node: Scalar, key: str) -> Any:
        word = node.text.lower() if node.plain else ""
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
        return self.note(node.place, key, f"needs true or false, without quotes, not {_shown(node)}")

    def _number(self, node: Scalar, wanted: inspect.IntType | inspect.FloatType, key: str) -> Any:
        whole = isinstance(wanted, inspect.IntType)
        pattern = _INTEGER if whole else _FLOAT
        if not node.plain or len(node.text) > 40 or pattern.fullmatch(node.text) is None:
            hint = ", without quotes" if not node.plain and pattern.fullmatch(node.text) else ""
            return self.note(node.place, key, f"needs {_called(wanted)}{hint}, not {_shown(node)}")
        digits = node.text.replace("_", "")
        number = int(digits) if whole else float(digits)
        if not math.isfinite(number):
            return self.note(node.place, key, "is too large a number")
        for broken, words, bound in (
            (wanted.gt is not None and number <= wanted.gt, "more than", wanted.gt),
            (wanted.ge is not None and number < wanted.ge, "at least", wanted.ge),
            (wanted.lt is not None and number >= wanted.lt, "less than", wanted.lt),
            (wanted.le is not None and number > wanted.le, "at most", wanted.le),
        ):
            if broken:
                return self.note(node.place, key, f"is {node.text}; must be {words} {bound}")
        return number

    def _literal(self, node: Scalar, wanted: inspect.LiteralType, key: str) -> Any:
        values = [str(value) for value in wanted.values]
        if node.text in values:
            return node.text
        return self.note(node.place, key, f"is {_shown(node)}; " + nearest(node.text, values))


def nearest(word: str, valid: Iterable[str]) -> str:
    """The nearest valid word as a question, or, where none is near, the list of them."""
    valid = list(valid)
    lowered = {name.lower(): name for name in valid}
    found = difflib.get_close_matches(word.lower()[:100], lowered, n=1, cutoff=0.6)
    return f"did you mean `{lowered[found[0]]}`?" if found else f"valid here: {_listed(valid)}"


def shortened(text: str) -> str:
    """A text as it may stand in a message: printable and not long."""
    safe = "".join(character if character.isprintable() else "?" for character in text[:61])
    return safe if len(safe) <= 60 else safe[:60] + "..."


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in sorted(words))


def _shown(node: Scalar) -> str:
    return f"`{shortened(node.text)}`" if node.plain else f'"{shortened(node.text)}"'


def _called(thing: Node | inspect.Type) -> str:
    """What a node or type is called by people."""
    match thing:
        case Mapping():
            return "a map"
        case Sequence():
            return "a list"
        case Scalar():
            return "nothing" if thing.is_null else f"the text {_shown(thing)}"
        case inspect.IntType():
            return "a whole number"
        case inspect.FloatType():
            return "a number"
        case inspect.BoolType():
            return "true or false"
        case _:
            return "a text"
