"""The question: the only thing about an incident that ever leaves, as types that cannot hold anything else.

Rules: pure; see `edge_agent.egress`. The form (kinds, endings, relations, slot tokens, the wordings that would be true) is
made of our own words. Everything else is a fact under one of the names that an operator can allow.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from edge_agent.values import Ending, Kind, Relation

SCHEMA = "edge-agent-question/1"


class QuestionSubject(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One subject of a chunk: what happened, and the slots that must be stated of it, each once."""

    kind: Kind
    ending: Ending
    grouped: bool
    slots: tuple[str, ...]


class QuestionChunk(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one stretch of the answer must state."""

    relation: Relation
    subjects: tuple[QuestionSubject, ...]
    example: str
    """A true wording of it, made of our own words and slot tokens."""
    pattern: str
    """A regular expression over words, slot tokens and stops with one blank between each: the wordings that are true."""


class QuestionFact(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one slot stands for, where that may leave."""

    slot: str
    allowed_as: Literal["identifiers", "times", "values", "units"]
    text: str
    """A pseudonym, a time, or a number; with `units` also the unit, if it is one of those that the schema lists."""


class Question(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that leaves about one revision of an incident."""

    schema: Literal["edge-agent-question/1"] = SCHEMA
    id: str
    chunks: tuple[QuestionChunk, ...]
    facts: tuple[QuestionFact, ...] = ()
    severity: float | None = None
    """Rounded to two decimals, where it may leave."""
