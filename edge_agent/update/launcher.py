"""Prepares a child process of ours, then becomes the module that it is to run. `child` starts it as a script, by its path.

It runs before anything of ours is imported, because what it sets holds for all that comes after it, and because the parent has
threads: nothing of this may be done between fork and exec there.

Rules: the standard library alone. The kernel ends the child when the thread that started it ends, so that none outlives an agent
that was killed. No core file is written. Where memory runs out, the system takes the child before the agent.
"""

from __future__ import annotations

import json
import os
import resource
import runpy
import signal
import sys
from contextlib import suppress
from typing import Any

_PR_SET_PDEATHSIG = 1
_FIRST_TO_GO = "1000"
"""The highest `oom_score_adj`: see proc(5)."""


def main() -> None:
    """Take the one argument, a JSON object `{module, parent, path, nice, data_bytes}`, and run the module as `__main__`."""
    asked = json.loads(sys.argv[1])
    _prepare(asked)
    sys.path[:] = asked["path"]
    sys.argv[:] = [asked["module"]]
    runpy.run_module(asked["module"], run_name="__main__", alter_sys=True)


def _prepare(asked: dict[str, Any]) -> None:
    end_with_parent(asked["parent"], signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if asked["data_bytes"]:
        _lower(resource.RLIMIT_DATA, asked["data_bytes"])
    os.nice(asked["nice"])
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # the limits stand without it
        file.write(_FIRST_TO_GO)


def end_with_parent(parent: int, how: signal.Signals) -> None:
    """Have the kernel send `how` to this process, also after exec, when the thread of `parent` that started it ends."""
    try:
        import ctypes  # an image may be without it; the service manager ends the child there
    except ImportError:
        pass
    else:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(how), 0, 0, 0)
    if os.getppid() != parent:  # it went before it could be asked for
        os._exit(1)


def _lower(which: int, most: int) -> None:
    hard = resource.getrlimit(which)[1]
    limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(which, (limit, limit))


if __name__ == "__main__":
    main()
