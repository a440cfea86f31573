"""Whose turn it is among questions that wait, so that one that never gets an answer does not hold up all the others.

The most severe comes first. One that was asked in vain lets the others go before it, until each had its turn or one of them was
answered; then the order is that of severity again. In an outage so all take turns, and afterwards the most severe is first. A
question that gets no answer while others do is at fault itself (too long for a slow model, for instance): its attempt counts,
once for each time that others were answered in between, so that an outage that begins then counts for nothing either.

Rules: pure; one owner. Nothing of it is kept over a restart, which is only another beginning.
"""

from __future__ import annotations


class Turns:
    """Remembers at most `most` questions, by their ids."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._tried: dict[str, None] = {}
        """Asked in vain since the last answer."""
        self._outdone: dict[str, None] = {}
        """Asked in vain before another one was answered, and never since."""

    def lets_others_go_first(self, id: str) -> bool:
        """Whether this one was asked in vain since the last answer."""
        return id in self._tried

    def all_had_theirs(self) -> None:
        """Nothing is left that did not have its turn: they begin anew."""
        self._tried.clear()

    def in_vain(self, id: str) -> bool:
        """This one was asked and not answered; whether others were, since it had been asked in vain before."""
        at_fault = id in self._outdone
        self._outdone.pop(id, None)
        self._tried[id] = None
        self._bound(self._tried)
        return at_fault

    def answered(self, id: str) -> None:
        """This one was answered, whatever the answer is worth."""
        self._tried.pop(id, None)
        self._outdone |= self._tried
        self._outdone.pop(id, None)
        self._tried.clear()
        self._bound(self._outdone)

    def _bound(self, ids: dict[str, None]) -> None:
        while len(ids) > self._most:
            del ids[next(iter(ids))]
