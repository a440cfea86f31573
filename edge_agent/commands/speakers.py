"""The releases on this gateway's disk that sentences come from, each ready to speak when it is asked for.

Rules: nothing is changed and nothing is taken off the record: that is the agent's. One release is open at a time, because a
writer may be as large as the gateway's memory allows once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from edge_agent.config.settings import Settings
from edge_agent.contents import Contents
from edge_agent.engines.loading import FACTORY
from edge_agent.engines.speaking import Speaker, open_speaker
from edge_agent.errors import ReleaseError
from edge_agent.pipeline import TEMPLATE_ONLY
from edge_agent.update.machine import speaks
from edge_agent.update.store import Store
from edge_agent.workers.keeper import FOLDER, read_record
from edge_agent.workers.updating import opens_for


class Speakers:
    """The release that speaks now by the record, the active and the previous one, and the one inside the package."""

    def __init__(self, settings: Settings, complain: Callable[[ReleaseError], None]) -> None:
        """Raises StorageError where the record, or a folder of the store, cannot be read."""
        self._settings = settings
        self._complain = complain
        self._opens = opens_for(settings)
        self._folders = _folders(Path(settings.state_dir), complain)
        self._open: tuple[str, Speaker] | None = None

    def speaker_now(self) -> Speaker:
        """The release that speaks now, ready to speak; templates where not even the one inside the package can be used."""
        for release in self._folders:
            speaker = self.speaker(release)
            if speaker is not None and speaker.release.id == release:
                return speaker
        return Speaker(TEMPLATE_ONLY, None, self._complain)

    def speaker(self, release: str) -> Speaker | None:
        """The release of this id, ready to speak; None where it is not on this disk any more."""
        folder = self._folders.get(release)
        if folder is None:
            return None
        if self._open is None or self._open[0] != release:
            self._open = None  # one writer at a time
            self._open = (release, open_speaker(self._complain, self._settings.writer.device, partial(self._opens, folder)))
        return self._open[1]


def _folders(state_dir: Path, complain: Callable[[ReleaseError], None]) -> dict[str, Path]:
    """Where the releases stand, by id; first the one that speaks now."""
    record, store = read_record(state_dir), Store(state_dir / FOLDER)
    folders: dict[str, Path] = {}
    for held in (speaks(record), record.active, record.previous):
        folder = None if held is None else store.release_folder(held.manifest_sha256)
        if held is not None and folder is not None:
            folders.setdefault(held.release, folder)
    try:
        folders.setdefault(Contents(FACTORY, "").manifest.id, FACTORY)
    except ReleaseError as error:
        complain(error)
    return folders
