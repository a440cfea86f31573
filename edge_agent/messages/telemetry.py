"""Telemetry: counts about the agent itself for whoever runs many gateways, and nothing else, as types that hold nothing else.

Every text in it is one of our own words from the lists below; what is not in them is counted as `other`. There are no names, no
ids, no values, no sentences, no times of events, and nothing that says which gateway it is.

Rules: pure; fails closed. `telemetry_body` believes nothing of the value it is given: types, words and numbers are checked once
more, and what does not fit does not leave. The schema stands in `docs/formats/telemetry.md`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Annotated, Final, Literal, TypeAlias, get_args

import msgspec
from msgspec import Meta, Struct

from edge_agent.egress.closed import rebuilt, refusal
from edge_agent.errors import EgressError
from edge_agent.messages.documents import Health
from edge_agent.messages.topics import Topics
from edge_agent.values import KINDS, EscalationState, Message, Route

TELEMETRY_SCHEMA: Final = "edge-agent-telemetry/1"
MAX_BYTES: Final = 16_384
_CALLED: Final = "telemetry"
OTHER: Final = "other"
"""Stands for every word that is not in a list."""

Latency: TypeAlias = Literal["arrival_to_anomaly", "incident_to_summary"]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=1 << 53)]

REASONS: Final = (
    "no-writer", "low-confidence", "storm", "explaining-failed", "writer-not-loaded", "writer-failed", "memory-failed",
    "refused-digit-outside-slot", "refused-ending-wrong", "refused-free-text", "refused-not-in-lexicon", "refused-role-wrong",
    "refused-slot-foreign", "refused-slot-missing", "refused-slot-repeated", "refused-too-long", "refused-unfinished",
    "refused-whole-wrong", "ongoing-before-another", "observed-not-finite", "baseline-not-finite", "end-before-onset",
    "baseline-contradicts-direction", "spread-not-above-usual",
)  # fmt: skip
"""Why a summary is not the writer's alone, or was not certain, and what was left out of it."""
DROPS: Final = (
    "bad-encoding", "bad-json", "bad-line", "bad-senml", "bad-stream-name", "bad-time", "bad-topic", "bad-unit",
    "callback-error", "classifier-failed", "clock-unset", "damaged-file", "damaged-row", "buried", "dead-letter-expired",
    "duplicate-key", "empty", "escalation-expired", "file-full", "incident-expired", "log-shortened", "no-route", "no-value",
    "not-a-number", "not-finite", "out-of-order", "out-of-range", "outbox-full", "queue-full", "request-queue-full",
    "request-refused", "retained-request", "screening-failed", "storing-failed", "time-out-of-window", "too-deep", "too-large",
    "too-many-streams", "too-many-values", "too-old", "unreadable-row", "write-budget",
)  # fmt: skip
"""What was set aside, dropped or given up."""
ROUTES: Final[tuple[Route, ...]] = get_args(Route)
FATES: Final[tuple[EscalationState, ...]] = get_args(EscalationState)
LATENCIES: Final[tuple[Latency, ...]] = get_args(Latency)

_VERSION = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,4}){1,3}(?:(?:a|b|rc|\.dev|\.post)[0-9]{1,4})?")
_RELEASE = re.compile(r"factory-[0-9]{1,6}|template-only")
"""Releases that this program names itself; what an operator named could name the operator."""


