"""Tries a release as a gateway does before it lets one speak: a builder is told what every gateway would find.

Rules: the gateway's own probe does it, in a process of its own, of which nothing but its last line is believed; it gets the files
themselves, as a gateway has them, where the builder has links. Of what the release does on other processors it says nothing.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from msgspec import Struct

from edge_agent.errors import ReleaseError
from edge_ota.signing import OperatorError

PROBE = "edge_agent.probe"
TIMEOUT_S = 1_800.0
"""As long as a gateway gives it."""


class _Problem(Struct, frozen=True):
    reason: str
    detail: str


class _Probed(Struct, frozen=True):
    problem: _Problem | None


def try_release(folder: Path) -> None:
    """Try the release in `folder`. Raises ReleaseError with what a gateway would refuse it for, OperatorError."""
    try:
        with TemporaryDirectory(prefix=".edge-ota-", dir=folder.absolute().parent) as name:
            plain = shutil.copytree(folder, Path(name) / "release", copy_function=_link)
            code, output = _probe(Path(plain))
    except OSError as error:
        raise OperatorError(f"{folder}: cannot be tried: {error.strerror or error}") from error
    if code < 0:
        why = f"it ends the process that tries it, by {signal.Signals(-code).name}"
    else:
        try:
            problem = msgspec.json.decode(output.rstrip(b"\n").rpartition(b"\n")[2], type=_Probed).problem
        except (msgspec.DecodeError, UnicodeDecodeError):
            problem = _Problem("unusable", f"it ends the process that tries it with {code}, or takes more than {TIMEOUT_S:g} s")
        if problem is None:
            return
        why = f"{problem.reason}: {problem.detail}"
    raise ReleaseError(f"{folder}: gateways would refuse this release: {why}")


def _probe(folder: Path) -> tuple[int, bytes]:
    """The exit code, and what was said; nothing after the time was over."""
    job = msgspec.json.encode({"folder": str(folder)})
    try:
        done = subprocess.run((sys.executable, "-P", "-m", PROBE), input=job, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return 1, b""
    return done.returncode, done.stdout


def _link(source: str, target: str) -> None:
    """Another name of the file itself, or a copy where there can be none."""
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        shutil.copyfile(source, target)
