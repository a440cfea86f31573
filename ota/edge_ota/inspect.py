"""Shows and verifies a repository, a bundle or a release's folder.

    edge-ota inspect PATH [--json] [--root TRUSTED_ROOT]

Rules: everything that is signed is verified, and every blob that a group names is compared with its digest; nothing is changed. A
repository's first root is believed unless `--root` names one to compare it with. So anyone may have written anything of what is
shown: it is shown without what would move a terminal's cursor. Ends with 1 if anything is wrong or expired.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tuf.api.metadata import Metadata, Targets

from edge_agent.errors import EdgeAgentError
from edge_agent.release.manifest import MANIFEST_NAME, Manifest
from edge_ota.bundle import bundle_name
from edge_ota.files import Files, Folder
from edge_ota.publish import check_component_file, read_manifest
from edge_ota.repository import (
    METADATA,
    RELEASE_NAME,
    TIMESTAMP_NAME,
    State,
    check_stored,
    entry_of,
    foreign,
    keys_of,
    load,
    release_of,
    stored_name,
)
from edge_ota.rotate import roles_of
from edge_ota.seal import check_wrapped, wrapped_keys
from edge_ota.signing import OperatorError
from edge_ota.task import printable, told
from edge_ota.unbundle import Bundle
from edge_ota.usage import described


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    arguments = described("inspect", __doc__)
    arguments.add_argument("path", type=Path, metavar="PATH", help="a repository's folder, a bundle, or a release's folder")
    arguments.add_argument("--json", action="store_true", help="one JSON object")
    arguments.add_argument("--root", type=Path, metavar="ROOT", help="the first root that is trusted, as a gateway has it")
    options = arguments.parse_args(argv)
    return told("inspect", lambda: _inspect(options))


def _inspect(options: argparse.Namespace) -> int:
    root = Folder(options.root.parent).read(options.root.name) if options.root else None
    if options.root and root is None:
        raise OperatorError(f"{options.root} is missing")
    found = look(options.path, datetime.now(UTC), root)
    print(json.dumps(found, indent=1, sort_keys=True) if options.json else "\n".join(map(printable, _lines(found))))
    return 1 if found["problems"] else 0


def look(path: Path, now: datetime, root: bytes | None = None) -> dict[str, Any]:
    """What stands at `path`, with its `problems`, as JSON would have it. Raises OperatorError, ReleaseError."""
    if (path / MANIFEST_NAME).is_file():
        return _release(path)
    if path.is_dir():
        return {"kind": "repository", **_repository(Folder(path), now, root, whole=True)}
    bundle = Bundle(path)
    found = {"kind": "bundle", **_repository(bundle, now, root, whole=False)}
    found["problems"] += _unnamed(bundle)
    return found


def _release(folder: Path) -> dict[str, Any]:
    manifest = read_manifest(folder)
    problems: list[str] = []
    for name in manifest.components:
        try:
            check_component_file(folder, manifest, name)
        except EdgeAgentError as error:
            problems.append(str(error))
    return {"kind": "release", "release": _told(manifest), "problems": problems}


def _repository(files: Files, now: datetime, root: bytes | None, *, whole: bool) -> dict[str, Any]:
    state = load(files)
    if state is None:
        raise OperatorError(f"no {TIMESTAMP_NAME}: no repository, or its `init` waits for signatures: see `edge-ota commit`")
    problems = ["a task on it was interrupted: run it, or `commit`, again"] if state.unfinished else []
    if root is not None and root != files.read(f"{METADATA}/1.root.json"):
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
    groups = {name: _group(files, document, name, problems, whole=whole) for name, document in state.groups.items()}
    if not whole and not any(group and group["here"] for group in groups.values()):
        problems.append("it has no group's release")
    return {"roles": roles, "groups": groups, "problems": problems}


def _group(files: Files, document: Metadata[Targets], role: str, problems: list[str], *, whole: bool) -> dict[str, Any] | None:
    strange = dict.fromkeys(foreign(role, document.signed))
    problems += [f"{role}: names {what}, which is not its own" for what in strange]
    entry = entry_of(document, role, RELEASE_NAME)
    if entry is None:
        return None
    if not whole and files.read(stored_name(entry)) is None:
        return {"here": False}
    try:
        found = release_of(files, role, document)
    except OperatorError as error:
        problems.append(f"{role}: {error}")
        return {"here": False}
    for file in document.signed.targets.values():
        if file.path in strange:
            continue
        try:
            check_stored(files, file)
        except OperatorError as error:
            problems.append(f"{role}: {error}")
    if found is None:
        return None
    try:
        keys = keys_of(files, role, document)
        check_wrapped(found[0], keys, role)
    except OperatorError as error:
        problems.append(f"{role}: {error}")
        keys = None
    wrapped = {} if keys is None else {key_id: len(entries) for key_id, entries in wrapped_keys(keys, role).keys.items()}
    published = (found[1].custom or {}).get("published")
    return {**_told(found[0]), "here": True, "published": published, "wrapped": wrapped}


def _unnamed(bundle: Bundle) -> list[str]:
    """The members of a bundle that nothing in it refers to."""
    state = load(bundle)
    if state is None:
        return []
    named = {f"{METADATA}/{root.signed.version}.root.json" for root in state.roots}
    named |= {f"{METADATA}/timestamp.json", f"{METADATA}/{state.snapshot.signed.version}.snapshot.json"}
    for role, document in {"targets": state.targets, **state.groups}.items():
        named.add(f"{METADATA}/{document.signed.version}.{role}.json")
        named |= {bundle_name(stored_name(entry)) for entry in document.signed.targets.values()}
    return [f"{name}: nothing refers to it" for name in bundle.names() if name not in named]


def _threshold(state: State, role: str) -> int:
    owner = state.root.signed if role in state.root.signed.roles else state.targets.signed
    return int(owner.get_delegated_role(role).threshold)


def _told(manifest: Manifest) -> dict[str, Any]:
    parts = manifest.components.values()
    forms = {part.stored or part for part in parts if part.merged is None}
    return {
        "id": manifest.id,
        "counter": manifest.counter,
        "minimum_agent": manifest.minimum_agent,
        "components": len(manifest.components),
        "size_bytes": sum(part.size_bytes for part in parts),
        "stored_bytes": sum(form.size_bytes for form in forms),
        "sealed": sorted({part.stored.sealed for part in parts if part.stored is not None and part.stored.sealed}),
        "merged": sorted(name for name, part in manifest.components.items() if part.merged is not None),
        "certificate": manifest.certificate,
        "golden": manifest.golden,
        "max_rss_bytes": manifest.limits.max_rss_bytes,
        "max_sentence_s": manifest.limits.max_sentence_s,
    }


def _lines(found: dict[str, Any]) -> list[str]:
    lines = [str(found["kind"])]
    for name, role in found.get("roles", {}).items():
        keys = ", ".join(str(key)[:12] for key in role["keys"])
        lines.append(f"  {name}: version {role['version']}, until {role['expires']}, {role['threshold']} of {keys}")
    for name, release in [*found.get("groups", {}).items(), *([("release", found["release"])] if "release" in found else [])]:
        if not release or release.get("here") is False:
            lines.append(f"  {name}: {'no release' if not release else 'its release is not here'}")
        else:
            counts = [release.get("wrapped", {}).get(key_id, 0) for key_id in release["sealed"]]
            devices = ", ".join("1 device" if count == 1 else f"{count} devices" for count in counts)
            sealed = f", sealed for {devices}" if devices else ""
            lines.append(f"  {name}: {release['id']}, counter {release['counter']}, {release['stored_bytes']} bytes{sealed}")
    return [*lines, *(f"  PROBLEM {problem}" for problem in found["problems"])]
