"""The device's key: read from a file that is its own, made where there is none, and what is said where it is of no use."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from msgspec.structs import replace

from edge_agent import device_key
from edge_agent.device_key import make_device_key, open_keys, read_device_key
from edge_agent.errors import ReleaseError, StorageError
from edge_agent.release.group_keys import GroupKey, Keys, device_key_id, encode_device, encode_keys, parse_device
from edge_agent.release.manifest import Manifest, Stored
from tests.unit.release.test_manifest import manifest

DEVICE = X25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = GroupKey(b"k" * 32)
SOURCE = "keys.json"


def pem(key: X25519PrivateKey | Ed25519PrivateKey = DEVICE, how: KeySerializationEncryption | None = None) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how or NoEncryption())


def written(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


def raw(key: X25519PrivateKey) -> bytes:
    return key.private_bytes_raw()


def test_one_is_made_where_there_is_none_and_stays(tmp_path: Path) -> None:
    made = make_device_key(tmp_path / "device.key")
    assert (tmp_path / "device.key").stat().st_mode & 0o777 == 0o600
    assert raw(make_device_key(tmp_path / "device.key")) == raw(made) == raw(read_device_key(tmp_path / "device.key"))
    assert parse_device(encode_device(made.public_key())).public_bytes_raw() == made.public_key().public_bytes_raw()


def test_a_key_that_openssl_made_can_be_used(tmp_path: Path) -> None:
    path = tmp_path / "device.key"
    subprocess.run(["openssl", "genpkey", "-algorithm", "X25519", "-out", str(path)], check=True, timeout=60)
    path.chmod(0o600)
    assert len(raw(read_device_key(path))) == 32


@pytest.mark.parametrize(
    ("put", "said"),
    [
        (lambda path: None, "no such file; make one with `edge-agent update key FILE`"),
        (lambda path: written(path, pem(), 0o640), "others than its owner may use it; `chmod 600` it"),
        (lambda path: written(path, pem(), 0o604), "others than its owner may use it; `chmod 600` it"),
        (lambda path: written(path, b""), "holds no private key in PEM"),
        (lambda path: written(path, raw(DEVICE)), "holds no private key in PEM"),
        (lambda path: written(path, pem()[:60]), "holds no private key in PEM"),
        (lambda path: written(path, bytes(20_000)), "has 20000 bytes"),
        (lambda path: written(path, pem(Ed25519PrivateKey.generate())), "another kind; an X25519 key is needed"),
        (lambda path: written(path, pem(how=BestAvailableEncryption(b"p"))), "encrypted with a passphrase"),
        (lambda path: path.mkdir(), "no regular file"),
    ],
    ids=["none", "group", "others", "empty", "raw", "halved", "large", "other kind", "passphrase", "folder"],
)
def test_what_is_of_no_use_is_refused_with_what_to_do(tmp_path: Path, put: Callable[[Path], object], said: str) -> None:
    path = tmp_path / "device.key"
    put(path)
    with pytest.raises(StorageError, match=said) as refused:
        read_device_key(path)
    assert str(refused.value).startswith(f"{path}: ")


def test_a_credential_may_look_as_systemd_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mode 0440 with an access list for the service's user: the group's bits are the list's mask."""
    path = written(tmp_path / "device-key", pem(), 0o440)
    with pytest.raises(StorageError, match="others than its owner"):
        read_device_key(path)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert raw(read_device_key(path)) == raw(DEVICE)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    monkeypatch.setattr(device_key, "CREDENTIALS", str(tmp_path))
    assert raw(read_device_key(path)) == raw(DEVICE), "a child without the service's environment knows the folder"


def test_a_credential_that_is_missing_is_told_with_the_line_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(StorageError, match=r"no such credential: write `LoadCredential=device-key:/path"):
        read_device_key(tmp_path / "device-key")


def release(sealed: str = KEY.id) -> Manifest:
    """A release with one component that is sealed."""
    made = manifest()
    stored = Stored(sha256="0" * 64, size_bytes=0, chunk_bytes=4_096, chunks=(), sealed=sealed)
    return replace(made, components={**made.components, "x": replace(made.components["lexicon.txt"], stored=stored)})


def wrapped(*devices: X25519PrivateKey) -> bytes:
    entries = {device_key_id(device.public_key()): KEY.wrapped_for(device.public_key()) for device in devices}
    return encode_keys(Keys(keys={KEY.id: entries}))


def test_the_keys_of_a_release_are_opened(tmp_path: Path) -> None:
    path = str(written(tmp_path / "device.key", pem()))
    found = open_keys(release(), wrapped(DEVICE), SOURCE, path)
    assert {key_id: key.encoded() for key_id, key in found.items()} == {KEY.id: KEY.encoded()}


def test_a_release_in_the_clear_needs_no_key_and_reads_no_file(tmp_path: Path) -> None:
    assert open_keys(release(""), None, SOURCE, str(tmp_path / "none")) == {}
    assert open_keys(manifest(), None, SOURCE, "") == {}


def test_who_has_no_key_was_not_given_one_or_has_anothers_is_told(tmp_path: Path) -> None:
    path = str(written(tmp_path / "device.key", pem()))
    with pytest.raises(StorageError, match=r"this device has no key: set `update.key_file`"):
        open_keys(release(), wrapped(DEVICE), SOURCE, "")
    with pytest.raises(ReleaseError, match=r"is sealed, and keys.json is missing"):
        open_keys(release(), None, SOURCE, path)
    with pytest.raises(ReleaseError, match=r"is not among the 2 that the group key .* was wrapped for"):
        open_keys(release(), wrapped(X25519PrivateKey.generate(), X25519PrivateKey.generate()), SOURCE, path)
    with pytest.raises(StorageError, match="no such file"):
        open_keys(release(), wrapped(DEVICE), SOURCE, str(tmp_path / "none"))


def test_the_private_part_is_in_no_message_and_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    body = pem().splitlines()[1].decode()
    path = written(tmp_path / "device.key", pem()[:-4])
    with caplog.at_level(logging.DEBUG):
        for act in (lambda: read_device_key(path), lambda: open_keys(release(), b"{", SOURCE, str(path))):
            with pytest.raises((StorageError, ReleaseError)) as refused:
                act()
            chain: BaseException | None = refused.value
            while chain is not None:
                assert body[:12] not in str(chain)
                chain = chain.__cause__
    assert body[:12] not in caplog.text
