"""A regular file that is opened for reading, whatever may stand under its name.

Rules: nothing is waited for: a FIFO would be, for as long as nobody writes to it. What is no regular file is not read: a device
may have no end. Whether a link is followed is the caller's to say.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


class NotRegularError(OSError):
    """There is something under the name, and it is no regular file."""


def open_regular(path: Path | str, *, follow_links: bool = True) -> int:
    """A descriptor of the regular file at `path`, for reading. Raises OSError; NotRegularError for what is none."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(path, flags if follow_links else flags | os.O_NOFOLLOW)
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise NotRegularError(errno.EINVAL, "no regular file", str(path))
