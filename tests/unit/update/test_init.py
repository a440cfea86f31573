"""What a source of releases has to do, tried on the smallest one there can be."""

from __future__ import annotations

import pytest

from edge_agent.update import Lead, Source, Verdict
from edge_agent.update.jobs import Bundle
from edge_agent.update.record import Ended, Held


class OneFile:
    """A source that offers one file until it was taken, and is told how it ended."""

    trouble = ""
    name = "one-file"

    def __init__(self) -> None:
        self.verdicts: list[tuple[Verdict, str]] = []
        self.results: list[str] = []

    def lead(self) -> Lead | None:
        return Lead(source=self.name, ticket="1", place=Bundle(path="/x.tar"), tell=self._told) if not self.verdicts else None

    def withdrawn(self, ticket: str) -> str:
        return ""

    def ended(self, ended: Ended) -> bool:
        self.results.append(ended.result)
        return True

    def hint(self) -> None:
        self.verdicts.clear()

    def close(self) -> None:
        """Nothing is held."""

    def _told(self, verdict: Verdict, words: str = "") -> None:
        self.verdicts.append((verdict, words))


def test_a_source_says_where_to_look_and_is_told_what_came_of_it() -> None:
    one = OneFile()
    source: Source = one
    lead = source.lead()
    assert lead is not None
    lead.tell(Verdict.taken)
    assert one.verdicts == [(Verdict.taken, "")]
    assert source.lead() is None
    held = Held(release="r", counter=1, manifest_sha256="0" * 64)
    assert source.ended(Ended(held=held, result="committed", reason="", at_s=0.0, source=source.name, ticket="1"))
    assert one.results == ["committed"]


def test_a_lead_that_nobody_gave_can_be_told_about_and_does_not_change() -> None:
    lead = Lead(source="order", place=Bundle(path="/x.tar"))
    lead.tell(Verdict.failed, "not reached")
    with pytest.raises(AttributeError):
        lead.source = "another"  # type: ignore[misc]  # the point of the test
