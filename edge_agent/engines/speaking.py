"""A release that speaks once or many times, for commands: its writer, or the template where the writer cannot be had.

Rules: a sentence always comes; what had to be done without is told to the caller, in words for people. Deterministic: the same
incident, evidence, release and processor give the same summary. One owner, as the writer has.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo

from edge_agent.engines.loading import OpenRelease, open_release
from edge_agent.errors import ReleaseError
from edge_agent.pipeline import TEMPLATE_ONLY, SpeakingRelease, Writer, explain
from edge_agent.values import Evidence, Incident, Summary


class Speaker:
    """Explains incidents with one release. `complain` is told of what fails."""

    def __init__(
        self, release: SpeakingRelease, writer: Writer | None, complain: Callable[[ReleaseError], None] = lambda error: None
    ) -> None:
        self.release = release
        self._writer = writer
        self._complain = complain

    @property
    def writes(self) -> bool:
        """Whether there is a writer."""
        return self._writer is not None

    def explain(
        self, incident: Incident, evidence: Evidence | None, now_s: float, zone: tzinfo, *, by_template: bool = False
    ) -> Summary:
        """The summary of one revision of an incident; the template's where the writer fails or is not wanted."""
        if not by_template:
            try:
                return explain(incident, evidence, self._writer, self.release, now_s, zone)
            except ReleaseError as error:
                self._complain(error)
        return explain(incident, evidence, None, self.release, now_s, zone)


def open_speaker(
    complain: Callable[[ReleaseError], None], device: str = "cpu", opens: Callable[[], OpenRelease] | None = None
) -> Speaker:
    """A release, the factory's where `opens` opens no other, ready to speak.

    Raises nothing: the template speaks where it cannot be opened.
    """
    try:
        opened = open_release(device=device) if opens is None else opens()
    except ReleaseError as error:
        complain(error)
        return Speaker(TEMPLATE_ONLY, None, complain)
    try:
        return Speaker(opened.speaking, opened.open_writer(device), complain)
    except ReleaseError as error:
        complain(error)
        return Speaker(opened.speaking, None, complain)
