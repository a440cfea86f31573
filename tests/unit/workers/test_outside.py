"""The way out is put together from the configuration, when it is opened and not before."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from edge_agent.config.settings import EscalationSettings, JournalSettings, Settings
from edge_agent.errors import ConfigError
from edge_agent.escalate.spool import SpoolBackend
from edge_agent.escalate.table import Needs
from edge_agent.journal import Journal
from edge_agent.workers.outside import opener
from tests.journals import SetClock


def test_the_configured_backend_is_opened_with_a_gate_of_its_own(tmp_path: Path) -> None:
    clock = SetClock()
    settings = Settings(state_dir=str(tmp_path), escalation=EscalationSettings(backend="spool", requests_per_day=0))
    with Journal.open(tmp_path / "journal.db", JournalSettings(), clock) as journal:
        needs = Needs(settings=settings, queue=lambda message: None, clock=clock)
        outside = opener(needs, journal, "boot-1", Random(1))()
    assert isinstance(outside.backend, SpoolBackend)
    assert (outside.name, outside.destination) == ("spool", str(tmp_path / "spool"))
    assert outside.gate.held(0.5) is None


def test_what_is_not_configured_is_not_opened(tmp_path: Path) -> None:
    clock = SetClock()
    with Journal.open(tmp_path / "journal.db", JournalSettings(), clock) as journal:
        needs = Needs(settings=Settings(), queue=lambda message: None, clock=clock)
        with pytest.raises(ConfigError):
            opener(needs, journal, "boot-1", Random(1))()
