"""What a disk holds after a power cut: the model behind the simulation.

Rules of the model, and how they compare with what file systems promise:

* What a file held when fsync or fdatasync of it was called is there after the call returned. No cut takes it away.
* What was written since survives in units of one sector, each in any state that it passed through since the last sync: as
  synced, as it is now, or as it was in between. Sectors are independent of each other, whatever the order of the writes.
  A sector itself is not torn, and a write leaves the bytes beside it alone: SQLite relies on both ("powersafe overwrite").
* A file's size likewise is any that it had since the last sync, whatever became of the data. Where the file is longer than
  what survived of its data there are zeros, or, for one cut in four, what somebody else had written there: ext4 and xfs
  give zeros, older and simpler file systems give anything.
* A name made, moved or removed is durable only when the folder was synced after it. Before, for one half of the cuts a
  prefix of the changes in order survives, as a file system with a journal of its metadata does it (ext4, xfs, btrfs,
  f2fs), and for the other half any of them, in the order they came, which POSIX leaves open. A rename is one step.
* ext4 and xfs make a new file's name durable with the first sync of the file; here they do not.

The disk honours flushes. One that does not is `Trace.without_syncs`.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from tests.fault.power_cuts.trace import FOLDER, Create, Event, Mark, Rename, Resize, SyncBegun, SyncEnded, Trace, Unlink, Write

CHANCES: Final = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
"""How likely one sector, size or name survives in a cut: drawn once a cut, because a cut right before the disk's own
write-back loses nearly all and one right after it nearly nothing."""

SECTORS: Final = (512, 4096)


class _File:
    """One inode: what is durable of it, and what happened since."""

    def __init__(self, content: bytes = b"") -> None:
        self.durable = bytearray(content)
        self.since: deque[tuple[int, Write | Resize]] = deque()

    def settle(self, before: int) -> None:
        """Make durable what happened before the event of that number."""
        while self.since and self.since[0][0] < before:
            _apply(self.durable, self.since.popleft()[1])

    def cached(self) -> bytes:
        """What programs read."""
        content = bytearray(self.durable)
        for _, event in self.since:
            _apply(content, event)
        return bytes(content)

    def after_cut(self, dice: random.Random, chance: float, sector: int, junk: bool) -> bytes:
        """One content that may be found."""
        if not self.since:
            return bytes(self.durable)
        cached, found, size = bytearray(self.durable), bytearray(self.durable), len(self.durable)
        for _, event in self.since:
            was = len(cached)
            _apply(cached, event)
            if len(cached) != was and dice.random() < chance:
                size = len(cached)
            if isinstance(event, Write):
                _survive(cached, found, event, dice, chance, sector)
        if len(found) < size:
            found += dice.randbytes(size - len(found)) if junk else bytes(size - len(found))
        return bytes(found[:size])


def _apply(content: bytearray, event: Write | Resize) -> None:
    """Do to `content` what the event says."""
    end = event.size if isinstance(event, Resize) else event.offset + len(event.data)
    if len(content) < end:
        content += bytes(end - len(content))
    if isinstance(event, Resize):
        del content[event.size :]
    else:
        content[event.offset : end] = event.data


def _survive(cached: bytearray, found: bytearray, event: Write, dice: random.Random, chance: float, sector: int) -> None:
    """Bring each sector that a write touched to the disk, or not."""
    first = event.offset - event.offset % sector
    for start in range(first, event.offset + len(event.data), sector):
        if dice.random() < chance:
            if len(found) < start:
                found += bytes(start - len(found))
            found[start : start + sector] = cached[start : start + sector]


class Disk:
    """The folder as the events leave it; `after_cut` gives what a cut at this point may leave of it."""

    def __init__(self, trace: Trace) -> None:
        self._files = {inode: _File(content) for inode, content in trace.before.values()}
        self._names = {name: inode for name, (inode, _) in trace.before.items()}
        self._since: deque[tuple[int, Create | Rename | Unlink]] = deque()
        self._syncs: dict[int, int] = {}
        self._count = 0

    def happen(self, event: Event) -> None:
        """The next event."""
        self._count += 1
        match event:
            case Write() | Resize():
                self._files[event.inode].since.append((self._count, event))
            case Create():
                self._files[event.inode] = _File()
                self._since.append((self._count, event))
            case Rename() | Unlink():
                self._since.append((self._count, event))
            case SyncBegun():
                self._syncs[event.number] = self._count
            case SyncEnded():
                self._settle(event.inode, self._syncs.pop(event.number))
            case Mark():
                pass

    def _settle(self, inode: int, before: int) -> None:
        if inode != FOLDER:
            self._files[inode].settle(before)
            return
        while self._since and self._since[0][0] < before:
            _change(self._names, self._since.popleft()[1])

    def running(self) -> dict[str, bytes]:
        """The folder as programs see it while the power is on."""
        names = dict(self._names)
        for _, event in self._since:
            _change(names, event)
        return {name: self._files[inode].cached() for name, inode in names.items()}

    def after_cut(self, dice: random.Random, sector: int = 512) -> dict[str, bytes]:
        """One state of the folder that may be found after a cut now: name to content."""
        chance, junk, in_order = dice.choice(CHANCES), dice.random() < 0.25, dice.random() < 0.5
        names = dict(self._names)
        survivors = dice.randint(0, len(self._since))
        for place, (_, event) in enumerate(self._since):
            if place < survivors if in_order else dice.random() < chance:
                _change(names, event)
        return {name: self._files[inode].after_cut(dice, chance, sector, junk) for name, inode in names.items()}


def _change(names: dict[str, int], event: Create | Rename | Unlink) -> None:
    """Do to the names what the event says; what came before it may be missing."""
    match event:
        case Create():
            names[event.name] = event.inode
        case Rename():
            names.pop(event.old, None)
            names[event.new] = event.inode
        case Unlink():
            names.pop(event.name, None)


class Cut(Struct, frozen=True):
    """What a power cut left."""

    place: int
    """How many events came before it."""
    marks: list[str]
    """The program's marks since the cut before this one."""
    files: dict[str, bytes]


def cuts(trace: Trace, places: Iterable[int], dice: random.Random) -> Iterator[Cut]:
    """A cut at each of these places, which rise: each by itself, as if the others had not been."""
    disk, done = Disk(trace), 0
    for place in places:
        since = trace.events[done:place]
        for event in since:
            disk.happen(event)
        done = place
        files = disk.after_cut(dice, dice.choice(SECTORS))
        yield Cut(place, [event.text for event in since if isinstance(event, Mark)], files)


def materialise(files: Mapping[str, bytes], folder: Path) -> None:
    """Make `folder` hold exactly these files."""
    for entry in folder.iterdir():
        if entry.name not in files:
            entry.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
