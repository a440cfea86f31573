"""Releases that are sealed for tests, as a gateway has them in a folder."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from msgspec.structs import replace

from edge_agent.engines.loading import FACTORY
from edge_agent.release.group_keys import GroupKey, Keys, device_key_id, encode_keys
from edge_agent.release.manifest import Manifest, Stored, encode_manifest, parse_manifest
from edge_agent.release.sealing import seal

KEY = GroupKey(b"k" * 32)
DEVICE = X25519PrivateKey.from_private_bytes(b"d" * 32)


def factory() -> Manifest:
    """The manifest of the release inside the package."""
    return parse_manifest((FACTORY / "manifest.json").read_bytes(), "factory")


def seal_factory(folder: Path, *, but: tuple[str, ...] = ()) -> Manifest:
    """The release inside the package in `folder`, sealed but for some components; its manifest, which stands there too."""
    manifest = factory()
    components = {}
    for name, component in manifest.components.items():
        data = (FACTORY / name).read_bytes()
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if name not in but:
            data = b"".join(seal(data, KEY))
            stored = Stored(sha256="0" * 64, size_bytes=len(data), chunk_bytes=1 << 24, chunks=("0" * 64,), sealed=KEY.id)
            component = replace(component, stored=stored)
        (folder / name).write_bytes(data)
        components[name] = component
    manifest = replace(manifest, components=components)
    (folder / "manifest.json").write_bytes(encode_manifest(manifest))
    wrapped = {device_key_id(DEVICE.public_key()): KEY.wrapped_for(DEVICE.public_key())}
    (folder / "keys.json").write_bytes(encode_keys(Keys(keys={KEY.id: wrapped})))
    return manifest


def device_key(folder: Path, private: X25519PrivateKey = DEVICE) -> str:
    """The file of a gateway's key; `DEVICE` is the one that the release is sealed for."""
    path = folder / "device.key"
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    return str(path)
