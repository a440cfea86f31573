"""How the parser of each task is made: it is called by its whole name, and its help is its module's own words."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from pathlib import Path

_EXAMPLE = " "
"""What a line of an example begins with: it keeps its form."""


def described(name: str, doc: str | None) -> argparse.ArgumentParser:
    """A parser of `edge-ota NAME`, without options."""
    return argparse.ArgumentParser(
        prog=f"edge-ota {name}",
        description=_filled(doc or "", shutil.get_terminal_size().columns - 2),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def named(text: str) -> Path:
    """A path that has a name of its own: `.` is the folder's. For an option's `type=`, whose error this raises."""
    path = Path(text)
    if path.name in ("", "..") and text:
        try:
            path = path.resolve()
        except OSError as error:
            raise argparse.ArgumentTypeError(f"{text!r}: {error.strerror}") from error
    if not path.name:
        raise argparse.ArgumentTypeError(f"{text!r} has no name")
    return path


def _filled(doc: str, width: int) -> str:
    """The paragraphs of `doc` in lines of `width` characters, of 20 at least."""
    return "\n\n".join(
        each if each.startswith(_EXAMPLE) else textwrap.fill(each, max(20, width), break_on_hyphens=False)
        for each in doc.strip().split("\n\n")
    )
