"""Opening the factory release, and refusing one that was touched."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edge_agent.engines.loading import FACTORY, open_release
from edge_agent.errors import ReleaseError
from edge_agent.prompt import CONTROLS


def test_the_factory_release_opens_with_its_engines() -> None:
    release = open_release()
    assert release.speaking.id == release.manifest.id
    assert {"at", "rose"} - release.speaking.lexicon == {"rose"}
    assert not release.speaking.lexicon & set(CONTROLS)
    release.open_writer()
    release.open_classifier()


def _components() -> list[str]:
    return sorted(open_release().manifest.components)


@pytest.mark.parametrize("name", _components())
def test_a_component_that_is_missing_or_changed_is_named(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "release"
    shutil.copytree(FACTORY, folder)
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(ReleaseError, match=name):
        open_release(folder)
    (folder / name).unlink()
    with pytest.raises(ReleaseError, match=name):
        open_release(folder)


def test_a_folder_without_a_manifest_is_no_release(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"manifest\.json"):
        open_release(tmp_path)
