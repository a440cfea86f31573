"""What the demo shows in the terminal: incidents and their sentences as they are published, and progress before them.

Rules: `Board` is pure: it is given what came over MQTT and answers with the lines to show; it trusts nothing that it is
given to have the right shape. `Screen` owns the terminal: one line of progress that is overwritten, everything else above it.
"""

from __future__ import annotations

import json
import shutil
import textwrap
from typing import Any, TextIO

from msgspec import Struct

from edge_agent.demo.truth import Found
from edge_agent.messages import parse_time

BOLD, DIM, RED, GREEN, PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[0m"
MARGIN = " " * 10
MAX_WIDTH = 100


class Line(Struct, frozen=True):
    """A line to show."""

    text: str
    style: str = ""
    """One of the constants above; nothing where there are no colours."""
    indented: bool = False
    """Whether it stands under the line above, wrapped to the width of the terminal."""


class Board:
    """What was published so far by the gateway whose topics begin with `base`. One owner."""

    def __init__(self, base: str, started_s: float) -> None:
        self._base = base + "/"
        self._started_s = started_s
        self._wordings: dict[str, str] = {}
        self._open: dict[str, float] = {}
        self._anomalies: dict[tuple[str, float], Found] = {}
        self._problems: set[str] = set()
        self.streams_known = 0
        self.sentences = 0
        self.incidents = 0

    @property
    def anomalies(self) -> list[Found]:
        """Each anomaly once, as it was published first, but with its latest kind; times since the start."""
        return list(self._anomalies.values())

    def take(self, topic: str, payload: bytes, now_s: float) -> list[Line]:
        """The lines that one message is worth; none for what people need not see."""
        head, _, rest = topic.removeprefix(self._base).partition("/")
        if not topic.startswith(self._base) or not payload:
            return []
        if head == "status":
            return [Line(f"{_clock(now_s)}  the agent is {payload.decode('utf-8', 'replace')}", DIM)]
        try:
            document = json.loads(payload)
            if head == "anomaly":
                self._anomaly(document, now_s)
            elif head == "incident":
                return self._incident(document, now_s)
            elif head == "summary" and rest:
                return self._summary(document, now_s)
            elif head == "health":
                return self._health(document, now_s)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            return [Line(f"{_clock(now_s)}  {topic}: cannot be read: {error!r}", RED)]
        return []

    def _health(self, document: dict[str, Any], now_s: float) -> list[Line]:
        self.streams_known = int(document["streams"])
        problems = {str(problem) for problem in document["problems"]}
        new, self._problems = sorted(problems - self._problems), problems
        return [Line(f"{_clock(now_s)}  the agent reports: {problem}", RED) for problem in new]

    def _anomaly(self, document: dict[str, object], now_s: float) -> None:
        stream, onset_s = str(document["stream"]), parse_time(document["onset"]) - self._started_s
        first = self._anomalies.get((stream, onset_s))
        said_s = first.said_s if first else now_s - self._started_s
        found = Found(stream, str(document["kind"]), str(document["direction"]), onset_s, said_s)
        self._anomalies[(stream, onset_s)] = found

    def _incident(self, document: dict[str, object], now_s: float) -> list[Line]:
        incident, asset = str(document["id"]), str(document["asset"])
        if document["state"] == "closed":
            since_s = self._open.pop(incident, None)
            after = "" if since_s is None else f" after {now_s - since_s:.0f} s"
            return [Line(f"{_clock(now_s)}  {asset}: incident closed{after}", GREEN)]
        if incident in self._open:
            return []
        self._open[incident] = now_s
        self.incidents += 1
        return [Line(f"{_clock(now_s)}  {asset}: incident {incident} opened", RED)]

    def _summary(self, document: dict[str, object], now_s: float) -> list[Line]:
        incident, text = str(document["incident"]), str(document["text"])
        # The same sentence with a newer number is not worth another look; it is published all the same.
        wording = str(document["skeleton"]) or text
        if self._wordings.get(incident) == wording:
            return []
        self._wordings[incident] = wording
        self.sentences += 1
        confidence = document["confidence"]
        by = f"route {document['route']}, confidence {float(str(confidence)):.2f}, release {document['release']}"
        head = f"{_clock(now_s)}  {document['asset']}:"
        return [Line(head, BOLD), Line(text, BOLD, indented=True), Line(f"({by})", DIM, indented=True)]


class Screen:
    """The terminal. `plain`: no colours and no line that is overwritten, as for a file."""

    def __init__(self, out: TextIO, *, plain: bool) -> None:
        self._out = out
        self._plain = plain
        self._progress = ""

    def show(self, lines: list[Line]) -> None:
        """Print lines above the progress."""
        if not lines:
            return
        self._wipe()
        width = min(MAX_WIDTH, shutil.get_terminal_size().columns)
        for line in lines:
            text = line.text
            if line.indented:
                text = textwrap.fill(text, width, initial_indent=MARGIN, subsequent_indent=MARGIN)
            self._out.write(text + "\n" if self._plain or not line.style else f"{line.style}{text}{PLAIN}\n")
        self._draw()

    def say(self, text: str) -> None:
        """Print a line as it is."""
        self._wipe()
        self._out.write(text + "\n")
        self._draw()

    def progress(self, text: str, coarse: str | None = None) -> None:
        """Say what is going on: in place on a terminal; in a file as a line, `coarse` where it is given, each time it changes."""
        shown = text if coarse is None or not self._plain else coarse
        if shown == self._progress:
            return
        self._wipe()
        self._progress = shown
        if self._plain and shown:
            self._out.write(shown + "\n")
        self._draw()

    def _wipe(self) -> None:
        if self._progress and not self._plain:
            self._out.write("\r\x1b[K")

    def _draw(self) -> None:
        if self._progress and not self._plain:
            self._out.write(DIM + self._progress + PLAIN)
        self._out.flush()


def _clock(now_s: float) -> str:
    """The time of day in UTC, as in the sentences."""
    seconds = int(now_s) % 86_400
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
