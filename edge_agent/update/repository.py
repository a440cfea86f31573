"""A repository of releases as a place: on a web server, or a folder that is one.

Rules: names are as in the repository, `metadata/...` and `targets/...`, and none leads out of a folder. Nothing is believed of
what comes. One file is read in pieces at a time.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from edge_agent.clock import Clock
from edge_agent.errors import LinkError
from edge_agent.update.exchange import PART_BYTES, Answer, Meter, Web
from edge_agent.update.jobs import Repository
from edge_agent.update.ranged import Ranged
from edge_agent.update.regular import Regular

_MISSING = (http.client.NOT_FOUND, http.client.FORBIDDEN)
"""Object stores answer with the latter where there is nothing and the names may not be listed."""


class WebRepository:
    """One on a web server; a `places.Opened`."""

    def __init__(self, place: Repository, clock: Clock, meter: Meter) -> None:
        self._base = place.url.rstrip("/")
        self._web = Web(clock, meter, place.tls)
        self._ranged: tuple[str, Ranged] | None = None

    def file(self, name: str, timeout_s: float) -> Iterator[bytes] | None:
        """See `places.Opened`."""
        return whole(self._web, f"{self._base}/{name}", timeout_s)

    def piece(self, name: str, offset: int, length: int, timeout_s: float, until: int = 0) -> bytes:
        """See `places.Opened`."""
        if self._ranged is None or self._ranged[0] != name:
            self._leave()
            self._ranged = name, Ranged(self._web, f"{self._base}/{name}")
        return self._ranged[1].read(offset, length, timeout_s, until)

    def close(self) -> None:
        """See `places.Opened`."""
        self._leave()
        self._web.close()

    def _leave(self) -> None:
        if self._ranged is not None:
            self._ranged[1].close()
        self._ranged = None


class Folder:
    """One in a folder; a `places.Opened`."""

    def __init__(self, place: Repository, meter: Meter) -> None:
        self._folder = Path(unquote(urlsplit(place.url).path))
        self._meter = meter
        self._open: tuple[str, Regular] | None = None

    def file(self, name: str, timeout_s: float) -> Iterator[bytes] | None:
        """See `places.Opened`."""
        try:
            return contents(Regular(self._path(name), self._meter))
        except FileNotFoundError:
            return None

    def piece(self, name: str, offset: int, length: int, timeout_s: float, until: int = 0) -> bytes:
        """See `places.Opened`."""
        if self._open is None or self._open[0] != name:
            self.close()
            try:
                self._open = name, Regular(self._path(name), self._meter)
            except FileNotFoundError as error:
                raise LinkError(f"{self._path(name)}: there is no such file") from error
        return self._open[1].read(offset, length)

    def close(self) -> None:
        """See `places.Opened`."""
        if self._open is not None:
            self._open[1].close()
        self._open = None

    def _path(self, name: str) -> Path:
        if {"", ".", ".."} & set(name.split("/")) or "\0" in name:
            raise LinkError(f"{name!r}: no name of a file of a repository")
        return self._folder / name


def whole(web: Web, url: str, timeout_s: float) -> Iterator[bytes] | None:
    """What stands at `url`, a part at a time; None where nothing does. Raises LinkError, the iterator too."""
    answer = web.get(url, timeout_s)
    if answer.status in _MISSING:
        answer.close()
        return None
    if answer.status != http.client.OK:
        answer.close()
        raise LinkError(f"{answer.name}: status {answer.status}")
    return _parts(answer)


def contents(file: Regular) -> Iterator[bytes]:
    """All of an open file, as long as it was when it was opened; closes it. Raises LinkError."""
    try:
        offset = 0
        while offset < file.size_bytes:
            part = file.read(offset, PART_BYTES)
            offset += len(part)
            yield part
    finally:
        file.close()


def _parts(answer: Answer) -> Iterator[bytes]:
    try:
        while part := answer.read(PART_BYTES):
            yield part
    finally:
        answer.close()
