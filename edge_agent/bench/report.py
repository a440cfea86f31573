"""Figures as they are reported: each with its unit, its number of samples and its comparison; as a table and as JSON.

Rules: pure; a figure that could not be taken has no value and says why in `note`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct


class Figure(Struct, frozen=True, kw_only=True):
    """One measured figure beside what it is compared with."""

    part: str
    name: str
    value: float | None
    unit: str
    n: int
    """Samples behind the value: messages, readings or runs, as the name says."""
    against: str = ""
    """What it is compared with; empty where nothing is comparable."""
    against_value: float | None = None
    aim: str = ""
    note: str = ""


class Report(Struct, frozen=True, kw_only=True):
    """All figures of one run, and the machine they were taken on."""

    version: str
    machine: str
    started: str
    figures: tuple[Figure, ...]


def percentile(samples: Sequence[float], percent: float) -> float | None:
    """The nearest-rank percentile; None of no samples."""
    if not samples:
        return None
    ordered = sorted(samples)
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[int(rank) - 1]


def to_json(report: Report) -> bytes:
    """The report as indented JSON, with a line break at its end."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def to_table(report: Report) -> str:
    """The report for people, one figure a line."""
    rows = [("figure", "value", "n", "compared with", "value", "aim")]
    part = ""
    for figure in report.figures:
        if figure.part != part:
            part = figure.part
            rows.append((part.upper(), "", "", "", "", ""))
        value = _number(figure.value, figure.unit)
        against = _number(figure.against_value, figure.unit) if figure.against else ""
        rows.append(("  " + figure.name, value, f"{figure.n:,}", figure.against, against, figure.aim))
        if figure.note:
            rows.append(("    " + figure.note, "", "", "", "", ""))
    # Notes and part names may run on: they do not make the first column wider.
    widths = [max(len(row[column]) for row in rows if column or row[1]) for column in range(6)]
    right = (False, True, True, False, True, False)
    lines = [
        "  ".join(
            cell.rjust(width) if at_right else cell.ljust(width) for cell, width, at_right in zip(row, widths, right, strict=True)
        )
        for row in rows
    ]
    head = f"edge-agent {report.version} on {report.machine}, {report.started}"
    return "\n".join([head, "", *(line.rstrip() for line in lines)]) + "\n"


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "not taken"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}".rstrip()
