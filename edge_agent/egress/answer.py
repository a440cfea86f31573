"""The answer of a stronger model, as it is read back: one wording for each chunk of the question, and nothing else.

Rules: pure; bounded in length and depth; nothing is repaired or normalised. What a wording says is not judged here: the
verifier does that, as for the writer on the device, so that being lenient about the wrapping (a code fence, plain lines)
lets nothing through.
"""

from __future__ import annotations

import re
from typing import Final

from edge_agent.errors import InputError
from edge_agent.messages import strict_json

MAX_ANSWER_BYTES: Final = 65_536
MAX_WORDING: Final = 4_000
"""Characters of one wording; true ones have a few hundred."""
_FENCED = re.compile(r"```(?:json|text)?[ \t]*\r?\n(.*?)\r?\n?```", re.DOTALL)


def parse_answer(text: str, chunks: int) -> tuple[str, ...]:
    """The wordings in an answer to a question of `chunks` chunks, in order.

    Read are the JSON object that the instructions ask for, `{"sentences": [...]}`; plain text, where no JSON was given: one
    wording a line, or the whole where there is one chunk; each of them also inside one code fence.

    Raises InputError: `answer-too-long`, `answer-empty`, `answer-not-json`, `answer-shape`, `answer-count`.
    """
    if len(text) > MAX_ANSWER_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_ANSWER_BYTES:
        raise InputError("answer-too-long", f"more than {MAX_ANSWER_BYTES:,} bytes")
    bare = text.strip()
    fenced = _FENCED.fullmatch(bare)
    if fenced is not None:
        bare = fenced[1].strip()
    if not bare:
        raise InputError("answer-empty", "the answer holds no text")
    wordings = _of_json(bare) if bare[0] in "{[" else _of_lines(bare, chunks)
    if len(wordings) != chunks:
        raise InputError("answer-count", f"{len(wordings)} wordings for {chunks} chunks")
    if any(len(wording) > MAX_WORDING for wording in wordings):
        raise InputError("answer-too-long", f"a wording of more than {MAX_WORDING:,} characters")
    return wordings


def _of_json(text: str) -> tuple[str, ...]:
    try:
        value = strict_json.load(text.encode("utf-8"), MAX_ANSWER_BYTES)
    except ValueError as error:
        raise InputError("answer-not-json", f"the answer {error}") from None
    match value:
        case {"sentences": [*items], **others} if not others and all(isinstance(item, str) for item in items):
            return tuple(str(item) for item in items)
    raise InputError("answer-shape", 'expected {"sentences": ["...", ...]} and nothing else')


def _of_lines(text: str, chunks: int) -> tuple[str, ...]:
    if chunks == 1:
        return (text,)
    return tuple(line.strip() for line in text.splitlines() if line.strip())
