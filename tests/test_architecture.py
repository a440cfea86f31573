"""Holds the tree to its layers, and the checker to its word: every rule is broken once on a small tree made for it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.architecture import LAYERS, REASONS, Violation, check_tree, guide

ROOT = Path(__file__).resolve().parents[1]
DOC = '"""A module of a small tree that was made to try one rule."""\n'
TEST = '"""A test file of a small tree that was made to try one rule."""\ndef test_it() -> None: ...\n'

Write = Callable[[dict[str, str]], Path]


def test_the_tree_keeps_every_rule() -> None:
    violations = check_tree(ROOT)
    if violations:
        pytest.fail("\n" + "\n".join(map(str, violations)), pytrace=False)


def test_guide_lines_are_shown() -> None:
    notes = guide(ROOT)
    if notes:
        warnings.warn("past the guide-lines, worth a look:\n  " + "\n  ".join(notes), stacklevel=1)


def test_each_unit_stands_in_one_layer_only() -> None:
    units = [unit for layer in LAYERS for unit in layer]
    assert len(units) == len(set(units))


@pytest.fixture
def tree(tmp_path: Path) -> Write:
    """Writes a tree: sources by path, each with its unit test unless the test is given as an empty text."""

    def write(files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for name in files:
            parts = Path(name).parts
            if parts[0] != "edge_agent" or parts[-1] == "__init__.py":
                continue
            test = tmp_path / "tests" / "unit" / Path(*parts[1:-1]) / f"test_{parts[-1].removesuffix('.py').strip('_')}.py"
            if f"tests/unit/{test.name}" not in files:
                test.parent.mkdir(parents=True, exist_ok=True)
                test.write_text(TEST)
        return tmp_path

    return write


def only(violations: list[Violation]) -> Violation:
    assert len(violations) == 1, "\n".join(map(str, violations)) or "nothing was found"
    return violations[0]


def test_a_tree_that_keeps_the_rules_passes(tree: Write) -> None:
    root = tree(
        {
            "edge_agent/__init__.py": DOC,
            "edge_agent/values.py": DOC + "from edge_agent.errors import InputError\n",
            "edge_agent/errors.py": DOC,
            "edge_agent/facts.py": DOC,
            "edge_agent/plan.py": DOC + "from edge_agent import facts, values\n",
            "edge_agent/mqtt.py": DOC + "import threading, paho\nfrom . import values\n",
            "edge_agent/update/__init__.py": DOC,
            "edge_agent/update/fetch.py": DOC + "import socket\nfrom .machine import x\n",
            "edge_agent/update/machine.py": DOC + "from ..values import y\n",
            "ota/edge_ota/train.py": DOC + "import edge_agent.values\nfrom edge_agent.engines import writer\n",
            "edge_agent/engines/__init__.py": DOC,
            "edge_agent/engines/writer.py": DOC + "import ctranslate2\n",
        }
    )
    assert check_tree(root) == []


@pytest.mark.parametrize(
    "source",
    [
        "from edge_agent import journal\n",
        "import edge_agent.journal\n",
        "from edge_agent.journal import Journal\n",
        "from . import journal\n",
        "def late() -> None:\n    from edge_agent.journal import Journal\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from edge_agent.journal import Journal\n",
        "from importlib import import_module\nx = import_module('edge_agent.journal')\n",
    ],
)
def test_an_import_from_above_is_found_however_it_is_written(tree: Write, source: str) -> None:
    found = only(check_tree(tree({"edge_agent/journal.py": DOC, "edge_agent/clock.py": DOC + source})))
    assert found.rule == "layer"
    assert found.where.startswith("edge_agent.clock:")
    assert REASONS["layer"] in str(found)


def test_siblings_of_the_shell_stay_apart(tree: Write) -> None:
    root = tree({"edge_agent/journal.py": DOC, "edge_agent/mqtt.py": DOC + "from edge_agent.journal import Journal\n"})
    assert only(check_tree(root)).rule == "sibling"


@pytest.mark.parametrize("name", ["time", "random", "socket", "asyncio", "threading", "subprocess", "urllib3.util"])
def test_the_core_stays_pure(tree: Write, name: str) -> None:
    assert only(check_tree(tree({"edge_agent/verify.py": DOC + f"def f() -> None:\n    import {name}\n"}))).rule == "core"


def test_the_core_does_not_reach_the_shell_through_a_lower_layer(tree: Write) -> None:
    found = only(
        check_tree(tree({"edge_agent/clock.py": DOC, "edge_agent/plan.py": DOC + "from edge_agent.clock import SystemClock\n"}))
    )
    assert found.rule == "core"


def test_the_update_machine_is_core_though_its_unit_is_shell(tree: Write) -> None:
    assert only(check_tree(tree({"edge_agent/update/machine.py": DOC + "import time\n"}))).rule == "core"


def test_a_library_has_one_home(tree: Write) -> None:
    found = only(check_tree(tree({"edge_agent/supervisor.py": DOC + "import paho.mqtt.client as mqtt\n"})))
    assert found.rule == "home"
    assert "mqtt" in found.what


def test_the_device_does_not_import_the_operators_side(tree: Write) -> None:
    root = tree({"edge_agent/cli.py": DOC + "import edge_ota.train\n", "ota/edge_ota/train.py": DOC})
    assert only(check_tree(root)).rule == "operator"


def test_the_operators_side_imports_nothing_else_of_the_shell(tree: Write) -> None:
    root = tree({"edge_agent/journal.py": DOC, "ota/edge_ota/build.py": DOC + "from edge_agent.journal import Journal\n"})
    assert only(check_tree(root)).rule == "operator-side"


def test_cycles_are_named_whole_and_once(tree: Write) -> None:
    root = tree(
        {
            "edge_agent/facts.py": DOC + "from edge_agent.plan import a\n",
            "edge_agent/plan.py": DOC + "from edge_agent.template import b\n",
            "edge_agent/template.py": DOC + "def f() -> None:\n    from edge_agent.facts import c\n",
        }
    )
    found = only(check_tree(root))
    assert found.rule == "cycle"
    assert "edge_agent.facts -> edge_agent.plan -> edge_agent.template -> edge_agent.facts" in found.what


def test_a_new_unit_must_be_given_a_place(tree: Write) -> None:
    assert only(check_tree(tree({"edge_agent/utils.py": DOC}))).rule == "unplaced"


@pytest.mark.parametrize("text", ["", '"""errors."""\n', "# a comment is no docstring at all, however long it is\n"])
def test_a_docstring_must_say_something(tree: Write, text: str) -> None:
    assert only(check_tree(tree({"edge_agent/errors.py": text}))).rule == "docstring"


@pytest.mark.parametrize("text", ["", "x = 1\n"])
def test_a_test_file_must_be_there_and_hold_a_test(tree: Write, text: str) -> None:
    assert only(check_tree(tree({"edge_agent/errors.py": DOC, "tests/unit/test_errors.py": text}))).rule == "unit-test"


def test_a_missing_test_file_is_found(tree: Write) -> None:
    root = tree({"edge_agent/decode/__init__.py": DOC + "def parse() -> None: ...\n"})
    found = only(check_tree(root))
    assert found.rule == "unit-test"
    assert "tests/unit/decode/test_init.py" in found.what


def test_a_file_that_does_not_parse_is_reported(tree: Write) -> None:
    assert only(check_tree(tree({"edge_agent/errors.py": "def (\n"}))).rule == "syntax"


def test_the_guide_lines_speak_of_length_and_fan_out(tree: Write) -> None:
    units = ("errors", "values", "atomic", "clock", "systemd", "metrics", "config", "release", "pipeline")
    files = {f"edge_agent/{unit}.py": DOC for unit in units}
    long_function = "def f() -> None:\n" + "    x = 1\n" * 50
    files["edge_agent/cli.py"] = DOC + "".join(f"from edge_agent import {unit}\n" for unit in units) + long_function + "#\n" * 400
    notes = "\n".join(guide(tree(files)))
    assert "edge_agent.cli.f: 51 lines" in notes
    assert "imports 9 modules" in notes
    assert "edge_agent.cli: 4" in notes


def test_every_rule_has_a_reason() -> None:
    assert all(len(reason.split()) > 6 for reason in REASONS.values())
