"""What a component may not be: a format whose loading runs code. Judged by content, not by name.

Rules: pure. A pickle runs what it names when it is loaded, and PyTorch's files are pickles in a zip archive. The files of the
engines here (CTranslate2 `model.bin`, TFLite) and JSON and text hold none. A small pickle of protocol 0 is text: what is neither
readable as JSON nor one of the binary formats is followed opcode by opcode to its end.
"""

from __future__ import annotations

import json
import pickletools
from pathlib import PurePosixPath

from edge_agent.errors import ReleaseError

_REFUSED_SUFFIXES = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".npz")
_ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"(\xb5/\xfd")
_TORCH_LEGACY = b"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
"""The number with which PyTorch's old format begins, inside its first pickle."""


def refuse_contents(name: str, data: bytes) -> None:
    """Raises ReleaseError if `data`, the component `name`, is or may be a pickle or an archive."""
    why = _why(name, data)
    if why:
        raise ReleaseError(f"{name}: {why}: only formats that cannot run code are released")


def _why(name: str, data: bytes) -> str:
    if PurePosixPath(name).suffix.lower() in _REFUSED_SUFFIXES:
        return "named as a pickle or a PyTorch file"
    if data.startswith(_ARCHIVES):
        return "a packed archive, as PyTorch's files are"
    if data[:1] == b"\x80" and data[1:2] <= b"\x08" and data[1:2]:
        return "begins as a pickle"
    if _TORCH_LEGACY in data[:64]:
        return "a PyTorch file"
    if _is_json(data):
        return ""
    return "a pickle" if _is_pickle(data) else ""


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _is_pickle(data: bytes) -> bool:
    """Whether the opcodes lead from the first byte to a STOP and use one that builds an object or a container."""
    seen = 0
    try:
        for opcode, _, _ in pickletools.genops(data):
            seen += 1
            if opcode.name == "STOP":
                return seen > 1
    except (ValueError, IndexError, KeyError, OverflowError, EOFError, UnicodeError):
        return False
    return False
