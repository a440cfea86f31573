"""Gives one group's release to another group, once it has held long enough and enough gateways say that it runs.

    edge-ota promote REPO --from canary --to fleet --states FILE_OR_FOLDER --hold-h 24 --minimum-success 0.95 --key ...

The states are the documents of `edge/<gateway>/update`, as `mosquitto_sub` prints them (`states`). A gateway is a success where
the last outcome of this very manifest is `committed` and it runs it still, a failure where the outcome is another, undecided
otherwise.

Rules: the share is of the gateways that said anything about the release, and of those in `--gateways`, whatever they said; so
one that is still busy, or fell silent in the middle, counts against it. No gateway, no promotion. The goal gets the very manifest
and blobs that the source has.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from securesystemslib.signer import Signer

from edge_agent.release.manifest import encode_manifest
from edge_ota.files import Folder
from edge_ota.pending import finish
from edge_ota.publish import from_repository, publish
from edge_ota.repository import load_folder, release_of
from edge_ota.roles import published_at, standing_role
from edge_ota.signing import OperatorError
from edge_ota.states import Wanted, collected, tally
from edge_ota.task import parser, run


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    arguments = parser("promote", __doc__)
    arguments.add_argument("--from", dest="source", required=True, metavar="GROUP", help="the group that runs the release")
    arguments.add_argument("--to", dest="goal", required=True, metavar="GROUP", help="the group that is to get it")
    arguments.add_argument(
        "--states", type=Path, required=True, metavar="PATH", help="a file or folder of what `mosquitto_sub -v` heard"
    )
    arguments.add_argument(
        "--gateways", type=Path, metavar="FILE", help="a file that names the gateways that must count, one a line"
    )
    arguments.add_argument("--hold-h", type=float, default=24.0, metavar="HOURS", help="hours since it was published there (24)")
    arguments.add_argument("--minimum-success", type=float, default=0.95, metavar="SHARE", help="of the gateways (0.95)")
    arguments.add_argument("--minimum-gateways", type=int, default=1, metavar="N", help="that must have reported on it (1)")
    arguments.add_argument("--keys", type=Path, metavar="KEYS.json", help="wrapped keys in place of those that the goal has")
    options = arguments.parse_args(argv)
    if not (0 < options.minimum_success <= 1 and options.hold_h >= 0):
        arguments.error("--minimum-success is above 0 and at most 1, --hold-h is not below 0")
    return run("promote", options, lambda signers, now: _promote(options, signers, now))


def _promote(options: argparse.Namespace, signers: Sequence[Signer], now: datetime) -> int:
    state, files = load_folder(options.repository), Folder(options.repository)
    source, goal = standing_role(state, options.source), standing_role(state, options.goal)
    found = release_of(files, source, state.groups[source])
    if found is None:
        raise OperatorError(f"group {options.source} has no release")
    manifest, entry = found
    standing = release_of(files, goal, state.groups[goal])
    if standing is not None and encode_manifest(standing[0]) == encode_manifest(manifest) and options.keys is None:
        return finish(options.repository, {}, signers, now)
    held = now - published_at(entry)
    if held < timedelta(hours=options.hold_h):
        raise OperatorError(f"{manifest.id}: published {held.total_seconds() / 3600:.1f} h ago; it is to hold {options.hold_h} h")
    said = tally(
        collected(options.states),
        Wanted(release=manifest.id, counter=manifest.counter, manifest_sha256=entry.hashes["sha256"]),
        _named(options.gateways),
    )
    print("\n".join([f"{manifest.id}, counter {manifest.counter}: {said.lines()[0]}", *said.lines()[1:]]))
    if why := said.why_not(options.minimum_gateways, options.minimum_success):
        raise OperatorError(f"{manifest.id}: {why}")
    keys = None if options.keys is None else _present(options.keys)
    return publish(options.repository, options.goal, from_repository(files, manifest, keys), signers, now)


def _named(path: Path | None) -> list[str]:
    """The gateways that a file names. Raises OperatorError."""
    if path is None:
        return []
    data = _present(path)
    return [name for line in data.decode(errors="replace").splitlines() if (name := line.strip()) and not name.startswith("#")]


def _present(path: Path) -> bytes:
    """What a file holds. Raises OperatorError."""
    data = Folder(path.parent).read(path.name)
    if data is None:
        raise OperatorError(f"{path} is missing")
    return data
