"""The incident that a command is given as a file, or on standard input.

Rules: no more is read than an incident may have; what is wrong is said with the file's name.
"""

from __future__ import annotations

import sys
from pathlib import Path

from edge_agent.errors import IncidentFormatError
from edge_agent.messages import MAX_FILE_BYTES, parse_incident
from edge_agent.values import Incident


def incident_in(name: str) -> Incident:
    """The incident in the file `name`, `-` for standard input. Raises IncidentFormatError."""
    return parse_incident(_read(name), "standard input" if name == "-" else name)


def _read(name: str) -> bytes:
    """The file's bytes, up to one more than an incident may have, which the parser then refuses."""
    try:
        if name == "-":
            return sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        with Path(name).open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise IncidentFormatError("not-readable", f"{name}: {error.strerror or error}") from error
