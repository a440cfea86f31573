"""An operator of sealed releases for tests: group keys, gateways with keys of their own, and what a gateway makes of it."""

from __future__ import annotations

from pathlib import Path

from edge_ota import group_key, publish

from edge_agent.device_key import make_device_key, open_keys
from edge_agent.release.group_keys import encode_device
from edge_agent.release.manifest import Manifest, parse_manifest
from edge_agent.release.sealing import open_sealed, sealed_size
from tests.ota.repositories import Operator


class Fleet(Operator):
    """An operator whose canary's releases are sealed for two gateways, `a` and `b`."""

    def device(self, name: str) -> Path:
        """The private key file of a gateway."""
        return self.folder / f"{name}.device"

    def devices_file(self, *names: str) -> str:
        """A file with the lines of gateways."""
        path = self.folder / f"{'-'.join(names)}.devices"
        lines = [f"{encode_device(make_device_key(self.device(name)).public_key())}\n" for name in names]
        path.write_text("# gateways\n\n" + "".join(lines))
        return str(path)

    def new_group_key(self, name: str) -> str:
        """A group key's file."""
        assert group_key.main(["new", str(self.folder / name)]) == 0
        return str(self.folder / name)

    def wrap(self, *names: str, key: str = "one", group: str = "canary", signing: tuple[str, ...] = ()) -> int:
        """Wrap a group key for gateways."""
        return group_key.main(
            [
                *("wrap", str(self.repository), "--group", group, "--group-key", str(self.folder / key)),
                *("--device", self.devices_file(*names), *self.with_keys(*(signing or (group, "online")))),
            ]
        )

    def drop(self, *options: str) -> int:
        """Drop something of the canary's keys."""
        return group_key.main(["drop", str(self.repository), "--group", "canary", *options, *self.with_keys("canary", "online")])

    def publish_sealed(self, counter: int, key: str = "one", *, with_key: str | None = None) -> int:
        """Make, seal and publish a release for the canary."""
        release = self.folder / f"release-{counter}"
        if not release.exists():
            self.release(counter, "--group-key", str(self.folder / key))
        return publish.main(
            [
                *(str(self.repository), str(release), "--group", "canary", *self.with_keys("canary", "online")),
                *("--group-key", str(self.folder / (with_key or key))),
            ]
        )

    def read(self, client: Path, device: Path, group: str = "canary") -> tuple[Manifest, dict[str, bytes]]:
        """What a gateway makes of the repository with its own key: every component, opened."""
        updater = self.client(client)
        updater.refresh()

        def target(name: str) -> bytes:
            info = updater.get_targetinfo(name)
            assert info is not None, name
            return Path(updater.download_target(info)).read_bytes()

        manifest = parse_manifest(target(f"groups/{group}/release.json"), "release.json")
        keys = open_keys(manifest, target(f"groups/{group}/keys.json"), "keys.json", str(device))
        found = {}
        for name, component in manifest.components.items():
            assert component.stored is not None
            blob = target(f"blobs/{component.stored.sha256}")
            assert len(blob) == sealed_size(component.size_bytes)
            found[name] = b"".join(open_sealed(name, [blob], component, keys[component.stored.sealed]))
        return manifest, found
