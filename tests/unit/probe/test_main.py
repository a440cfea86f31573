"""`python -m edge_agent.probe` as a process: a job in, lines out, the last of which is what it found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_a_job_is_read_and_an_answer_is_said(tmp_path: Path) -> None:
    job = json.dumps({"folder": str(tmp_path)}).encode()
    done = subprocess.run([sys.executable, "-m", "edge_agent.probe"], input=job, capture_output=True, timeout=60, check=True)
    first, last = (json.loads(line) for line in done.stdout.splitlines())
    assert first == {"what": "files", "done_bytes": 0, "total_bytes": 0}
    assert last["problem"]["reason"] == "unusable"


def test_what_is_no_job_is_no_answer() -> None:
    done = subprocess.run([sys.executable, "-m", "edge_agent.probe"], input=b"{}", capture_output=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stdout == b""
    assert b"folder" in done.stderr
