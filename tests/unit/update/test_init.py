"""What a source of releases has to do, tried on the smallest one there can be."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.update import Offer, Source


class OneFile:
    """A source that always has the same release of one file."""

    def newest(self) -> Offer | None:
        return Offer(release="r-2", counter=2, size_bytes=3)

    def fetch(self, offer: Offer, folder: Path) -> None:
        (folder / "manifest.json").write_bytes(b"{}\n"[: offer.size_bytes])


def test_a_source_says_what_it_has_and_puts_it_into_a_folder(tmp_path: Path) -> None:
    source: Source = OneFile()
    offer = source.newest()
    assert offer is not None
    source.fetch(offer, tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == offer.size_bytes


def test_an_offer_does_not_change_after_it_was_judged() -> None:
    offer = Offer(release="r-2", counter=2, size_bytes=3)
    with pytest.raises(AttributeError):
        offer.counter = 9  # type: ignore[misc]  # the point of the test
