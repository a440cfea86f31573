"""`edge-agent replay IN.csv`: detection over a recording, strictly online, as if its rows arrived now.

Rules: deterministic; what is written for row n depends on rows up to n only. The first column is the time, ISO 8601 (UTC
where no zone is named) or a number since 1970 (seconds; milli-, micro- or nanoseconds where the first one is that large); every
other column is a stream, except those ignored on request. An empty cell or NaN is no reading: the stream's score is then 0,
or that of its silence. Rows are taken in the order of the file: a row whose time is not later than the row before (a clock
set back, the repeated hour of summer time) counts as one millisecond later, and keeps its own time in the output.

Events and incidents are written as they stand after the last row. An event's time that falls between rows (a silence begins
when a reading is due) is written as the next row's. In incidents, the streams of a recording of several columns belong to one
asset, named after the file, unless the column names name assets themselves (`pump-1/vibration`).
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct, structs

from edge_agent.config.load import load
from edge_agent.config.settings import Settings
from edge_agent.detect.bank import DetectorBank
from edge_agent.detect.contract import Classifier
from edge_agent.engines.loading import open_release
from edge_agent.errors import ConfigError, InputError, ReleaseError
from edge_agent.incidents import IncidentBook
from edge_agent.messages.documents import encode, event_document, incident_document
from edge_agent.messages.times import parse_time
from edge_agent.values import Anomaly, Incident, Reading

SCORE_DIGITS = 6
_SALT = "replay"
_LATER_S = 1e-3
_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))
"""A number since 1970 that is at least the first is in parts of a second, so many to the second."""
_USAGE, _FAILED, _BAD_CONFIG = 2, 1, 78


class Row(Struct, frozen=True):
    """One row: its time as written and in seconds since 1970, and a value or None for each stream."""

    stamp: str
    time_s: float
    values: tuple[float | None, ...]


class Replayed(Struct, frozen=True):
    """What a replay gave: for each row a time as written and a score a stream; the anomalies and incidents at the end."""

    streams: tuple[str, ...]
    stamps: list[str]
    times_s: list[float]
    scores: list[tuple[float, ...]]
    anomalies: list[Anomaly]
    incidents: list[Incident]

    def stamp(self, time_s: float) -> str:
        """The time as the input writes it: of the first row that is not earlier, or of the last one."""
        return self.stamps[min(bisect_left(self.times_s, time_s), len(self.stamps) - 1)]


class Table:
    """A recording being read: `streams`, then its rows one by one. Raises InputError as `file:line: column: problem`."""

    def __init__(self, lines: Iterable[str], name: str, ignore: Sequence[str] = ()) -> None:
        self._name = name
        iterator = iter(lines)
        head = next(iterator, "").removeprefix("\ufeff")
        delimiter = ";" if head.count(";") > head.count(",") else ","
        self._rows = csv.reader(iterator, delimiter=delimiter)
        self._header = [cell.strip() for cell in next(csv.reader([head], delimiter=delimiter), [])]
        self._check_header(ignore)
        self._kept = [i for i, column in enumerate(self._header) if i > 0 and column not in ignore]
        self.streams = tuple(self._header[i] for i in self._kept)
        self._per_second: float | None = None

    def _check_header(self, ignore: Sequence[str]) -> None:
        if len(self._header) < 2:
            raise self._problem(1, "-", "expected a header: a time column, then one column a stream, separated by , or ;")
        for i, column in enumerate(self._header):
            if not column and i > 0:
                raise self._problem(1, f"column {i + 1}", "has no name; every column after the first names a stream")
            if column in self._header[:i]:
                raise self._problem(1, column, "stands twice in the header; give every stream a name of its own")
            if i > 0 and _number(column) is not None:
                raise self._problem(1, column, "is a number; the first line must name the columns")
        unknown = [column for column in ignore if column not in self._header[1:]]
        if unknown:
            raise self._problem(1, unknown[0], f"is no stream of this file; it has {', '.join(self._header[1:])}")
        if set(self._header[1:]) <= set(ignore):
            raise self._problem(1, "-", "every column is ignored; leave at least one stream")

    def __iter__(self) -> Iterator[Row]:
        try:
            for cells in self._rows:
                if cells:
                    yield self._row(cells, self._rows.line_num + 1)
        except csv.Error as error:
            raise self._problem(self._rows.line_num + 1, "-", f"cannot be read as CSV: {error}") from error

    def _row(self, cells: list[str], line: int) -> Row:
        if len(cells) != len(self._header):
            raise self._problem(line, "-", f"has {len(cells)} cells; the header names {len(self._header)} columns")
        values = tuple(self._value(cells[i], self._header[i], line) for i in self._kept)
        return Row(cells[0], self._time_s(cells[0].strip(), line), values)

    def _value(self, cell: str, column: str, line: int) -> float | None:
        text = cell.strip()
        if not text:
            return None
        value = _number(text)
        if value is None or math.isinf(value):
            raise self._problem(line, column, f"{text[:40]!r} is no number; expected a finite number, NaN or an empty cell")
        return None if math.isnan(value) else value

    def _time_s(self, text: str, line: int) -> float:
        number = _number(text)
        try:
            if number is None or not math.isfinite(number):
                return parse_time(text)
            if self._per_second is None:
                self._per_second = next((parts for least, parts in _UNITS if abs(number) >= least), 1.0)
            return parse_time(number / self._per_second)
        except ValueError as error:
            raise self._problem(line, self._header[0] or "column 1", str(error)) from error

    def _problem(self, line: int, column: str, problem: str) -> InputError:
        return InputError("bad-csv", f"{self._name}:{line}: {column}: {problem}")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def replay(
    rows: Iterable[Row], streams: Sequence[str], asset: str, settings: Settings, classifier: Classifier | None
) -> Replayed:
    """Run detection and grouping over rows in order; `asset` names what the streams of several columns belong to."""
    bank = DetectorBank(structs.replace(settings.detect, max_streams=max(settings.detect.max_streams, len(streams))), classifier)
    book = IncidentBook(settings.incidents, salt=_SALT)
    replayed = Replayed(tuple(streams), [], [], [], [], [])
    anomalies: dict[tuple[str, float], Anomaly] = {}
    incidents: dict[str, Incident] = {}
    now_s = -math.inf
    for row in rows:
        now_s = row.time_s if row.time_s > now_s else now_s + _LATER_S
        told = bank.tick(now_s, monotonic_s=now_s)
        readings = [Reading(name, now_s, value) for name, value in zip(streams, row.values, strict=True) if value is not None]
        detected = bank.update(readings)
        told.extend(detected.anomalies)
        anomalies.update((anomaly.key, anomaly) for anomaly in told)
        grouped = [_of_asset(anomaly, asset) for anomaly in told] if len(streams) > 1 else told
        for incident in book.update(grouped, now_s):
            incidents[incident.id] = incident
        scores = dict(zip((reading.stream for reading in readings), detected.scores.tolist(), strict=True))
        replayed.stamps.append(row.stamp)
        replayed.times_s.append(now_s)
        replayed.scores.append(tuple(scores[name] if name in scores else bank.silence_score(name) for name in streams))
    replayed.anomalies.extend(sorted(anomalies.values(), key=lambda anomaly: (anomaly.onset_s, anomaly.stream)))
    replayed.incidents.extend(incidents.values())
    return replayed


def _of_asset(anomaly: Anomaly, asset: str) -> Anomaly:
    return anomaly if "/" in anomaly.stream else structs.replace(anomaly, stream=f"{asset}/{anomaly.stream}")


def write_scores(path: Path, replayed: Replayed) -> None:
    """Write the scores as CSV: the input's time, then `anomaly_score`, or one column a stream where there are several."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        single = len(replayed.streams) == 1
        writer.writerow(["timestamp", *(("anomaly_score",) if single else replayed.streams)])
        for stamp, scores in zip(replayed.stamps, replayed.scores, strict=True):
            writer.writerow([stamp, *(f"{score:.{SCORE_DIGITS}f}" for score in scores)])


