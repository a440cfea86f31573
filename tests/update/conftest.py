"""A folder in memory, where there is such a file system: these tests sync a lot, and what a disk does is tried elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    folder = Path("/dev/shm")
    with TemporaryDirectory(dir=folder if os.access(folder, os.W_OK) else tmp_path) as name:
        yield Path(name)
