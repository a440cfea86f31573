"""`edge-agent audit verify | export`: whether the log of decisions is whole and fits what is stored, and the log as a file.

Rules: nothing is changed. What breaks a chain is told by the number of the first entry that does not follow, and what that means.
That the end of a log was cut off, or that all of it was written anew, can only be told with a hash that was noted elsewhere:
so the newest one is always printed. An exported file is verified without the journal.
"""

from __future__ import annotations

import sys
from pathlib import Path

from edge_agent.chain import ANCHOR
from edge_agent.commands.decided import Checked, Said, check_summaries, explain_again
from edge_agent.commands.journal import open_reader
from edge_agent.commands.logs import BROKEN, Log, read_log, report_whole
from edge_agent.config.settings import Settings
from edge_agent.errors import InputError
from edge_agent.journal import LogName
from edge_agent.messages.log_lines import log_lines, parse_log


def verify(settings: Settings, name: LogName, *, head: bytes | None = None, explain: bool = False) -> int:
    """Verify a log of the journal, and for the log of decisions whether the stored summaries are what it says.

    `head` is a hash that was noted earlier. With `explain` the sentences of closed incidents are written again and compared.
    The exit code is 0 where all is well. Raises StorageError.
    """
    with open_reader(settings) as reader:
        log = read_log(reader, name) if reader is not None else Log(ANCHOR, [])
        if not report_whole(log, f"{name} log", head):
            return BROKEN
        if reader is None or name != "audit":
            return 0
        checked = check_summaries(reader, log.entries)
        fits = _report_checked(checked)
        return 0 if (not explain or _report_again(explain_again(checked.said, settings))) and fits else BROKEN


def verify_file(path: Path, *, head: bytes | None = None) -> int:
    """Verify an exported log alone. The exit code is 0 where it is whole. Raises InputError."""
    try:
        with path.open("rb") as file:
            log = Log(*parse_log(file, str(path)))
    except OSError as error:
        raise InputError("not-readable", f"{path}: {error.strerror or error}") from error
    return 0 if report_whole(log, str(path), head) else BROKEN


def export(settings: Settings, name: LogName) -> int:
    """Write a log of the journal to standard output, whole or not, one entry a line. Raises StorageError."""
    sys.stdout.flush()
    with open_reader(settings) as reader:
        if reader is not None:
            log = read_log(reader, name)
            for line in log_lines(log.entries, log.anchor):
                sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
    return 0


def _report_checked(checked: Checked) -> bool:
    absent = f"; {checked.absent} have no entry: they were written before it began" if checked.absent else ""
    print(f"summaries: {len(checked.said)} are what the log says{absent}")
    for problem in checked.problems:
        print(problem)
    return not checked.problems


def _report_again(said: Said) -> bool:
    print(f"explained again: {said.same} closed incidents, the same bytes")
    for why, count in sorted(said.skipped.items()):
        print(f"  not {count}: {why}")
    for problem in said.problems:
        print(problem)
    return not said.problems
