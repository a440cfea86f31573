"""The one formatter: a skeleton and its slots become the text that people read.

Rules: pure; only here do slot texts enter a sentence; words are spaced, stops are attached, the first word of a sentence gets
its capital letter, and names at the start of a sentence stay as they are written on the sensor.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from edge_agent.values import Slot

SLOT = re.compile(r"<[a-z]+:\d+>")
"""A slot token, as it stands in prompts, drafts and skeletons."""


def tidy(skeleton: str) -> str:
    """A skeleton as it is published: one blank between words, stops attached, sentences beginning with a capital letter.

    However it was spelt: the verifier reads words without regard to blanks and capitals, so that two texts that it takes for
    the same are published as the same.
    """
    spaced = SLOT.sub(r" \g<0> ", skeleton.lower())
    text = re.sub(r"\s*([.,;])", r"\1 ", spaced)
    text = " ".join(text.split())
    return re.sub(r"(^|\. )([a-z])", lambda found: found.group(1) + found.group(2).upper(), text)


def fill(skeleton: str, slots: Sequence[Slot]) -> str:
    """Replace each slot token of a tidy skeleton by its text. Raises KeyError for a token that `slots` does not have."""
    texts = {slot.token: slot.text for slot in slots}
    return SLOT.sub(lambda found: texts[found.group()], skeleton)
