#!/usr/bin/env python3
"""Measure detection on labelled public series, beside two naive detectors in the same run.

    evaluate_detection.py DATA [--nab-scorer SCRIPT] [--json OUT.json] [--classifier]

DATA holds any of `nab/` (Numenta Anomaly Benchmark, with windows.json), `skab/` (Skoltech Anomaly Benchmark, `;`-separated) and
`merlion_synth/` (synthetic series with an `anomaly` column). Every series is a stream, and all go through one bank in
lock-step, strictly online; streams do not influence each other. Reported:

* NAB: the standard profile at the best threshold over all files, by SCRIPT (called as `SCRIPT DATA/nab SCORES`).
* SKAB: F1 over all rows at the best threshold whose false-alarm rate is at most 15 %, the score of a row being the highest of
  its sensors; and anomalies a sensor and hour in the anomaly-free run.
* Synthetic: labelled spans in which an anomaly began, by the kind in the file's name, and anomalies elsewhere a day.

The naive detectors: the deviation from an exponentially weighted mean in exponentially weighted deviations, and noise.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the checkout need not be installed

from edge_agent.config.settings import DetectSettings
from edge_agent.detect.bank import DetectorBank
from edge_agent.detect.contract import Classifier
from edge_agent.engines.loading import open_release
from edge_agent.messages.times import parse_time
from edge_agent.values import Anomaly, Reading

LABELS = ("anomaly", "changepoint", "label")
MOST_FALSE_ALARMS = 0.15
NAIVE_GAIN = 1 / 128
_LATER_S = 1e-3

Scores = dict[str, NDArray[np.float64]]


class Series(Struct, frozen=True):
    """One stream of a file."""

    file: Path
    stamps: list[str]
    times_s: list[float]
    values: list[float]
    labels: NDArray[np.bool_]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--nab-scorer", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--classifier", action="store_true", help="name kinds with the shipped classifier")
    options = parser.parse_args()
    series = dict(load(options.data))
    if not series:
        print(f"{options.data}: holds none of nab/, skab/, merlion_synth/", file=sys.stderr)
        return 1
    scores, anomalies = ours(series, open_release().open_classifier() if options.classifier else None)
    results = {
        "edge-agent": report(options, series, scores),
        "moving z-score": report(options, series, {name: naive(one.values) for name, one in series.items()}),
        "noise": report(options, series, noise(series)),
    }
    results["edge-agent"] |= spans_found(series, anomalies) | calm_run(series, anomalies)
    for detector, figures in results.items():
        for figure, value in figures.items():
            print(f"{detector:15s} {figure:40s} {value}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    return 0


def load(data: Path) -> Iterator[tuple[str, Series]]:
    """Every stream under `data`, named `folder/file:column`."""
    for path in sorted(data.rglob("*.csv")):
        with path.open(newline="") as file:
            head = file.readline()
            delimiter = ";" if ";" in head else ","
            names = head.strip().split(delimiter)
            rows = list(csv.reader(file, delimiter=delimiter))
        stamps = [row[0] for row in rows]
        times_s = [float(stamp) if re.fullmatch(r"[\d.]+", stamp) else parse_time(stamp) for stamp in stamps]
        marked = names.index("anomaly") if "anomaly" in names else None
        labels = np.array([marked is not None and float(row[marked]) > 0 for row in rows])
        for i, name in enumerate(names[1:], start=1):
            if name not in LABELS:
                values = [float(row[i]) for row in rows]
                yield f"{path.relative_to(data)}:{name}", Series(path, stamps, times_s, values, labels)


def ours(series: Mapping[str, Series], classifier: Classifier | None) -> tuple[Scores, dict[str, list[Anomaly]]]:
    bank = DetectorBank(DetectSettings(max_streams=max(len(series), 1)), classifier)
    scores = {name: np.zeros(len(one.values)) for name, one in series.items()}
    told: dict[str, dict[float, Anomaly]] = {name: {} for name in series}
    now_s = dict.fromkeys(series, -np.inf)
    for i in range(max(len(one.values) for one in series.values())):
        readings = []
        for name, one in series.items():
            if i < len(one.values):
                time_s = one.times_s[i]
                now_s[name] = time_s if time_s > now_s[name] else now_s[name] + _LATER_S
                readings.append(Reading(name, float(now_s[name]), one.values[i]))
        detected = bank.update(readings)
        for reading, score in zip(readings, detected.scores, strict=True):
            scores[reading.stream][i] = score
        for anomaly in detected.anomalies:
            told[anomaly.stream][anomaly.onset_s] = anomaly
    return scores, {name: list(anomalies.values()) for name, anomalies in told.items()}


def naive(values: list[float]) -> NDArray[np.float64]:
    """Deviation from a moving mean, in moving deviations, squeezed into [0, 1); 0 in the first 64 readings."""
    scores = np.zeros(len(values))
    mean, variance = values[0], 0.0
    for i, value in enumerate(values[1:], start=1):
        error = value - mean
        if i >= 64 and variance > 0:
            z = abs(error) / variance**0.5
            scores[i] = z / (z + 4.0)
        gain = max(NAIVE_GAIN, 1 / (i + 1))
        mean += gain * error
        variance = (1 - gain) * (variance + gain * error * error)
    return scores


def noise(series: Mapping[str, Series]) -> Scores:
    rng = np.random.default_rng(0)
    return {name: rng.random(len(one.values)) for name, one in series.items()}


def report(options: argparse.Namespace, series: Mapping[str, Series], scores: Scores) -> dict[str, object]:
    """The figures that follow from scores alone."""
    figures: dict[str, object] = {}
    nab = options.data / "nab"
    if options.nab_scorer and nab.is_dir():
        figures["NAB standard, best threshold"] = nab_standard(options.nab_scorer, nab, series, scores)
    by_file: dict[Path, list[str]] = defaultdict(list)
    for name, one in series.items():
        if (options.data / "skab") in one.file.parents and one.labels.any():
            by_file[one.file].append(name)
    if by_file:
        highest = np.concatenate([np.max([scores[name] for name in names], axis=0) for names in by_file.values()])
        truth = np.concatenate([series[names[0]].labels for names in by_file.values()])
        f1, threshold, false_alarms = best_f1(truth, highest)
        figures["SKAB F1 at <= 15 % false alarms"] = f"{f1:.3f} (threshold {threshold:.3f}, false alarms {false_alarms:.3f})"
        figures["SKAB rows"] = len(truth)
    return figures


def nab_standard(scorer: Path, nab: Path, series: Mapping[str, Series], scores: Scores) -> str:
    with tempfile.TemporaryDirectory() as folder:
        for name, one in series.items():
            if nab in one.file.parents:
                target = Path(folder) / one.file.relative_to(nab)
                target.parent.mkdir(parents=True, exist_ok=True)
                lines = (f"{stamp},{score:.6f}\n" for stamp, score in zip(one.stamps, scores[name], strict=True))
                target.write_text("timestamp,anomaly_score\n" + "".join(lines))
        done = subprocess.run(
            [sys.executable, str(scorer), str(nab), folder], capture_output=True, text=True, check=False, timeout=300
        )
    if done.returncode:
        return f"not scored: {done.stderr.strip()}"
    return next(line for line in done.stdout.splitlines() if line.startswith("standard")).removeprefix("standard").strip()


def best_f1(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> tuple[float, float, float]:
    """Highest F1 with its threshold and false-alarm rate, among thresholds with at most `MOST_FALSE_ALARMS`."""
    best = (0.0, 1.0, 0.0)
    for threshold in np.unique(np.append(np.quantile(scores, np.linspace(0.5, 0.9995, 200)), 0.5)):
        said = scores >= threshold
        false_alarms = float(np.mean(said[~truth]))
        hits = float(np.sum(said & truth))
        f1 = 2 * hits / max(float(np.sum(said) + np.sum(truth)), 1.0)
        if false_alarms <= MOST_FALSE_ALARMS and f1 > best[0]:
            best = (f1, float(threshold), false_alarms)
    return best


def spans_found(series: Mapping[str, Series], anomalies: Mapping[str, list[Anomaly]]) -> dict[str, object]:
    """By the kind in the file's name: labelled spans in which an anomaly began, as what kinds, and anomalies elsewhere."""
    found: dict[str, list[Counter[str]]] = defaultdict(lambda: [Counter(), Counter()])
    for name, one in series.items():
        match = re.search(r"_(spike|dip|level|shock|trend)_anomaly\.csv", name)
        if not match:
            continue
        tally, kinds = found[match[1]]
        edges = np.flatnonzero(np.diff(np.r_[False, one.labels, False].astype(int)))
        inside = 0
        for first, after in edges.reshape(-1, 2):
            end_s = one.times_s[min(after, len(one.times_s) - 1)]
            begun = sorted((a for a in anomalies[name] if one.times_s[first] <= a.onset_s <= end_s), key=lambda a: a.onset_s)
            tally["spans"] += 1
            tally["found"] += bool(begun)
            inside += len(begun)
            kinds.update(a.kind for a in begun[:1])
        tally["elsewhere"] += len(anomalies[name]) - inside
        tally["hours"] += round((one.times_s[-1] - one.times_s[0]) / 3600)
    return {
        f"synthetic {kind}": f"{tally['found']}/{tally['spans']} found as {dict(kinds)}, "
        f"{24 * tally['elsewhere'] / max(tally['hours'], 1):.2f} elsewhere a stream and day"
        for kind, (tally, kinds) in sorted(found.items())
    }


def calm_run(series: Mapping[str, Series], anomalies: Mapping[str, list[Anomaly]]) -> dict[str, object]:
    names = [name for name in series if "anomaly-free" in name]
    if not names:
        return {}
    hours = sum(series[name].times_s[-1] - series[name].times_s[0] for name in names) / 3600
    return {"SKAB anomaly-free": f"{sum(len(anomalies[name]) for name in names)} anomalies in {hours:.1f} sensor-hours"}


if __name__ == "__main__":
    sys.exit(main())
