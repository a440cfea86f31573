"""Files that settings name: real files, with real modes, and what is not a file at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_agent.config.files import MAX_SECRET_BYTES, credential_problem, exposure, file_problem, is_file_key, resolve


def test_which_settings_are_files() -> None:
    assert is_file_key("mqtt.password_file")
    assert is_file_key("mqtt.tls.ca_file")
    assert not is_file_key("mqtt.host")


def test_paths_are_relative_to_the_file_that_names_them() -> None:
    assert resolve("secret", "/etc/edge-agent/edge-agent.yaml", None) == "/etc/edge-agent/secret"
    assert resolve("../secret", "/etc/edge-agent/conf.d/a.yaml", None) == "/etc/edge-agent/secret"
    assert resolve("/run/secret", "/etc/edge-agent/edge-agent.yaml", None) == "/run/secret"
    assert resolve("credential:mqtt", "/etc/x.yaml", "/run/credentials/a") == "/run/credentials/a/mqtt"
    assert resolve("credential:mqtt", "/etc/x.yaml", None) == "/run/credentials/edge-agent.service/mqtt"


@pytest.mark.parametrize("value", ["credential:", "credential:../passwd", "credential:a/b", "credential:.."])
def test_a_credential_is_a_name_and_not_a_path(value: str) -> None:
    assert "LoadCredential" in credential_problem(value)


def test_good_credentials_and_other_paths() -> None:
    assert credential_problem("credential:mqtt-password") == ""
    assert credential_problem("/a/credential:x") == ""


def test_a_file_that_can_be_used(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("x")
    assert file_problem(str(file)) == ""


def test_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    large = tmp_path / "large"
    large.write_bytes(b"x" * (MAX_SECRET_BYTES + 1))
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert file_problem(str(tmp_path / "none")) == f"no file {tmp_path}/none"
    assert file_problem(str(empty)).endswith("is empty")
    assert "larger than" in file_problem(str(large))
    assert "not a regular file" in file_problem(str(fifo))
    assert "not a regular file" in file_problem(str(tmp_path))
    assert "cannot be opened" in file_problem(str(empty / "below"))
    assert "cannot be opened" in file_problem("a\0b")


def test_a_file_that_this_user_must_not_read(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything; run the tests as an ordinary user to see this one")
    file = tmp_path / "secret"
    file.write_text("x")
    file.chmod(0)
    assert "cannot be read by this user" in file_problem(str(file))


def test_a_secret_that_everyone_can_read_is_pointed_out(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("x")
    file.chmod(0o644)
    assert "chmod o-r" in exposure("mqtt.password_file", str(file))
    assert exposure("mqtt.tls.ca_file", str(file)) == ""
    file.chmod(0o640)
    assert exposure("mqtt.password_file", str(file)) == ""
    assert exposure("mqtt.password_file", str(tmp_path / "none")) == ""
