"""`edge-agent audit replay IN.csv RECORDED.jsonl`: decides anew over a recording and holds the log against a recorded one.

Rules: the recorded log must be whole before anything is compared; entries are compared byte by byte, in order; the first one that
differs is named with what differs in it and, where that can be told, why.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from edge_agent.chain import ANCHOR, first_break
from edge_agent.errors import InputError
from edge_agent.messages.decisions import AuditEntry, differences, read_entry
from edge_agent.messages.log_lines import parse_log
from edge_agent.replay.command import add_input, recorder_of, replay_of, settings_of, with_exit_code
from edge_agent.values import LogEntry

_FAILED = 1


def main(argv: Sequence[str]) -> int:
    """The command. The exit code is 0 where both logs are the same, else 1."""
    parser = argparse.ArgumentParser(
        prog="edge-agent audit replay", description="Decide anew over a recording; compare with a recorded log, byte by byte."
    )
    add_input(parser)
    parser.add_argument("recorded", type=Path, metavar="RECORDED.jsonl", help="what `replay --audit` wrote")
    options = parser.parse_args(argv)
    return with_exit_code(options.input, lambda: _compare(options))


def _compare(options: argparse.Namespace) -> int:
    recorded = _recorded(options.recorded)
    settings = settings_of(options)
    recorder = recorder_of(options, settings)
    replay_of(options, settings, recorder)
    problem = first_difference(recorded, recorder.log)
    if problem is not None:
        print(f"{options.recorded}: {problem}")
        return _FAILED
    print(f"{len(recorder.log)} decisions, byte for byte the recorded ones; head {recorder.head.hex()}")
    return 0


def first_difference(recorded: Sequence[LogEntry], now: Sequence[LogEntry]) -> str | None:
    """Where two logs that are each whole part, and why, in words; None where they are the same."""
    for before, after in zip_longest(recorded, now):
        if before is None:
            return f"entry {after.number} was not recorded: {_named(after)}; the recorded log ends before it"
        if after is None:
            return f"entry {before.number} does not come again: {_named(before)}; the replay ends before it"
        if before.body != after.body:
            return f"entry {before.number} differs: " + "\n  ".join(_why(before, after))
    return None


def _why(before: LogEntry, after: LogEntry) -> tuple[str, ...]:
    found = differences(_read(before), _read(after))
    return found or ("the same decision in other bytes: not written by this program",)


def _named(entry: LogEntry) -> str:
    read = _read(entry)
    return f"{read.incident}, revision {read.revision}"


def _read(entry: LogEntry) -> AuditEntry:
    try:
        return read_entry(entry.body)
    except InputError as error:
        raise InputError(error.reason, f"entry {entry.number} {error.detail}") from error


def _recorded(path: Path) -> list[LogEntry]:
    with path.open("rb") as file:
        anchor, entries = parse_log(file, str(path))
    broken = first_break(entries, anchor)
    if broken is not None:
        raise InputError("bad-log", f"{path}: entry {broken} does not follow from the one before; the recorded log was changed")
    if anchor != ANCHOR:
        raise InputError("bad-log", f"{path}: does not begin with the first decision; give what `replay --audit` wrote")
    return entries
