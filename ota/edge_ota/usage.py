"""How the parser of each task is made: it is called by its whole name, and its help is its module's own words."""

from __future__ import annotations

import argparse


def described(name: str, doc: str | None) -> argparse.ArgumentParser:
    """A parser of `edge-ota NAME`, without options."""
    return argparse.ArgumentParser(prog=f"edge-ota {name}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
