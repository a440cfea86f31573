"""What the kernel counts that a process sends to the disk."""

from __future__ import annotations

from pathlib import Path

from edge_agent.errors import StorageError


def written_bytes() -> int:
    """Bytes so far: `write_bytes` of /proc/self/io, pages made dirty. Raises StorageError where the kernel does not count."""
    for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == "write_bytes":
            return int(value)
    raise StorageError("this kernel does not count what a process writes; measure on another one")
