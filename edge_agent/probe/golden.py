"""Golden cases of a release, and how what is written here is compared with them.

INT8 answers are the same wherever instruction set, matrix library and runtime are (`engines.instruction_set`). So where they are
those of the builder, and the verifier too, the release must write what it wrote there. Elsewhere a rounding may turn a word, and
what counts is that the writer is still believed: the verifier may refuse it in one case of ten that it wrote there, and in half
of them at least it must speak, by itself or beside the template: the confidence threshold need not be the builder's either.

Rules: pure. A text that the builder's agent made of templates alone is not compared: an agent, not the release, is behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from edge_agent.errors import IncidentFormatError, ReleaseError
from edge_agent.messages import parse_incident
from edge_agent.release.certificate import Machine
from edge_agent.values import Incident, Route, Summary

MAX_GOLDEN_BYTES = 16 << 20
MAX_CASES = 64
"""Of more, as many are tried, evenly spread over them: a slow device would try all of a long list for hours."""
_SHOWN_CHARACTERS = 120


class _Case(Struct, frozen=True):
    incident: msgspec.Raw
    text: str
    route: Route


class _Document(Struct, frozen=True):
    format: Literal["edge-agent-golden/1"]
    cases: Annotated[tuple[_Case, ...], Meta(min_length=1)]
    machine: Machine | None = None


class GoldenCase(Struct, frozen=True):
    """An incident, and what the release said of it where it was built."""

    incident: Incident
    text: str
    route: Route


class Golden(Struct, frozen=True):
    """The golden cases to be tried. `machine`: where they were written; None where the file does not say."""

    cases: tuple[GoldenCase, ...]
    machine: Machine | None


def parse_golden(data: bytes, source: str) -> Golden:
    """Read `golden.json`. Raises ReleaseError that names `source` and what is wrong."""
    if len(data) > MAX_GOLDEN_BYTES:
        raise ReleaseError(f"{source}: larger than {MAX_GOLDEN_BYTES} bytes: not golden cases")
    try:
        document = msgspec.json.decode(data, type=_Document)
        cases = tuple(
            GoldenCase(parse_incident(bytes(case.incident), f"{source}: case {number}"), case.text, case.route)
            for number, case in _spread(document.cases)
        )
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, IncidentFormatError) as error:
        raise ReleaseError(f"{source}: not golden cases: {error}") from error
    return Golden(cases, document.machine)


def differing(cases: Sequence[GoldenCase], summaries: Sequence[Summary]) -> list[str]:
    """One line for each case that came out otherwise, in words."""
    lines = []
    for case, summary in zip(cases, summaries, strict=True):
        if case.route != summary.route:
            why = f" ({', '.join(summary.reasons)})" if summary.reasons else ""
            lines.append(f"incident {case.incident.id}: by {summary.route} instead of {case.route}{why}")
        elif case.route != "template" and case.text != summary.text:
            lines.append(f"incident {case.incident.id}: {_short(summary.text)!r} instead of {_short(case.text)!r}")
    return lines


def believed(summaries: Sequence[Summary]) -> str:
    """Why the writer is not to be believed after these, of each of which it should have spoken; empty where it is."""
    refused = [summary for summary in summaries if any(reason.startswith("refused-") for reason in summary.reasons)]
    allowed = (len(summaries) + 5) // 10
    if len(refused) > allowed:
        first = refused[0]
        return (
            f"the verifier refused the writer in {len(refused)} of {len(summaries)} incidents, at most {allowed} are allowed;"
            f" the first is {first.incident_id} ({', '.join(first.reasons)})"
        )
    spoken = sum(summary.route in ("writer", "mixed") for summary in summaries)
    if 2 * spoken < len(summaries):
        return f"the writer was sure enough to speak in {spoken} of {len(summaries)} incidents, at least half are expected"
    return ""


def _spread(cases: Sequence[_Case]) -> list[tuple[int, _Case]]:
    count = min(len(cases), MAX_CASES)
    places = [index * len(cases) // count for index in range(count)]
    return [(place + 1, cases[place]) for place in places]


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
