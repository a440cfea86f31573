"""What a trained fault classifier can do, measured on cases it has not seen, as numbers and as a table for people.

Rules: no TensorFlow; the model is asked through `detect.contract.Classifier`, as the agent asks it; nothing is tuned here.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from edge_agent.detect import CLASSES
from edge_agent.detect.contract import WINDOW_READINGS, Classified, Classifier
from edge_agent.engines.memory import SIMILARITY_FLOOR
from edge_ota.train.classifier_data import DataSet

AGE_BANDS: tuple[tuple[int, int], ...] = ((1, 4), (5, 15), (16, 31), (32, WINDOW_READINGS))
"""Abnormal readings in the window, inclusive: just opened, young, asked again after 16, asked again after 32."""
QUANTILES = (0.01, 0.05, 0.5)
FALSE_MATCH_SHARES = (0.05, 0.01, 0.001)
COMPARED_EVENTS = 2_000


class Report(Struct, frozen=True, kw_only=True):
    """n labelled windows against the model's answers."""

    cases: int
    accuracy: float
    confusion: tuple[tuple[int, ...], ...]
    """Rows are the true kinds, columns the answers, both in the order of CLASSES."""
    by_age: dict[str, tuple[float, ...]]
    """Age band -> share right of each class; NaN where the band has no such case."""
    by_background: dict[str, float]
    calibration_error: float
    """Expected calibration error of the winning class in ten equal-width bins (Guo et al., 2017)."""
    twin_quantiles: dict[str, float]
    """Quantiles of the cosine between the signatures of two recordings of one event."""
    floors: dict[str, tuple[float, float]]
    """Share of other kinds' events let through -> the cosine that lets through no more, and the share of twins it keeps."""
    at_agents_floor: tuple[float, float, float]
    """Shares that reach `SIMILARITY_FLOOR`: events of other kinds, other events of the same kind, twins."""


def evaluate(classifier: Classifier, data: DataSet) -> Report:
    """Ask `classifier` about every window of `data` and its twin. Raises EngineError."""
    answers = classifier.classify(data.windows)
    twins = classifier.classify(data.twins)
    said = answers.probabilities.argmax(axis=1)
    right = said == data.labels
    confusion = np.zeros((len(CLASSES), len(CLASSES)), dtype=np.int64)
    np.add.at(confusion, (data.labels, said), 1)
    backgrounds = np.array(data.backgrounds)
    quantiles, floors, at_agents_floor = _likeness(answers, twins, data.labels)
    return Report(
        cases=len(right),
        accuracy=float(right.mean()),
        confusion=tuple(tuple(int(each) for each in row) for row in confusion),
        by_age={f"{low}-{high}": _shares(right, data, low, high) for low, high in AGE_BANDS},
        by_background={str(name): float(right[backgrounds == name].mean()) for name in np.unique(backgrounds)},
        calibration_error=_calibration_error(answers.probabilities.max(axis=1), right),
        twin_quantiles=quantiles,
        floors=floors,
        at_agents_floor=at_agents_floor,
    )


def as_table(report: Report) -> str:
    """The report as lines of fixed-width text."""
    wide = max(len(name) for name in CLASSES) + 2
    lines = [f"{report.cases} held-out cases, {report.accuracy:.1%} right, calibration error {report.calibration_error:.3f}", ""]
    lines.append("true kind".ljust(11) + "".join(name.rjust(wide) for name in CLASSES) + "  right")
    for name, row in zip(CLASSES, report.confusion, strict=True):
        share = row[CLASSES.index(name)] / max(1, sum(row))
        lines.append(name.ljust(11) + "".join(str(each).rjust(wide) for each in row) + f"  {share:.1%}")
    lines += ["", "right by abnormal readings in the window"]
    for band, shares in report.by_age.items():
        cells = ("-" if np.isnan(share) else f"{share:.0%}" for share in shares)
        lines.append(band.ljust(11) + "".join(cell.rjust(wide) for cell in cells))
    lines += ["", "right by background: " + ", ".join(f"{name} {share:.0%}" for name, share in report.by_background.items())]
    quantiles = ", ".join(f"{name} {value:.3f}" for name, value in report.twin_quantiles.items())
    lines.append(f"likeness of two recordings of one event, quantiles: {quantiles}")
    for let_through, (floor, kept) in report.floors.items():
        lines.append(
            f"likeness floor {floor:.3f} lets through {let_through} of other kinds' events and keeps {kept:.1%} of the same"
        )
    other, same, twin = report.at_agents_floor
    lines.append(
        f"the agent's floor {SIMILARITY_FLOOR} lets through {other:.2%} of other kinds' events and {same:.1%} of other events"
        f" of the same kind, and keeps {twin:.1%} of the same"
    )
    return "\n".join(lines)


def _shares(right: NDArray[np.bool_], data: DataSet, low: int, high: int) -> tuple[float, ...]:
    band = (data.ages >= low) & (data.ages <= high)
    chosen = [right[band & (data.labels == label)] for label in range(len(CLASSES))]
    return tuple(float(each.mean()) if each.size else float("nan") for each in chosen)


def _calibration_error(confidence: NDArray[np.float32], right: NDArray[np.bool_]) -> float:
    bins = np.minimum((confidence * 10).astype(np.int64), 9)
    inside = [bins == each for each in np.unique(bins)]
    return float(sum(abs(confidence[here].mean() - right[here].mean()) * here.mean() for here in inside))


def _likeness(
    answers: Classified, twins: Classified, labels: NDArray[np.int64]
) -> tuple[dict[str, float], dict[str, tuple[float, float]], tuple[float, float, float]]:
    """Cosines of twins, of events of different kinds, of different events of a kind; normal windows are no events."""
    events = labels != CLASSES.index("normal")
    first, second = _unit(answers.signatures[events]), _unit(twins.signatures[events])
    twin = (first * second).sum(axis=1)
    # The first ones hold all kinds alike; all pairs of all events would be too many.
    kinds = labels[events][:COMPARED_EVENTS]
    cosines = first[:COMPARED_EVENTS] @ second[:COMPARED_EVENTS].T
    alike = kinds[:, None] == kinds[None, :]
    other_kind, same_kind = cosines[~alike], cosines[alike & ~np.eye(len(kinds), dtype=np.bool_)]
    quantiles = {f"{q:g}": float(np.quantile(twin, q)) for q in QUANTILES}
    floors = {}
    for share in FALSE_MATCH_SHARES:
        floor = float(np.quantile(other_kind, 1.0 - share))
        floors[f"{share:.1%}"] = (floor, float((twin >= floor).mean()))
    reach = tuple(float((group >= SIMILARITY_FLOOR).mean()) for group in (other_kind, same_kind, twin))
    return quantiles, floors, (reach[0], reach[1], reach[2])


def _unit(signatures: NDArray[np.int8]) -> NDArray[np.float64]:
    vectors = signatures.astype(np.float64)
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1.0))
