"""The documents: links lead somewhere, configurations in them are ones that the agent takes, commands in them exist."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from edge_agent.config.load import load_text

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
_BLOCK = re.compile(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


def blocks(path: Path, language: str) -> list[str]:
    """The code blocks of a language, without the indentation of the list they may stand in."""
    found = _BLOCK.finditer(path.read_text(encoding="utf-8"))
    return [textwrap.dedent(block[3]) for block in found if block[2] == language]


@pytest.mark.parametrize("name", NAMES)
def test_links_within_the_project_lead_to_files(name: str) -> None:
    text = _BLOCK.sub("", (ROOT / name).read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    missing = [target for target in targets if not (ROOT / name).parent.joinpath(target).exists()]
    assert not missing


@pytest.mark.parametrize("name", ["README.md", "docs/user-guide.md"])
def test_configurations_in_the_guides_are_taken(name: str) -> None:
    found = blocks(ROOT / name, "yaml")
    assert found
    for text in found:
        assert load_text(text).routes


def test_configurations_of_escalation_are_taken() -> None:
    found = [load_text(text).escalation for text in blocks(ROOT / "docs/escalation.md", "yaml")]
    assert {one.backend for one in found} == {"openai", "mqtt", "spool"}


def test_commands_in_the_guides_exist() -> None:
    shown = "\n".join(block for path in DOCUMENTS for block in blocks(path, "sh"))
    commands = set(re.findall(r"\bedge-agent ([a-z]+)(?=\s)", shown))
    assert {"run", "check", "status", "incidents", "replay"} <= commands
    listed = subprocess.run(
        [sys.executable, "-m", "edge_agent", "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    assert {command for command in commands if not re.search(rf"^    {command}\b", listed.stdout, re.MULTILINE)} == set()


def test_scripts_that_are_named_are_there_and_can_be_run() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    for name in set(re.findall(r"`(?:nice )?((?:scripts|\.ci)/\w+)", text)):
        assert (ROOT / name).stat().st_mode & 0o111, name
