"""A repository of releases in memory, with all its keys at hand, and a fetcher that serves any state of it.

What is signed stands in `files`, by its path below the repository. A copy of `files` is a state that can be served again
later: that is a replay. The layout is the one that devices are given: consistent snapshots, one delegated role a fleet group.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import DownloadHTTPError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.ngclient import FetcherInterface

URL = "memory://repository/metadata"
TARGETS_URL = "memory://repository/targets"
TOP_LEVEL = ("root", "timestamp", "snapshot", "targets")


class Repository:
    """Signs what it is told to sign, also what no honest repository would."""

    def __init__(self, *, groups: tuple[str, ...] = ("a", "b"), root_keys: int = 3, root_threshold: int = 2) -> None:
        self.files: dict[str, bytes] = {}
        self.expires = (datetime.now(UTC) + timedelta(days=30)).replace(microsecond=0)
        self.signers: dict[str, list[CryptoSigner]] = {}
        self.root = Root(version=1, expires=self.expires, consistent_snapshot=True)
        self.timestamp = Timestamp(version=1, expires=self.expires)
        self.snapshot = Snapshot(version=1, expires=self.expires)
        self.targets = Targets(version=1, expires=self.expires, delegations=Delegations({}, roles={}))
        self.groups = {f"group-{group}": Targets(version=1, expires=self.expires) for group in groups}
        for role in TOP_LEVEL:
            self.give_keys(role, root_keys if role == "root" else 1)
        self.root.roles["root"].threshold = root_threshold
        for role in self.groups:
            self._delegations[role] = DelegatedRole(role, [], 1, False, [f"groups/{role[6:]}/*", "blobs/*"])
            self.give_keys(role, 1)
            self.add(role, f"groups/{role[6:]}/release.json", b'{"counter":1}')
        self.sign("root")
        self.publish()

    @property
    def factory_root(self) -> bytes:
        return self.files["metadata/1.root.json"]

    @property
    def _delegations(self) -> dict[str, DelegatedRole]:
        assert self.targets.delegations is not None
        assert self.targets.delegations.roles is not None
        return self.targets.delegations.roles

    def give_keys(self, role: str, count: int) -> None:
        """New keys for `role`, in place of those it had. Takes effect with the next signing of who delegates to it."""
        self.signers[role] = [CryptoSigner.generate_ed25519() for _ in range(count)]
        delegator = self.root if role in TOP_LEVEL else self.targets
        delegator.get_delegated_role(role).keyids.clear()
        for signer in self.signers[role]:
            delegator.add_key(signer.public_key, role)

    def signed(self, role: str) -> Root | Timestamp | Snapshot | Targets:
        return self.groups[role] if role in self.groups else getattr(self, role)

    def sign(self, role: str, also: list[CryptoSigner] | None = None) -> bytes:
        """Sign `role` as it is, and put it where devices look for it."""
        signed = self.signed(role)
        metadata: Metadata[Any] = Metadata(signed)
        for signer in [*self.signers[role], *(also or [])]:
            metadata.sign(signer, append=True)
        data = metadata.to_bytes()
        prefix = "" if role == "timestamp" else f"{signed.version}."
        self.files[f"metadata/{prefix}{quote(role, '')}.json"] = data
        return data

    def publish(self) -> None:
        """Sign everything below the root as it stands."""
        for role in (*self.groups, "targets"):
            self.snapshot.meta[f"{role}.json"] = MetaFile(self.signed(role).version)
            self.sign(role)
        self.stamp()

    def stamp(self) -> None:
        """Sign the snapshot and the timestamp as they stand."""
        self.sign("snapshot")
        self.timestamp.snapshot_meta = MetaFile(self.snapshot.version)
        self.sign("timestamp")

    def add(self, role: str, name: str, data: bytes) -> None:
        """Let `role` name a target, as `name` with `data`, whether it may or not."""
        target = TargetFile.from_data(name, data, ["sha256"])
        targets = self.signed(role)
        assert isinstance(targets, Targets)
        targets.targets[name] = target
        folder, slash, file = name.rpartition("/")
        self.files[f"targets/{folder}{slash}{target.hashes['sha256']}.{file}"] = data

    def release(self, group: str = "group-a") -> None:
        """A new release of a group, published as it should be."""
        self.groups[group].version += 1
        self.add(group, f"groups/{group[6:]}/release.json", json.dumps({"counter": self.groups[group].version}).encode())
        self.snapshot.version += 1
        self.timestamp.version += 1
        self.publish()

    def release_again(self, *roles: str) -> None:
        """Publish what was changed in these groups' roles, in `group-a` unless they are named, under new versions."""
        for role in roles or ("group-a",):
            self.groups[role].version += 1
        self.snapshot.version += 1
        self.timestamp.version += 1
        self.publish()

    def rotate(self, *roles: str) -> None:
        """A new root in which `roles` have new keys; what they signed is signed again."""
        before = list(self.signers["root"])
        for role in roles:
            self.give_keys(role, len(self.signers[role]))
        self.root.version += 1
        self.sign("root", also=before if "root" in roles else None)
        self.publish()


class Served(FetcherInterface):
    """Serves `files`, which tests exchange, and notes what was asked for."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.asked: list[str] = []

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = url.removeprefix("memory://repository/")
        self.asked.append(path)
        if path not in self.files:
            raise DownloadHTTPError(f"{path} is not there", 404)
        data = self.files[path]
        return iter([data[:100], data[100:]])
