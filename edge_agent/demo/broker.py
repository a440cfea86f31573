"""A broker for the demonstration: the mosquitto of this machine, or an embedded one (amqtt) in a process of its own.

Rules: it listens on 127.0.0.1 only, on a free port; nothing of it stays behind, neither process nor file. The embedded
broker speaks MQTT 3.1.1 only. It runs in its own process, so that it does not take turns with the agent for one
interpreter lock. Either ends by itself when the process that started it is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias

from msgspec import Struct

from edge_agent.demo.leash import leashed
from edge_agent.errors import LinkError

BrokerKind: TypeAlias = Literal["mosquitto", "embedded"]

HOST = "127.0.0.1"
START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 5.0
ATTEMPTS = 3
"""A free port is found by trying; somebody else may take it before the broker does."""
UNLIMITED = ("max_queued_messages 0", "max_queued_bytes 0")
"""What a subscriber has not yet read is kept: a recording at full speed reaches the agent whole."""
SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
"""Where mosquitto is installed outside of an ordinary user's PATH."""


class Broker(Struct, frozen=True, kw_only=True):
    """A broker that accepts connections."""

    host: str
    port: int
    kind: BrokerKind

    @property
    def protocol(self) -> Literal["auto", "3.1.1"]:
        """What to configure as `mqtt.protocol`: asking the embedded broker for MQTT 5 works, but costs seconds."""
        return "3.1.1" if self.kind == "embedded" else "auto"


@contextlib.contextmanager
def start_broker(kind: BrokerKind | Literal["auto"] = "auto", port: int = 0) -> Iterator[Broker]:
    """A broker for as long as the `with` block lasts. `port` 0 takes a free one.

    `auto` takes mosquitto where it is installed and works, else the embedded broker. Raises LinkError, with what to
    install, when none can be started.
    """
    problems: list[str] = []
    for candidate in _candidates(kind):
        for _ in range(1 if port else ATTEMPTS):
            with tempfile.TemporaryDirectory(prefix="edge-agent-broker-") as folder, contextlib.ExitStack() as stack:
                chosen = port or _free_port()
                try:
                    stack.enter_context(_running(_command(candidate, chosen, Path(folder)), chosen, Path(folder)))
                except LinkError as error:
                    problems.append(f"{candidate}: {error}")
                    continue
                yield Broker(host=HOST, port=chosen, kind=candidate)
                return
    advice = "install mosquitto (apt-get install mosquitto) or the embedded broker (pip install 'edge-agent[demo]')"
    raise LinkError(f"no broker could be started; {advice}; {'; '.join(dict.fromkeys(problems))}")


def find_mosquitto() -> str | None:
    """Path of the mosquitto program, or None where it is not installed."""
    return shutil.which("mosquitto", path=os.pathsep.join((os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS)))


def _candidates(kind: BrokerKind | Literal["auto"]) -> tuple[BrokerKind, ...]:
    if kind != "auto":
        return (kind,)
    return ("mosquitto", "embedded") if find_mosquitto() else ("embedded",)


def _command(kind: BrokerKind, port: int, folder: Path) -> tuple[str, ...]:
    if kind == "embedded":
        return (sys.executable, "-m", __name__, str(port))
    program = find_mosquitto()
    if program is None:
        raise LinkError("mosquitto is not installed")
    user = pwd.getpwuid(os.geteuid()).pw_name
    lines = (
        f"listener {port} {HOST}",
        "allow_anonymous true",
        "persistence false",
        f"user {user}",
        "log_dest stderr",
        *UNLIMITED,
    )
    configuration = folder / "mosquitto.conf"
    configuration.write_text("\n".join(lines) + "\n", "utf-8")
    return (program, "-c", str(configuration))


@contextlib.contextmanager
def _running(command: tuple[str, ...], port: int, folder: Path) -> Iterator[None]:
    """Run the command until the block ends. Raises LinkError if nobody accepts connections on the port in time."""
    if not _is_free(port):
        raise LinkError(f"port {port} is taken by somebody else")
    log = folder / "log"
    package_root = str(Path(__file__).resolve().parents[2])  # the embedded broker is a module of this very package
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (package_root, os.environ.get("PYTHONPATH"))))}
    with log.open("wb") as output:
        # A session of its own, so that Ctrl-C in the terminal does not end the broker before those who need it.
        process = subprocess.Popen(
            leashed(command), stdin=subprocess.PIPE, stdout=output, stderr=output, env=environment, start_new_session=True
        )
    try:
        until_s = time.monotonic() + START_TIMEOUT_S
        while not _accepts(port):
            if process.poll() is not None or time.monotonic() > until_s:
                lines = log.read_text("utf-8", "replace").strip().splitlines()
                raise LinkError(f"did not start on port {port}: {lines[-1] if lines else 'no word of why'}")
            time.sleep(0.05)
        yield
    finally:
        if process.stdin is not None:
            process.stdin.close()
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what an earlier broker left in TIME_WAIT is free
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _accepts(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1.0).close()
    except OSError:
        return False
    return True


async def _serve_embedded(port: int) -> None:
    from amqtt.broker import Broker as EmbeddedBroker  # optional, and slow to import: only its own process needs it

    plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    broker = EmbeddedBroker({"listeners": {"default": {"type": "tcp", "bind": f"{HOST}:{port}"}}, "plugins": plugins})
    await broker.start()
    await asyncio.to_thread(sys.stdin.buffer.read)  # returns when whoever started us closes the pipe, or is gone
    await broker.shutdown()


def main() -> None:
    """Run the embedded broker on the port given as the only argument, until standard input ends."""
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    try:
        asyncio.run(_serve_embedded(int(sys.argv[1])))
    except ModuleNotFoundError as error:
        sys.exit(f"{error.name} is not installed")


if __name__ == "__main__":
    main()
