"""Keys: files, passphrases, public parts, signers by URI, and one key that is given twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from edge_ota import init, keys, publish, rotate, sign
from edge_ota.pending import pending_folder
from edge_ota.repository import load_folder
from edge_ota.signing import OperatorError, load_signer, read_public
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, CryptoSigner, Key, Signature, Signer

from tests.ota.device import Device
from tests.ota.repositories import INIT_SECRET, NAMES, Operator

Shown = pytest.CaptureFixture[str]


def test_a_private_file_is_its_owners_alone_and_is_not_shown(tmp_path: Path, capsys: Shown) -> None:
    assert keys.main(["new", str(tmp_path / "a")]) == 0
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    assert keys.main(["show", str(tmp_path / "a"), str(tmp_path / "a.pub")]) == 0
    shown = capsys.readouterr().out
    secret = (tmp_path / "a").read_text().splitlines()[1]
    assert secret not in shown
    assert shown.count(read_public(tmp_path / "a.pub").keyid) == 3


def test_a_key_is_never_written_over(tmp_path: Path, capsys: Shown) -> None:
    keys.main(["new", str(tmp_path / "a")])
    before = (tmp_path / "a").read_bytes()
    assert keys.main(["new", str(tmp_path / "a")]) == 1
    (tmp_path / "a").rename(tmp_path / "b")
    assert keys.main(["new", str(tmp_path / "a")]) == 1, "its public part is still there"
    assert keys.main(["public", str(tmp_path / "b"), str(tmp_path / "a.pub")]) == 1
    assert (tmp_path / "b").read_bytes() == before
    assert "choose another name" in capsys.readouterr().err


def test_a_private_file_that_others_may_read_is_refused(tmp_path: Path, capsys: Shown) -> None:
    keys.main(["new", str(tmp_path / "a")])
    (tmp_path / "a").chmod(0o640)
    assert keys.main(["show", str(tmp_path / "a")]) == 1
    assert "chmod 600" in capsys.readouterr().err


def test_the_public_part_can_be_written_again(tmp_path: Path) -> None:
    keys.main(["new", str(tmp_path / "a")])
    before = (tmp_path / "a.pub").read_bytes()
    (tmp_path / "a.pub").unlink()
    assert keys.main(["public", str(tmp_path / "a"), str(tmp_path / "a.pub")]) == 0
    assert (tmp_path / "a.pub").read_bytes() == before


@pytest.fixture
def locked(tmp_path: Path) -> Path:
    """A key with a passphrase, and files with the right one and with wrong ones."""
    (tmp_path / "right").write_text("correct horse\nignored\n")
    (tmp_path / "wrong").write_text("incorrect horse\n")
    (tmp_path / "empty").write_text("\ncorrect horse\n")
    assert keys.main(["new", str(tmp_path / "a"), "--passphrase-file", str(tmp_path / "right")]) == 0
    return tmp_path


def test_a_key_with_a_passphrase_opens_with_it_alone(locked: Path, capsys: Shown) -> None:
    assert b"ENCRYPTED" in (locked / "a").read_bytes()
    for passphrases, code in ((["wrong", "right"], 0), (["wrong"], 1), ([], 1), (["empty"], 1), (["absent"], 1)):
        options = [part for name in passphrases for part in ("--passphrase-file", str(locked / name))]
        assert keys.main(["show", str(locked / "a"), *options]) == code, passphrases
    said = capsys.readouterr().err
    assert "correct horse" not in said
    assert all(part in said for part in ("none of the passphrases", "no passphrase was given", "first line is empty"))


def test_a_passphrase_is_asked_for(locked: Path) -> None:
    asked: list[str] = []

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return "correct horse"

    assert load_signer(str(locked / "a"), [], answer).public_key.keyid == read_public(locked / "a.pub").keyid
    assert asked == [f"Passphrase of {locked / 'a'}: "]


def test_keys_with_passphrases_sign_a_repository(tmp_path: Path) -> None:
    (tmp_path / "pass").write_text("one\n")
    operator = Operator(tmp_path)
    for name in NAMES:
        for file in (tmp_path / name, tmp_path / f"{name}.pub"):
            file.unlink()
        assert keys.main(["new", str(tmp_path / name), "--passphrase-file", str(tmp_path / "pass")]) == 0
    arguments = operator.init_arguments(*INIT_SECRET)
    assert init.main(arguments) == 1
    assert init.main([*arguments, "--passphrase-file", str(tmp_path / "pass")]) == 0
    device = Device(tmp_path / "device", (operator.repository / "metadata/1.root.json").read_bytes())
    assert device.release(operator.repository) is None


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b"\xff", b'{"keyid": 1}', b"-----BEGIN PUBLIC KEY-----\nx\n"])
def test_what_is_no_public_key_is_said_to_be_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.pub").write_bytes(data)
    with pytest.raises(OperatorError, match="not a public key"):
        read_public(tmp_path / "a.pub")


def _same(path: Path) -> None:
    """The public file as it is."""


def _other_id(path: Path) -> None:
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "keyid": "f" * 64}))


def _capitals(path: Path) -> None:
    document = json.loads(path.read_text())
    document["keyval"]["public"] = document["keyval"]["public"].upper()
    path.write_text(json.dumps(document))


def _extra(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "note": "another"}))


@pytest.mark.parametrize("disguise", [_same, _other_id, _capitals, _extra])
def test_one_key_that_is_given_twice_is_refused(tmp_path: Path, disguise: Callable[[Path], None], capsys: Shown) -> None:
    operator = Operator(tmp_path)
    (tmp_path / "root-b.pub").write_bytes((tmp_path / "root-a.pub").read_bytes())
    disguise(tmp_path / "root-b.pub")
    assert init.main(operator.init_arguments(*INIT_SECRET)) == 1
    assert "root: one key is given twice" in capsys.readouterr().err
    assert not list(operator.repository.rglob("*.json"))


def test_one_key_that_is_added_again_changes_nothing(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    operator.init()
    _capitals(tmp_path / "root-a.pub")
    change = [str(operator.repository), "--role", "root", "--add", operator.public("root-a"), "--threshold", "2"]
    assert rotate.main([*change, *operator.with_keys(*INIT_SECRET)]) == 0
    assert load_folder(operator.repository).root.signed.version == 1


def test_a_signer_by_uri_with_a_pem_signs(tmp_path: Path) -> None:
    """`file2:` is securesystemslib's own; the key is one that a token could hold, known by the PEM that its tools write."""
    private = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "token").write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "token.pem").write_bytes(pem)
    operator = Operator(tmp_path)
    (tmp_path / "online.pub").unlink()
    assert keys.main(["public", str(tmp_path / "token.pem"), str(tmp_path / "online.pub")]) == 0
    signing = operator.with_keys(*(name for name in INIT_SECRET if name != "online"))
    uri = ["--key", f"file2:{tmp_path / 'token'},{tmp_path / 'token.pem'}"]
    arguments = [part for part in operator.init_arguments() if part not in operator.with_keys("online")]
    assert init.main([*arguments, *signing, *uri]) == 0
    device = Device(tmp_path / "device", (operator.repository / "metadata/1.root.json").read_bytes())
    assert device.release(operator.repository) is None


