"""How the process of the exchanges times a load; the process itself is run by `test_exchange`."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from edge_agent.bench import swapper
from edge_agent.bench.queuer import settings_of
from edge_agent.clock import SystemClock
from edge_agent.config.settings import WriterSettings
from edge_agent.engines.loading import open_release
from edge_agent.journal import Journal
from edge_agent.workers.speaking import wish_for


def test_the_load_of_a_wished_writer_is_timed_and_nothing_else_changes(tmp_path: Path) -> None:
    opened = open_release()
    with Journal.open(tmp_path / "journal.db", settings_of(10), SystemClock()) as journal:
        wish = wish_for(opened, WriterSettings(device="cpu"), journal, tmp_path)
    loads_s: list[float] = []
    timed = swapper._timed(wish, loads_s)
    assert replace(timed, open_writer=wish.open_writer) == wish
    assert timed.open_writer is not None
    assert timed.open_writer().write([]) == []
    assert len(loads_s) == 1
    assert loads_s[0] > 0
