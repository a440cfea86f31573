"""The web server of the bench gives what is asked for, and ends with whoever started it."""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.bench.harness import read_line

CONTENT = bytes(range(256)) * 10


@pytest.fixture
def web(tmp_path: Path) -> Iterator[http.client.HTTPConnection]:
    (tmp_path / "file").write_bytes(CONTENT)
    command = (sys.executable, "-m", "edge_agent.bench.web", str(tmp_path))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        connection = http.client.HTTPConnection("127.0.0.1", int(read_line(process)), timeout=30)
        yield connection
        connection.close()
        process.communicate(timeout=30)
        assert process.returncode == 0


def test_a_file_its_parts_and_what_is_not_there(web: http.client.HTTPConnection) -> None:
    answers = []
    for path, headers in (
        ("/file", {}),
        ("/file", {"Range": "bytes=3-9"}),
        ("/file", {"Range": "bytes=2550-9999"}),
        ("/none", {}),
        ("/file", {"Range": "bytes=2558-"}),
    ):
        web.request("GET", path, headers=headers)
        answer = web.getresponse()
        answers.append((answer.status, answer.getheader("Content-Range"), answer.read()))
    assert answers == [
        (200, None, CONTENT),
        (206, "bytes 3-9/2560", CONTENT[3:10]),
        (206, "bytes 2550-2559/2560", CONTENT[2550:]),
        (404, None, b""),
        (206, "bytes 2558-2559/2560", CONTENT[2558:]),
    ]
