"""What the kernel says of this host: which boot this is, whether the clock is synchronised, which process is which.

Rules: an answer that cannot be had is None or an obvious substitute, never an error; nothing is started or changed.
"""

from __future__ import annotations

import ctypes
import os
import uuid
from pathlib import Path

_ADJTIMEX_BYTES = 512
"""More than `struct timex` takes on any architecture; all zero, its `modes` ask for nothing to be changed."""
_TIME_ERROR = 5


def boot_id() -> str:
    """The kernel's id of this boot; a random one where there is no such file."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return str(uuid.uuid4())


def clock_synced() -> bool | None:
    """Whether the kernel regards its clock as synchronised, whoever keeps it so; None where it cannot be asked.

    adjtimex(2): the answer TIME_ERROR means that the clock is not synchronised.
    """
    try:
        answer = int(ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(_ADJTIMEX_BYTES)))
    except (AttributeError, OSError):
        return None
    return None if answer < 0 else answer != _TIME_ERROR


def rss_bytes() -> int:
    """Memory that this process has now; 0 where the kernel does not tell. proc_pid_statm(5): the second field, in pages."""
    try:
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def memory_bytes() -> int | None:
    """Memory that this host has in all; None where it cannot be asked."""
    try:
        pages = os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") if pages > 0 else None


def process_start(pid: int) -> int | None:
    """When process `pid` was started, in clock ticks since boot; None if there is no such process.

    proc_pid_stat(5): field 22, counted behind the command's name, which may itself contain blanks and parentheses.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace")
        return int(text.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None
