"""The inbox: a folder in which bundles are found, the agent's own or one on a medium that is carried from gateway to gateway.

Rules:
* A bundle is a regular file `*.tar` that did not change for a while; of several the newest goes first, and of many only the
  newest are looked at: a medium full of rubbish does not use up the day's looks. Links, devices, and names that cannot be printed
  are left alone. Of what is wrong in a folder only so much is told.
* Changes wake (`watch`), and behind that stands a look into the folder now and then. The folder may be missing and come back.
* In the agent's own folder a bundle that is done with is renamed: `NAME.done`, or `NAME.refused`. A folder that was configured is
  not touched, because other gateways want what stands there: that a bundle is done with is remembered until it changes, or goes,
  or the agent starts anew; it is looked at once more then.
* What is refused may still be in the middle of being copied: it is tried again until it has not changed for `REFUSE_S`.
* A ticket names the file by its size, the time it was changed, and its name, so that no other file is taken for it.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import re
import stat
from pathlib import Path

from msgspec import Struct

from edge_agent.atomic import fsync_folder, make_folder
from edge_agent.clock import Clock
from edge_agent.errors import LinkError, StorageError
from edge_agent.update import Lead, Verdict
from edge_agent.update.exchange import Meter
from edge_agent.update.jobs import Bundle
from edge_agent.update.pace import Uniform, ceiling_s
from edge_agent.update.record import Ended
from edge_agent.update.regular import Regular
from edge_agent.update.watch import FolderWatch

NAME = "inbox"
SUFFIX = ".tar"
DONE, REFUSED = ".done", ".refused"
SCAN_S = 60.0
"""Between looks into the folder that nothing woke."""
MISSING_S = 10.0
"""The same while there is no folder."""
SETTLE_S = 2.0
"""A bundle is offered when it did not change for so long."""
REFUSE_S = 60.0
RETRY_MIN_S = 15.0
RETRY_MAX_S = 3_600.0
MAX_LISTED = 10_000
"""Entries of the folder that are looked at."""
MAX_BUNDLES = 32
MAX_COMPLAINTS = 64
"""Told until the next start."""
_TICKET = re.compile(r"([0-9]{1,20}) (-?[0-9]{1,20}) ([^/]{1,255})", re.DOTALL)

_log = logging.getLogger(__name__)


class _Look(Struct, frozen=True):
    """How a file looks. An inode's number is no part of it: not every file system keeps those."""

    size_bytes: int
    changed_ns: int


class _Seen:
    """What is known of one file, as it looks now."""

    def __init__(self, look: _Look, now_s: float) -> None:
        self.look = look
        self.since_s = now_s
        self.due_s = now_s + SETTLE_S
        self.failures = 0
        self.is_done = False


