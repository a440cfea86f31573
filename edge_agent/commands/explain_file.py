"""`edge-agent explain INCIDENT.json`: the sentences of one incident, by a release, as JSON.

Rules: deterministic: the same file, release and processor give the same bytes; no journal and no memory is read, so no
past incident is referred to. Where the release cannot be used the template speaks, and standard error says why.
"""

from __future__ import annotations

import json
import sys
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from edge_agent.commands.incident_source import incident_in
from edge_agent.commands.speakers import Speakers
from edge_agent.config.settings import Settings
from edge_agent.engines.speaking import Speaker, open_speaker
from edge_agent.errors import IncidentFormatError, ReleaseError
from edge_agent.messages import explanation_document
from edge_agent.pipeline import TEMPLATE_ONLY


def explain_file(name: str, timezone: str, *, template_only: bool, settings: Settings | None = None) -> int:
    """Print the explanation of the incident in the file `name`, `-` for standard input.

    The release is the one inside the package, or the one that speaks on the gateway of `settings`. Raises IncidentFormatError
    for a file that cannot be read as an incident, or a time zone that does not exist; StorageError where it cannot be read which
    releases the gateway has.
    """
    incident = incident_in(name)
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise IncidentFormatError("bad-timezone", f"{timezone}: expected an IANA time zone such as Europe/Berlin") from error
    if template_only:
        speaker = Speaker(TEMPLATE_ONLY, None)
    else:
        speaker = open_speaker(_complain) if settings is None else Speakers(settings, _complain).speaker_now()
    summary = speaker.explain(incident, None, 0.0, zone)
    # JSON is UTF-8 whatever the locale says: a name that the locale cannot write must not change or end the output.
    text = json.dumps(explanation_document(summary), indent=2, ensure_ascii=False)
    sys.stdout.flush()
    sys.stdout.buffer.write(f"{text}\n".encode())
    sys.stdout.buffer.flush()
    return 0


def _complain(error: ReleaseError) -> None:
    print(f"edge-agent: the template speaks: {error}", file=sys.stderr)
