"""From an open release to a wish: what is the same engine, and what is not."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from edge_agent.config.settings import WriterSettings
from edge_agent.engines.loading import OpenRelease, open_release
from edge_agent.workers.active import Wish
from edge_agent.workers.speaking import wish_for
from tests.unit.workers.parts import open_journal


def wished(opened: OpenRelease | None, folder: Path, *, enabled: bool = True) -> Wish:
    with open_journal(folder) as journal:
        return wish_for(opened, WriterSettings(enabled=enabled), journal, folder)


def test_the_factory_release_becomes_a_wish_whose_engines_open(tmp_path: Path) -> None:
    opened = open_release()
    wish = wished(opened, tmp_path)
    assert wish.speaking is opened.speaking
    assert wish.open_writer is not None
    assert wish.open_classifier is not None
    assert hasattr(wish.open_classifier(), "classify")


def test_a_release_of_another_name_with_the_same_files_has_the_same_engines(tmp_path: Path) -> None:
    opened = open_release()
    renamed = replace(opened, speaking=replace(opened.speaking, id="other"))
    one, other = wished(opened, tmp_path), wished(renamed, tmp_path)
    assert (one.writer_key, one.classifier_key) == (other.writer_key, other.classifier_key)
    assert one.writer_key


def test_no_release_wants_no_engine_and_no_writer_is_wanted_where_it_is_switched_off(tmp_path: Path) -> None:
    assert wished(None, tmp_path) == Wish()
    without = wished(open_release(), tmp_path, enabled=False)
    assert without.open_writer is None
    assert without.certificate == ""
    assert without.open_classifier is not None
