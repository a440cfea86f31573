"""The secret from which pseudonyms are made: 32 random bytes in `egress.key` in the state folder, this device's alone.

Rules: the file is made at first use and never changed; whoever loses it gets other pseudonyms for the same names, no more.
How such a file is made and when it is used is `private_file`'s. The secret is never logged and stands in no message.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from edge_agent.errors import StorageError
from edge_agent.private_file import make_private, read_private

KEY_NAME = "egress.key"
KEY_BYTES = 32

_REMOVE = "remove it: a new one is made at the next start, and the pseudonyms of all names change"
_MAX_BYTES = 4_096
"""Of a file that is looked at: what is longer than a key is told by its length."""


def egress_key(state_dir: str | os.PathLike[str]) -> bytes:
    """The secret, 32 bytes; made where there is none yet. Raises StorageError."""
    path = Path(state_dir) / KEY_NAME
    key = _read(path)
    if key is None:
        make_private(path, secrets.token_bytes(KEY_BYTES))
        key = _read(path)
    if key is None:
        raise StorageError(f"{path}: was there and is gone; something else removes files in the state folder, stop that")
    return key


def existing_egress_key(state_dir: str | os.PathLike[str]) -> bytes | None:
    """The secret, for who only looks; None where none was made yet. Raises StorageError."""
    return _read(Path(state_dir) / KEY_NAME)


def _read(path: Path) -> bytes | None:
    """The secret; None where there is no such file."""
    key = read_private(path, _MAX_BYTES, _REMOVE)
    if key is not None and len(key) != KEY_BYTES:
        raise StorageError(f"{path}: has {len(key)} bytes, not {KEY_BYTES}; {_REMOVE}")
    return key
