"""A chunk as the writer sees it: control pieces and slot tokens, nothing else.

Rules: pure; a prompt is made of the release's vocabulary alone, so that no text from a sensor, and no value, can reach the
writer. `PROMPT_VERSION` changes with anything here that changes a prompt: a release names the version it was trained for.
"""

from __future__ import annotations

import zlib

from edge_agent.values import KINDS, Chunk, Prompt

PROMPT_VERSION = 1
STYLES = 6
"""How many manners of phrasing the writer was trained in."""
BEGIN, SAY, END = "<s>", "=say", "</s>"
SLOT_NUMBERS = 8
"""Slot tokens are numbered from 0 to one less than this."""
WRITER_ROLES = ("stream", "streams", "moved", "lead", "peak", "base", "at", "for")
"""The roles that the writer phrases; the tail's and the evidence's are phrased by the template."""
CONTROLS = (
    *(f"=style{number}" for number in range(STYLES)),
    *("=alone", "=together", "=then"),
    *("=one", "=group"),
    *(f"={kind}" for kind in KINDS),
    *("=ongoing", "=returned", "=adopted", "=unknown"),
    SAY,
)
_MAX_ANSWER_PIECES = 80


def style_of(incident_id: str, position: int) -> int:
    """The manner in which the chunk at this position of an incident is phrased: arbitrary but always the same."""
    return (zlib.crc32(incident_id.encode()) + position) % STYLES


def prompt_of(chunk: Chunk, style: int) -> Prompt:
    """The prompt of one chunk."""
    pieces = [BEGIN, f"=style{style % STYLES}", f"={chunk.relation}"]
    for subject in chunk.subjects:
        pieces += ["=group" if subject.grouped else "=one", f"={subject.kind}", f"={subject.ending}"]
        pieces += [f"<{role}:{subject.index}>" for role in subject.roles]
    pieces.append(SAY)
    return Prompt(pieces=tuple(pieces), max_pieces=_MAX_ANSWER_PIECES)
