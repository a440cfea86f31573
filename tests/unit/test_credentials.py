"""Passwords and certificates come from files, anew each time."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from edge_agent.config.settings import MqttSettings, TlsSettings
from edge_agent.credentials import read_password, read_secret, tls_context
from tests.mosquitto import Certificates


@pytest.mark.parametrize("text", ["s3 cret", "s3 cret\n", "s3 cret\r\n"])
def test_a_password_is_the_file_without_its_line_end(tmp_path: Path, text: str) -> None:
    path = tmp_path / "password"
    path.write_bytes(text.encode())
    assert read_password(MqttSettings(password_file=str(path))) == "s3 cret"


def test_a_password_is_read_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "password"
    settings = MqttSettings(password_file=str(path))
    for text in ("one", "two"):
        path.write_text(text)
        assert read_password(settings) == text


def test_no_password_file_is_no_password() -> None:
    assert read_password(MqttSettings()) is None


def test_a_password_file_that_is_not_text_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="utf-8"):
        read_password(MqttSettings(password_file=str(path)))


def test_the_server_is_verified_and_its_name_unless_switched_off(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    for skip in (False, True):
        context = tls_context(TlsSettings(ca_file=str(certificates.ca_file), insecure_skip_hostname=skip))
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert context.check_hostname is not skip
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_a_key_that_does_not_belong_to_the_certificate_is_an_error(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    tls = TlsSettings(
        ca_file=str(certificates.ca_file), cert_file=str(certificates.client_cert), key_file=str(certificates.server_key)
    )
    with pytest.raises(ssl.SSLError):
        tls_context(tls)


def test_a_secret_is_the_file_without_its_line_end_whatever_it_is_for(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("sk-1\n")
    assert read_secret(str(path)) == "sk-1"
    with pytest.raises(FileNotFoundError):
        read_secret(str(tmp_path / "none"))
