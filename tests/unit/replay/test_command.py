"""The command `replay`: the contract of its inputs and outputs, on files."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge_agent.messages import parse_incident
from edge_agent.replay.command import main
from tests.series import Series, white

SHARED = Path(__file__).parents[4] / "shared" / "data"
FAULT = 150
START = datetime(2026, 3, 1, tzinfo=UTC)


def stamps(count: int, step_s: int = 60) -> list[str]:
    return [(START + timedelta(seconds=step_s * i)).strftime("%Y-%m-%d %H:%M:%S") for i in range(count)]


def spiky(seed: int = 1, count: int = 200) -> Series:
    series = white(seed, count, level=20.0)
    series[FAULT] += 25.0
    return series


def write(path: Path, header: str, rows: list[str]) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def recording(path: Path, series: Series) -> Path:
    return write(path, "timestamp,value", [f"{t},{v}" for t, v in zip(stamps(len(series)), series, strict=True)])


def run(*arguments: str | Path) -> int:
    return main(["--statistics-only", *map(str, arguments)])


def cells(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_row_has_a_score_beside_the_time_as_written(tmp_path: Path) -> None:
    source = recording(tmp_path / "pump.csv", spiky())
    assert run(source, "--scores", tmp_path / "s.csv") == 0
    rows = cells(tmp_path / "s.csv")
    assert rows[0] == ["timestamp", "anomaly_score"]
    assert [row[0] for row in rows[1:]] == stamps(200)
    scores = [float(row[1]) for row in rows[1:]]
    assert all(0.0 <= score <= 1.0 for score in scores)
    assert scores.index(max(scores)) == FAULT
    assert max(scores) >= 0.5 > sorted(scores)[-2]


def test_events_have_the_contracts_keys_and_the_times_of_the_file(tmp_path: Path) -> None:
    series = spiky()
    assert run(recording(tmp_path / "pump.csv", series), "--events", tmp_path / "e.jsonl") == 0
    (event,) = lines(tmp_path / "e.jsonl")
    assert list(event) == [
        "stream", "kind", "direction", "onset", "peak", "end", "score", "observed", "baseline", "unit",
    ]  # fmt: skip
    times = stamps(200)
    assert [event[key] for key in ("stream", "kind", "direction")] == ["value", "spike", "up"]
    assert [event[key] for key in ("onset", "peak", "end")] == [times[FAULT], times[FAULT], times[FAULT + 1]]
    assert event["observed"] == series[FAULT]
    assert event["baseline"] == pytest.approx(20.0, abs=0.7)


def test_incidents_can_be_explained_and_group_the_columns_of_a_recording(tmp_path: Path) -> None:
    rows = [f"{t};{a};{b}" for t, a, b in zip(stamps(200), spiky(1), spiky(2), strict=True)]
    source = write(tmp_path / "pump.csv", "datetime;pressure;flow", rows)
    assert run(source, "--incidents", tmp_path / "i.jsonl", "--scores", tmp_path / "s.csv") == 0
    (text,) = (tmp_path / "i.jsonl").read_bytes().splitlines()
    incident = parse_incident(text, "i.jsonl")
    assert (incident.asset, incident.anomaly_count) == ("pump", 2)
    assert {anomaly.stream for anomaly in incident.anomalies} == {"pump/pressure", "pump/flow"}
    assert cells(tmp_path / "s.csv")[0] == ["timestamp", "pressure", "flow"]


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    source = recording(tmp_path / "pump.csv", spiky())
    for name in ("one", "two"):
        outputs = [f"--{what}={tmp_path / f'{name}.{what}'}" for what in ("scores", "events", "incidents")]
        assert run(source, *outputs) == 0
    for what in ("scores", "events", "incidents"):
        assert (tmp_path / f"one.{what}").read_bytes() == (tmp_path / f"two.{what}").read_bytes()


def test_a_score_does_not_change_when_later_rows_do(tmp_path: Path) -> None:
    whole, cut = spiky(), spiky()
    cut[160:] = 1e6
    for name, series in (("whole", whole), ("cut", cut)):
        assert run(recording(tmp_path / f"{name}.csv", series), "--scores", tmp_path / f"{name}.out") == 0
    assert cells(tmp_path / "whole.out")[:161] == cells(tmp_path / "cut.out")[:161]
    assert cells(tmp_path / "whole.out") != cells(tmp_path / "cut.out")


def test_empty_cells_and_nan_are_no_readings(tmp_path: Path) -> None:
    rows = [f"{t},{v},{'' if i % 2 else 'NaN'}" for i, (t, v) in enumerate(zip(stamps(200), spiky(), strict=True))]
    source = write(tmp_path / "pump.csv", "timestamp,a,b", rows)
    assert run(source, "--scores", tmp_path / "s.csv", "--events", tmp_path / "e.jsonl") == 0
    assert {row[2] for row in cells(tmp_path / "s.csv")[1:]} == {"0.000000"}
    assert [event["stream"] for event in lines(tmp_path / "e.jsonl")] == ["a"]


def test_a_stream_that_stops_is_silent_and_its_rows_say_so(tmp_path: Path) -> None:
    series = white(1, 200)
    rows = [f"{t},{v},{v if i < FAULT else ''}" for i, (t, v) in enumerate(zip(stamps(200), series, strict=True))]
    source = write(tmp_path / "pump.csv", "timestamp,a,b", rows)
    assert run(source, "--scores", tmp_path / "s.csv", "--events", tmp_path / "e.jsonl") == 0
    (event,) = lines(tmp_path / "e.jsonl")
    assert [event[key] for key in ("stream", "kind", "end", "unit")] == ["b", "silence", None, "s"]
    assert event["onset"] == stamps(200)[FAULT]
    scores = [float(row[2]) for row in cells(tmp_path / "s.csv")[1:]]
    assert scores[FAULT : FAULT + 4] == [0.0] * 4
    assert min(scores[FAULT + 7 :]) >= 0.5


def test_columns_can_be_left_out(tmp_path: Path) -> None:
    rows = [f"{t},{v},0" for t, v in zip(stamps(200), spiky(), strict=True)]
    source = write(tmp_path / "pump.csv", "timestamp,value,anomaly", rows)
    assert run(source, "--ignore", "anomaly", "--scores", tmp_path / "s.csv") == 0
    assert cells(tmp_path / "s.csv")[0] == ["timestamp", "anomaly_score"]


def test_a_repeated_hour_is_scored_like_any_other(tmp_path: Path) -> None:
    times = stamps(200, 1800)
    times[100:] = stamps(200, 1800)[98:198]
    rows = [f"{t},{v}" for t, v in zip(times, spiky(), strict=True)]
    source = write(tmp_path / "pump.csv", "timestamp,value", rows)
    assert run(source, "--scores", tmp_path / "s.csv", "--events", tmp_path / "e.jsonl") == 0
    assert [row[0] for row in cells(tmp_path / "s.csv")[1:]] == times
    assert [event["onset"] for event in lines(tmp_path / "e.jsonl")] == [times[FAULT]]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("timestamp,value\n0,1\n1,x\n", "bad.csv:3: value: 'x' is no number; expected a finite number, NaN or an empty cell"),
        ("timestamp,value\n0,1\n\n1,inf\n", "bad.csv:4: value: 'inf' is no number"),
        ("timestamp,value\n0,1\nyesterday,2\n", "bad.csv:3: timestamp: 'yesterday' is no ISO 8601 time"),
        ("timestamp,value\nnan,2\n", "bad.csv:2: timestamp: 'nan' is no"),
        ("timestamp,value\n0,1,2\n", "bad.csv:2: -: has 3 cells; the header names 2 columns"),
        ("timestamp;value\n0;1\n1\n", "bad.csv:3: -: has 1 cells"),
        ("", "bad.csv:1: -: expected a header"),
        ("timestamp\n0\n", "bad.csv:1: -: expected a header"),
        ("0,1.5\n1,1.6\n", "bad.csv:1: 1.5: is a number; the first line must name the columns"),
        ("timestamp,a,a\n", "bad.csv:1: a: stands twice"),
        ("timestamp,a,\n", "bad.csv:1: column 3: has no name"),
    ],
)
def test_a_bad_file_is_refused_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, problem: str
) -> None:
    source = tmp_path / "bad.csv"
    source.write_text(text)
    assert run(source, "--scores", tmp_path / "s.csv") == 1
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "s.csv").exists()


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "none.csv") == 1
    assert f"{tmp_path / 'none.csv'}: No such file" in capsys.readouterr().err
    (tmp_path / "binary.csv").write_bytes(b"timestamp,value\n0,\xff\xfe\n")
    assert run(tmp_path / "binary.csv") == 1
    assert "is not UTF-8 text" in capsys.readouterr().err


def test_a_bad_configuration_ends_with_its_own_code(tmp_path: Path) -> None:
    config = tmp_path / "edge-agent.yaml"
    config.write_text("detect:\n  warmup_reading: 5\n")
    assert run(recording(tmp_path / "pump.csv", spiky()), "--config", config) == 78


def test_without_outputs_the_anomalies_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(recording(tmp_path / "pump.csv", spiky())) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["kind"] == "spike"
    assert "200 rows, 1 streams: 1 anomalies (0 ongoing), 1 incidents" in said.err


def test_the_shipped_classifier_signs_the_anomalies(tmp_path: Path) -> None:
    source = recording(tmp_path / "pump.csv", spiky())
    assert main([str(source), "--incidents", str(tmp_path / "i.jsonl")]) == 0
    incident = parse_incident((tmp_path / "i.jsonl").read_bytes(), "i.jsonl")
    assert all(anomaly.signature for anomaly in incident.anomalies)


@pytest.mark.shared
def test_a_public_series_is_scored_whole(tmp_path: Path) -> None:
    source = SHARED / "nab" / "realTraffic" / "speed_6005.csv"
    if not source.exists():
        pytest.skip(f"the public series are not beside the checkout: {source} is absent")
    assert run(source, "--scores", tmp_path / "s.csv", "--events", tmp_path / "e.jsonl") == 0
    rows = cells(tmp_path / "s.csv")
    assert len(rows) == 2501
    assert 1 <= len(lines(tmp_path / "e.jsonl")) <= 20
