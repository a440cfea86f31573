"""The operator's command line finds each recipe, and says what is missing in words."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
from edge_ota import cli


def test_usage_lists_the_recipes_and_is_an_error_without_a_task(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert cli.main(["train", "nothing"]) == 2
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr()
    assert all(name in shown.out and name in shown.err for name in (*cli.RECIPES, *cli.TASKS))


@pytest.mark.parametrize("name", [*cli.RECIPES, *cli.TASKS])
def test_each_name_is_a_module_of_this_distribution(name: str) -> None:
    module, _ = (cli.RECIPES | cli.TASKS)[name]
    assert importlib.util.find_spec(module) is not None, f"{module} is missing"


def test_a_recipe_gets_its_own_options_and_its_code_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def recipe_main(argv: list[str]) -> int:
        seen.append(argv)
        return 7

    stand_in = types.ModuleType("edge_ota.train.classifier")
    stand_in.main = recipe_main  # type: ignore[attr-defined]  # a module made for this test
    monkeypatch.setitem(sys.modules, "edge_ota.train.classifier", stand_in)
    assert cli.main(["train", "classifier", "--seed", "3"]) == 7
    assert seen == [["--seed", "3"]]


def test_help_keeps_to_the_terminal_and_examples_keep_their_form(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    with pytest.raises(SystemExit, match="0"):
        cli.main(["publish", "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line) > 60] == [line for line in lines if line.startswith("    edge-ota publish REPO")]
    assert "Rules: every component is compared with the manifest" in lines


def test_a_task_gets_its_own_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["build", str(tmp_path), "--id", "x-1", "--counter", "1"]) == 1
    assert "lacks" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["", "/"])
@pytest.mark.parametrize(
    "task", [["keys", "new"], ["group-key", "new"], ["bundle", "repo", "--group", "g"], ["commit"], ["refresh"]]
)
def test_what_has_no_name_is_wrong_use(task: list[str], given: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A variable of a script that is not set, for one."""
    with pytest.raises(SystemExit, match="2"):
        cli.main([*task, given])
    assert f"{given!r} has no name" in capsys.readouterr().err


def test_a_folder_is_named_from_within(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What waits stands beside a repository, under its name."""
    (tmp_path / "repo/metadata").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "repo")
    assert cli.main(["commit", "."]) == 1
    assert "no repository" in capsys.readouterr().err
    assert cli.main(["keys", "new", "."]) == 1
    assert f"{tmp_path / 'repo'}" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["repo"]


def test_a_missing_library_is_named_with_the_way_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(cli.RECIPES, "writer", ("library_that_is_not_there", "nothing"))
    assert cli.main(["train", "writer"]) == 1
    assert "edge-ota[train]" in capsys.readouterr().err


def test_a_reader_that_has_enough_ends_a_task_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = (sys.executable, "-c", "import sys; from edge_ota.cli import main; sys.exit(main(['--help']))")
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (cli.CLOSED_PIPE, b"")


def test_ctrl_c_ends_a_task_quietly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(argv: list[str]) -> int:
        raise KeyboardInterrupt

    stand_in = types.ModuleType("edge_ota.publish")
    stand_in.main = interrupted  # type: ignore[attr-defined]  # a module made for this test
    monkeypatch.setitem(sys.modules, "edge_ota.publish", stand_in)
    assert cli.main(["publish"]) == cli.INTERRUPTED
    assert capsys.readouterr().err == ""
