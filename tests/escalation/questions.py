"""Questions for tests of what carries them, made as the agent makes them."""

from __future__ import annotations

from datetime import UTC

from msgspec import Struct

from edge_agent.config.settings import Allowed
from edge_agent.egress.pseudonyms import Pseudonyms
from edge_agent.egress.question import Question, question_of
from edge_agent.pipeline import plan_of
from edge_agent.values import Incident, Plan
from tests.writing import ONSET_S, anomaly, incident

ALL: tuple[Allowed, ...] = ("identifiers", "times", "values", "units", "severity")
PSEUDONYMS = Pseudonyms(bytes(range(32)))

SPIKE = incident(anomaly())
TWO_CHUNKS = incident(
    anomaly(),
    anomaly("pump-3/flow", "dip", onset_s=ONSET_S + 30, end_s=ONSET_S + 90, peak_s=ONSET_S + 31),
    anomaly("pump-3/speed", "silence", onset_s=ONSET_S + 200, observed=30.0, baseline=1.0, unit="s"),
)


class Asked(Struct, frozen=True):
    """A question and the plan that its answer is held against."""

    incident: Incident
    plan: Plan
    question: Question

    @property
    def examples(self) -> list[str]:
        """The true wordings that the question itself gives."""
        return [chunk.example for chunk in self.question.chunks]


def asked(about: Incident = SPIKE, allow: tuple[Allowed, ...] = ()) -> Asked:
    """The question about an incident; what is not its form leaves only as far as `allow` says."""
    plan = plan_of(about, None, UTC)
    request_id = PSEUDONYMS.request_id(about.id, about.revision)
    made = question_of(plan, id=request_id, severity=about.severity, allow=allow, pseudonyms=PSEUDONYMS)
    return Asked(about, plan, made)
