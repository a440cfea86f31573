"""A regular file that is read in pieces, whoever may be at work on it.

Rules: it is opened without following a link at its end and without waiting, and anything but a regular file is refused: a FIFO
or a device would be read for ever, and some devices do something as soon as they are opened. What is open stays the same file,
whatever becomes of its name; its content and its length may change at any time. Everything that goes wrong is a LinkError. One
owner.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from edge_agent.errors import LinkError
from edge_agent.regular_file import NotRegularError, open_regular
from edge_agent.update.exchange import Meter


class Regular:
    """An open file."""

    def __init__(self, path: Path, meter: Meter) -> None:
        """Raises LinkError; FileNotFoundError where there is no such file."""
        self._path = path
        self._meter = meter
        self._fd = _opened(path)
        self.size_bytes = os.fstat(self._fd).st_size
        """When it was opened."""

    def read(self, offset: int, length: int, timeout_s: float = 0.0, until: int = 0) -> bytes:
        """`length` bytes at most, at `offset`; one at least. Raises LinkError.

        `timeout_s` and `until` are of no use: a disk is waited for, and asked for no more than is wanted now.
        """
        try:
            data = os.pread(self._fd, length, offset)
        except OSError as error:
            raise LinkError(f"{self._path}: {error.strerror}") from error
        if not data:
            raise LinkError(f"{self._path}: ended at {offset} or before: it was changed while it was read, or is not whole yet")
        self._meter.take(len(data))
        return data

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)


def _opened(path: Path) -> int:
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise LinkError(f"{path}: not a regular file")
        return open_regular(path, follow_links=False)
    except NotRegularError as error:
        raise LinkError(f"{path}: not a regular file") from error
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise FileNotFoundError(errno.ENOENT, "there is no such file", str(path)) from error
        raise LinkError(f"{path}: {error.strerror}: not a file that is read") from error
    except ValueError as error:
        raise LinkError(f"{path}: {error}") from error
