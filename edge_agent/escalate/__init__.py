"""Delivery of one incident to a stronger model, one file per backend. No backend is built in: nothing leaves the device.

Rules: a backend is handed what may leave and returns an answer or a reason; budgets and retries belong to the journal. An
answer is a skeleton with slots like the writer's own, and goes through the same verifier before it is published.
"""

from __future__ import annotations

from typing import Protocol


class Backend(Protocol):
    """A stronger model somewhere else. One file a backend."""

    def ask(self, request: bytes, timeout_s: float) -> str:
        """Send what may leave, exactly these bytes; the answer's skeleton.

        Raises LinkError when it may be tried again later, InputError when the refusal is final.
        """
