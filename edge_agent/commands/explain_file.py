"""`edge-agent explain INCIDENT.json`: the sentences of one incident, by the factory release, as JSON.

Rules: deterministic: the same file, release and processor give the same bytes; no journal and no memory is read, so no
past incident is referred to. Where the release cannot be used the template speaks, and standard error says why.
"""

from __future__ import annotations

import json
import sys
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from edge_agent.commands.incident_source import incident_in
from edge_agent.engines.loading import open_release
from edge_agent.errors import IncidentFormatError, ReleaseError
from edge_agent.messages import explanation_document
from edge_agent.pipeline import TEMPLATE_ONLY, SpeakingRelease, Writer, explain


def explain_file(name: str, timezone: str, *, template_only: bool, device: str = "cpu") -> int:
    """Print the explanation of the incident in the file `name`, `-` for standard input.

    Raises IncidentFormatError for a file that cannot be read as an incident, or a time zone that does not exist.
    """
    incident = incident_in(name)
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise IncidentFormatError("bad-timezone", f"{timezone}: expected an IANA time zone such as Europe/Berlin") from error
    release, writer = (TEMPLATE_ONLY, None) if template_only else _speaking(device)
    try:
        summary = explain(incident, None, writer, release, 0.0, zone)
    except ReleaseError as error:
        _complain(error)
        summary = explain(incident, None, None, release, 0.0, zone)
    # JSON is UTF-8 whatever the locale says: a name that the locale cannot write must not change or end the output.
    text = json.dumps(explanation_document(summary), indent=2, ensure_ascii=False)
    sys.stdout.flush()
    sys.stdout.buffer.write(f"{text}\n".encode())
    sys.stdout.buffer.flush()
    return 0


def _speaking(device: str) -> tuple[SpeakingRelease, Writer | None]:
    try:
        opened = open_release()
    except ReleaseError as error:
        _complain(error)
        return TEMPLATE_ONLY, None
    try:
        return opened.speaking, opened.open_writer(device)
    except ReleaseError as error:
        _complain(error)
        return opened.speaking, None


def _complain(error: ReleaseError) -> None:
    print(f"edge-agent: the template speaks: {error}", file=sys.stderr)
