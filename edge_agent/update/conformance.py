"""`python -m edge_agent.update.conformance`: the device's trust, driven from outside by a suite that tests TUF clients.

It is the code that the agent trusts releases with, and nothing besides: what is trusted stands in the metadata folder as the
agent keeps it, and after each step it is written there once more as `ROLE.json`, for the suite to look at. These files are
never read. A role's name is percent-encoded in the file's name, as python-tuf does it.

Rules: exit code 0 where all of a step succeeded, 1 where any of it failed, the reason on standard error, 2 for a wrong call. The
time is the system's alone: a suite sets it to the times of its own repositories, so the build of this agent is no floor. How
much metadata is taken is what python-tuf takes unless it is told otherwise, but for all of a step together: a device takes less.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO
from urllib.parse import quote

from edge_agent.atomic import make_folder, write_atomic
from edge_agent.clock import SystemClock
from edge_agent.errors import EdgeAgentError, InputError, RepositoryRefusedError, TrustLostError
from edge_agent.update.target import Target, verified
from edge_agent.update.transport import Transport
from edge_agent.update.trust import Trust
from edge_agent.update.working_copy import Limits

LIMITS = Limits(
    root_bytes=512_000,
    timestamp_bytes=16_384,
    snapshot_bytes=2_000_000,
    targets_bytes=5_000_000,
    session_bytes=24 << 20,
    root_rotations=256,
)
_FACTORY_ROOT = "factory-root"
_PART_BYTES = 65_536


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one step; its exit code."""
    asked = _parser().parse_args(arguments)
    steps = {"init": _init, "refresh": _refresh, "download": _download}
    try:
        steps[asked.step](asked)
    except (EdgeAgentError, OSError) as error:
        print(f"{asked.step}: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edge-agent-conformance", description="A TUF client for a conformance suite.")
    parser.add_argument("--metadata-dir", type=Path, required=True, help="where what is trusted stands")
    parser.add_argument("--metadata-url", help="where the repository's metadata stands")
    parser.add_argument("--target-name", help="the target to download")
    parser.add_argument("--target-base-url", help="where the repository's targets stand")
    parser.add_argument("--target-dir", type=Path, help="where to put the target")
    steps = parser.add_subparsers(dest="step", required=True)
    steps.add_parser("init", help="start from a trusted root").add_argument("root", type=Path)
    steps.add_parser("refresh", help="take over what the repository says now")
    steps.add_parser("download", help="refresh, then fetch one target")
    return parser


def _init(asked: argparse.Namespace) -> None:
    root = asked.root.read_bytes()
    make_folder(asked.metadata_dir)
    trust = Trust(asked.metadata_dir, root, limits=LIMITS)
    held = None if trust.start() else trust.held()
    if held is not None and held.factory_sha256 != hashlib.sha256(root).hexdigest():
        raise InputError("usage", f"{asked.metadata_dir}: was started from another root; use another folder")
    write_atomic(asked.metadata_dir / _FACTORY_ROOT, root)
    _show(trust, asked.metadata_dir)


def _refresh(asked: argparse.Namespace) -> None:
    _step(asked, None)


def _download(asked: argparse.Namespace) -> None:
    for option in ("target_name", "target_base_url", "target_dir"):
        if getattr(asked, option) is None:
            raise InputError("usage", f"--{option.replace('_', '-')} is missing")
    _step(asked, asked.target_name)


def _step(asked: argparse.Namespace, name: str | None) -> None:
    """Refresh and, where `name` is given, fetch that target."""
    if asked.metadata_url is None:
        raise InputError("usage", "--metadata-url is missing")
    clock = SystemClock()
    transport = Transport(clock)
    trust = Trust(asked.metadata_dir, (asked.metadata_dir / _FACTORY_ROOT).read_bytes(), limits=LIMITS)
    try:
        with trust.session(transport, asked.metadata_url, clock.now_s()) as session:
            session.refresh()
            if name is None:
                return
            target = session.target(name)
            if target is None:
                raise InputError("no-target", f"{name}: no role names it")
            make_folder(asked.target_dir)
            path = asked.target_dir / _file_name(name)
            if not _is_there(target, path):
                with _whole(path) as file:
                    session.fetch(target, asked.target_base_url, file)
    finally:
        with contextlib.suppress(TrustLostError):  # already said
            _show(trust, asked.metadata_dir)


def _is_there(target: Target, path: Path) -> bool:
    """Whether `path` already has the bytes of `target`."""
    try:
        with path.open("rb") as file:
            for _ in verified(target, iter(lambda: file.read(_PART_BYTES), b"")):
                pass
    except (OSError, RepositoryRefusedError):
        return False
    return True


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that gets its name `path` when all of it is there, and leaves nothing behind otherwise."""
    fd, temporary = tempfile.mkstemp(prefix=".", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _show(trust: Trust, folder: Path) -> None:
    """Write what is trusted to `folder`, one file a role; remove what is not trusted any more."""
    held = trust.held()
    files = {f"{quote(role, '')}.json": data for role, data in (held.metadata if held else {}).items()}
    for path in folder.glob("*.json"):
        if path.name not in files and not path.is_dir():
            path.unlink()
    for name, data in files.items():
        write_atomic(folder / name, data)


def _file_name(name: str) -> str:
    """A target's name as that of one file, which cannot leave its folder and is not hidden in it."""
    quoted = quote(name, "")
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted


if __name__ == "__main__":
    sys.exit(main())
