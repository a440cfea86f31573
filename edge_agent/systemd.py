"""The service manager's notification protocol: READY, STATUS, WATCHDOG, STOPPING over a datagram socket.

The protocol is that of sd_notify(3): one datagram of `NAME=value` lines to the socket named in NOTIFY_SOCKET, where a
leading `@` names Linux's abstract socket namespace. sd_watchdog_enabled(3) gives the meaning of WATCHDOG_USEC and WATCHDOG_PID.

Rules: nothing here decides whether the service is well, the supervisor does; a notification that cannot be sent is
dropped, because a service must not fail over its own status; without NOTIFY_SOCKET every call does nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping

_SEND_TIMEOUT_S = 0.5
"""The manager reads its socket at once; one that does not must not stop us from stopping."""


class Notifier:
    """Sends notifications to the socket at `address`; an empty address makes every call do nothing."""

    def __init__(self, address: str) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def ready(self) -> None:
        """Say that start-up is done."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """Say in one line what the service is doing, for `systemctl status`."""
        self._send("STATUS=" + text.replace("\n", " "))

    def watchdog(self) -> None:
        """Say that the service still makes progress."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that the service is on its way out."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> bool:
        if not self._address:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                # Connected, so that waiting for a full queue is waiting: unconnected, the kernel says "writable" at once.
                channel.connect(self._address)
                channel.settimeout(_SEND_TIMEOUT_S)
                channel.send(text.encode())
        except OSError:
            return False
        return True


def notifier_from(environ: Mapping[str, str]) -> Notifier:
    """The notifier that NOTIFY_SOCKET asks for. Only file-system and abstract addresses are taken; others do nothing."""
    address = environ.get("NOTIFY_SOCKET", "")
    return Notifier(address if address[:1] in ("/", "@") else "")


def watchdog_interval_s(environ: Mapping[str, str], pid: int) -> float | None:
    """Seconds within which the manager expects WATCHDOG=1 from process `pid`; None where no watchdog watches it."""
    try:
        interval_us = int(environ.get("WATCHDOG_USEC", ""))
        watched_pid = int(environ.get("WATCHDOG_PID", str(pid)))
    except ValueError:
        return None
    return interval_us / 1e6 if interval_us > 0 and watched_pid == pid else None
