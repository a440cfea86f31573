"""`edge-agent replay IN.csv`: its options, its files and its exit codes.

Rules: nothing is written before the whole input was read; what is wrong with it is said with its place. The release is the one
inside the package, and the writer runs on the processor, never on an accelerator: the bytes depend on no gateway and no device.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

from edge_agent.config.load import load
from edge_agent.config.settings import Settings
from edge_agent.detect.contract import Classifier
from edge_agent.engines.loading import open_release
from edge_agent.engines.speaking import Speaker, open_speaker
from edge_agent.errors import ConfigError, InputError, ReleaseError
from edge_agent.messages.log_lines import log_lines
from edge_agent.pipeline import TEMPLATE_ONLY
from edge_agent.replay.output import event_lines, incident_lines, write_scores
from edge_agent.replay.recorder import Recorder
from edge_agent.replay.run import Replayed, nothing, replay
from edge_agent.replay.table import Table

_FAILED, _BAD_CONFIG = 1, 78


def main(argv: Sequence[str]) -> int:
    """The command. Without an output file the anomalies go to standard output. Returns the exit code."""
    options = _parser().parse_args(argv)

    def run() -> int:
        settings = settings_of(options)
        recorder = recorder_of(options, settings) if options.summaries or options.audit else None
        replayed = replay_of(options, settings, recorder)
        _write(options, replayed, recorder)
        _report(replayed, recorder)
        return 0

    return with_exit_code(options.input, run)


def add_input(parser: argparse.ArgumentParser) -> None:
    """The options that say what is replayed, and how."""
    parser.add_argument("input", type=Path, metavar="IN.csv", help="a time column, then one stream a column; comma or semicolon")
    parser.add_argument("--ignore", action="append", default=[], metavar="COLUMN", help="leave a column out, such as labels")
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="take the settings of detection and sentences from here; the release is the one inside the package",
    )
    parser.add_argument("--statistics-only", action="store_true", help="name kinds without the classifier")
    parser.add_argument("--template", action="store_true", help="without the writer: the template's sentences")


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings of the file named, or the defaults. Raises ConfigError."""
    return load(options.config) if options.config else Settings()


def recorder_of(options: argparse.Namespace, settings: Settings) -> Recorder:
    """Who writes the sentences: the factory release, or the template where that is wanted or the writer is switched off."""
    by_template = options.template or not settings.writer.enabled
    speaker = Speaker(TEMPLATE_ONLY, None) if by_template else open_speaker(_complain)
    return Recorder(speaker, ZoneInfo(settings.writer.timezone))


def replay_of(options: argparse.Namespace, settings: Settings, recorder: Recorder | None) -> Replayed:
    """Replay the input. Raises InputError, UnicodeDecodeError, OSError."""
    classifier = None if options.statistics_only else _classifier()
    with options.input.open(encoding="utf-8", newline="") as file:
        table = Table(file, str(options.input), options.ignore)
        revised = nothing if recorder is None else recorder.revised
        return replay(table, table.streams, options.input.stem, settings, classifier, revised)


def with_exit_code(source: Path, command: Callable[[], int]) -> int:
    """Run a command over `source` and tell its problems on standard error."""
    try:
        return command()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return _BAD_CONFIG
    except InputError as error:
        print(error.detail, file=sys.stderr)
    except UnicodeDecodeError as error:
        print(f"{source}: is not UTF-8 text: {error.reason} at byte {error.start}", file=sys.stderr)
    except OSError as error:
        print(f"{error.filename or source}: {error.strerror or error}", file=sys.stderr)
    return _FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edge-agent replay", description="Run the agent over a recording, strictly online.")
    add_input(parser)
    parser.add_argument("--scores", type=Path, metavar="OUT.csv", help="write a score in [0, 1] for every row")
    parser.add_argument("--events", type=Path, metavar="OUT.jsonl", help="write the anomalies, one a line")
    parser.add_argument("--incidents", type=Path, metavar="OUT.jsonl", help="write the incidents, one a line")
    parser.add_argument("--summaries", type=Path, metavar="OUT.jsonl", help="write the sentences of every revision, one a line")
    parser.add_argument("--audit", type=Path, metavar="OUT.jsonl", help="write the hash-chained log of the decisions")
    return parser


def _write(options: argparse.Namespace, replayed: Replayed, recorder: Recorder | None) -> None:
    if options.scores:
        write_scores(options.scores, replayed)
    if options.events:
        options.events.write_bytes(b"".join(event_lines(replayed)))
    if options.incidents:
        options.incidents.write_bytes(b"".join(incident_lines(replayed)))
    if recorder is not None and options.summaries:
        options.summaries.write_bytes(b"".join(recorder.summaries))
    if recorder is not None and options.audit:
        options.audit.write_bytes(b"".join(log_lines(recorder.log)))
    if recorder is None and not (options.scores or options.events or options.incidents):
        sys.stdout.write(b"".join(event_lines(replayed)).decode())


def _report(replayed: Replayed, recorder: Recorder | None) -> None:
    ongoing = sum(anomaly.end_s is None for anomaly in replayed.anomalies)
    rows, streams = len(replayed.stamps), len(replayed.streams)
    found = f"{len(replayed.anomalies)} anomalies ({ongoing} ongoing), {len(replayed.incidents)} incidents"
    print(f"{rows} rows, {streams} streams: {found}", file=sys.stderr)
    if recorder is not None:
        print(f"{len(recorder.log)} decisions, head {recorder.head.hex()}", file=sys.stderr)


def _classifier() -> Classifier | None:
    try:
        return open_release().open_classifier()
    except ReleaseError as error:
        print(f"edge-agent: kinds are named by statistics alone: {error}", file=sys.stderr)
        return None


def _complain(error: ReleaseError) -> None:
    print(f"edge-agent: the template speaks: {error}", file=sys.stderr)
