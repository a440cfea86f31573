"""The releases that commands speak with: the one inside the package. What updates bring is tried with the update commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.commands import speakers
from edge_agent.commands.speakers import Speakers
from edge_agent.config.settings import Settings
from edge_agent.errors import ReleaseError


def test_where_no_update_came_the_release_of_the_package_speaks_and_others_are_not_there(tmp_path: Path) -> None:
    found = Speakers(Settings(state_dir=str(tmp_path)), lambda error: pytest.fail(str(error)))
    now = found.speaker_now()
    assert now.writes
    assert found.speaker(now.release.id) is now, "it is opened once"
    assert found.speaker("fleet-1") is None
    assert list(tmp_path.iterdir()) == [], "nothing is written"


def test_templates_speak_where_not_even_the_release_of_the_package_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speakers, "FACTORY", tmp_path / "none")
    told: list[ReleaseError] = []
    assert not Speakers(Settings(state_dir=str(tmp_path)), told.append).speaker_now().writes
    assert len(told) == 1
