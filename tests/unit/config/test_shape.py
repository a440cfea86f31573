"""Trees against types: each way in which a value can fail to fit, in words, at its place."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, Struct, inspect

from edge_agent.config.shape import MAX_PROBLEMS, Full, Shape, nearest, shortened
from edge_agent.config.yaml_tree import TreeReader


class Inner(Struct, forbid_unknown_fields=True):
    needed: str
    ratio: Annotated[float, Meta(gt=0, lt=1)] = 0.5


class One(Struct, tag_field="format", tag="one", forbid_unknown_fields=True):
    x: int = 0


class Two(Struct, tag_field="format", tag="two", forbid_unknown_fields=True):
    y: int


class Sample(Struct, forbid_unknown_fields=True):
    count: Annotated[int, Meta(ge=1, le=10)] = 1
    flag: bool = False
    word: str = ""
    short: Annotated[str, Meta(min_length=1, max_length=3)] = "a"
    lower: Annotated[str, Meta(pattern="^[a-z]+$", description="lower-case letters")] = "a"
    digits: Annotated[str, Meta(pattern="^[0-9]+$")] = "1"
    level: Literal["debug", "info"] = "info"
    inner: Inner | None = None
    either: tuple[One | Two, ...] = ()
    names: tuple[str, ...] = ()
    units: dict[str, Annotated[str, Meta(max_length=2)]] = {}


def read(text: str) -> tuple[Any, list[str]]:
    reader = TreeReader("f")
    tree = reader.read(text)
    assert tree is not None
    assert reader.problems == []
    shape = Shape()
    values = shape.read(tree, inspect.type_info(Sample), "")
    return values, [str(problem) for problem in shape.problems]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("count: 7", {"count": 7}),
        ("flag: Yes", {"flag": True}),
        ("flag: off", {"flag": False}),
        ("word: no", {"word": "no"}),
        ("word: 012", {"word": "012"}),
        ("word: 1.10", {"word": "1.10"}),
        ("word: '1'", {"word": "1"}),
        ("level: debug", {"level": "debug"}),
        ("inner:", {"inner": None}),
        ("inner: {needed: a, ratio: 1e-3}", {"inner": {"needed": "a", "ratio": 0.001}}),
        ("either:", {"either": []}),
        ("either: [{format: two, y: 1_000}]", {"either": [{"format": "two", "y": 1000}]}),
        ("names: [a, 2]", {"names": ["a", "2"]}),
        ("units: {a: C, b: bar}", {"units": {"a": "C"}}),
    ],
)
def test_values(text: str, values: dict[str, Any]) -> None:
    assert read(text)[0] == values


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("count: 0", ["f:1:8: count: is 0; must be at least 1"]),
        ("count: 11", ["f:1:8: count: is 11; must be at most 10"]),
        ("count: 1.5", ["f:1:8: count: needs a whole number, not `1.5`"]),
        ("count: '3'", ['f:1:8: count: needs a whole number, without quotes, not "3"']),
        ("count: 0x1F", ["f:1:8: count: needs a whole number, not `0x1F`"]),
        ("count: 010", ["f:1:8: count: needs a whole number, not `010`"]),
        ("count: 1:30", ["f:1:8: count: needs a whole number, not `1:30`"]),
        ("count: [1]", ["f:1:8: count: needs a whole number, not a list"]),
        ("count:", ["f:1:7: count: has no value; write one or remove the line"]),
        ("count: " + "9" * 50, ["f:1:8: count: needs a whole number, not `" + "9" * 50 + "`"]),
        ("inner: {needed: a, ratio: 0}", ["f:1:27: inner.ratio: is 0; must be more than 0"]),
        ("inner: {needed: a, ratio: 1}", ["f:1:27: inner.ratio: is 1; must be less than 1"]),
        ("inner: {needed: a, ratio: 1e999}", ["f:1:27: inner.ratio: is too large a number"]),
        ("inner: {needed: a, ratio: .nan}", ["f:1:27: inner.ratio: needs a number, not `.nan`"]),
        ("inner: {ratio: 0.1}", ["f:1:8: inner: `needed` is missing"]),
        ("inner: x", ["f:1:8: inner: needs keys and values, not the text `x`"]),
        ("flag: 1", ["f:1:7: flag: needs true or false, without quotes, not `1`"]),
        ("flag: 'true'", ['f:1:7: flag: needs true or false, without quotes, not "true"']),
        ("word: {a: 1}", ["f:1:7: word: needs a text, not a map"]),
        ("word: |\n  a\n  b\n", ["f:1:7: word: has a line end or control character in it"]),
        ('word: "a\\0b"', ["f:1:7: word: has a line end or control character in it"]),
        ("short: ''", ["f:1:8: short: is empty"]),
        ("short: abcd", ["f:1:8: short: is longer than 3 characters"]),
        ("lower: ABC", ["f:1:8: lower: `ABC` does not fit: lower-case letters"]),
        ("digits: ABC", ["f:1:9: digits: `ABC` does not fit: pattern ^[0-9]+$"]),
        ("level: inf", ["f:1:8: level: is `inf`; did you mean `info`?"]),
        ("level: 3", ["f:1:8: level: is `3`; valid here: `debug`, `info`"]),
        ("either: {format: one}", ["f:1:9: either: needs a list, not a map"]),
        ("either: [x]", ["f:1:10: either[0]: needs a map, not the text `x`"]),
        ("either: [{x: 1}]", ["f:1:10: either[0]: `format` is missing; one of `one`, `two`"]),
        ("either: [{format: tow, y: 1}]", ["f:1:19: either[0].format: `tow` is no format; did you mean `two`?"]),
        ("either: [{format: [one]}]", ["f:1:19: either[0].format: valid here: `one`, `two`"]),
        ("either: [{format: one, y: 1}]", ["f:1:24: either[0].y: unknown key; valid here: `format`, `x`"]),
        ("names: a", ["f:1:8: names: needs a list, such as [a], not the text `a`"]),
        ("names: [a, [b]]", ["f:1:12: names[1]: needs a text, not a list"]),
        ("units: [a]", ["f:1:8: units: needs keys and values, not a list"]),
        ("units: {a: bar}", ["f:1:12: units.a: is longer than 2 characters"]),
        ("cuont: 1", ["f:1:1: cuont: unknown key; did you mean `count`?"]),
        ("COUNT: 1", ["f:1:1: COUNT: unknown key; did you mean `count`?"]),
    ],
)
def test_problems(text: str, problems: list[str]) -> None:
    assert read(text)[1] == problems


def test_every_problem_is_found_at_once_and_what_fits_is_kept() -> None:
    values, problems = read("count: 0\nflag: true\nwrod: x\neither: [{format: one, x: a}, {format: two, y: 2}, {format: two}]\n")
    assert values == {"flag": True, "either": [{"format": "one"}, {"format": "two", "y": 2}]}
    assert [problem.split(": ")[1] for problem in problems] == ["count", "wrod", "either[0].x", "either[2]"]


def test_places_and_indices_tell_where_things_stand() -> None:
    reader = TreeReader("f")
    tree = reader.read("either:\n- {format: two}\n- {format: one}\n")
    assert tree is not None
    shape = Shape()
    shape.read(tree, inspect.type_info(Sample), "")
    assert shape.indices == {"either": [1]}
    assert str(shape.places["either[1]"]) == "f:3:3"


def test_there_is_an_end_to_problems() -> None:
    with pytest.raises(Full):
        read("\n".join(f"key-{number}: 1" for number in range(MAX_PROBLEMS + 5)))


def test_there_is_an_end_to_values_behind_aliases() -> None:
    class Wide(Struct):
        rows: tuple[tuple[tuple[str, ...], ...], ...]

    wide = TreeReader("f").read("rows: [&r [" + "&n [" + "a," * 400 + "]," + "*n," * 400 + "]," + "*r," * 400 + "]")
    assert wide is not None
    with pytest.raises(Full):
        Shape().read(wide, inspect.type_info(Wide), "")


def test_types_that_settings_do_not_use_are_refused_loudly() -> None:
    class Strange(Struct):
        data: bytes

    tree = TreeReader("f").read("data: x")
    assert tree is not None
    with pytest.raises(TypeError, match="cannot be read from YAML"):
        Shape().read(tree, inspect.type_info(Strange), "")


def test_nearest() -> None:
    assert nearest("hst", ["host", "port"]) == "did you mean `host`?"
    assert nearest("zzz", ["host", "port"]) == "valid here: `host`, `port`"
    assert nearest("Europe/Berln", ["Europe/Berlin"]) == "did you mean `Europe/Berlin`?"


def test_shortened() -> None:
    assert shortened("a\nb") == "a?b"
    assert shortened("x" * 100) == "x" * 60 + "..."