class Inbox:
    """See `update.Source`. `owned`: the folder is the agent's own, which makes it and puts aside what is done with."""

    name = NAME
    trouble = ""
    """See `Source.trouble`: what stands in the way here passes."""

    def __init__(self, folder: Path, clock: Clock, rng: Uniform, *, owned: bool) -> None:
        self._folder = folder
        self._clock = clock
        self._rng = rng
        self._owned = owned
        self._watch = FolderWatch()
        self._seen: dict[str, _Seen] = {}
        self._complaints: set[str] = set()
        self._scan_s = clock.monotonic_s()
        self._out = ""
        """The name of the file that a lead was given for, and not told about."""

    def lead(self) -> Lead | None:
        """See `Source.lead`."""
        if self._out:
            return None
        now_s = self._clock.monotonic_s()
        if self._watch.take() or now_s >= self._scan_s:
            self._scan(now_s)
        due = [(name, seen) for name, seen in self._seen.items() if not seen.is_done and now_s >= seen.due_s]
        for name, seen in sorted(due, key=lambda each: (-each[1].look.changed_ns, each[0])):
            if self._still(name, seen.look):
                self._out = name
                return Lead(
                    source=NAME,
                    ticket=f"{seen.look.size_bytes} {seen.look.changed_ns} {name}",
                    place=Bundle(path=str(self._folder / name)),
                    tell=lambda verdict, words="", name=name, seen=seen: self._told(name, seen, verdict, words),
                )
        return None

    def withdrawn(self, ticket: str) -> str:
        """See `Source.withdrawn`: a stick that was pulled may come back."""
        return ""

    def ended(self, ended: Ended) -> bool:
        """See `Source.ended`."""
        matched = _TICKET.fullmatch(ended.ticket)
        if matched is not None:
            look = _Look(int(matched[1]), int(matched[2]))
            self._done_with(matched[3], look, DONE if ended.result == "committed" else REFUSED)
        return True

    def hint(self) -> None:
        """See `Source.hint`. What only waits after a failure is tried again too."""
        now_s = self._clock.monotonic_s()
        self._scan_s = now_s
        for seen in self._seen.values():
            if seen.failures:
                seen.due_s = now_s

    def close(self) -> None:
        """See `Source.close`."""
        self._watch.close()

    def _scan(self, now_s: float) -> None:
        """See what there is."""
        if self._owned and not self._folder.is_dir():
            # It cannot be made on a disk that refuses; then it is missing, which is said.
            with contextlib.suppress(StorageError):
                make_folder(self._folder, mode=0o770)
        self._watch.follow(self._folder)
        self._watch.take()  # what changed until now is seen
        try:
            found = dict(self._bundles())
        except OSError as error:
            self._complain(f"{self._folder}: cannot be looked through: {error.strerror}; it is tried again")
            self._seen.clear()
            self._scan_s = now_s + MISSING_S
            return
        before, self._seen = self._seen, {}
        for name, look in found.items():
            old = before.get(name)
            self._seen[name] = old if old is not None and old.look == look else _Seen(look, now_s)
        is_settled = all(seen.since_s < now_s for seen in self._seen.values())
        self._scan_s = now_s + (SCAN_S if is_settled else SETTLE_S)

    def _bundles(self) -> list[tuple[str, _Look]]:
        """What may be bundles, by name, the newest of them. Raises OSError."""
        bundles: list[tuple[str, _Look]] = []
        with os.scandir(self._folder) as entries:
            for entry in itertools.islice(entries, MAX_LISTED):
                if not entry.name.endswith(SUFFIX) or entry.name.startswith("."):
                    continue
                try:
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                except OSError as error:  # what is rotten on a medium does not hide what is not
                    self._complain(f"{self._folder}: {entry.name!a} is left alone: {error.strerror}")
                    continue
                if stat.S_ISREG(found.st_mode) and entry.name.isprintable():
                    bundles.append((entry.name, _Look(found.st_size, found.st_mtime_ns)))
                else:
                    self._complain(f"{self._folder}: {entry.name!a} is left alone: no regular file with a plain name")
        if len(bundles) > MAX_BUNDLES:
            self._complain(f"{self._folder}: holds more than {MAX_BUNDLES} bundles: only the newest of them are looked at")
        return sorted(bundles, key=lambda each: (-each[1].changed_ns, each[0]))[:MAX_BUNDLES]

    def _still(self, name: str, look: _Look) -> bool:
        """Whether the file can be read and still looks so."""
        path = self._folder / name
        try:
            Regular(path, Meter(0)).close()
            if _look_of(path) == look:
                return True
        except (LinkError, OSError) as error:
            self._complain(f"{path}: cannot be read: {error}; give it to the service's user")
        self._seen.pop(name, None)
        self._scan_s = min(self._scan_s, self._clock.monotonic_s() + SETTLE_S)
        return False

    def _told(self, name: str, seen: _Seen, verdict: Verdict, words: str) -> None:
        self._out = ""
        now_s = self._clock.monotonic_s()
        settled = now_s - seen.since_s >= REFUSE_S
        match verdict:
            case Verdict.failed:
                self._again(seen, now_s)
            case Verdict.refused if not settled:
                self._again(seen, now_s)
            case Verdict.refused:
                self._done_with(name, seen.look, REFUSED, words)
            case Verdict.runs:
                self._done_with(name, seen.look, DONE)
            case Verdict.nothing | Verdict.unwanted:
                # Another version of the agent may want it.
                seen.is_done = True
            case Verdict.taken:
                seen.is_done = True

    def _again(self, seen: _Seen, now_s: float) -> None:
        wait_s = self._rng.uniform(SETTLE_S, ceiling_s(seen.failures, RETRY_MIN_S, RETRY_MAX_S))
        seen.failures += 1
        seen.due_s = now_s + wait_s

    def _done_with(self, name: str, look: _Look, suffix: str, words: str = "") -> None:
        """Put the bundle aside where that may be done; else remember that it is done with."""
        now_s = self._clock.monotonic_s()
        seen = self._seen.get(name)
        if seen is None or seen.look != look:
            seen = self._seen[name] = _Seen(look, now_s)
        seen.is_done = True
        path = self._folder / name
        if not self._owned or _look_of(path) != look:
            return
        try:
            os.rename(path, path.with_name(name + suffix))
            fsync_folder(self._folder)
        except (OSError, StorageError) as error:
            self._complain(f"{path}: is done with, and cannot be renamed: {error}")
            return
        del self._seen[name]
        _log.log(
            logging.INFO if suffix == DONE else logging.WARNING, "%s: renamed to %s%s%s%s",
            path, name, suffix, ": " if words else "", words,
        )  # fmt: skip

    def _complain(self, text: str) -> None:
        """Tell people, once, and only so often."""
        if text not in self._complaints and len(self._complaints) < MAX_COMPLAINTS:
            self._complaints.add(text)
            is_last = len(self._complaints) == MAX_COMPLAINTS
            _log.warning("%s%s", text, "; no more of its kind is told until the next start" if is_last else "")


def _look_of(path: Path) -> _Look | None:
    """How the regular file at `path` looks; None where there is none."""
    try:
        found = path.lstat()
    except (OSError, ValueError):  # ValueError: what no file can be called
        return None
    return _Look(found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None
