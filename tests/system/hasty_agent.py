"""An agent with a defect: it says that incidents are stored a moment before they are. The kills must find it.

It runs as `python -m tests.system.hasty_agent run --config FILE`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence

from edge_agent.journal import Journal
from edge_agent.values import Incident, Message
from tests.unsure_agent import main

ENTRY = ("-m", "tests.system.hasty_agent")
LATE_S = 0.5


def make_hasty() -> None:
    """Have `Journal.record` return at once and store later."""
    store = Journal.record

    def later(journal: Journal, incidents: Sequence[Incident], messages: Sequence[Message], urgency: str = "") -> None:
        threading.Timer(LATE_S, store, (journal, incidents, messages)).start()

    setattr(Journal, "record", later)  # noqa: B010 - mypy holds a plain assignment to a method for a mistake; here it is meant


if __name__ == "__main__":
    make_hasty()
    sys.exit(main())
