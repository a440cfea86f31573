"""The probe with a writer that misbehaves as `EDGE_AGENT_TEST_DEED` says: what no file of a release can be made to do at will.

A test starts it in the place of `edge_agent.probe`.
"""

from __future__ import annotations

import os
import time

from msgspec.structs import replace

from edge_agent.engines.writer import CTranslate2Writer
from edge_agent.probe.__main__ import main
from edge_agent.values import Draft, Prompt

DEED = "EDGE_AGENT_TEST_DEED"
_honest = CTranslate2Writer._answer
_held: list[bytes] = []
_count = [0]


def _answer(self: CTranslate2Writer, prompt: Prompt) -> Draft:
    deed = os.environ[DEED]
    _count[0] += 1
    draft = _honest(self, prompt)
    if deed == "leaks":
        _held.append(os.urandom(512 << 10))
    elif deed == "takes-much":
        _held.append(os.urandom(64 << 20))
    elif deed == "hangs" and _count[0] == 20:
        time.sleep(600)
    elif deed == "crawls" and len(prompt.pieces) > 18:
        until_s = time.process_time() + 0.6
        while time.process_time() < until_s:
            pass
    elif deed == "crashes" and _count[0] == 30:
        os.abort()
    elif deed == "wavers" and _count[0] > 40:
        return replace(draft, skeleton="")
    elif deed == "says-nothing":
        return Draft(skeleton="", logprobs=(-0.001,), finished=True)
    elif deed == "shrugs":
        return replace(draft, logprobs=tuple(-9.0 for _ in draft.logprobs))
    elif deed == "prints":
        os.write(1, b"INFO: a native library says hello\n")
    return draft


if __name__ == "__main__":
    CTranslate2Writer._answer = _answer  # type: ignore[method-assign]  # that is what this module is for
    main()
