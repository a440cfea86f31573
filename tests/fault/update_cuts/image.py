"""A small ext4 file system in a file, which can be made to forget what was not synced.

Rules: data=ordered, a commit interval that no run reaches, and no syncing of what replaces a file (`noauto_da_alloc`), so that
nothing is durable but what somebody synced. What was handed to the device stays: a device that loses that is simulated elsewhere.
A cut is
the file system's own shutdown (`EXT4_IOC_SHUTDOWN`, as xfstests use it): from then on it writes nothing, the journal included,
and what is found after mounting anew is what the journal's recovery makes of the device.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias

SIZE_BYTES = 64 << 20
COMMIT_S = 300
_SHUTDOWN = 0x8004_587D  # _IOR('X', 125, __u32): linux/fs/ext4/ext4.h
_NO_LOG_FLUSH = 2
FOREIGN = "foreign"

Left: TypeAlias = Literal["synced", "foreign fsync", "all"]
"""What a cut leaves: what was synced; after another process synced a file of its own, which takes along what the journal has of
everybody, such as names, but not the bytes of files that nobody synced; or all, as where the process alone was killed."""
LEFT: tuple[Left, ...] = ("synced", "foreign fsync", "all")


def why_not() -> str:
    """Why no such file system can be had here; empty where it can."""
    for program in ("mkfs.ext4", "mount", "umount", "strace"):
        if shutil.which(program) is None:
            return f"{program} is not installed: apt-get install e2fsprogs mount strace"
    if os.geteuid() != 0:
        return "mounting a file system image needs root"
    if not Path("/dev/loop-control").exists():
        return "mounting a file system image needs loop devices"
    return ""


class Image:
    """One image, and where it is mounted when it is."""

    def __init__(self, file: Path, folder: Path) -> None:
        self.file = file
        self.folder = folder
        self._mounted = False

    @classmethod
    def make(cls, file: Path, folder: Path) -> Image:
        """An empty file system. Raises CalledProcessError."""
        with file.open("wb") as image:
            image.truncate(SIZE_BYTES)
        _run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0", str(file))
        folder.mkdir(exist_ok=True)
        return cls(file, folder)

    def copied(self, file: Path) -> Image:
        """The same, not mounted, in another file."""
        _run("cp", "--sparse=always", str(self.file), str(file))
        return Image(file, self.folder)

    def mount(self) -> None:
        """Mount it. Raises CalledProcessError."""
        options = f"loop,data=ordered,noauto_da_alloc,commit={COMMIT_S}"
        _run("mount", "-t", "ext4", "-o", options, str(self.file), str(self.folder))
        self._mounted = True

    def unmount(self) -> None:
        """Unmount it, if it is mounted. Raises CalledProcessError."""
        if self._mounted:
            _run("umount", str(self.folder))
            self._mounted = False

    @contextlib.contextmanager
    def mounted(self) -> Iterator[Path]:
        """Its folder, while the block lasts. Where the block fails somebody may still be busy there: it goes when he does."""
        self.mount()
        try:
            yield self.folder
        except BaseException:
            _run("umount", "--lazy", str(self.folder))
            self._mounted = False
            raise
        self.unmount()

    def cut(self, left: Left) -> None:
        """The power goes and comes again."""
        if left == "foreign fsync":
            fd = os.open(self.folder / FOREIGN, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.write(fd, b"somebody else's")
                os.fsync(fd)
            finally:
                os.close(fd)
        if left != "all":
            fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
            finally:
                os.close(fd)
        self.unmount()
        self.mount()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60)
