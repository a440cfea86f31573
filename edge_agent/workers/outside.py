"""The way out, put together: the configured backend, the gate before it, and the secret of the pseudonyms.

Rules: made by the composition root, opened by the escalate worker on its own thread. What is missing (a key's file, the
state folder) costs escalation, never the agent.
"""

from __future__ import annotations

from collections.abc import Callable

from edge_agent.escalate import table
from edge_agent.escalate.backoff import Uniform
from edge_agent.escalate.gate import Gate
from edge_agent.escalate.table import Needs
from edge_agent.journal import Journal
from edge_agent.workers.escalate import Outside


def opener(needs: Needs, journal: Journal, boot: str, rng: Uniform) -> Callable[[], Outside]:
    """What opens the configured backend, however often it takes. It raises ConfigError, StorageError.

    `boot` is the kernel's id of this boot.
    """

    def open_outside() -> Outside:
        gate = Gate(
            needs.escalation,
            fingerprint=table.fingerprint(needs.settings),
            kept=journal.meter,
            clock=needs.clock,
            boot=boot,
            rng=rng,
        )
        return Outside(table.open_backend(needs), gate, needs.escalation.backend, table.destination(needs.settings))

    return open_outside
