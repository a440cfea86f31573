"""One line of the egress log: that something left, where to, how much and its hash, but not what it said.

Rules: pure; an entry holds no secret, no name of a sensor and no words of an operator, so that the log can be handed to an
auditor as it is. The journal chains the entries (`edge_agent.chain`); the schema stands in `docs/formats/egress.md`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from typing import Final, Literal

import msgspec

from edge_agent.errors import EgressError
from edge_agent.messages.times import format_time

EGRESS_SCHEMA: Final = "edge-agent-egress/1"
MAX_DESTINATION: Final = 1_200
_SECRET = re.compile(r"[?#@\x00-\x1f\x7f]")
"""A query, a fragment or a user's part of a URL can hold a key; a line end could forge a line of a printed log."""


def egress_entry(
    *,
    kind: Literal["question", "telemetry"],
    request_id: str,
    backend: str,
    destination: str,
    body: bytes,
    attempt: int,
    allow: Collection[str],
    now_s: float,
) -> bytes:
    """The body of one log entry: canonical JSON, keys in a fixed order.

    `request_id` is the pseudonym of the question (of telemetry: its number); `destination` a host with its port, a topic, or a
    folder; `body` the exact bytes that leave; `attempt` counts from 1; `now_s` is what the device's clock says, which may
    be wrong. Raises EgressError for a destination that could hold a secret.
    """
    if len(destination) > MAX_DESTINATION or (backend == "openai" and _SECRET.search(destination)):
        raise EgressError("egress log: the destination may hold a secret; give host and port alone. Nothing was sent")
    return msgspec.json.encode(
        {
            "schema": EGRESS_SCHEMA,
            "kind": kind,
            "id": request_id,
            "backend": backend,
            "destination": destination,
            "bytes": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
            "attempt": attempt,
            "allowed": sorted(allow),
            "time": format_time(now_s),
        }
    )
