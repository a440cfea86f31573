"""Notices changes in a folder, by what the kernel says of it (inotify, through the watchdog library).

Rules: it only wakes; whoever is woken looks for himself, and looks now and then unwoken: some file systems say nothing, the
kernel's watches may be used up, and a folder may go and come with its medium. Reading the folder or a file in it is no change.
Its threads set a flag and do nothing else. One owner.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

_CHANGES = frozenset({"created", "modified", "moved", "closed"})
"""Kinds of events that wake, by the library's names; it tells of readers, too, from version 5 on."""

_log = logging.getLogger(__name__)


class FolderWatch:
    """One folder. Threads run while it is followed; call `close`."""

    def __init__(self) -> None:
        self._woken = threading.Event()
        self._observer: BaseObserver | None = None
        self._watched: tuple[int, int] | None = None
        self._complained = False

    def follow(self, folder: Path) -> bool:
        """See that what stands at `folder` now is watched; False where it cannot be. Call it again when it may have changed."""
        try:
            found = folder.stat()
        except OSError:
            self.close()
            return False
        watched = (found.st_dev, found.st_ino)
        if self._observer is not None and watched == self._watched and any(each.is_alive() for each in self._observer.emitters):
            return True
        self.close()
        try:
            self._observer = _observing(folder, _Wakes(self._woken))
        except (OSError, RuntimeError) as error:  # RuntimeError: the system has no thread left
            if not self._complained:
                _log.warning("%s: changes are not noticed at once (%s); it is looked through now and then", folder, error)
            self._complained = True
            return False
        self._watched = watched
        self._complained = False
        return True

    def take(self) -> bool:
        """Whether something changed since the last call."""
        was_woken = self._woken.is_set()
        self._woken.clear()
        return was_woken

    def close(self) -> None:
        """End the threads."""
        observer, self._observer, self._watched = self._observer, None, None
        if observer is not None:
            _stop(observer)


class _Wakes(FileSystemEventHandler):
    """Sets the flag at every change. That a folder was modified is told besides what happened in it."""

    def __init__(self, woken: threading.Event) -> None:
        self._woken = woken

    def on_any_event(self, event: FileSystemEvent) -> None:
        """See `FileSystemEventHandler`."""
        if event.event_type in _CHANGES and (not event.is_directory or event.event_type == "moved"):
            self._woken.set()


def _observing(folder: Path, handler: FileSystemEventHandler) -> BaseObserver:
    """An observer at work. Raises OSError, RuntimeError, when its threads have ended again."""
    observer = Observer()
    try:
        observer.start()
        # It does not follow a link at the end of a path.
        observer.schedule(handler, str(folder.resolve()), recursive=False)
    except BaseException:
        _stop(observer)
        raise
    return observer


def _stop(observer: BaseObserver) -> None:
    observer.stop()
    if observer.is_alive():
        observer.join()
