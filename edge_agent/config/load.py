"""From files to settings: every problem at once, each as `file:line:col: key: problem`.

(being written; the signatures below stand)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec import Struct

from edge_agent.config.settings import Settings


class Report(Struct, frozen=True, kw_only=True):
    """What a look at the configuration found. `settings` is None exactly when there are problems."""

    settings: Settings | None
    problems: tuple[str, ...]
    """`file:line:col: key: problem`, in the order of the files."""
    warnings: tuple[str, ...]
    """In the same form: what is allowed and probably not meant."""
    files: tuple[str, ...]
    """The files that were read, in the order in which they were merged."""


def load(path: Path, *, credentials_dir: str | None = None) -> Settings:
    """The settings of a file and of `conf.d/*.yaml` beside it. Raises ConfigError with every problem."""
    raise NotImplementedError


def load_text(text: str | bytes, name: str = "<text>") -> Settings:
    """The settings of one text. Raises ConfigError with every problem."""
    raise NotImplementedError


def check(path: Path, *, credentials_dir: str | None = None) -> Report:
    """As `load`, but reports instead of raising, with warnings too."""
    raise NotImplementedError


def effective(settings: Settings) -> dict[str, Any]:
    """The settings in force as plain values for JSON, without secrets."""
    raise NotImplementedError


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the configuration file."""
    raise NotImplementedError
