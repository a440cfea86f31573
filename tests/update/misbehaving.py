"""A child process that misbehaves as its job says: what the tests of `update.child` start."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

ROOT = Path(__file__).parents[2]


class Misdeed(Struct, frozen=True):
    """What the child is to do, and a word for it."""

    what: str
    note: str = ""


class Answer(Struct, frozen=True):
    """What the child found."""

    note: str
    seen: dict[str, Any] = {}


def say(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def forks(note: str) -> None:
    """Leave a grandchild behind that holds the pipes, write its number to a file, and answer."""
    sleeper = subprocess.Popen((sys.executable, "-c", "import time; time.sleep(600)"))
    with open(note, "w", encoding="ascii") as file:
        file.write(str(sleeper.pid))
    say({"note": "forked"})


def eats() -> None:
    """Take memory until no more is given, and keep it."""
    held = []
    try:
        while True:
            held.append(os.urandom(1 << 20))
    except MemoryError:
        time.sleep(600)


def waits(note: str) -> None:
    if note:
        with open(note, "w", encoding="ascii") as file:
            file.write(str(os.getpid()))
    say({"what": "waiting", "done_bytes": 1, "total_bytes": 2})
    time.sleep(600)


def shows(note: str) -> None:
    limits = Path("/proc/self/limits").read_text(encoding="ascii")
    core, data = (limits.split(f"Max {what}")[1].split()[0] for what in ("core file size", "data size"))
    seen = {
        "environment": sorted(os.environ),
        "path": sys.path,
        "nice": os.nice(0),
        "core": core,
        "data": data,
        "group": os.getpgid(0) == os.getpid(),
    }
    say({"note": note, "seen": seen})


def main() -> None:
    misdeed = msgspec.json.decode(sys.stdin.buffer.read(), type=Misdeed)
    what, note = misdeed.what, misdeed.note
    if what == "answers":
        say({"what": "half", "done_bytes": 1, "total_bytes": 2})
        say({"note": note})
    elif what == "says-much":
        while True:
            say({"what": "on and on", "done_bytes": 0, "total_bytes": 0})
    elif what == "endless-line":
        while True:
            sys.stdout.write("x" * 65_536)
    elif what == "complains-much":
        for number in range(200_000):
            print(f"complaint {number}", file=sys.stderr)
        sys.exit(3)
    elif what == "garbage":
        sys.stdout.buffer.write(b'\xff\xfe\x00{"note":\n')
    elif what == "deep":
        sys.stdout.buffer.write(b'{"note":' + b"[" * 50_000 + b"\n")
    elif what == "says-nothing":
        pass
    elif what == "stops-at-progress":
        say({"what": "half", "done_bytes": 1, "total_bytes": 2})
    elif what == "half-a-line":
        sys.stdout.write('{"note": "whole"')
    elif what == "answers-then-fails":
        say({"note": note})
        sys.exit(4)
    elif what == "answers-then-crashes":
        say({"note": note})
        os.abort()
    elif what == "eats-memory":
        eats()
    elif what == "child-eats-memory":
        subprocess.run((sys.executable, "-c", "from tests.update.misbehaving import eats; eats()"), cwd=ROOT, check=False)
    elif what == "asks-for-much":
        bytearray(8 << 30)
    elif what == "segfaults":
        ctypes.string_at(0)
    elif what == "ignores-term":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        waits(note)
    else:
        {"forks": forks, "waits": waits, "shows": shows}[what](note)


if __name__ == "__main__":
    main()
