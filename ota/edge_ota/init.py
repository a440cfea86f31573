"""Begins a repository: who may sign what, from public keys alone.

    edge-ota init REPO --root-key PUB... --targets-key PUB... --online-key PUB --group canary=PUB...
                  [--snapshot-key PUB] [--threshold ROLE=N] [--days ROLE=N] [--key KEY...]

Rules: the root needs 2 signatures unless `--threshold root=N` says otherwise; the online key signs the timestamp and, without
`--snapshot-key`, the snapshot. Nothing is published until every document has its signatures (`sign`, then `commit`).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from securesystemslib.signer import Signer, SSlibKey

from edge_ota.files import Folder
from edge_ota.pending import finish, pending_folder
from edge_ota.repository import load
from edge_ota.roles import DEFAULT_DAYS, first_documents, group_role
from edge_ota.signing import OperatorError, read_public
from edge_ota.task import parser, run

MAX_NUMBER = 36_500
_DAYS = ", ".join(f"{role}={days}" for role, days in DEFAULT_DAYS.items())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    arguments = parser("init", __doc__)
    for role in ("root", "targets", "online", "snapshot"):
        arguments.add_argument(
            f"--{role}-key",
            action="append",
            default=[],
            type=Path,
            required=role != "snapshot",
            metavar="PUB",
            help="a public key file; again for more",
        )
    arguments.add_argument("--group", action="append", default=[], metavar="NAME=PUB", help="a fleet group and a public key file")
    arguments.add_argument(
        "--threshold", action="append", default=[], metavar="ROLE=N", help="signatures that are needed (root: 2, others: 1)"
    )
    arguments.add_argument("--days", action="append", default=[], metavar="ROLE=N", help=f"days until expiry ({_DAYS})")
    options = arguments.parse_args(argv)
    return run("init", options, lambda signers, now: _init(options, signers, now), make=True)


def _init(options: argparse.Namespace, signers: Sequence[Signer], now: datetime) -> int:
    if load(Folder(options.repository)) is not None:
        if pending_folder(options.repository).is_dir():  # published, and cut off before what waited was removed
            return finish(options.repository, {}, signers, now)
        raise OperatorError(f"{options.repository}: is a repository already: change it with rotate and publish")
    keys: dict[str, list[SSlibKey]] = {
        "root": [read_public(path) for path in options.root_key],
        "targets": [read_public(path) for path in options.targets_key],
        "snapshot": [read_public(path) for path in options.snapshot_key or options.online_key],
        "timestamp": [read_public(path) for path in options.online_key],
    }
    for name, path in _pairs(options.group):
        keys.setdefault(group_role(name), []).append(read_public(Path(path)))
    thresholds = _numbers("--threshold", options.threshold, keys)
    days = _numbers("--days", options.days, DEFAULT_DAYS)
    return finish(options.repository, first_documents(keys, thresholds, days, now), signers, now)


def _pairs(texts: Sequence[str]) -> list[tuple[str, str]]:
    for text in texts:
        if "=" not in text:
            raise OperatorError(f"{text!r}: write NAME=VALUE, as `edge-ota init --help` says")
    return [(name, value) for name, _, value in (text.partition("=") for text in texts)]


def _numbers(option: str, texts: Sequence[str], roles: Iterable[str]) -> dict[str, int]:
    """The number that each text gives a role. Raises OperatorError. Whole ones: metadata that is signed knows no others."""
    numbers: dict[str, int] = {}
    for role, text in _pairs(texts):
        if role not in roles:
            raise OperatorError(f"{option} {role}: no such role here; there are {', '.join(roles)}")
        if not (text.isascii() and text.isdecimal() and len(text) < 9 and 0 < int(text) < MAX_NUMBER):
            raise OperatorError(f"{option} {role}={text}: give a whole number from 1 to {MAX_NUMBER - 1}")
        numbers[role] = int(text)
    return numbers
