"""A device that looks at a simulated repository, for tests that say what it then believes."""

from __future__ import annotations

import time
from pathlib import Path

from tuf.ngclient import FetcherInterface

from edge_agent.errors import EdgeAgentError
from edge_agent.update.floor import Floor
from edge_agent.update.target import Target
from edge_agent.update.trust import Trust
from tests.update.simulator import URL, Served

RELEASE = "groups/a/release.json"


class Device:
    """One metadata folder, and what the agent's own record would hold."""

    def __init__(self, folder: Path, factory_root: bytes) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.trust = Trust(folder, factory_root)
        self.floor = Floor()

    def look(
        self,
        files: dict[str, bytes] | FetcherInterface,
        name: str = RELEASE,
        *,
        now_s: float | None = None,
        recorded: bool = True,
    ) -> Target | None:
        """Refresh from `files` and look `name` up; raises as the session does. `recorded`: the agent's record has the floor."""
        fetcher = files if isinstance(files, FetcherInterface) else Served(files)
        with self.trust.session(
            fetcher, URL, time.time() if now_s is None else now_s, self.floor if recorded else None
        ) as session:
            try:
                return session.target(name)
            finally:
                if recorded:
                    self.floor = session.floor

    def believes(self, files: dict[str, bytes] | FetcherInterface, name: str = RELEASE) -> bool:
        """Whether a target is named at all."""
        try:
            return self.look(files, name) is not None
        except EdgeAgentError:
            return False

    def versions(self) -> dict[str, int]:
        """Of all roles that are trusted now."""
        from tuf.api.metadata import Metadata

        held = self.trust.held()
        return {role: Metadata.from_bytes(data).signed.version for role, data in held.metadata.items()} if held else {}
