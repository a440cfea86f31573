"""Bytes of a repository for python-tuf's client: from an address (HTTP(S), `file://`) or from a place. Nothing here is believed.

Rules: one file has one time for all of it (`exchange`); a file is opened as `regular` does it. All that goes wrong is a
DownloadError; a file that is not there is a DownloadHTTPError of 404. One owner; a fetch blocks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tuf.api.exceptions import DownloadError, DownloadHTTPError
from tuf.ngclient import FetcherInterface

from edge_agent.clock import Clock
from edge_agent.config.settings import TlsSettings
from edge_agent.errors import LinkError
from edge_agent.update.exchange import Meter, Web
from edge_agent.update.places import Opened
from edge_agent.update.regular import Regular
from edge_agent.update.repository import contents, whole

PLACE = "place:"
"""What the addresses begin with that `FromPlace` is asked for, before a name in the place."""
_MISSING = 404


class Transport(FetcherInterface):
    """Fetches by the scheme of the address."""

    def __init__(self, clock: Clock, *, timeout_s: float = 60.0, tls: TlsSettings | None = None) -> None:
        """`timeout_s` is for the whole of one file."""
        self._meter = Meter(sys.maxsize)  # the client has limits of its own
        self._web = Web(clock, self._meter, tls)
        self._timeout_s = timeout_s

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            if url.startswith("file:"):
                return _downloaded(contents(Regular(Path(unquote(urlsplit(url).path)), self._meter)))
            parts = whole(self._web, url, self._timeout_s)
        except FileNotFoundError:
            parts = None
        except LinkError as error:
            raise DownloadError(str(error)) from error
        return _downloaded(_present(parts, url))


class FromPlace(FetcherInterface):
    """Fetches from an open place."""

    def __init__(self, place: Opened, timeout_s: float) -> None:
        """`timeout_s` is for the whole of one file."""
        self._place = place
        self._timeout_s = timeout_s

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            parts = self._place.file(url.removeprefix(PLACE), self._timeout_s)
        except LinkError as error:
            raise DownloadError(str(error)) from error
        return _downloaded(_present(parts, url))


def _present(parts: Iterator[bytes] | None, url: str) -> Iterator[bytes]:
    if parts is None:
        raise DownloadHTTPError(f"{url}: there is no such file", _MISSING)
    return parts


def _downloaded(parts: Iterator[bytes]) -> Iterator[bytes]:
    """`parts`, whose LinkError becomes the client's."""
    try:
        yield from parts
    except LinkError as error:
        raise DownloadError(str(error)) from error
