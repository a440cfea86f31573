"""Recorded series, replayed through a real mosquitto into a real agent process, and everything published checked.

The public series (NAB, SKAB) stand beside the checkout in `shared/data`; where they are absent those tests are skipped and
the project's own recording of a host's metrics (made by `scripts/record`) still runs.
"""

from __future__ import annotations

import csv
import json
import math
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edge_agent.messages import parse_incident, unescape_stream
from edge_agent.values import KINDS
from tests.agent import BASE, AgentProcess, Watcher, eventually
from tests.mosquitto import Mosquitto

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"
LABELS = ("anomaly", "changepoint")
MAX_ROWS = 4_000
TOLERANCE = 0.02
"""A sentence rounds to four significant digits or fewer."""

SERIES = [
    pytest.param(ROOT / "tests/recordings/host.csv", 0, id="own-host"),
    pytest.param(
        SHARED / "nab/realKnownCause/ambient_temperature_system_failure.csv", 1, id="nab-ambient", marks=pytest.mark.shared
    ),
    pytest.param(SHARED / "nab/artificialNoAnomaly/art_daily_small_noise.csv", 0, id="nab-quiet", marks=pytest.mark.shared),
    pytest.param(SHARED / "skab/valve1/2.csv", 1, id="skab-valve1-2", marks=pytest.mark.shared),
    pytest.param(SHARED / "skab/valve1/4.csv", 1, id="skab-valve1-4", marks=pytest.mark.shared),
]
"""Each with the least number of incidents that it must make."""


def rows_of(path: Path) -> list[tuple[float, dict[str, float]]]:
    """Time and values of each row, without labels and empty cells."""
    with path.open(newline="") as file:
        head = file.readline()
        delimiter = ";" if ";" in head else ","
        names = next(csv.reader([head], delimiter=delimiter))
        rows = []
        for row in csv.reader(file, delimiter=delimiter):
            at = datetime.fromisoformat(row[0]).replace(tzinfo=UTC).timestamp()
            values = {
                re.sub(r"\W+", "-", name): float(cell)
                for name, cell in zip(names[1:], row[1:], strict=True)
                if name not in LABELS and cell and math.isfinite(float(cell))
            }
            rows.append((at, values))
    return rows[:MAX_ROWS]


class Replay:
    """What the agent published while a series was replayed, each document in the order it came."""

    def __init__(self, watcher: Watcher, rows: list[tuple[float, dict[str, float]]], asset: str) -> None:
        self.rows = rows
        self.streams = {f"{asset}/{name}" for _, values in rows for name in values}
        self.anomalies = watcher.documents("anomaly/")
        self.anomaly_topics = {m.topic.removeprefix(f"{BASE}/anomaly/") for m in watcher.on("anomaly/")}
        self.incidents: dict[str, list[dict[str, Any]]] = {}
        for document in watcher.documents("incident/"):
            self.incidents.setdefault(document["id"], []).append(document)
        self.summaries: dict[str, list[dict[str, Any]]] = {}
        for document in watcher.documents("summary/"):
            self.summaries.setdefault(document["incident"], []).append(document)


def replay(folder: Path, path: Path) -> Replay:
    rows = rows_of(path)
    asset = path.parent.name
    route = {"topic": "sensors/+", "format": "json", "stream": "{2}/{field}", "qos": 1, "time": "time", "time_max_age_s": 1e9}
    with (
        Mosquitto(folder) as broker,
        AgentProcess(folder / "agent", broker.port, routes=[route]) as agent,
        Watcher(broker.port) as watcher,
    ):
        agent.start()
        readings = sum(len(values) for _, values in rows)
        # Bounded pieces, so that the broker's own queue towards the agent never overflows.
        for begin in range(0, len(rows), 500):
            watcher.send_all([(f"sensors/{asset}", {"time": at, **values}) for at, values in rows[begin : begin + 500]])

            def taken(begin: int = begin) -> bool:
                done = sum(len(values) for _, values in rows[: begin + 500])
                return bool(watcher.ask("status", {})["data"]["counts"].get("readings", 0) >= min(done, readings))

            eventually(taken, "the readings are taken in")

        def settled() -> bool:
            data = watcher.ask("status", {})["data"]
            return bool(data["queues"]["to_explain"] == 0 and data["queues"]["outbox"] <= 1 and data["queues"]["arrivals"] == 0)

        eventually(settled, "everything is explained and published")
        status = watcher.ask("status", {})["data"]
        assert status["counts"]["readings"] == readings
        assert status["drops"] == {}
        # The clean end publishes what is left; then nothing more comes.
        assert agent.stop() == 0
        eventually(lambda: [m.payload for m in watcher.on("status")][-1:] == [b"stopped"], "the clean end")
        time.sleep(0.2)
        return Replay(watcher, rows, asset)


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("path", "least"), SERIES)
def test_everything_published_of_a_recorded_series_is_right(tmp_path: Path, path: Path, least: int) -> None:
    if not path.exists():
        pytest.skip(f"{path}: not there; the public series stand beside the checkout, in shared/data")
    found = replay(tmp_path, path)
    assert len(found.incidents) >= least
    check_anomalies(found)
    check_each_anomaly_is_in_one_incident(found)
    check_incidents(found)
    check_sentences(found)


