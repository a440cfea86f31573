"""The question: the only thing about an incident that ever leaves, as types that cannot hold anything else.

The form (kinds, endings, relations, slot tokens, the wordings that would be true) is made of our own words. Everything else is
a fact under one of the names that an operator can allow, and only of slots that the answer has to place: what stands in the
tail of a text, and everything about past incidents, stays home.

Rules: pure; see `edge_agent.egress`. `document` believes nothing of the value it is given: the form is made again from the
kinds and slots and has to be the same, each fact has to have the closed form of its slot, or nothing leaves.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from typing import Final, Literal

import msgspec
from msgspec import Struct

from edge_agent.config.settings import Allowed
from edge_agent.egress.closed import rebuilt, refusal
from edge_agent.egress.facts import FACTS_OF, FactKind, fits, leaving
from edge_agent.egress.pseudonyms import Pseudonyms
from edge_agent.errors import EgressError
from edge_agent.fill import tidy
from edge_agent.grammar import pattern
from edge_agent.plan import MAX_SUBJECTS
from edge_agent.template import phrase
from edge_agent.values import Chunk, ChunkSubject, Ending, Kind, Plan, Relation

SCHEMA: Final = "edge-agent-question/1"
MAX_DOCUMENT_BYTES: Final = 32_768
"""More than any plan gives; a document that is longer has something in it that nobody thought of."""
_CALLED: Final = "question"
_ID = re.compile("q-[0-9a-f]{24}")
_SLOT = re.compile("<([a-z]{1,7}):([0-9])>")
_ROLES: Final = tuple(FACTS_OF)


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
    """Something of what one slot stands for, where that may leave."""

    slot: str
    allowed_as: FactKind
    text: str
    """As `identifiers` a pseudonym, or several; as `times` a time of day, with a date or not, or a duration; as `values` a number
    or a direction; as `units` one of the reviewed units."""


class Question(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that leaves about one revision of an incident."""

    schema: Literal["edge-agent-question/1"] = SCHEMA
    id: str
    chunks: tuple[QuestionChunk, ...]
    facts: tuple[QuestionFact, ...] = ()
    severity: float | None = None
    """In [0, 1], rounded to two decimals, where it may leave."""


def question_of(plan: Plan, *, id: str, severity: float, allow: Collection[Allowed], pseudonyms: Pseudonyms) -> Question:
    """The question about a plan: its form, and of its facts what `allow` names and what is understood whole.

    `id` is what `Pseudonyms.request_id` gives; `severity` the incident's. A plan that says nothing gives a question without
    chunks, which `document` refuses.
    """
    printed = {slot.token: slot.text for slot in plan.slots}
    chunks = tuple(_asked(chunk) for chunk in plan.chunks)
    facts = []
    for token in (slot for chunk in chunks for subject in chunk.subjects for slot in subject.slots):
        role = token[1:].partition(":")[0]
        for kind in FACTS_OF.get(role, ()):
            text = leaving(role, kind, printed.get(token, ""), pseudonyms) if kind in allow else None
            if text is not None:
                facts.append(QuestionFact(slot=token, allowed_as=kind, text=text))
    told = "severity" in allow and math.isfinite(severity) and 0 <= severity <= 1
    return Question(id=id, chunks=chunks, facts=tuple(facts), severity=round(severity, 2) if told else None)


def _asked(chunk: Chunk) -> QuestionChunk:
    subjects = tuple(
        QuestionSubject(
            kind=subject.kind,
            ending=subject.ending,
            grouped=subject.grouped,
            slots=tuple(f"<{role}:{subject.index}>" for role in subject.roles),
        )
        for subject in chunk.subjects
    )
    return QuestionChunk(relation=chunk.relation, subjects=subjects, example=tidy(phrase(chunk)), pattern=pattern(chunk))


def document(question: Question) -> bytes:
    """The question as UTF-8 JSON, keys in a fixed order, without blanks; the same question gives the same bytes.

    Raises EgressError if anything in it is not what its schema allows; then nothing may leave.
    """
    question = rebuilt(question, Question, _CALLED)
    if not _ID.fullmatch(question.id):
        raise _refusal("has an id that is no pseudonym")
    slots = _check_form(question.chunks)
    _check_facts(question.facts, slots)
    severity = question.severity
    if severity is not None and not (math.isfinite(severity) and 0 <= severity <= 1 and severity == round(severity, 2)):
        raise _refusal("has a severity that is no number from 0 to 1 of two decimals")
    body = msgspec.json.encode(question)
    if len(body) > MAX_DOCUMENT_BYTES:
        raise _refusal(f"is {len(body):,} bytes long, more than {MAX_DOCUMENT_BYTES:,}")
    return body


def _check_form(chunks: tuple[QuestionChunk, ...]) -> list[str]:
    """Check the chunks; returns their slots in order."""
    indices: list[int] = []
    for chunk in chunks:
        subjects = tuple(_subject(subject) for subject in chunk.subjects)
        if len(subjects) != (1 if chunk.relation == "alone" else 2):
            raise _refusal("has a chunk whose relation does not fit its subjects")
        indices += [subject.index for subject in subjects]
        same = _asked(Chunk(relation=chunk.relation, subjects=subjects))
        if (chunk.example, chunk.pattern) != (same.example, same.pattern):
            raise _refusal("has a wording that does not follow from its kinds and slots")
    if not indices or len(indices) > MAX_SUBJECTS or indices != list(range(len(indices))):
        raise _refusal(f"has no subjects, more than {MAX_SUBJECTS}, or slots that are not numbered in order")
    return [slot for chunk in chunks for subject in chunk.subjects for slot in subject.slots]


def _subject(subject: QuestionSubject) -> ChunkSubject:
    found = [match.groups() for match in map(_SLOT.fullmatch, subject.slots) if match is not None]
    roles, numbers = tuple(role for role, _ in found), {number for _, number in found}
    if len(found) != len(subject.slots) or len(numbers) != 1:
        raise _refusal("has a slot that is none, or subjects with each other's slots")
    if roles != tuple(role for role in _ROLES if role in roles):
        raise _refusal("has slots of roles that are not known, twice, or out of order")
    return ChunkSubject(index=int(numbers.pop()), kind=subject.kind, ending=subject.ending, grouped=subject.grouped, roles=roles)


def _check_facts(facts: tuple[QuestionFact, ...], slots: list[str]) -> None:
    expected = [(slot, kind) for slot in slots for kind in FACTS_OF[slot[1:].partition(":")[0]]]
    given = [(fact.slot, fact.allowed_as) for fact in facts]
    if given != [one for one in expected if one in given]:
        raise _refusal("has a fact of no slot of its chunks, twice, or out of order")
    if not all(fits(fact.slot[1:].partition(":")[0], fact.allowed_as, fact.text) for fact in facts):
        raise _refusal("has a fact whose text does not have the form of its kind")


def _refusal(what: str) -> EgressError:
    return refusal(_CALLED, what)
