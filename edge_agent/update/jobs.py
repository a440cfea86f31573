"""What the agent hands to the processes that update, and what they hand back: values only.

An update's heavy and hostile parts run in child processes: `look` believes or refuses what a place says, `fetch` brings blobs,
`install` builds a release's folder, and the probe tries it. Each reads one job, a JSON object, from standard input, writes its
progress as JSON lines, and ends with one line that is its result.

Rules: a job says all that a child needs, so that it reads no configuration; a secret is a path. What went wrong is a value too
(`Problem`), because a child that found something out (a floor, bytes that are kept) says that together with why it stopped. Its
words are plain, whoever made it: they reach logs, terminals, the broker and other servers.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import force_setattr

from edge_agent.config.settings import TlsSettings
from edge_agent.errors import plain
from edge_agent.update.floor import Floor

MAX_REASON_NAME_CHARACTERS = 60

Kind: TypeAlias = Literal["link", "refused", "release", "storage", "trust-lost", "budget"]
"""Whose fault: the way there, what the place says, the release itself, the disk, lost trust, a limit that was set here."""


class Problem(Struct, frozen=True, kw_only=True):
    """Why a child stopped. `reason` is a stable word such as `expired`, `detail` is for people."""

    kind: Kind
    reason: str
    detail: str = ""

    def __post_init__(self) -> None:
        """Make its words plain, also where a child handed it over."""
        force_setattr(self, "reason", plain(self.reason, MAX_REASON_NAME_CHARACTERS))
        force_setattr(self, "detail", plain(self.detail))


class Repository(Struct, frozen=True, kw_only=True, tag="repository"):
    """A repository behind HTTP(S), or a folder that is one (`file://`). `metadata/` and `targets/` stand below `url`."""

    url: str
    tls: TlsSettings | None = None


class Bundle(Struct, frozen=True, kw_only=True, tag="bundle"):
    """A bundle in a file. It may change, shrink or vanish while it is read."""

    path: str


class RemoteBundle(Struct, frozen=True, kw_only=True, tag="remote-bundle"):
    """A bundle behind a server that answers range requests."""

    url: str
    size_bytes: int
    authorization_file: str = ""
    """A file whose content is the value of the header `Authorization`, or what follows its scheme; empty for none."""
    authorization_scheme: str = ""
    """Such as `TargetToken`; empty where it stands in the file."""
    tls: TlsSettings | None = None


Place: TypeAlias = Repository | Bundle | RemoteBundle
"""Where the bytes of releases stand. Nothing that comes from there is believed before it is verified."""


class LookJob(Struct, frozen=True, kw_only=True):
    """See what the newest release of a group is."""

    place: Place
    group: str
    trust_folder: str
    root_file: str
    """The factory root."""
    now_s: float
    build_time_s: float
    known: Floor
    """The floor in the agent's own record."""
    timeout_s: float = 60.0
    """For one file."""


class Looked(Struct, frozen=True, kw_only=True):
    """What a look found. `manifest` is verified; None where there is no release, or with a problem."""

    floor: Floor
    time_s: float
    """The time that expiry was judged by."""
    manifest: bytes | None = None
    keys: bytes | None = None
    """The group's wrapped keys, verified; None where there are none."""
    problem: Problem | None = None


class FetchJob(Struct, frozen=True, kw_only=True):
    """Bring the blobs of a manifest, which stands in the store, into the store."""

    place: Place
    store_folder: str
    manifest_sha256: str
    max_bytes: int
    """As many may be fetched now."""
    min_free_bytes: int
    """As much of the file system stays free."""
    timeout_s: float = 60.0
    """For one chunk; a place that takes longer is left alone for now."""


class Fetched(Struct, frozen=True, kw_only=True):
    """What a fetch brought. `complete`: every blob of the manifest stands verified in the store."""

    fetched_bytes: int
    complete: bool
    problem: Problem | None = None


class InstallJob(Struct, frozen=True, kw_only=True):
    """Build the folder of a release whose blobs are all there."""

    store_folder: str
    manifest_sha256: str
    min_free_bytes: int


class Installed(Struct, frozen=True, kw_only=True):
    """A release's folder, whole and durable."""

    folder: str = ""
    problem: Problem | None = None


CUDA_HOST_BYTES: Final = 1 << 30
"""Of the host's memory, for CUDA's driver and libraries in a process that uses them: no release answers for it."""


class ProbeJob(Struct, frozen=True, kw_only=True):
    """Try the release whose folder stands whole, by the limits of its own manifest."""

    folder: str
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    """What its writer is to run on."""
    key_file: str = ""
    """The device's own key, for a sealed release; empty for none."""
    decrypt_folder: str = ""
    """Where a sealed writer may stand in the clear while it is loaded; empty: in memory alone."""


class Probed(Struct, frozen=True, kw_only=True):
    """What a probe found. Without a problem the release may speak."""

    problem: Problem | None = None
    peak_rss_bytes: int = 0
    """What the release took at most, beyond the process that tried it."""
    load_s: float = 0.0
    """Opening both engines, by the wall clock."""
    sentences: int = 0
    slowest_s: float = 0.0
    """The sentence that took the most of a processor."""
    differing: int = 0
    """Golden cases that came out otherwise than where the release was built."""


class Progress(Struct, frozen=True, kw_only=True):
    """How far a child is: a line of its output before the last."""

    what: str
    """Such as `writer/model.bin`."""
    done_bytes: int
    total_bytes: int
