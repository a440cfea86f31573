"""What the device trusts of a repository, kept in one checksummed file that stands twice (`twice`).

Format: a line `edge-agent trusted 1`, a line with the SHA-256 of all that follows, then one JSON object (`Trusted`), in which
metadata is base64, byte for byte as it was signed.

Rules: the rules of `twice`. Where both copies are lost nothing is believed: a person must start anew from the factory root. A
folder without copies and marker was never used: only then is it started without being told to. A copy of another version
counts as a damaged one.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from msgspec import Struct

from edge_agent.errors import TrustLostError
from edge_agent.update.floor import Floor
from edge_agent.update.twice import Kind, Twice

COPIES: tuple[str, str] = ("trusted.a", "trusted.b")
MARKER = "trusted.begun"
MAX_FILE_BYTES = 32 << 20


class Trusted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that a device keeps of a repository between two looks at it."""

    generation: int
    """Grows by one with every save."""
    factory_sha256: str
    """Of the factory root that this started from."""
    metadata: dict[str, bytes]
    """By role, as signed. The root is always there; the others as far as they were verified."""
    floor: Floor


class Loaded(Struct, frozen=True, kw_only=True):
    """What was found. `whole`: both copies are good and equal, so that nothing needs to be written again."""

    trusted: Trusted
    whole: bool


class TrustedFile:
    """The two copies and the marker in one folder, which must exist."""

    def __init__(self, folder: Path) -> None:
        self._twice = Twice(
            folder,
            Kind(
                type=Trusted,
                what="edge-agent trusted",
                version=1,
                copies=COPIES,
                marker=MARKER,
                marker_text="Metadata was trusted here. Do not remove.",
                max_bytes=MAX_FILE_BYTES,
                busy="another process is looking for updates there; try later",
                lost=_lost,
            ),
        )

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Hold the folder for this process alone. Raises StorageError where another one holds it."""
        return self._twice.locked()

    def load(self) -> Loaded | None:
        """What is trusted; None where nothing ever was. Raises TrustLostError where it is gone, StorageError."""
        found = self._twice.load()
        return None if found is None else Loaded(trusted=found.value, whole=found.whole)

    def save(self, trusted: Trusted) -> None:
        """Write both copies, durably, then the marker. Raises StorageError; what was loaded before, or `trusted`, stands."""
        self._twice.save(trusted)


def _lost(folder: str) -> TrustLostError:
    return TrustLostError(
        f"{folder}: what was trusted of the repository is gone: both copies ({', '.join(COPIES)}) are missing or"
        " damaged. Nothing is installed until a person decides: check the disk, then start anew from the factory root"
    )