class Token(Signer):
    """A signer such as a token: it wants a PIN, and may refuse."""

    def __init__(self, inner: CryptoSigner) -> None:
        self.inner = inner
        self.pulled = False

    @classmethod
    def from_priv_key_uri(cls, priv_key_uri: str, public_key: Key, secrets_handler: Callable[[str], str] | None = None) -> Token:
        path, _, pin = priv_key_uri.removeprefix("token:").partition("?")
        if secrets_handler is None or secrets_handler("PIN") != pin:
            raise PermissionError("wrong PIN")
        signer = load_signer(path)
        assert isinstance(signer, CryptoSigner)
        token = cls(signer)
        token.pulled = "pulled" in path
        return token

    @property
    def public_key(self) -> Key:
        return self.inner.public_key

    def sign(self, payload: bytes) -> Signature:
        if self.pulled:
            raise ConnectionResetError("the token was pulled")
        return self.inner.sign(payload)


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIGNER_FOR_URI_SCHEME, "token", Token)


@pytest.mark.usefixtures("token")
def test_a_token_gets_its_pin_and_signs(tmp_path: Path, capsys: Shown) -> None:
    operator = Operator(tmp_path)
    (tmp_path / "pin").write_text("1234\n")
    assert init.main(operator.init_arguments(*(name for name in INIT_SECRET if name != "root-b"))) == 3
    waiting = str(pending_folder(operator.repository) / "1.root.json")
    spec = f"token:{tmp_path / 'root-b'}?1234,{operator.public('root-b')}"
    assert sign.main([waiting, "--key", spec]) == 1
    assert "wants a PIN" in capsys.readouterr().err
    (tmp_path / "bad-pin").write_text("4321\n")
    assert sign.main([waiting, "--key", spec, "--passphrase-file", str(tmp_path / "bad-pin")]) == 1
    assert "wrong PIN" in capsys.readouterr().err
    assert sign.main([waiting, "--key", spec, "--passphrase-file", str(tmp_path / "pin")]) == 0
    assert init.main(operator.init_arguments("online")) == 0


@pytest.mark.usefixtures("token")
def test_a_token_that_does_not_sign_is_an_error_in_words_and_changes_nothing(tmp_path: Path, capsys: Shown) -> None:
    operator = Operator(tmp_path)
    operator.init()
    before = {path: path.read_bytes() for path in operator.repository.rglob("*.json")}
    keys.main(["new", str(tmp_path / "pulled")])
    (tmp_path / "canary").rename(tmp_path / "canary-pulled")
    spec = f"token:{tmp_path / 'canary-pulled'}?,{operator.public('canary')}"
    (tmp_path / "pin").write_bytes(b"x\n")
    arguments = [str(operator.repository), str(operator.small_release(1)), "--group", "canary", *operator.with_keys("online")]
    options = ["--key", spec.replace("?,", "?x,"), "--passphrase-file", str(tmp_path / "pin")]
    assert publish.main([*arguments, *options]) == 1
    assert "the token was pulled" in capsys.readouterr().err
    after = {path: path.read_bytes() for path in operator.repository.rglob("metadata/*.json")}
    assert after == before


@pytest.mark.parametrize("uri", ["nothing:1", "hsm:1?label=x", "file2:/nowhere"])
def test_a_signer_that_cannot_be_had_is_told_in_words(tmp_path: Path, uri: str, capsys: Shown) -> None:
    keys.main(["new", str(tmp_path / "a")])
    (tmp_path / "document.json").write_text(
        '{"signatures": [], "signed": {"_type": "targets", "expires": "2030-01-01T00:00:00Z", "spec_version": "1.0.31", '
        '"targets": {}, "version": 1}}'
    )
    assert sign.main([str(tmp_path / "document.json"), "--key", f"{uri},{tmp_path / 'a.pub'}"]) == 1
    assert f"{uri}: no signer" in capsys.readouterr().err