def event_lines(replayed: Replayed) -> list[bytes]:
    """The anomalies as JSON, one a line, by onset."""
    return [encode(event_document(anomaly, replayed.stamp)) + b"\n" for anomaly in replayed.anomalies]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edge-agent replay", description="Run detection over a recording, strictly online.")
    parser.add_argument("input", type=Path, metavar="IN.csv", help="a time column, then one stream a column; comma or semicolon")
    parser.add_argument("--scores", type=Path, metavar="OUT.csv", help="write a score in [0, 1] for every row")
    parser.add_argument("--events", type=Path, metavar="OUT.jsonl", help="write the anomalies, one a line")
    parser.add_argument("--incidents", type=Path, metavar="OUT.jsonl", help="write the incidents, one a line")
    parser.add_argument("--ignore", action="append", default=[], metavar="COLUMN", help="leave a column out, such as labels")
    parser.add_argument("--config", type=Path, metavar="FILE", help="take the settings of detection and grouping from here")
    parser.add_argument("--statistics-only", action="store_true", help="name kinds without the classifier")
    return parser


def main(argv: Sequence[str]) -> int:
    """The command. Without an output file the anomalies go to standard output. Returns the exit code."""
    options = _parser().parse_args(argv)
    try:
        settings = load(options.config) if options.config else Settings()
        classifier = None if options.statistics_only else _classifier()
        with options.input.open(encoding="utf-8", newline="") as file:
            table = Table(file, str(options.input), options.ignore)
            replayed = replay(table, table.streams, options.input.stem, settings, classifier)
        _write(options, replayed)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return _BAD_CONFIG
    except InputError as error:
        print(error.detail, file=sys.stderr)
        return _FAILED
    except UnicodeDecodeError as error:
        print(f"{options.input}: is not UTF-8 text: {error.reason} at byte {error.start}", file=sys.stderr)
        return _FAILED
    except OSError as error:
        print(f"{error.filename or options.input}: {error.strerror or error}", file=sys.stderr)
        return _FAILED
    ongoing = sum(anomaly.end_s is None for anomaly in replayed.anomalies)
    said = (
        f"{len(replayed.stamps)} rows, {len(replayed.streams)} streams: {len(replayed.anomalies)} anomalies ({ongoing} ongoing)"
    )
    print(f"{said}, {len(replayed.incidents)} incidents", file=sys.stderr)
    return 0


def _write(options: argparse.Namespace, replayed: Replayed) -> None:
    if options.scores:
        write_scores(options.scores, replayed)
    if options.events:
        options.events.write_bytes(b"".join(event_lines(replayed)))
    if options.incidents:
        options.incidents.write_bytes(b"".join(encode(incident_document(i)) + b"\n" for i in replayed.incidents))
    if not (options.scores or options.events or options.incidents):
        sys.stdout.write(b"".join(event_lines(replayed)).decode())


def _classifier() -> Classifier | None:
    try:
        return open_release().open_classifier()
    except ReleaseError as error:
        print(f"edge-agent: kinds are named by statistics alone: {error}", file=sys.stderr)
        return None
