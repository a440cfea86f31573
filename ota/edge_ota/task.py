"""What the tasks on a repository share on the command line: keys, the clock, the lock, and how errors are said.

Rules: a task's clock is read once; errors go to standard error and end with 1; a passphrase is never taken from the command line,
where every user of the machine could read it: it comes from a file, or is asked for on a terminal.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from securesystemslib.signer import Signer

from edge_agent.atomic import make_folder
from edge_agent.errors import EdgeAgentError
from edge_ota.repository import locked
from edge_ota.signing import OperatorError, load_signer
from edge_ota.usage import described, named

Work = Callable[[Sequence[Signer], datetime], int]


def parser(name: str, doc: str | None) -> argparse.ArgumentParser:
    """A parser of the task `name` with the repository and the options for keys."""
    arguments = described(name, doc)
    arguments.add_argument("repository", type=named, metavar="REPO", help="the repository's folder")
    add_key_options(arguments)
    return arguments


def add_key_options(arguments: argparse.ArgumentParser) -> None:
    """`--key` and `--passphrase-file`, each any number of times."""
    arguments.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="KEY",
        help="a private key file to sign with, or URI,PUBLIC_FILE; again for more",
    )
    arguments.add_argument(
        "--passphrase-file",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="a file whose first line opens an encrypted key; without it a terminal is asked",
    )


def signers_of(options: argparse.Namespace) -> list[Signer]:
    """The signers that the options name. Raises OperatorError."""
    ask = getpass.getpass if sys.stdin.isatty() else None
    passphrases = [read_passphrase(path) for path in options.passphrase_file]
    return [load_signer(spec, passphrases, ask) for spec in options.key]


def read_passphrase(path: Path) -> bytes:
    """The first line of a file. Raises OperatorError if there is none or it is empty."""
    try:
        line = path.read_bytes().split(b"\n", 1)[0].removesuffix(b"\r")
    except OSError as error:
        raise OperatorError(f"{path}: cannot be read: {error.strerror}") from error
    if not line:
        raise OperatorError(f"{path}: its first line is empty: write the passphrase there")
    return line


def run(name: str, options: argparse.Namespace, work: Work, *, make: bool = False) -> int:
    """Do `work` with the repository held; its exit code, or 1 after an error that was told. `make`: the folder may be new."""

    def held() -> int:
        if make:
            make_folder(options.repository, 0o755)
        with locked(options.repository):
            return work(signers_of(options), datetime.now(UTC))

    return told(name, held)


def printable(text: str) -> str:
    """What others wrote, for a terminal: without what would move its cursor."""
    return "".join(each if each.isprintable() else "?" for each in text)


def told(name: str, work: Callable[[], int]) -> int:
    """Do `work`; its exit code, or 1 after an error that was told."""
    try:
        return work()
    except EdgeAgentError as error:
        print("\n".join(map(printable, f"edge-ota {name}: {error}".split("\n"))), file=sys.stderr)
        return 1
