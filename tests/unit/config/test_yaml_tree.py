"""YAML to a tree with places: every kind of syntax problem at its exact place, and texts made to do harm."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.config.yaml_tree import MAX_NODES, Mapping, Node, Scalar, Sequence, TreeReader


def read(text: str) -> tuple[Node | None, list[str]]:
    reader = TreeReader("f")
    tree = reader.read(text)
    return tree, [str(problem) for problem in reader.problems]


def test_scalars_stay_text_and_everything_has_its_place() -> None:
    tree, problems = read('a: no\nb:\n  - 012\n  - "x"\n')
    assert problems == []
    assert isinstance(tree, Mapping)
    a, b = tree.members
    assert (a.key, str(a.place), str(a.value.place)) == ("a", "f:1:1", "f:1:4")
    assert a.value == Scalar(a.value.place, "no", plain=True)
    assert isinstance(b.value, Sequence)
    assert [(item.text, item.plain, str(item.place)) for item in b.value.items if isinstance(item, Scalar)] == [
        ("012", True, "f:3:5"),
        ("x", False, "f:4:5"),
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\n\tb: 2\n", "f:2:1: syntax: a tab stands here; indent with spaces"),
        ("a: [1, 2\nb: 3\n", "f:2:2: syntax: expected ',' or ']', but got ':' (while parsing a flow sequence)"),
        ("a: 1\n b: 2\n", "f:2:3: syntax: mapping values are not allowed here"),
        ("a: 'x\n", "f:2:1: syntax: found unexpected end of stream (while scanning a quoted scalar)"),
        ("a: \x01\n", "f:1:4: syntax: a control character stands here, which YAML does not allow"),
        ("ok: 1\nb: é\x01\n", "f:2:5: syntax: a control character stands here, which YAML does not allow"),
        ("a: 1\nb: 2\na: 3\n", "f:3:1: a: duplicate key; it stands on line 1 already"),
        ("a: !secret x\n", "f:1:4: syntax: the tag `!secret` is not supported; secrets are paths to files"),
        ("a: !!python/object/apply:os.system [id]\n", "f:1:4: syntax: the tag `tag:yaml.org,2002:python/object/apply:os.system`"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "f:3:3: <<: merge keys are not supported; write the keys out"),
        ("a: 1\n---\nb: 2\n", "f:2:1: syntax: a second document begins here; one file holds one"),
        ("a: *x\n", "f:1:4: syntax: `*x` refers to nothing before it"),
        ("a: &a [*a]\n", "f:1:8: syntax: `*a` refers to nothing before it"),
        ("{a: 1}: 2\n", "f:1:1: syntax: a key must be a word"),
        ("? [a]\n: 2\n", "f:1:3: syntax: a key must be a word"),
        ("a: " + "[" * 40 + "]" * 40, "f:1:19: syntax: nested deeper than 16 levels"),
        ("a: [" + "1," * MAX_NODES + "]", "syntax: the file has more than 20000 values"),
        ("%YAML 9.9\n---\na: 1\n", "f:1:1: syntax: found incompatible YAML document (version 1.* is required)"),
        ("@a: 1\n", "f:1:1: syntax: found character '@' that cannot start any token (while scanning for the next token)"),
    ],
)
def test_syntax_problems(text: str, problem: str) -> None:
    _, problems = read(text)
    assert len(problems) == 1
    assert problem in problems[0]


def test_every_duplicate_is_found_at_once() -> None:
    _, problems = read("a: 1\nb: {c: 1, c: 2}\na: 2\na: 3\n")
    assert [problem.split(" ")[0] for problem in problems] == ["f:2:11:", "f:3:1:", "f:4:1:"]


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n"])
def test_an_empty_text_has_no_problem(text: str) -> None:
    tree, problems = read(text)
    assert problems == []
    assert tree is None or (isinstance(tree, Scalar) and tree.is_null)


def test_anchors_share_and_never_copy() -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    tree, problems = read("\n".join(lines))
    assert problems == []
    assert isinstance(tree, Mapping)
    top = tree.members[-1].value
    assert isinstance(top, Sequence)
    assert top.items[0] is top.items[1]


@given(text=st.text(alphabet="ab:-[]{}&*!|>'\"#%@, \n\t\x00é?<", max_size=60))
@settings(max_examples=300, deadline=None)
def test_whatever_the_text_only_problems_come_out(text: str) -> None:
    tree, problems = read(text)
    assert tree is not None or problems or not text.strip(" \n\t") or "#" in text or "-" in text
    assert all(problem.startswith("f:") for problem in problems)
