"""The child that installs: one job in, one result out, and what is to blame is told apart."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from edge_agent.update import install as module
from edge_agent.update.install import install
from edge_agent.update.jobs import Installed, InstallJob
from edge_agent.update.store import Store
from tests.update.small_releases import MODEL, adapted, fetch, release

FIRST = release(1)


def prepared(folder: Path) -> InstallJob:
    store = Store(folder)
    store.prepare()
    store.put_manifest(FIRST.data)
    fetch(store, FIRST)
    return InstallJob(store_folder=str(folder), manifest_sha256=FIRST.sha256, min_free_bytes=0)


def run(job: bytes, code: str = "") -> subprocess.CompletedProcess[bytes]:
    command = (sys.executable, "-c", code) if code else (sys.executable, "-m", "edge_agent.update.install")
    return subprocess.run(command, input=job, capture_output=True, check=False, timeout=60)


def test_the_child_installs_and_says_where(tmp_path: Path) -> None:
    done = run(msgspec.json.encode(prepared(tmp_path)))
    assert (done.returncode, done.stderr) == (0, b"")
    assert msgspec.json.decode(done.stdout.splitlines()[-1], type=Installed) == Installed(
        folder=str(tmp_path / "releases" / FIRST.sha256)
    )


def test_the_child_of_an_ordinary_release_does_without_libraries_that_cost_memory(tmp_path: Path) -> None:
    code = (
        "import sys; from edge_agent.update import install; code = install.main();"
        "sys.exit(code or sum(name in sys.modules for name in ('numpy', 'tuf', 'ctranslate2', 'urllib3', 'cryptography')))"
    )
    assert run(msgspec.json.encode(prepared(tmp_path)), code).returncode == 0


def test_a_release_that_is_not_all_there_is_a_result_too(tmp_path: Path) -> None:
    job = prepared(tmp_path)
    (tmp_path / "blobs" / FIRST.manifest.components[MODEL].sha256).unlink()
    done = run(msgspec.json.encode(job))
    assert done.returncode == 0
    problem = msgspec.json.decode(done.stdout, type=Installed).problem
    assert problem is not None
    assert (problem.kind, problem.reason) == ("release", "install")


def test_a_disk_that_refuses_is_told_apart(tmp_path: Path) -> None:
    job = prepared(tmp_path)
    (tmp_path / "releases").rmdir()
    (tmp_path / "releases").write_bytes(b"")
    installed = install(job)
    assert installed.problem is not None
    assert installed.problem.kind == "storage"


@pytest.mark.parametrize("job", [b"", b"{}", b"[1]", b"\xff", b'{"store_folder":1}'])
def test_what_is_no_job_is_no_result(job: bytes) -> None:
    done = run(job)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"not a job")


def test_memory_that_runs_out_is_the_releases_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(base: Path, adapter: Path, out: Path) -> None:
        raise MemoryError

    monkeypatch.setattr(module, "_merge", greedy)
    offered = adapted(2, b"base", b"adapter", b"merged")
    store = Store(tmp_path)
    store.prepare()
    store.put_manifest(offered.data)
    fetch(store, offered)
    installed = install(InstallJob(store_folder=str(tmp_path), manifest_sha256=offered.sha256, min_free_bytes=0))
    assert installed.problem is not None
    assert (installed.problem.kind, installed.problem.reason) == ("release", "memory")


def test_an_adapter_that_is_none_is_the_releases_fault_and_progress_is_said_before(tmp_path: Path) -> None:
    offered = adapted(2, b"no model", b"no adapter", b"merged")
    store = Store(tmp_path)
    store.prepare()
    store.put_manifest(offered.data)
    fetch(store, offered)
    done = run(msgspec.json.encode(InstallJob(store_folder=str(tmp_path), manifest_sha256=offered.sha256, min_free_bytes=0)))
    assert done.returncode == 0
    first, last = done.stdout.splitlines()
    assert b"merging" in first
    problem = msgspec.json.decode(last, type=Installed).problem
    assert problem is not None
    assert problem.kind == "release"
