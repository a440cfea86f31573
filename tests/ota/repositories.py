"""A repository for tests: its keys, releases, and a real TUF client that reads its folder."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from edge_ota import build, init, keys, publish, rotate
from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface, Updater

from edge_agent.engines.loading import FACTORY
from edge_agent.release.manifest import REQUIRED, Manifest, parse_manifest

NAMES = ("root-a", "root-b", "root-c", "targets", "canary", "fleet", "online")
INIT_SECRET = ("root-a", "root-b", "targets", "canary", "fleet", "online")


def unpack(bundle: Path, folder: Path) -> None:
    """Put the files of a bundle where they stand in a repository, with the system's own tar."""
    folder.mkdir()
    subprocess.run(["tar", "-xf", bundle, "-C", folder], check=True, capture_output=True, timeout=60)
    for blob in (folder / "targets/blobs").iterdir():
        blob.rename(blob.with_name(f"{blob.name}.{blob.name}"))


class FromFolder(FetcherInterface):
    """Fetches `repo:<name>` from a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = self._folder / url.removeprefix("repo:")
        if not path.is_file():
            raise DownloadHTTPError("not found", 404)
        yield path.read_bytes()


class Operator:
    """One operator's folder of keys, a repository and releases."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = folder / "repo"
        for name in NAMES:
            self.new_key(name)

    def copied(self, folder: Path) -> Operator:
        """The same keys, repository and releases in another folder."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        operator = Operator.__new__(Operator)
        operator.folder, operator.repository = folder, folder / "repo"
        return operator

    def with_repository(self, folder: Path) -> Operator:
        """The same keys and releases, with a copy of the repository, and of what waits beside it, in another folder."""
        for path in self.repository.parent.glob(f"{self.repository.name}*"):
            shutil.copytree(path, folder / path.name)
        operator = Operator.__new__(Operator)
        operator.folder, operator.repository = self.folder, folder / self.repository.name
        return operator

    def new_key(self, name: str) -> Path:
        """A key file; its public part stands beside it."""
        assert keys.main(["new", str(self.folder / name)]) == 0
        return self.folder / name

    def public(self, name: str) -> str:
        """The path of a key's public part."""
        return str(self.folder / f"{name}.pub")

    def with_keys(self, *names: str) -> list[str]:
        """The options that sign with these keys."""
        return [part for name in names for part in ("--key", str(self.folder / name))]

    def init_arguments(self, *signing: str) -> list[str]:
        """The arguments of `init`."""
        return [
            str(self.repository),
            *(part for name in NAMES[:3] for part in ("--root-key", self.public(name))),
            *("--targets-key", self.public("targets"), "--online-key", self.public("online")),
            *("--group", f"canary={self.public('canary')}", "--group", f"fleet={self.public('fleet')}"),
            *self.with_keys(*signing),
        ]

    def init(self) -> Path:
        """A published repository without releases."""
        assert init.main(self.init_arguments(*INIT_SECRET)) == 0
        return self.repository

    def release(self, counter: int, *options: str) -> Path:
        """A release's folder, built with `options`; releases differ in one word of the lexicon."""
        folder = self.folder / f"release-{counter}"
        shutil.copytree(FACTORY, folder)
        for name in ("certificate.json", "manifest.json"):
            (folder / name).unlink()
        with (folder / "lexicon.txt").open("a", encoding="utf-8") as file:
            file.write(f"zz{counter}\n")
        assert build.main([str(folder), "--id", f"trial-{counter}", "--counter", str(counter), *options]) == 0
        return folder

    def small_release(self, counter: int, model: bytes = b"model " * 1_500) -> Path:
        """A release's folder with little in it, the largest part of which is described in chunks; no engine opens it."""
        folder = self.folder / f"release-{counter}"
        for name in REQUIRED:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(model if name == "writer/model.bin" else name.encode())
        (folder / "lexicon.txt").write_text(f"zz{counter}\n")
        arguments = [str(folder), "--id", f"trial-{counter}", "--counter", str(counter)]
        arguments += ["--chunk-kib", "4" if len(model) < 1 << 20 else "1024"]
        assert build.main(arguments) == 0
        return folder

    def publish_small(self, counter: int, group: str = "canary") -> int:
        """Make and publish a small release."""
        arguments = [str(self.repository), str(self.small_release(counter)), "--group", group]
        return publish.main([*arguments, *self.with_keys(group, "online")])

    def add_group(self, group: str) -> None:
        """A group that is not there yet, with a key of its name."""
        self.new_key(group)
        change = [str(self.repository), "--role", f"group-{group}", "--add", self.public(group)]
        assert rotate.main([*change, *self.with_keys("targets", group, "online")]) == 0

    def publish(self, counter: int, group: str = "canary") -> int:
        """Make and publish a release."""
        arguments = [str(self.repository), str(self.release(counter)), "--group", group, *self.with_keys(group, "online")]
        return publish.main(arguments)

    def client(self, folder: Path, repository: Path | None = None) -> Updater:
        """A client that has not seen the repository before, but knows its first root, or one that goes on in `folder`."""
        source = repository or self.repository
        (folder / "targets").mkdir(parents=True, exist_ok=True)
        root = None if (folder / "metadata").exists() else (source / "metadata/1.root.json").read_bytes()
        (folder / "metadata").mkdir(exist_ok=True)
        return Updater(
            metadata_dir=str(folder / "metadata"),
            metadata_base_url="repo:metadata/",
            target_dir=str(folder / "targets"),
            target_base_url="repo:targets/",
            fetcher=FromFolder(source),
            bootstrap=root,
        )

    def installed(self, folder: Path, group: str = "canary", repository: Path | None = None) -> Manifest | None:
        """What a client gets: the manifest, with every blob downloaded; None where the group has no release."""
        client = self.client(folder, repository)
        client.refresh()
        info = client.get_targetinfo(f"groups/{group}/release.json")
        if info is None:
            return None
        manifest = parse_manifest(Path(client.download_target(info)).read_bytes(), "release.json")
        for part in manifest.components.values():
            blob = client.get_targetinfo(f"blobs/{part.sha256}")
            assert blob is not None
            client.download_target(blob)
        return manifest
