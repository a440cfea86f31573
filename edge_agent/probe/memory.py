"""How much memory this process has, as the kernel counts it.

Rules: resident memory, because it is what a gateway runs out of; where `/proc` does not tell, it is 0 and limits nothing: the
owner of the process limits it from outside.
"""

from __future__ import annotations

from pathlib import Path

_STATUS = Path("/proc/self/status")


def rss_bytes(status: Path = _STATUS) -> int:
    """Resident memory now."""
    return _read(status, "VmRSS:")


def peak_rss_bytes(status: Path = _STATUS) -> int:
    """The most resident memory there ever was."""
    return _read(status, "VmHWM:")


def _read(status: Path, key: str) -> int:
    try:
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith(key)), 0)
