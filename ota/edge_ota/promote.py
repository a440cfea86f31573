"""Gives one group's release to another group, once it has held long enough and enough gateways say that it runs.

    edge-ota promote REPO --from canary --to fleet --states FILE_OR_FOLDER --hold-h 24 --minimum-success 0.95 --key ...

The states are the documents of `edge/<gateway>/update`, one JSON object a line, oldest first, or a folder of such files, read in
the order of their names: `{"gateway": ..., "release": ..., "state": ...}` and whatever else. Of a gateway the last one about the
release counts.

Rules: the share is of the gateways that said anything about the release, so one that is still busy, or fell silent in the middle,
counts against it. What cannot be read is counted and told, and counts for nothing. No gateway, no promotion.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
from securesystemslib.signer import Signer

from edge_agent.release.manifest import encode_manifest
from edge_ota.pending import finish
from edge_ota.publish import publish
from edge_ota.repository import TARGETS, Read, folder_reader, load_folder, release_of
from edge_ota.roles import group_role, published_at
from edge_ota.signing import OperatorError
from edge_ota.task import parser, run

SUCCESS = "committed"
"""The state of a gateway on which the release runs and stays."""


class Report(msgspec.Struct, frozen=True):
    """One gateway's word on a release; keys that are not named here are passed over."""

    gateway: str
    release: str
    state: str


@dataclass(frozen=True)
class Tally:
    """What the gateways say about one release."""

    gateways: int
    succeeded: int
    unreadable: int

    def why_not(self, minimum_gateways: int, minimum_success: float) -> str:
        """Why it may not be promoted, in words; empty if it may."""
        if self.gateways < max(1, minimum_gateways):
            return f"{self.gateways} gateways reported on it; {max(1, minimum_gateways)} are wanted"
        if self.succeeded < minimum_success * self.gateways:
            return f"it runs on {self.succeeded} of the {self.gateways} gateways that reported; {minimum_success:.1%} are wanted"
        return ""


def tally(lines: Iterable[bytes], release: str) -> Tally:
    """Count what is said about `release`; the last word of each gateway counts."""
    last: dict[str, str] = {}
    unreadable = 0
    for line in lines:
        if not line.strip():
            continue
        try:
            report = msgspec.json.decode(line, type=Report)
        except (msgspec.DecodeError, UnicodeDecodeError):
            unreadable += 1
            continue
        if report.release == release:
            last[report.gateway] = report.state
    return Tally(len(last), sum(state == SUCCESS for state in last.values()), unreadable)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    arguments = parser(__doc__)
    arguments.add_argument("--from", dest="source", required=True, metavar="GROUP")
    arguments.add_argument("--to", dest="goal", required=True, metavar="GROUP")
    arguments.add_argument("--states", type=Path, required=True)
    arguments.add_argument("--hold-h", type=float, default=24.0, help="hours since it was published there (24)")
    arguments.add_argument("--minimum-success", type=float, default=0.95, metavar="SHARE", help="of the gateways that reported")
    arguments.add_argument("--minimum-gateways", type=int, default=1, metavar="N")
    options = arguments.parse_args(argv)
    if not (0 < options.minimum_success <= 1 and options.hold_h >= 0):
        arguments.error("--minimum-success is above 0 and at most 1, --hold-h is not below 0")
    return run("promote", options, lambda signers, now: _promote(options, signers, now))


def _promote(options: argparse.Namespace, signers: Sequence[Signer], now: datetime) -> int:
    state, read = load_folder(options.repository), folder_reader(options.repository)
    for group in (options.source, options.goal):
        if group_role(group) not in state.groups:
            raise OperatorError(f"no group {group!r} in this repository")
    found = release_of(read, state.groups[group_role(options.source)])
    if found is None:
        raise OperatorError(f"group {options.source} has no release")
    manifest, entry = found
    standing = release_of(read, state.groups[group_role(options.goal)])
    if standing is not None and encode_manifest(standing[0]) == encode_manifest(manifest):
        return finish(options.repository, {}, signers, now)
    held = now - published_at(entry)
    if held < timedelta(hours=options.hold_h):
        raise OperatorError(f"{manifest.id}: published {held.total_seconds() / 3600:.1f} h ago; it is to hold {options.hold_h} h")
    said = tally(_lines(options.states), manifest.id)
    print(f"{manifest.id}: runs on {said.succeeded} of {said.gateways} gateways; {said.unreadable} unreadable lines")
    if why := said.why_not(options.minimum_gateways, options.minimum_success):
        raise OperatorError(f"{manifest.id}: {why}")
    digests = {name: part.sha256 for name, part in manifest.components.items()}
    return publish(options.repository, options.goal, manifest, lambda name: blob(read, digests[name]), signers, now)


def blob(read: Read, digest: str) -> bytes:
    """The stored bytes of a blob; whoever uses them compares the digest. Raises OperatorError."""
    data = read(f"{TARGETS}/blobs/{digest}.{digest}")
    if data is None:
        raise OperatorError(f"the blob {digest} is missing")
    return data


def _lines(path: Path) -> Iterator[bytes]:
    files = sorted(each for each in path.iterdir() if each.is_file()) if path.is_dir() else [path]
    for file in files:
        try:
            yield from file.read_bytes().split(b"\n")
        except OSError as error:
            raise OperatorError(f"{file}: cannot be read: {error.strerror}") from error
