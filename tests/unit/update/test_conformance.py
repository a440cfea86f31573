"""The entry point for a conformance suite: its calls, its exit codes and the files that it leaves to be looked at.

Steps like those of the TUF project's own suite, over HTTP, with the simulated repository behind them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tuf.api.metadata import DelegatedRole, Metadata, Targets
from tuf.ngclient import UpdaterConfig

from edge_agent.update.conformance import LIMITS, main
from tests.update.server import Web, served
from tests.update.simulator import Repository


class Client:
    """Calls the entry point as the suite does."""

    def __init__(self, folder: Path, web: Web, repository: Repository) -> None:
        self.metadata = folder / "metadata"
        self.targets = folder / "targets"
        self.metadata.mkdir()
        self.targets.mkdir()
        self._web = web
        self._root = folder / "initial_root.json"
        self._root.write_bytes(repository.factory_root)

    def init(self) -> int:
        return main(["--metadata-dir", str(self.metadata), "init", str(self._root)])

    def refresh(self) -> int:
        return main(["--metadata-url", f"{self._web.url}/metadata/", "--metadata-dir", str(self.metadata), "refresh"])

    def download(self, name: str) -> int:
        where = ["--metadata-url", f"{self._web.url}/metadata/", "--metadata-dir", str(self.metadata)]
        what = ["--target-name", name, "--target-base-url", f"{self._web.url}/targets/", "--target-dir", str(self.targets)]
        return main([*where, *what, "download"])

    def roles(self) -> dict[str, int]:
        files = sorted(self.metadata.glob("*.json"))
        return {path.name[:-5]: Metadata.from_bytes(path.read_bytes()).signed.version for path in files}

    def downloaded(self) -> list[bytes]:
        return [path.read_bytes() for path in sorted(self.targets.iterdir())]


@pytest.fixture
def repository() -> Repository:
    return Repository(root_keys=1, root_threshold=1)


@pytest.fixture
def web(repository: Repository) -> Iterator[Web]:
    with served(repository.files) as web:
        yield web


@pytest.fixture
def client(tmp_path: Path, web: Web, repository: Repository) -> Client:
    return Client(tmp_path, web, repository)


def test_init_asks_for_nothing_and_refresh_for_exactly_what_it_needs(client: Client, web: Web) -> None:
    assert client.init() == 0
    assert web.asked == []
    assert client.roles() == {"root": 1}
    assert client.refresh() == 0
    assert web.asked == [f"metadata/{name}.json" for name in ("2.root", "timestamp", "1.snapshot", "1.targets")]
    assert client.roles() == {"root": 1, "timestamp": 1, "snapshot": 1, "targets": 1}
    for role in client.roles():
        signed = web.files[f"metadata/{role if role == 'timestamp' else f'1.{role}'}.json"]
        assert (client.metadata / f"{role}.json").read_bytes() == signed


def test_init_again_changes_nothing(client: Client) -> None:
    assert (client.init(), client.refresh(), client.init()) == (0, 0, 0)
    assert client.roles() == {"root": 1, "timestamp": 1, "snapshot": 1, "targets": 1}


def test_folders_that_are_not_there_are_made_and_what_is_not_ours_is_left_alone(client: Client) -> None:
    client.metadata.rmdir()
    client.targets.rmdir()
    assert client.init() == 0
    (client.metadata / "other.json").mkdir()
    (client.metadata / "old-role.json").write_text("{}")
    assert client.download("groups/a/release.json") == 0
    assert {path.name for path in client.metadata.glob("o*.json")} == {"other.json"}


def test_init_from_another_root_is_refused(client: Client) -> None:
    client.init()
    client._root.write_bytes(Repository().factory_root)
    assert client.init() == 1
    assert client.refresh() == 0


@pytest.mark.parametrize("root", [b"", b"{}", b'{"signed":{},"signatures":[]}'])
def test_a_root_that_is_none_is_refused_before_anything_is_asked(client: Client, web: Web, root: bytes) -> None:
    client._root.write_bytes(root)
    assert client.init() == 1
    assert client.refresh() == 1
    assert web.asked == []


def test_a_root_that_is_not_signed_is_refused_before_anything_is_asked(client: Client, web: Web, repository: Repository) -> None:
    document = Metadata.from_bytes(repository.factory_root)
    document.signatures.clear()
    client._root.write_bytes(document.to_bytes())
    client.init()
    assert client.refresh() == 1
    assert web.asked == []


def test_download_refreshes_and_places_the_file_once(client: Client, web: Web, repository: Repository) -> None:
    client.init()
    assert client.download("groups/a/release.json") == 0
    assert client.downloaded() == [b'{"counter":1}']
    before = len([path for path in web.asked if path.startswith("targets/")])
    assert client.download("groups/a/release.json") == 0
    assert len([path for path in web.asked if path.startswith("targets/")]) == before
    repository.release()
    assert client.download("groups/a/release.json") == 0
    assert client.downloaded() == [b'{"counter": 2}'], "under the same name"


def test_a_file_that_was_exchanged_is_not_placed(client: Client, web: Web) -> None:
    client.init()
    for path in web.files:
        if path.startswith("targets/"):
            web.files[path] = b"malicious"
    assert client.download("groups/a/release.json") == 1
    assert client.downloaded() == []


def test_a_target_that_nobody_names_fails_but_the_metadata_is_taken(client: Client) -> None:
    client.init()
    assert client.download("nonexistent artifact") == 1
    assert client.roles() == {"root": 1, "timestamp": 1, "snapshot": 1, "targets": 1}


@pytest.mark.parametrize("role", ["?", "#", "/delegatedrole", "../delegatedrole", "..", "."])
def test_a_role_of_any_name_stays_in_its_folder(client: Client, repository: Repository, role: str) -> None:
    assert repository.targets.delegations is not None
    assert repository.targets.delegations.roles is not None
    repository.targets.delegations.roles[role] = DelegatedRole(role, [], 1, False, ["*"])
    repository.groups[role] = Targets(version=1, expires=repository.expires)
    repository.give_keys(role, 1)
    repository.publish()
    client.init()
    assert client.download("nonexistent") == 1
    assert len(client.roles()) == 5
    assert {path.name for path in client.metadata.parent.iterdir()} == {"metadata", "targets", "initial_root.json"}


@pytest.mark.parametrize("name", ["..", "../outside", "/etc/passwd", "a/../../b", ".x"])
def test_a_target_of_any_name_stays_in_its_folder_in_sight(client: Client, repository: Repository, name: str) -> None:
    repository.add("targets", name, b"content")
    repository.publish()
    client.init()
    assert client.download(name) == 0
    assert [path.name.startswith(".") for path in client.targets.iterdir()] == [False]
    assert {path.name for path in client.metadata.parent.iterdir()} == {"metadata", "targets", "initial_root.json"}


def test_what_was_verified_before_a_failure_is_shown(client: Client, web: Web, repository: Repository) -> None:
    del web.files["metadata/1.snapshot.json"]
    client.init()
    assert client.refresh() == 1
    assert client.roles() == {"root": 1, "timestamp": 1}


def test_an_expired_root_is_kept_and_nothing_else(client: Client, repository: Repository) -> None:
    client.init()
    client.refresh()
    repository.root.expires = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    repository.root.version += 1
    repository.sign("root")
    repository.release()
    assert client.refresh() == 1
    assert client.roles() == {"root": 2, "timestamp": 1, "snapshot": 1, "targets": 1}


def test_a_timestamp_rollback_and_a_fast_forward_with_its_recovery(client: Client, repository: Repository) -> None:
    client.init()
    repository.timestamp.version = 100
    repository.stamp()
    assert client.refresh() == 0
    repository.timestamp.version = 1
    repository.stamp()
    assert client.refresh() == 1
    assert client.roles()["timestamp"] == 100
    repository.rotate("timestamp")
    assert client.refresh() == 0
    assert client.roles() == {"root": 2, "timestamp": 1, "snapshot": 1, "targets": 1}


def test_as_much_metadata_is_taken_as_python_tuf_takes(client: Client, repository: Repository) -> None:
    defaults, taken = UpdaterConfig(), LIMITS
    assert (taken.root_bytes, taken.timestamp_bytes) == (defaults.root_max_length, defaults.timestamp_max_length)
    assert (taken.snapshot_bytes, taken.targets_bytes) == (defaults.snapshot_max_length, defaults.targets_max_length)
    assert (taken.root_rotations, taken.delegations) == (defaults.max_root_rotations, defaults.max_delegations)
    client.init()
    for length, code in ((4_900_000, 0), (5_000_000, 1)):
        repository.targets.unrecognized_fields["x-filled"] = "x" * length
        repository.targets.version += 1
        repository.release()
        assert client.refresh() == code
    assert client.roles()["targets"] == 2


def test_the_shown_files_are_never_read(client: Client, repository: Repository) -> None:
    client.init()
    client.refresh()
    for path in client.metadata.glob("*.json"):
        path.write_bytes(b"tampered with")
    repository.release()
    assert client.refresh() == 0
    assert client.roles()["timestamp"] == 2


@pytest.mark.parametrize("arguments", [["refresh"], ["--target-name", "x", "download"]])
def test_a_missing_option_is_said(tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--metadata-dir", str(tmp_path), *arguments]) == 1
    assert "is missing" in capsys.readouterr().err


def test_as_a_program(client: Client, web: Web) -> None:
    program = [sys.executable, "-m", "edge_agent.update.conformance", "--metadata-dir", str(client.metadata)]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    assert subprocess.run([*program, "init", str(client._root)], env=environment, timeout=60, check=False).returncode == 0
    refresh = [*program, "--metadata-url", f"{web.url}/metadata", "refresh"]
    assert subprocess.run(refresh, env=environment, timeout=60, check=False).returncode == 0
    assert set(client.roles()) == {"root", "timestamp", "snapshot", "targets"}
