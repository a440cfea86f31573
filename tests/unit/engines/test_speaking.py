"""A speaker always speaks: with the release's writer, or with the template where the writer fails or cannot be had."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

import pytest

from edge_agent.engines import speaking
from edge_agent.engines.speaking import Speaker, open_speaker
from edge_agent.errors import EngineError, ReleaseError
from edge_agent.pipeline import TEMPLATE_ONLY
from edge_agent.values import Draft, Prompt
from tests.writing import anomaly, incident

INCIDENT = incident(anomaly())


class Failing:
    def write(self, prompts: Sequence[Prompt]) -> list[Draft]:
        raise EngineError("the runtime failed")


def test_the_factory_release_writes(problems: list[ReleaseError]) -> None:
    speaker = open_speaker(problems.append)
    summary = speaker.explain(INCIDENT, None, 0.0, UTC)
    assert speaker.writes
    assert (summary.route, summary.release) == ("writer", speaker.release.id)
    template = speaker.explain(INCIDENT, None, 0.0, UTC, by_template=True)
    assert (template.route, template.reasons) == ("template", ("no-writer",))
    assert problems == []


def test_a_writer_that_fails_leaves_the_template_and_is_told_of(problems: list[ReleaseError]) -> None:
    summary = Speaker(TEMPLATE_ONLY, Failing(), problems.append).explain(INCIDENT, None, 0.0, UTC)
    assert summary.route == "template"
    assert [str(problem) for problem in problems] == ["the runtime failed"]


def test_a_release_that_cannot_be_opened_leaves_the_template(
    problems: list[ReleaseError], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: str) -> None:
        raise ReleaseError("manifest.json: damaged")

    monkeypatch.setattr(speaking, "open_release", refuse)
    speaker = open_speaker(problems.append)
    assert (speaker.writes, speaker.release.id) == (False, "template-only")
    assert [str(problem) for problem in problems] == ["manifest.json: damaged"]


@pytest.fixture
def problems() -> list[ReleaseError]:
    return []
