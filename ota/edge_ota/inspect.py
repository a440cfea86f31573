"""Shows and verifies a repository, a bundle or a release's folder.

    edge-ota inspect PATH [--json] [--root TRUSTED_ROOT]

Rules: everything that is signed is verified, and every blob that a group names is compared with its digest; nothing is changed. A
repository's first root is believed unless `--root` names one to compare it with. Ends with 1 if anything is wrong or expired.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tuf.api.metadata import Targets

from edge_agent.errors import EdgeAgentError
from edge_agent.release.manifest import MANIFEST_NAME, Manifest, check_component, parse_manifest
from edge_ota.bundle import unpack
from edge_ota.contents import refuse_contents
from edge_ota.repository import METADATA, Read, State, folder_reader, load, release_of, stored
from edge_ota.rotate import roles_of
from edge_ota.signing import OperatorError
from edge_ota.task import told


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("path", type=Path)
    arguments.add_argument("--json", action="store_true", help="one JSON object")
    arguments.add_argument("--root", type=Path, help="the first root that is trusted, as a gateway has it")
    options = arguments.parse_args(argv)
    return told("inspect", lambda: _inspect(options))


def _inspect(options: argparse.Namespace) -> int:
    root = options.root.read_bytes() if options.root else None
    found = look(options.path, datetime.now(UTC), root)
    print(json.dumps(found, indent=1, sort_keys=True) if options.json else "\n".join(_lines(found)))
    return 1 if found["problems"] else 0


def look(path: Path, now: datetime, root: bytes | None = None) -> dict[str, Any]:
    """What stands at `path`, with its `problems`, as JSON would have it. Raises OperatorError, ReleaseError."""
    if (path / MANIFEST_NAME).is_file():
        return _release(path)
    if path.is_dir():
        return {"kind": "repository", **_repository(folder_reader(path), now, root, whole=True)}
    return {"kind": "bundle", **_repository(unpack(path).get, now, root, whole=False)}


def _release(folder: Path) -> dict[str, Any]:
    manifest = parse_manifest((folder / MANIFEST_NAME).read_bytes(), str(folder / MANIFEST_NAME))
    problems: list[str] = []
    for name in manifest.components:
        try:
            data = (folder / name).read_bytes()
            check_component(manifest, name, data)
            refuse_contents(name, data)
        except (EdgeAgentError, OSError) as error:
            problems.append(str(error))
    return {"kind": "release", "release": _told(manifest), "problems": problems}


def _repository(read: Read, now: datetime, root: bytes | None, *, whole: bool) -> dict[str, Any]:
    state = load(read)
    if state is None:
        raise OperatorError("no timestamp.json: not a repository, or not finished")
    problems = ["a task on it was interrupted: run it, or `commit`, again"] if state.unfinished else []
    if root is not None and root != read(f"{METADATA}/1.root.json"):
        problems.append("its first root is not the trusted one")
    documents = {**state.documents(), "snapshot": state.snapshot, "timestamp": state.timestamp}
    keys = roles_of(state)
    roles = {}
    for name, document in documents.items():
        signed = document.signed
        if signed.expires <= now:
            problems.append(f"{name}: expired {signed.expires:%Y-%m-%d %H:%M} UTC")
        roles[name] = {
            "version": signed.version,
            "expires": signed.expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "threshold": _threshold(state, name),
            "keys": keys[name],
        }
    groups = {name: _group(read, document.signed, state, name, problems, whole=whole) for name, document in state.groups.items()}
    return {"roles": roles, "groups": groups, "problems": problems}


def _group(read: Read, signed: Targets, state: State, name: str, problems: list[str], *, whole: bool) -> dict[str, Any] | None:
    entry = next((path for path in signed.targets if path.endswith("/release.json")), None)
    if entry is None:
        return None
    try:
        found = release_of(read, state.groups[name])
    except OperatorError as error:
        if whole:
            problems.append(f"{name}: {error}")
        return {"here": False}
    for file in signed.targets.values():
        try:
            stored(read, file)
        except OperatorError as error:
            problems.append(f"{name}: {error}")
    return None if found is None else {**_told(found[0]), "here": True, "published": found[1].custom.get("published")}


def _threshold(state: State, role: str) -> int:
    owner = state.root.signed if role in state.root.signed.roles else state.targets.signed
    return int(owner.get_delegated_role(role).threshold)


def _told(manifest: Manifest) -> dict[str, Any]:
    return {
        "id": manifest.id,
        "counter": manifest.counter,
        "minimum_agent": manifest.minimum_agent,
        "components": len(manifest.components),
        "size_bytes": sum(part.size_bytes for part in manifest.components.values()),
        "certificate": manifest.certificate,
    }


def _lines(found: dict[str, Any]) -> list[str]:
    lines = [str(found["kind"])]
    for name, role in found.get("roles", {}).items():
        keys = ", ".join(key[:12] for key in role["keys"])
        lines.append(f"  {name}: version {role['version']}, until {role['expires']}, {role['threshold']} of {keys}")
    for name, release in [*found.get("groups", {}).items(), *([("release", found["release"])] if "release" in found else [])]:
        if not release or release.get("here") is False:
            lines.append(f"  {name}: {'no release' if not release else 'its release is not in this bundle'}")
        else:
            lines.append(f"  {name}: {release['id']}, counter {release['counter']}, {release['size_bytes']} bytes")
    return [*lines, *(f"  PROBLEM {problem}" for problem in found["problems"])]
