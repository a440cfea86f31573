"""What a child process is before our module runs in it, seen by the launcher that is run as `child` runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from edge_agent.update import launcher

SHOWS = "tests.update.misbehaving"


def run(parent: int, data_bytes: int = 1 << 30) -> subprocess.CompletedProcess[bytes]:
    asked = {"module": SHOWS, "parent": parent, "path": sys.path, "nice": 3, "data_bytes": data_bytes}
    return subprocess.run(
        (sys.executable, "-I", launcher.__file__, json.dumps(asked)),
        input=b'{"what":"shows"}',
        capture_output=True,
        check=False,
        timeout=60,
    )


def test_the_module_runs_with_the_limits_set() -> None:
    run_ = run(os.getpid())
    assert run_.returncode == 0, run_.stderr
    seen = json.loads(run_.stdout)["seen"]
    assert seen["nice"] >= 3
    assert seen["core"] == "0"
    assert seen["data"] == str(1 << 30)


def test_what_is_reserved_is_not_bounded_where_nobody_says_so() -> None:
    run_ = run(os.getpid(), data_bytes=0)
    assert run_.returncode == 0, run_.stderr
    assert json.loads(run_.stdout)["seen"]["data"] == "unlimited"


def test_nothing_runs_for_a_parent_that_is_gone() -> None:
    run_ = run(parent=1 if os.getpid() != 1 else 2)
    assert run_.returncode == 1
    assert run_.stdout == b""
