"""The most memory that a child process of an update ever had, as the kernel tells the process itself.

What `wait4` tells of a child is not it: that begins with the memory of whoever started it.
"""

from __future__ import annotations

import re
import subprocess
import sys

import msgspec
from msgspec import Struct

_RUN = """
import atexit, runpy, sys
atexit.register(lambda: sys.stderr.write(open("/proc/self/status").read()))
runpy.run_module(sys.argv[1], run_name="__main__")
"""


def peak_rss_bytes(module: str, job: Struct) -> tuple[int, bytes]:
    """Run `module` on `job`: its peak resident set, and the last line that it said."""
    command = [sys.executable, "-c", _RUN, module]
    done = subprocess.run(command, input=msgspec.json.encode(job), capture_output=True, timeout=100, check=True)
    found = re.search(rb"^VmHWM:\s+(\d+) kB$", done.stderr, re.MULTILINE)
    assert found is not None
    return int(found[1]) << 10, done.stdout.splitlines()[-1]
