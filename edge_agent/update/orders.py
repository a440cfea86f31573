"""Orders to a running agent: how the command line says what is to be done with releases. One file an order.

    orders/<nanoseconds>-<process>.json   an order: {"order": "roll-back", ...}; removed when the record shows what came of it
    orders/<name>.refused                 what was no order, with its reason in `<name>.refused.txt`

Rules: an order is written whole and renamed into place. Whoever carries it out removes it afterwards, durably; a power cut in
between lets it be carried out twice, so that an order says what it is about: what it would leave, or end, is named. Orders are
taken by the time in their names. Nothing but short regular files is read, and of many only so many.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec
from msgspec import Struct

from edge_agent.atomic import fsync_folder, make_folder, write_atomic, write_new
from edge_agent.clock import Clock
from edge_agent.errors import RequestError, StorageError
from edge_agent.update.state_files import names_in, read_regular, remove

FOLDER = "orders"
"""Below the update's folder."""
MAX_ORDER_BYTES = 8_192
MAX_WAITING = 64
MAX_REFUSED = 16
"""Kept of what was no order; the oldest goes first."""

_NAME = re.compile(r"[0-9]{20}-[0-9]{1,10}\.json")
_TEMPORARY = re.compile(r"\.[0-9]{20}-[0-9]{1,10}\.json\.tmp")
_REFUSED, _REASON = ".refused", ".refused.txt"

_log = logging.getLogger(__name__)


class Check(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="order", tag="check"):
    """Look at every source now. `again`: what failed here may be taken once more."""

    again: bool = False


class Apply(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="order", tag="apply"):
    """Take the release in a bundle, a file with this absolute path."""

    path: str


class RollBack(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="order", tag="roll-back"):
    """Go back to the release before the active one.

    `leaves` is the digest of the manifest of the release that is to be left: where another one is active, that was done before.
    Empty: whichever is active.
    """

    leaves: str = ""


class Cancel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="order", tag="cancel"):
    """Give the candidate up. `ends` is the digest of its manifest; empty: whichever there is."""

    ends: str = ""


Order: TypeAlias = Check | Apply | RollBack | Cancel


class Orders:
    """The orders in one update folder. The running agent has one, and whoever gives an order makes one."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the update's folder, which exists."""
        self._folder = folder / FOLDER
        self._unread: set[str] = set()
        """What could not be read when it was tried last, and was said to be so."""

    def give(self, order: Order, clock: Clock) -> str:
        """Put an order down, durably; the name to ask `is_waiting` for. Raises StorageError, RequestError."""
        data = msgspec.json.encode(order)
        if len(data) > MAX_ORDER_BYTES:
            raise RequestError("bad-order", f"is longer than {MAX_ORDER_BYTES} bytes")
        make_folder(self._folder)
        if len(self._names()) >= MAX_WAITING:
            raise RequestError("too-many", f"{MAX_WAITING} orders wait already: no agent takes them; see whether it runs")
        name = f"{max(0, int(clock.now_s() * 1e9)):020d}-{os.getpid()}.json"
        temporary = self._folder / f".{name}.tmp"
        remove(temporary)
        try:
            write_new(temporary, data, 0o640, _owner_of(self._folder))
            os.rename(temporary, self._folder / name)
        except OSError as error:
            raise StorageError(f"{self._folder}: the order was not written: {error.strerror}; check the disk") from error
        fsync_folder(self._folder)
        return name

    def is_waiting(self, name: str) -> bool:
        """Whether the order of that name was not carried out yet."""
        return os.path.lexists(self._folder / name)

    def waiting(self) -> Sequence[tuple[str, Order]]:
        """The orders to be carried out, oldest first, with their names. What is none is set aside. Raises StorageError.

        One that cannot be read, or set aside, holds up none that comes after it; it is tried again the next time.
        """
        found: list[tuple[str, Order]] = []
        unread: set[str] = set()
        for name in self._names():
            if len(found) + len(unread) >= 2 * MAX_WAITING:
                break
            try:
                order = self._read(name)
            except StorageError as error:
                unread.add(name)
                if name not in self._unread:
                    _log.warning("an order is passed over: %s", error)
                continue
            if order is not None:
                found.append((name, order))
        self._unread = unread
        return found[:MAX_WAITING]

    def done(self, name: str) -> None:
        """The order was carried out: it is gone, durably, when this returns. Raises StorageError."""
        remove(self._folder / name)
        fsync_folder(self._folder)

    def clean(self) -> None:
        """Remove what a power cut left of writing orders; for the owner, when he begins. Raises StorageError."""
        for name in self._listed():
            if _TEMPORARY.fullmatch(name):
                remove(self._folder / name)

    def _names(self) -> list[str]:
        return [name for name in self._listed() if _NAME.fullmatch(name)]

    def _listed(self) -> list[str]:
        return names_in(self._folder) if self._folder.is_dir() else []

    def _read(self, name: str) -> Order | None:
        """The order of that name; None where there is none, or what there is was set aside. Raises StorageError."""
        data = read_regular(self._folder / name, MAX_ORDER_BYTES)
        try:
            return None if data is None else _order_in(data)
        except RequestError as error:
            self._set_aside(name, error.detail)
            return None

    def _set_aside(self, name: str, reason: str) -> None:
        _log.warning("%s: not an order: %s", self._folder / name, reason)
        try:
            os.rename(self._folder / name, self._folder / (name + _REFUSED))
        except OSError as error:
            raise StorageError(f"{self._folder / name}: cannot be set aside: {error.strerror}; remove it") from error
        write_atomic(self._folder / (name + _REASON), f"{reason}\n".encode("utf-8", "replace"))
        refused = [each for each in self._listed() if each.endswith(_REFUSED)]
        for old in refused[:-MAX_REFUSED]:
            remove(self._folder / old)
            remove(self._folder / f"{old}.txt")


def _order_in(data: bytes) -> Order:
    """The order in a file's bytes. Raises RequestError."""
    try:
        order: Order = msgspec.json.decode(data, type=Order)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError("bad-order", str(error) or type(error).__name__) from error
    if isinstance(order, Apply) and not _is_usable(order.path):
        raise RequestError("bad-order", "path: is no absolute path of a file")
    return order


def _is_usable(path: str) -> bool:
    return path.startswith("/") and "\0" not in path and len(path) <= 4_096


def _owner_of(folder: Path) -> tuple[int, int] | None:
    """Whom an order belongs to: the folder's owner, where root gives it. Raises OSError."""
    if os.geteuid() != 0:
        return None
    found = folder.stat()
    return found.st_uid, found.st_gid
