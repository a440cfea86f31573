"""The comparison at the end of the demo: which of the faults that really were did the agent find, and what did it add?

Rules: pure; times are seconds since the simulation's start. An anomaly belongs to a fault of its stream if it begins
within the fault or shortly after it, because the way back to the usual level is a change too.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from edge_agent.demo.pump import Fault

EARLY_S = 1.0
AFTERMATH_S = 6.0
ENOUGH_TIME_S = 6.0
"""A fault that began this shortly before the end is not held against the agent."""


class Found(Struct, frozen=True):
    """An anomaly as the agent published it first."""

    stream: str
    kind: str
    direction: str
    onset_s: float
    said_s: float
    """When it was published."""


class Match(Struct, frozen=True):
    """One fault and what was found of it, first to last."""

    fault: Fault
    found: tuple[Found, ...]

    @property
    def named(self) -> Found | None:
        """The first anomaly that names the fault as what it is."""
        return next((found for found in self.found if found.kind == self.fault.kind), None)


class Comparison(Struct, frozen=True):
    """Faults with what was found of them, and what was found beside them."""

    matches: tuple[Match, ...]
    beside: tuple[Found, ...]
    """Anomalies of simulated streams with no fault behind them."""
    unjudged: int
    """Anomalies of other streams, for which there is no truth."""


def compare(faults: Sequence[Fault], found: Sequence[Found], streams: Sequence[str], ended_s: float) -> Comparison:
    """Compare the truth of the simulated `streams` with what was found until `ended_s`."""
    due = [fault for fault in faults if fault.start_s + ENOUGH_TIME_S <= ended_s]
    begun = [fault for fault in faults if fault.start_s <= ended_s]
    simulated = [one for one in found if one.stream in set(streams)]
    matches = tuple(Match(fault, tuple(one for one in simulated if _belongs(one, fault))) for fault in due)
    beside = tuple(one for one in simulated if not any(_belongs(one, fault) for fault in begun))
    return Comparison(matches, beside, len(found) - len(simulated))


def _belongs(found: Found, fault: Fault) -> bool:
    return found.stream == fault.stream and fault.start_s - EARLY_S <= found.onset_s <= fault.end_s + AFTERMATH_S


def lines(comparison: Comparison) -> list[str]:
    """The comparison for people."""
    if not comparison.matches:
        return ["No fault of the simulation was due yet; let it run for longer."]
    out = ["What really happened on the pump line, and what the agent found:"]
    out += [_line(match) for match in comparison.matches]
    found = sum(1 for match in comparison.matches if match.found)
    named = sum(1 for match in comparison.matches if match.named)
    count = len(comparison.matches)
    out.append(f"{found} of {count} faults found, {named} named as what they are.")
    out.append(f"{_anomalies(len(comparison.beside))} of the pumps without a fault behind them.")
    out += [f"  at {one.onset_s:6.1f} s  {one.stream}: {one.kind} {one.direction}" for one in comparison.beside]
    if comparison.unjudged:
        out.append(f"{_anomalies(comparison.unjudged)} of this host's own metrics, for which there is no truth to compare with.")
    return out


def _anomalies(count: int) -> str:
    return f"{count} anomal{'y' if count == 1 else 'ies'}"


def _line(match: Match) -> str:
    fault = match.fault
    best = match.named or (match.found[0] if match.found else None)
    what = f"  at {fault.start_s:6.1f} s  {fault.stream:<20} {_words(fault.kind, fault.direction):<11}"
    if best is None:
        return f"{what}  missed"
    return f"{what}  found after {max(0.0, best.said_s - fault.start_s):4.1f} s as {_words(best.kind, best.direction)}"


def _words(kind: str, direction: str) -> str:
    return kind if direction == "none" or kind in ("spike", "dip") else f"{kind} {direction}"
