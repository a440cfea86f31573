"""What gateways say about a release: the documents of `edge/<gateway>/update`, as they were collected.

They come as one JSON object a line, as `mosquitto_sub -F %p` prints them, or with the topic in front, as `mosquitto_sub -v` does;
or as a folder of such files, read in the order of their names; a file may also be one object over many lines. Of a gateway the
last document counts. Members that are not named here are passed over.

Rules: a release is known by the digest of its manifest; a document says what a gateway did with it (`outcomes`, oldest first),
what it runs and what it is at. With a topic, the gateway must be the topic's: who may write where is the broker's business, what
is in the payload is not. What cannot be read is counted, and counts for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from edge_ota.signing import OperatorError
from edge_ota.task import printable

MAX_LINE_BYTES = 1 << 20
MAX_REASON_CHARACTERS = 300
_NOTHING = b"(null)"
"""What `mosquitto_sub -v` prints for an empty payload: the document was taken away."""


class Outcome(msgspec.Struct, frozen=True):
    """How one release ended on a gateway."""

    outcome: str
    """`committed`, `refused`, `rolled-back` or `cancelled`."""
    manifest_sha256: str
    reason: str | None = None


class Report(msgspec.Struct, frozen=True):
    """One gateway's word."""

    gateway: str
    release: str | None = None
    """What runs."""
    counter: int | None = None
    manifest_sha256: str | None = None
    """None: the release that came with the package, or none."""
    state: str = ""
    candidate: str | None = None
    candidate_counter: int | None = None
    reason: str | None = None
    outcomes: tuple[Outcome, ...] = ()


class Wanted(msgspec.Struct, frozen=True):
    """The release that is asked about."""

    release: str
    counter: int
    manifest_sha256: str


class Tally(msgspec.Struct, frozen=True):
    """What the gateways say about one release."""

    succeeded: tuple[str, ...] = ()
    failed: dict[str, str] = {}
    """Why, by gateway."""
    undecided: dict[str, str] = {}
    unreadable: int = 0
    """Lines that are no document, or not their topic's gateway's."""

    @property
    def gateways(self) -> int:
        """How many count."""
        return len(self.succeeded) + len(self.failed) + len(self.undecided)

    def why_not(self, minimum_gateways: int, minimum_success: float) -> str:
        """Why it may not be promoted, in words; empty if it may."""
        if self.gateways < max(1, minimum_gateways):
            return f"{self.gateways} gateways reported on it; {max(1, minimum_gateways)} are wanted"
        if len(self.succeeded) < minimum_success * self.gateways:
            return f"it runs on {len(self.succeeded)} of {self.gateways} gateways; {minimum_success:.1%} are wanted"
        return ""

    def lines(self) -> list[str]:
        """The tally for people, the gateways on which it does not run one by one."""
        said = [f"runs on {len(self.succeeded)} of {self.gateways} gateways"]
        said += [f"  {gateway}: {why}" for gateway, why in sorted(self.failed.items())]
        said += [f"  {gateway}: not decided: {why}" for gateway, why in sorted(self.undecided.items())]
        if self.unreadable:
            said.append(f"  {self.unreadable} lines could not be read or were not their topic's gateway's")
        return said


def tally(lines: Iterable[bytes], wanted: Wanted, expected: Iterable[str] = ()) -> Tally:
    """Count what is said about a release. A gateway counts that names it, and each of `expected`, said it anything or not."""
    last: dict[str, Report] = {}
    unreadable = 0
    for line in lines:
        if not line.strip() or line.rstrip().endswith(_NOTHING):
            continue
        report = _report(line)
        if report is None:
            unreadable += 1
        else:
            last[report.gateway] = report
    succeeded: list[str] = []
    failed: dict[str, str] = {}
    undecided = dict.fromkeys(expected, "nothing was heard of it")
    for gateway, report in last.items():
        verdict, why = _verdict(report, wanted)
        if verdict != "silent" or gateway in undecided:
            undecided.pop(gateway, None)
            if verdict == "succeeded":
                succeeded.append(gateway)
            else:
                (failed if verdict == "failed" else undecided)[printable(gateway)] = printable(why)[:MAX_REASON_CHARACTERS]
    return Tally(tuple(sorted(succeeded)), failed, undecided, unreadable)


def _verdict(report: Report, wanted: Wanted) -> tuple[str, str]:
    """`succeeded`, `failed`, `undecided` or `silent`, and why."""
    runs = report.manifest_sha256 == wanted.manifest_sha256 and report.counter == wanted.counter
    ended = [outcome for outcome in report.outcomes if outcome.manifest_sha256 == wanted.manifest_sha256]
    at = f"{report.state or 'idle'}{f': {report.reason}' if report.reason else ''}"
    if ended and ended[-1].outcome != "committed":
        return "failed", f"{ended[-1].outcome}{f': {ended[-1].reason}' if ended[-1].reason else ''}"
    if ended and runs:
        return "succeeded", ""
    if ended:
        return "undecided", f"committed, but it runs {report.release} now"
    if (report.candidate, report.candidate_counter) == (wanted.release, wanted.counter):
        return "undecided", at
    if runs:
        return "undecided", f"it runs, but how it came to is not told ({at})"
    return "silent", f"it does not mention the release; it runs {report.release}, {at}"


def _report(line: bytes) -> Report | None:
    """The document of a line; None where there is none, or where it is not the topic's gateway's."""
    before, brace, after = line.partition(b"{")
    if len(line) > MAX_LINE_BYTES:
        return None
    try:
        report = msgspec.json.decode(brace + after, type=Report)
        topic = before.decode().split()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    levels = topic[-1].split("/") if topic else []
    return None if levels and levels[-2:] != [report.gateway, "update"] else report


def collected(path: Path) -> Iterator[bytes]:
    """The lines of a file, or of the files of a folder by name. Raises OperatorError."""
    try:
        files = sorted(each for each in path.iterdir() if each.is_file()) if path.is_dir() else [path]
        for file in files:
            with file.open("rb") as opened:
                head = opened.read(MAX_LINE_BYTES)
                if len(head) < MAX_LINE_BYTES and _is_one(head):
                    yield head.replace(b"\n", b" ")
                    continue
                opened.seek(0)
                while line := opened.readline(MAX_LINE_BYTES + 1):
                    yield line
    except OSError as error:
        raise OperatorError(f"{path}: cannot be read: {error.strerror}") from error


def _is_one(data: bytes) -> bool:
    """Whether this is one JSON object."""
    try:
        return isinstance(msgspec.json.decode(data), dict)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
