"""The vectors in the description of the repository format, checked without the libraries that wrote them, then with our code."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from edge_ota.bundle import Member, bundle_name, pack
from edge_ota.files import Folder
from edge_ota.repository import MAX_BYTES, MAX_GROUPS, stored_name
from edge_ota.signing import read_public
from tuf.api.metadata import TargetFile

from edge_agent.update.working_copy import Limits

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/formats/repository.md"
BLOCK = re.compile(r"^```json vectors:(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
VECTORS: dict[str, list[dict[str, Any]]] = {name: json.loads(body) for name, body in BLOCK.findall(DOCUMENT.read_text("utf-8"))}


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_the_document_has_vectors() -> None:
    assert set(VECTORS) == {"names", "signatures", "headers"}


def test_a_key_id_and_a_signature_are_what_the_document_says(tmp_path: Path) -> None:
    for vector in VECTORS["signatures"]:
        private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(vector["private"]))
        public = bytes.fromhex(vector["key"]["keyval"]["public"])
        assert private.public_key().public_bytes_raw() == public
        assert hashlib.sha256(_canonical(vector["key"])).hexdigest() == vector["keyid"]
        signed = _canonical(vector["signed"])
        assert hashlib.sha256(signed).hexdigest() == vector["sha256"]
        Ed25519PublicKey.from_public_bytes(public).verify(bytes.fromhex(vector["sig"]), signed)
        (tmp_path / "a.pub").write_text(json.dumps({"keyid": "0" * 64, **vector["key"]}))
        assert read_public(tmp_path / "a.pub").keyid == vector["keyid"], "the id follows from the key, whatever the file says"


def test_files_stand_where_the_document_says() -> None:
    for vector in VECTORS["names"]:
        entry = TargetFile(2, {"sha256": vector["sha256"]}, vector["target"])
        assert stored_name(entry) == vector["file"]
        assert bundle_name(stored_name(entry)) == vector["in_bundle"]


def test_a_bundle_is_laid_out_as_the_document_says(tmp_path: Path) -> None:
    for vector in VECTORS["headers"]:
        name, size = vector["name"], vector["size_bytes"]
        fields = [(name.encode(), 100), (b"0000644", 8), (b"0000000", 8), (b"0000000", 8), (b"%011o" % size, 12), (b"0" * 11, 12)]
        fields += [(b" " * 8, 8), (b"0", 1), (b"", 100), (b"ustar\x0000", 8), (b"", 64), (b"0" * 7, 8), (b"0" * 7, 8), (b"", 167)]
        header = b"".join(value.ljust(width, b"\0") for value, width in fields)
        # POSIX leaves the two device numbers to whoever writes; they are empty here, as the checksum shows.
        header = header[:329] + bytes(16) + header[345:]
        header = header[:148] + vector["checksum"].encode() + b"\0 " + header[156:]
        assert (len(header), hashlib.sha256(header).hexdigest()) == (512, vector["header_sha256"])
        data = b"x" * size
        (tmp_path / "file").write_bytes(data)
        member = Member(name, "file", size, hashlib.sha256(data).hexdigest())
        assert b"".join(pack([member], Folder(tmp_path))) == header + data + bytes(512 - size) + bytes(1024)


def test_the_limits_are_those_of_a_device() -> None:
    limits = Limits()
    assert {
        "root": limits.root_bytes,
        "timestamp": limits.timestamp_bytes,
        "snapshot": limits.snapshot_bytes,
        "targets": limits.targets_bytes,
    } == MAX_BYTES
    assert limits.delegations == MAX_GROUPS + 1
    text = DOCUMENT.read_text("utf-8")
    assert all(f"{most:,} bytes" in text for most in MAX_BYTES.values())
