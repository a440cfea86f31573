"""A gateway's trust, for tests of repositories: the device's own client on the folder that the operator wrote."""

from __future__ import annotations

import hashlib
import io
import shutil
from pathlib import Path

from edge_agent.clock import SystemClock
from edge_agent.release.manifest import Manifest, parse_manifest, stored_form
from edge_agent.update.transport import Transport
from edge_agent.update.trust import Trust


class Device:
    """One gateway's trust folder."""

    def __init__(self, folder: Path, root: bytes) -> None:
        folder.mkdir(parents=True)
        self._trust = Trust(folder, root)
        self._trust.start()

    @classmethod
    def copied(cls, seen: Path, folder: Path, root: bytes) -> Device:
        """One that has seen what another one, in the folder `seen`, has."""
        shutil.copytree(seen, folder)
        device = cls.__new__(cls)
        device._trust = Trust(folder, root)
        return device

    def release(self, repository: Path, group: str = "canary") -> Manifest | None:
        """The group's release as a gateway believes it, every blob compared; None where there is none.

        Raises RepositoryRefusedError, LinkError.
        """
        clock = SystemClock()
        url = repository.as_uri()
        with self._trust.session(Transport(clock), f"{url}/metadata/", clock.now_s()) as session:
            target = session.target(f"groups/{group}/release.json")
            if target is None:
                return None
            data = io.BytesIO()
            session.fetch(target, f"{url}/targets", data)
            manifest = parse_manifest(data.getvalue(), target.name)
            for name, part in manifest.components.items():
                digest = stored_form(name, part).sha256
                blob = (repository / f"targets/blobs/{digest}.{digest}").read_bytes()
                assert hashlib.sha256(blob).hexdigest() == digest
            return manifest
