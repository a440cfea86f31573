"""Every exception of edge-agent, in one tree split by what the caller should do about it.

* `InputError`: the other side sent something wrong. Count it, set it aside with its reason, go on.
* `ConfigError`: a person must change a file. Print every problem, exit with 78, do not retry.
* `ReleaseError`: a release cannot be used. Fall back to the previous one, then to template sentences.
* `StorageError`: the disk refused. Stop acknowledging, keep what is in memory, report, retry later.
* `EgressError`: what was to leave the device may not. It stays; report it as a defect.
* `LinkError`: the network refused. Wait and retry with backoff.
* `ChildFailedError`: a child process of ours did not do its work. Whoever started it decides what that means.

Rules: no module raises a bare `Exception`; every message says what is wrong, where, and what to do. What others wrote, and an
error's text repeats, is shown by way of `plain`.
"""

from __future__ import annotations

MAX_PLAIN_CHARACTERS = 500


def plain(text: object, most: int = MAX_PLAIN_CHARACTERS) -> str:
    """A text for people in one line of at most `most` printable characters, whoever had a hand in it.

    What would move a terminal's cursor or turn the direction of writing becomes `?`, ends of lines become blanks.
    """
    words = str(text)
    short = words if len(words) <= most else f"{words[: most - 3]}..."
    return short if short.isprintable() else "".join(c if c.isprintable() else " " if c in "\n\r\t" else "?" for c in short)


class EdgeAgentError(Exception):
    """Base of every error that edge-agent raises on purpose."""


class InputError(EdgeAgentError):
    """Something received is not usable; the sender is at fault.

    `reason` is a short stable word group such as `bad-json`, used as a counter's label; `detail` is for people.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class DecodeError(InputError):
    """A payload cannot be read in the format configured for its topic."""


class IncidentFormatError(InputError):
    """An incident document (`explain FILE`, `incident/<id>`) does not have the documented shape."""


class RequestError(InputError):
    """A request on `request/<command>` cannot be carried out."""


class RepositoryRefusedError(InputError):
    """What a repository of releases says is not believed, or not any more; the running release is not touched."""


class ConfigError(EdgeAgentError):
    """The configuration has problems; `problems` lists all of them as `file:line:col: key: problem`."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ReleaseError(EdgeAgentError):
    """A release is incomplete, damaged, incompatible, or its engines cannot be loaded."""


class EngineError(ReleaseError):
    """A native engine (writer, classifier, memory) could not be loaded or failed while running."""


class StorageError(EdgeAgentError):
    """The journal could not be read or written."""


class TrustLostError(StorageError):
    """What was trusted of the repository of releases is gone from the disk; a person must decide to start anew."""


class RecordLostError(StorageError):
    """The record of releases is gone from the disk; the device goes on with the factory release and begins a new record."""


class RecordOtherError(StorageError):
    """The record of releases is of another version of the agent; it stays as it is, and nothing is updated."""


class EgressError(EdgeAgentError):
    """Something was about to leave the device that its privacy schema does not allow; it did not leave."""


class LinkError(EdgeAgentError):
    """A network peer could not be reached or ended the conversation."""


class ChildFailedError(EdgeAgentError):
    """A child process ended without a result. `reason` is `killed`, `taken`, `timeout`, `memory`, `stopped` or `nonsense`.

    `taken`: somebody else ended it at once, such as the system that was short of memory.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class TryLaterError(LinkError):
    """A stronger model could not answer now; the same question may be asked again.

    `reason` is a stable word such as `status-503`, `timeout` or `connection`, counted and shown; `retry_after_s` is what
    the other side asked for, None where it said nothing.
    """

    def __init__(self, reason: str, detail: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
        self.retry_after_s = retry_after_s


class BackendRefusalError(InputError):
    """A stronger model refused for good. `breaks`: it would refuse every other question too, until a person changes something."""

    def __init__(self, reason: str, detail: str = "", *, breaks: bool = False) -> None:
        super().__init__(reason, detail)
        self.breaks = breaks
