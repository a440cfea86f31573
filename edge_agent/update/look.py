"""`python -m edge_agent.update.look`: the child process that sees what the newest release of a group is, the one that has tuf.

One `LookJob` comes in; `Looked` goes out, as the last line, and with it the exit code is 0; 2 for a job that is none.

Rules:
* What was found out of the floor and the time is told whatever else happened.
* A release is the target `groups/<group>/release.json`, and its keys are `groups/<group>/keys.json`; each of its blobs is the
  target `blobs/<sha256>` of the size and the digest that the manifest says. All must be named by the role that is the group's
  own, whoever else names the same blobs: what several roles name does not make a release together.
* A repository that this device never saw is begun from the factory root, but only where the agent's record knows of none either.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import msgspec
from msgspec.structs import replace

from edge_agent.atomic import make_folder
from edge_agent.clock import Clock, SystemClock
from edge_agent.errors import ReleaseError, RepositoryRefusedError
from edge_agent.release.manifest import MAX_KEYS_BYTES, MAX_MANIFEST_BYTES, Manifest, parse_manifest, stored_form
from edge_agent.release.sealing import seals
from edge_agent.update.exchange import Meter
from edge_agent.update.jobs import Looked, LookJob, Problem
from edge_agent.update.places import opened
from edge_agent.update.problems import TOLD, problem
from edge_agent.update.target import Target
from edge_agent.update.transport import PLACE, FromPlace
from edge_agent.update.trust import Session, Trust

MAX_JOB_BYTES = 1 << 20
MAX_LOOK_BYTES = 64 << 20
"""Received in one look: metadata, a manifest, keys, and the headers of a bundle."""
MAX_ROOT_BYTES = 1 << 20
_METADATA, _TARGETS = f"{PLACE}metadata", f"{PLACE}targets"


def main() -> int:
    """Do the job that stands on standard input; the exit code."""
    try:
        job = msgspec.json.decode(sys.stdin.buffer.read(MAX_JOB_BYTES), type=LookJob)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        print(f"not a job: {error}", file=sys.stderr)
        return 2
    sys.stdout.buffer.write(msgspec.json.encode(look(job, SystemClock())) + b"\n")
    sys.stdout.buffer.flush()
    return 0


def look(job: LookJob, clock: Clock) -> Looked:
    """See what the newest release is. Raises nothing that the place, the trust or the disk are to blame for."""
    found = Looked(floor=job.known, time_s=max(job.now_s, job.build_time_s))
    try:
        trust = _trust(job)
        with (
            opened(job.place, clock, Meter(MAX_LOOK_BYTES), job.timeout_s) as place,
            trust.session(FromPlace(place, job.timeout_s), _METADATA, job.now_s, job.known) as session,
        ):
            # From here on a refusal is told together with what the session learnt before it.
            try:
                return _release(session, job.group)
            except TOLD as error:
                return Looked(floor=session.floor, time_s=session.time_s, problem=problem(error, "manifest"))
    except ReleaseError as error:  # of a release nothing was heard yet: it is the root
        return replace(found, problem=Problem(kind="trust-lost", reason="root", detail=str(error)))
    except TOLD as error:
        return replace(found, problem=problem(error, "manifest"))


def _trust(job: LookJob) -> Trust:
    """What is trusted, begun where it never was. Raises ReleaseError for a factory root that is none, StorageError."""
    try:
        with open(job.root_file, "rb") as file:
            root = file.read(MAX_ROOT_BYTES)
    except OSError as error:
        raise ReleaseError(f"{job.root_file}: the factory root cannot be read: {error.strerror}") from error
    folder = Path(job.trust_folder)
    make_folder(folder)
    trust = Trust(folder, root, build_time_s=job.build_time_s)
    if not job.known.roles:
        trust.start()
    return trust


def _release(session: Session, group: str) -> Looked:
    """The release of a group, whole and verified. Raises RepositoryRefusedError, LinkError, ReleaseError, StorageError."""
    session.refresh()
    name, keys_name = f"groups/{group}/release.json", f"groups/{group}/keys.json"
    release = session.target(name)
    if release is None:
        return Looked(floor=session.floor, time_s=session.time_s)
    if release.role != f"group-{group}":
        raise RepositoryRefusedError("role", f"{name}: named by {release.role}, which may not speak for the group {group}")
    data = _small(session, release, MAX_MANIFEST_BYTES)
    manifest = parse_manifest(data, name)
    _with_its_blobs(session, release, manifest)
    # A group keeps its keys while its release is in the clear: they are many bytes then, and of no use.
    keys = session.beside(release, [keys_name]).get(keys_name) if seals(manifest) else None
    return Looked(
        floor=session.floor,
        time_s=session.time_s,
        manifest=data,
        keys=None if keys is None else _small(session, keys, MAX_KEYS_BYTES),
    )


def _small(session: Session, target: Target, max_bytes: int) -> bytes:
    """The bytes of a small target. Raises RepositoryRefusedError, LinkError."""
    if target.length > max_bytes:
        raise RepositoryRefusedError("too-long", f"{target.name}: {target.length} bytes, at most {max_bytes} are taken")
    file = io.BytesIO()
    session.fetch(target, _TARGETS, file)
    return file.getvalue()


def _with_its_blobs(session: Session, release: Target, manifest: Manifest) -> None:
    """See that the role of the release vouches for every blob. Raises RepositoryRefusedError, ReleaseError."""
    needed = {path: stored_form(path, component) for path, component in manifest.components.items() if component.merged is None}
    named = session.beside(release, {f"blobs/{stored.sha256}" for stored in needed.values()})
    for path, stored in needed.items():
        name = f"blobs/{stored.sha256}"
        target = named.get(name)
        if target is None:
            raise RepositoryRefusedError("no-blob", f"{path}: its blob {name} is not named by {release.role}")
        if target.length != stored.size_bytes or target.hashes.get("sha256") != stored.sha256:
            raise RepositoryRefusedError("mismatch", f"{path}: the manifest and the repository say different things of {name}")
        if target.path != f"{name}.{stored.sha256}":
            raise RepositoryRefusedError("layout", f"{name}: stands at {target.path!r}: not a repository of consistent snapshots")


if __name__ == "__main__":
    sys.exit(main())
