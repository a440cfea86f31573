"""The table of sources: what is set up is opened, and nothing else."""

from __future__ import annotations

from pathlib import Path

from edge_agent import __version__
from edge_agent.config.settings import HawkbitSettings, RepositorySettings, UpdateSettings
from edge_agent.update.record import Held, Record
from edge_agent.update.sources import SOURCES, Needs, attributes, open_sources
from tests.unit.update.clocks import At, Longest


def _names(folder: Path, settings: UpdateSettings) -> list[str]:
    needs = Needs(settings=settings, gateway="gw-1", folder=folder, record=Record, clock=At(), rng=Longest())
    sources = open_sources(needs)
    for source in sources:
        source.close()
    return [source.name for source in sources]


def test_what_is_set_up_is_opened(tmp_path: Path) -> None:
    both = UpdateSettings(
        group="site",
        root_file="/root.json",
        repository=RepositorySettings(url="https://releases.example"),
        hawkbit=HawkbitSettings(url="https://hawkbit.example"),
    )
    assert _names(tmp_path, both) == list(SOURCES)
    assert _names(tmp_path, UpdateSettings(group="site", root_file="/root.json")) == ["inbox"]
    assert list(tmp_path.iterdir()) == []  # opening does nothing yet


def test_without_a_group_or_a_root_nothing_is_looked_for(tmp_path: Path) -> None:
    repository = RepositorySettings(url="https://releases.example")
    assert _names(tmp_path, UpdateSettings(root_file="/root.json", repository=repository)) == []
    assert _names(tmp_path, UpdateSettings(group="site", repository=repository)) == []


def test_what_a_server_may_know_of_the_device() -> None:
    held = Held(release="r-2", counter=2, manifest_sha256="0" * 64)
    said = attributes(Record(active=held))
    assert said["edge-agent.release"] == "r-2"
    assert said["edge-agent.counter"] == "2"
    assert said["edge-agent.version"] == __version__
    assert all(attributes(Record()).values())
