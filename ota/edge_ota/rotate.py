"""Changes who may sign: adds and removes keys of a role, or its threshold; also makes a new fleet group.

    edge-ota rotate REPO --role ROLE... [--add PUB]... [--remove KEY_ID_OR_PUB]... [--threshold N] --key ...

Rules: a new root needs the old root's threshold and its own. A role whose keys change is signed anew in the same step, so that
what stands is always signed by those who may sign. Roles that are named together change together, in one new root. A key id may
be shortened to its first 8 digits or more.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from securesystemslib.signer import Signer

from edge_ota.pending import finish
from edge_ota.repository import State, load_folder
from edge_ota.roles import with_keys
from edge_ota.signing import PUBLIC_SUFFIX, OperatorError, read_public
from edge_ota.task import parser, run

MIN_ID_DIGITS = 8


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    arguments = parser("rotate", __doc__)
    arguments.add_argument(
        "--role",
        action="append",
        required=True,
        metavar="ROLE",
        help="root, targets, snapshot, timestamp or group-NAME; again for more",
    )
    arguments.add_argument("--add", action="append", default=[], type=Path, metavar="PUB", help="a public key file")
    arguments.add_argument("--remove", action="append", default=[], metavar="KEY_ID", help="a key's id, or its public file")
    arguments.add_argument("--threshold", type=int, metavar="N", help="signatures that are needed from now on")
    options = arguments.parse_args(argv)
    if not (options.add or options.remove or options.threshold is not None):
        arguments.error("nothing to change: give --add, --remove or --threshold")
    return run("rotate", options, lambda signers, now: _rotate(options, signers, now))


def _rotate(options: argparse.Namespace, signers: Sequence[Signer], now: datetime) -> int:
    state = load_folder(options.repository)
    gone = [full_id(state, text) for text in options.remove]
    added = [read_public(path) for path in options.add]
    for keyid in gone:
        if not any(keyid in roles_of(state).get(role, ()) for role in options.role):
            print(f"{keyid}: has no say in {', '.join(options.role)} (any more)")
    return finish(options.repository, with_keys(state, options.role, added, gone, options.threshold, now), signers, now)


def roles_of(state: State) -> dict[str, list[str]]:
    """The key ids of every role."""
    delegations = state.targets.signed.delegations
    groups = (delegations.roles or {}) if delegations else {}
    return {name: list(role.keyids) for name, role in [*state.root.signed.roles.items(), *groups.items()]}


def full_id(state: State, text: str) -> str:
    """The key id that begins with `text`, or is that of the public file `text`; `text` itself where no role has it (any more).

    Raises OperatorError.
    """
    if text.endswith(PUBLIC_SUFFIX):
        return read_public(Path(text)).keyid
    if len(text) < MIN_ID_DIGITS:
        raise OperatorError(f"{text!r}: give {MIN_ID_DIGITS} digits of the key id or more")
    found = sorted({keyid for keyids in roles_of(state).values() for keyid in keyids if keyid.startswith(text)})
    if len(found) > 1:
        raise OperatorError(f"{text!r}: {len(found)} keys begin so: give more digits")
    return found[0] if found else text
