"""The state record: all that a device knows of its releases, as one frozen value.

Rules: values only. What it goes through is `machine`'s business, how it stands on the disk `record_file`'s, and its members are
described in docs/formats/update-state.md. A member that is missing has the value of a new device.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from msgspec import Struct

from edge_agent.update.floor import Floor

Stage: TypeAlias = Literal["idle", "fetching", "verified", "staged", "probing", "trial"]
Result: TypeAlias = Literal["committed", "refused", "rolled-back", "cancelled"]

MAX_REASON_CHARACTERS: Final = 500


class Held(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A release by name, and by the digest of its manifest, which decides."""

    release: str
    counter: int
    manifest_sha256: str

    @property
    def named(self) -> str:
        """As people read it. What a look found ends with it where nothing stands in the way of the release."""
        return f"{self.release}, counter {self.counter}"


class Candidate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A release on its way in."""

    held: Held
    source: str
    """The name of the source that offered it."""
    ticket: str = ""
    """What the source calls this offer: a file's name, the number of a deployment."""
    began_s: float = 0.0
    attempts: int = 0
    """Fetches that ended before all was there."""


class Ended(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one candidate, or one rollback, ended."""

    held: Held
    result: Result
    reason: str
    at_s: float
    source: str = ""
    ticket: str = ""
    told: bool = False
    """Whether it stands in the journal's outbox, from where it reaches the broker."""
    reported: bool = False
    """Whether the source was told, where it wants to be."""


class Record(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """All that the device knows of its releases. The newest that is on the disk is the truth."""

    generation: int = 0
    """Grows by one with every save."""
    stage: Stage = "idle"
    active: Held | None = None
    """None: the factory release."""
    previous: Held | None = None
    """What a rollback goes to; None: the factory release."""
    candidate: Candidate | None = None
    tries_left: int = 0
    boot: str = ""
    """The boot of the device in which the try under way was begun; empty: none is under way, or it was ended in order."""
    cuts: int = 0
    """Tries of this stage in which the device went down."""
    soaked_s: float = 0.0
    """How long the candidate spoke in its trial, in runs that were stopped in order, since the last crash."""
    reason: str = ""
    """Why the stage stands as it does, or what went wrong last, in words."""
    changed_s: float = 0.0
    committed_counter: int = -1
    """The highest that was ever committed."""
    refused_counter: int = -1
    """The highest that failed, was cancelled or rolled back."""
    rotten: tuple[str, ...] = ()
    """The digests of manifests whose releases were found damaged on the disk: they may come again."""
    floor: Floor = Floor()
    """Of what the repository said; also of the time, by what it signed. The device's own clock is no floor: it may jump ahead."""
    looked: str = ""
    """What the last look at a source found, in words."""
    looked_failed: bool = False
    """Whether it could not be carried out, or what stands there was not believed."""
    looked_s: float = 0.0
    looked_count: int = 0
    """Looks that were written down: who waits for one sees that it is over."""
    ended: tuple[Ended, ...] = ()
    """Oldest first."""
    day: int = 0
    """The day, counted from 1970 by the device's clock, that `day_bytes` and `day_looks` are of."""
    day_bytes: int = 0
    day_looks: int = 0
