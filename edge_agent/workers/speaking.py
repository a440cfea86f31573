"""From an open release to a wish: what decides its sentences, and how its engines are opened when a worker takes it.

Rules: nothing is loaded here; each engine is opened by the thread that will own it. Two releases whose files for an engine have
the same digests have the same engine, whatever the releases are called.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from edge_agent.config.settings import WriterSettings
from edge_agent.detect.contract import signer
from edge_agent.engines.loading import OpenRelease
from edge_agent.engines.memory import IncidentMemory
from edge_agent.journal import Journal
from edge_agent.values import PastIncident
from edge_agent.workers.active import ClosedMemory, Wish

MEMORY_NAME = "memory.usearch"
WRITER_PARTS = ("writer/", "tokenizer.json", "lexicon.txt")
"""What the loaded writer consists of; the lexicon, because what may not be written is suppressed in it."""
CLASSIFIER = "classifier.tflite"


def wish_for(opened: OpenRelease | None, settings: WriterSettings, journal: Journal, state_dir: Path) -> Wish:
    """The wish for an open release; for None, templates without any engine."""
    if opened is None:
        return Wish()
    components = opened.manifest.components
    digest = components[CLASSIFIER].sha256
    memory: Callable[[], ClosedMemory] = partial(
        IncidentMemory.open, state_dir / MEMORY_NAME, digest, partial(_signed_by, journal, signer(digest))
    )
    made_of = sorted((name, part.sha256) for name, part in components.items() if name.startswith(WRITER_PARTS))
    return Wish(
        speaking=opened.speaking,
        certificate=opened.certified if settings.enabled else "",
        open_writer=partial(opened.open_writer, settings.device) if settings.enabled else None,
        open_memory=memory,
        open_classifier=opened.open_classifier,
        writer_key=hashlib.sha256(repr((settings.device, made_of)).encode()).hexdigest(),
        classifier_key=digest,
    )


def _signed_by(journal: Journal, name: str) -> Iterator[PastIncident]:
    """The past incidents whose signature that classifier made."""
    return (past for past in journal.past_incidents() if signer(past.signed_by) == name)
