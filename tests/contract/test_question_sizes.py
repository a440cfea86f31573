"""The sizes and costs of questions that `docs/escalation.md` tells are those of what is sent, within a tenth."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edge_agent.clock import SystemClock
from edge_agent.config.settings import OpenAiSettings
from edge_agent.escalate.openai import OpenAiBackend
from edge_agent.values import Incident
from tests.escalation.questions import ALL, SPIKE, TWO_CHUNKS, asked
from tests.writing import ONSET_S, anomaly, incident

GUIDE = Path(__file__).parents[2] / "docs" / "escalation.md"
ROW = re.compile(r"^\| ([a-z ,]+) \| ([\d,]+) bytes \| ([\d,]+) tokens, ([\d,]+) bytes \|$", re.MULTILINE)

MANY = incident(
    *(anomaly(f"pump-{n}/flow", onset_s=ONSET_S + 300 * n, end_s=ONSET_S + 300 * n + 60) for n in range(32)), id="many"
)
QUESTIONS: dict[str, tuple[Incident, bool]] = {
    "a spike, nothing allowed": (SPIKE, False),
    "two chunks, everything allowed": (TWO_CHUNKS, True),
    "six subjects, everything allowed": (MANY, True),
}


def test_what_is_told_of_sizes_is_so() -> None:
    told = {
        name: [int(figure.replace(",", "")) for figure in figures] for name, *figures in ROW.findall(GUIDE.read_text("utf-8"))
    }
    assert list(told) == list(QUESTIONS)
    backend = OpenAiBackend(OpenAiSettings(url="https://models.example/v1", model="large-1"), SystemClock())
    for name, (about, everything) in QUESTIONS.items():
        body, most = backend.encode(asked(about, ALL if everything else ()).question)
        assert [len(body), most.tokens, most.bytes] == [pytest.approx(figure, rel=0.1) for figure in told[name]], name