def check_anomalies(found: Replay) -> None:
    """The documented shape; spans within the series; values that a reading of that stream can have had."""
    first_s, last_s = found.rows[0][0], found.rows[-1][0]
    assert {unescape_stream(topic) for topic in found.anomaly_topics} <= found.streams
    for anomaly in found.anomalies:
        assert anomaly["stream"] in found.streams
        assert anomaly["kind"] in KINDS
        assert 0.0 <= anomaly["score"] <= 1.0
        onset_s, peak_s = seconds(anomaly["onset"]), seconds(anomaly["peak"])
        assert first_s - 1 <= onset_s <= peak_s <= last_s + 86_400
        if anomaly["end"] is not None:
            assert seconds(anomaly["end"]) >= peak_s
        if anomaly["kind"] in ("spike", "dip"):
            name = anomaly["stream"].rpartition("/")[2]
            assert any(math.isclose(values.get(name, math.nan), anomaly["observed"], rel_tol=1e-9) for _, values in found.rows)


def check_each_anomaly_is_in_one_incident(found: Replay) -> None:
    """As many anomalies are counted in all incidents as were published, and every listed one was published."""
    published = {(anomaly["stream"], anomaly["onset"]) for anomaly in found.anomalies}
    counted = sum(revisions[-1]["anomaly_count"] for revisions in found.incidents.values())
    assert counted == len(published)
    listed = [
        (anomaly["stream"], anomaly["onset"]) for revisions in found.incidents.values() for anomaly in revisions[-1]["anomalies"]
    ]
    assert len(listed) == len(set(listed)), "an anomaly stands in two incidents"
    assert set(listed) <= published


def check_incidents(found: Replay) -> None:
    """Each revision can be read back as an incident; revisions grow; a summary speaks of the last one."""
    for incident_id, revisions in found.incidents.items():
        numbers = [document["revision"] for document in revisions]
        assert numbers == sorted(set(numbers))
        for document in revisions:
            incident = parse_incident(json.dumps(document).encode(), incident_id)
            assert incident.id == incident_id
            assert incident.anomaly_count >= len(incident.anomalies)
        assert found.summaries[incident_id][-1]["revision"] == numbers[-1]


def check_sentences(found: Replay) -> None:
    """What a sentence says is in its facts, and its facts are the incident's."""
    for incident_id, summaries in found.summaries.items():
        revisions = {document["revision"]: document for document in found.incidents[incident_id]}
        for summary in summaries:
            check_numbers_come_from_facts(summary)
            incident = revisions.get(summary["revision"])
            if incident is not None:
                check_facts_come_from_incident(summary, incident)


def check_numbers_come_from_facts(summary: dict[str, Any]) -> None:
    rest = summary["text"]
    for fact in sorted(summary["facts"], key=lambda fact: -len(fact["text"])):
        rest = rest.replace(fact["text"], " ")
    assert not re.search(r"\d", rest), f"a number that is no fact: {rest!r} in {summary['text']!r}"
    assert "<" not in summary["text"]


def check_facts_come_from_incident(summary: dict[str, Any], incident: dict[str, Any]) -> None:
    streams = {anomaly["stream"] for anomaly in incident["anomalies"]}
    values = [anomaly[key] for anomaly in incident["anomalies"] for key in ("observed", "baseline")]
    for fact in summary["facts"]:
        if fact["role"] == "stream":
            assert fact["text"] in streams
        if fact["role"] in ("peak", "base") and (number := number_of(fact["text"])) is not None:
            assert any(value is not None and near(number, value) for value in values), (fact, values)


def number_of(text: str) -> float | None:
    """The plain number that a fact's text begins with; None for durations, which are written in words and parts."""
    matched = re.fullmatch(r"(-?\d[\d,]*(?:\.\d+)?)(?: [^\d\s]\S*)?", text.replace("\u2212", "-"))
    return float(matched.group(1).replace(",", "")) if matched and not re.search(r" (s|min|h|days?)\b", text) else None


def near(number: float, value: float) -> bool:
    return math.isclose(number, value, rel_tol=TOLERANCE, abs_tol=1e-6)


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