class QuantilesMs(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A latency in milliseconds over its newest samples, each to two significant digits."""

    p50: Count
    p95: Count
    p99: Count


class Telemetry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that leaves. Counts are since the start of the agent; what is 0 is left out of the lists."""

    schema: Literal["edge-agent-telemetry/1"] = TELEMETRY_SCHEMA
    agent: str
    """The agent's version."""
    release: str
    """The release that speaks, if it is one that this program names; else `other`."""
    uptime_hours: Count
    readings: Count
    anomalies: dict[str, Count]
    """By kind, each counted when it ended."""
    incidents: Count
    summaries: dict[str, Count]
    """By route."""
    reasons: dict[str, Count]
    escalations: dict[str, Count]
    """By state; one may have been in several."""
    drops: dict[str, Count]
    latency_ms: dict[str, QuantilesMs]


def telemetry_of(
    health: Health, *, uptime_s: float, kinds: Mapping[str, int], latency_s: Mapping[str, tuple[float, float, float]]
) -> Telemetry:
    """What may leave of the agent's figures. `kinds` counts ended anomalies; `latency_s` gives p50, p95, p99 by latency."""
    counts = health.counts
    return Telemetry(
        agent=health.version if _VERSION.fullmatch(health.version) else OTHER,
        release=health.release if _RELEASE.fullmatch(health.release) else OTHER,
        uptime_hours=_count(round(uptime_s / 3_600.0)),
        readings=_count(counts.get("readings", 0)),
        anomalies=_known(kinds, KINDS),
        incidents=_count(counts.get("incidents_opened", 0)),
        summaries=_known(_below(counts, "summaries_by_"), ROUTES),
        reasons=_known(_below(counts, "summaries_because_"), REASONS),
        escalations=_fates(counts),
        drops=_known(health.drops, DROPS),
        latency_ms={name: _quantiles(latency_s[name]) for name in LATENCIES if name in latency_s},
    )


def telemetry_body(telemetry: Telemetry) -> bytes:
    """The exact bytes that leave: canonical JSON, keys sorted, no spaces.

    Raises EgressError if anything in it is not what the schema allows; then nothing may leave.
    """
    checked = rebuilt(telemetry, Telemetry, _CALLED)
    for words, allowed in (
        (checked.anomalies, KINDS),
        (checked.summaries, ROUTES),
        (checked.reasons, REASONS),
        (checked.escalations, FATES),
        (checked.drops, DROPS),
        (checked.latency_ms, LATENCIES),
    ):
        if not set(words) <= {*allowed, OTHER}:
            raise _refusal("has a word that is in no list")
    if checked.agent != OTHER and not _VERSION.fullmatch(checked.agent):
        raise _refusal("has a version that is none")
    if checked.release != OTHER and not _RELEASE.fullmatch(checked.release):
        raise _refusal("has a release that this program does not name")
    body = msgspec.json.encode(checked, order="sorted")
    if len(body) > MAX_BYTES:
        raise _refusal(f"is {len(body):,} bytes long, more than {MAX_BYTES:,}")
    return body


def telemetry_message(topics: Topics, body: bytes) -> Message:
    """The body on the gateway's topic: what carries it names the gateway, the body does not."""
    return Message(topic=topics.telemetry, payload=body, priority=0)


def _fates(counts: Mapping[str, int]) -> dict[str, int]:
    """Escalations by state: `escalations_refused_role-wrong` counts as refused."""
    found: dict[str, int] = {}
    for label, count in _below(counts, "escalations_").items():
        state = label.partition("_")[0]
        if state in FATES:
            found[state] = found.get(state, 0) + count
    return _known(found, FATES)


def _below(counts: Mapping[str, int], prefix: str) -> dict[str, int]:
    return {label.removeprefix(prefix): count for label, count in counts.items() if label.startswith(prefix)}


def _known(counts: Mapping[str, int], words: Collection[str]) -> dict[str, int]:
    """Counts of known words; the rest together as `other`."""
    found: dict[str, int] = {}
    for word, count in counts.items():
        if count > 0:
            kept = word if word in words else OTHER
            found[kept] = _count(found.get(kept, 0) + count)
    return found


def _quantiles(quantiles_s: tuple[float, float, float]) -> QuantilesMs:
    p50, p95, p99 = (_rounded(1_000.0 * value) for value in quantiles_s)
    return QuantilesMs(p50=p50, p95=p95, p99=p99)


def _rounded(value: float) -> int:
    """A whole number of two significant digits."""
    if not math.isfinite(value) or value < 1:
        return 0
    step = 10 ** max(0, math.floor(math.log10(value)) - 1)
    return _count(round(value / step) * step)


def _count(value: int) -> int:
    return min(max(value, 0), 1 << 53)


def _refusal(what: str) -> EgressError:
    return refusal(_CALLED, what)
