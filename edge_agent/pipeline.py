"""The spine: readings to incidents (`screen`), incident to summary (`explain`), and the Protocols that both need.

Rules: no I/O, no threads, no native library is imported here; engines come in through the Protocols below, time comes in
as an argument. `Screener` holds state and has one owner, the screen worker; `explain` is a function of its arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, tzinfo
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from edge_agent.confidence import FEATURES, ConfidenceRule, score
from edge_agent.detect.bank import DetectorBank
from edge_agent.detect.contract import SIGNATURE_BYTES, WINDOW_READINGS, Classified, Classifier
from edge_agent.errors import DecodeError
from edge_agent.facts import gather
from edge_agent.fill import fill, tidy
from edge_agent.incidents import IncidentBook
from edge_agent.plan import arrange
from edge_agent.policy import Decision, Judged, decide
from edge_agent.prompt import prompt_of, style_of
from edge_agent.template import assemble, phrase
from edge_agent.values import (
    Anomaly,
    Arrival,
    Draft,
    Evidence,
    Incident,
    PastIncident,
    Plan,
    Prompt,
    Reading,
    Rejection,
    Summary,
)
from edge_agent.verify import refuse_chunk, refuse_whole, refuse_wording

__all__ = [
    "SIGNATURE_BYTES",
    "TEMPLATE_ONLY",
    "WINDOW_READINGS",
    "Classified",
    "Classifier",
    "Decodes",
    "Memory",
    "Screened",
    "Screener",
    "SpeakingRelease",
    "Writer",
    "explain",
    "plan_of",
    "revise",
]


class Writer(Protocol):
    """Phrases chunks. One owner: the explain worker."""

    def write(self, prompts: Sequence[Prompt]) -> list[Draft]:
        """One draft a prompt, in order, greedy and deterministic. Raises EngineError."""


class Memory(Protocol):
    """Past incidents by the likeness of their waveforms. One owner: the explain worker."""

    def add(self, past: PastIncident) -> None:
        """Remember a closed incident; adding the same number again replaces it."""

    def nearest(self, signature: bytes, before_s: float) -> Evidence | None:
        """The most similar incident opened before `before_s` whose similarity reaches the floor, or None."""


class SpeakingRelease(Struct, frozen=True):
    """What of a release decides a sentence, besides the writer itself."""

    id: str
    lexicon: frozenset[str]
    rule: ConfidenceRule


TEMPLATE_ONLY = SpeakingRelease(
    "template-only", frozenset(), ConfidenceRule(features=FEATURES, weights=(0.0,) * len(FEATURES), intercept=0.0, threshold=1.0)
)
"""What speaks when no release can be used: templates."""

_NO_WRITER = Decision(by_writer=(), confidence=1.0, route="template", verdict="local", reasons=("no-writer",))


class Decodes(Protocol):
    """Arrivals to readings; `edge_agent.decode.router.Router` is one."""

    def decode(self, arrival: Arrival) -> list[Reading]:
        """The readings of a message. Raises DecodeError, and nothing else."""

    def take_notes(self) -> dict[str, int]:
        """By reason, what was set aside since the last call within messages that did give readings."""


class Screened(Struct, frozen=True):
    """What a batch of arrivals came to."""

    anomalies: list[Anomaly]
    """New and changed anomalies, to be published at once."""
    incidents: list[Incident]
    """Incidents that opened, changed or closed, to be journalled before the batch is acknowledged."""
    rejections: list[Rejection]
    """Messages and readings set aside."""
    notes: dict[str, int]
    """By reason, parts set aside of messages that were otherwise read."""
    readings: int
    """How many readings were screened."""


class Screener:
    """Decodes, detects and groups. Holds the detectors and the open incidents; one owner, the screen worker."""

    def __init__(self, router: Decodes, bank: DetectorBank, book: IncidentBook) -> None:
        self._router = router
        self._bank = bank
        self._book = book

    def screen(self, arrivals: Sequence[Arrival], now_s: float) -> Screened:
        """Take in a batch in order of arrival. Raises nothing for any payload; what is unusable is in `rejections`."""
        readings: list[Reading] = []
        rejections: list[Rejection] = []
        decode, extend = self._router.decode, readings.extend
        for arrival in arrivals:
            try:
                extend(decode(arrival))
            except DecodeError as error:
                rejections.append(Rejection(arrival.topic, error.reason, error.detail))
        detected = self._bank.update(readings)
        rejections.extend(detected.rejections)
        incidents = self._book.update(detected.anomalies, now_s)
        return Screened(detected.anomalies, incidents, rejections, self._router.take_notes(), len(readings))

    def tick(self, now_s: float, monotonic_s: float | None = None) -> Screened:
        """Let time pass: silences are noticed and incidents close. To be called about once a second.

        `monotonic_s`, where the caller has it, is a clock that never goes back; it decides how long a silence is.
        """
        anomalies = self._bank.tick(now_s, monotonic_s)
        incidents = self._book.update(anomalies, now_s)
        return Screened(anomalies, incidents, [], {}, 0)


def explain(
    incident: Incident,
    evidence: Evidence | None,
    writer: Writer | None,
    release: SpeakingRelease,
    now_s: float,
    zone: tzinfo = UTC,
) -> Summary:
    """Write the summary of one revision of an incident; a function of its arguments.

    Without a writer the text is the template's. Raises EngineError if the writer's runtime fails; call again without a writer.
    """
    facts = gather(incident, evidence)
    plan = arrange(facts, zone)
    templates = tuple(tidy(phrase(chunk)) for chunk in plan.chunks)
    if writer is not None and plan.chunks:
        sentences, decision = _written(incident, plan, templates, writer, release)
    else:
        sentences, decision = templates, _NO_WRITER
    skeleton, reasons = assemble(plan, sentences), decision.reasons
    refusal = refuse_whole(plan, skeleton)
    if refusal is not None:
        skeleton, reasons = assemble(plan, templates), (*reasons, f"refused-{refusal}")
    return Summary(
        incident_id=incident.id,
        revision=incident.revision,
        text=fill(skeleton, plan.slots),
        skeleton=skeleton,
        slots=plan.slots,
        confidence=round(decision.confidence, 6),
        route="template" if refusal is not None else decision.route,
        verdict="escalate" if refusal is not None else decision.verdict,
        reasons=(*reasons, *facts.reasons),
        release=release.id,
        written_s=now_s,
        asset=incident.asset,
        state=incident.state,
        evidence=facts.evidence,
    )


def _written(
    incident: Incident, plan: Plan, templates: tuple[str, ...], writer: Writer, release: SpeakingRelease
) -> tuple[tuple[str, ...], Decision]:
    """The sentences that stand for the chunks, each the writer's or the template's, and what was decided over them."""
    drafts = writer.write([prompt_of(chunk, style_of(incident.id, place)) for place, chunk in enumerate(plan.chunks)])
    judged = [
        Judged(refusal=refuse_chunk(chunk, draft, release.lexicon), score=score(release.rule, draft))
        for chunk, draft in zip(plan.chunks, drafts, strict=True)
    ]
    decision = decide(judged, release.rule.threshold, storm=incident.storm)
    sentences = (
        tidy(draft.skeleton) if chosen else template
        for draft, template, chosen in zip(drafts, templates, decision.by_writer, strict=True)
    )
    return tuple(sentences), decision


def plan_of(incident: Incident, evidence: Evidence | None, zone: tzinfo = UTC) -> Plan:
    """What is to be said of an incident: what a stronger model is asked to phrase, and what its answer is held against."""
    return arrange(gather(incident, evidence), zone)


def revise(
    summary: Summary, incident: Incident, wordings: Sequence[str], model: str, now_s: float, zone: tzinfo = UTC
) -> Summary | str:
    """The summary with a stronger model's wording of each chunk in it, or why that may not be published, as a stable word.

    `incident` is the revision that the summary is of. The same verifier judges as for the writer on the device; the tail, the
    past incident and every printed fact stay ours.
    """
    plan = plan_of(incident, summary.evidence, zone)
    if len(wordings) != len(plan.chunks):
        return "count-wrong"
    for chunk, wording in zip(plan.chunks, wordings, strict=True):
        refusal = refuse_wording(chunk, wording)
        if refusal is not None:
            return refusal
    skeleton = assemble(plan, tuple(tidy(wording) for wording in wordings))
    refusal = refuse_whole(plan, skeleton)
    if refusal is not None:
        return refusal
    return replace(
        summary,
        text=fill(skeleton, plan.slots),
        skeleton=skeleton,
        slots=plan.slots,
        route="cloud",
        verdict="local",
        written_s=now_s,
        revised=True,
        model=model,
    )
