"""A device between a hawkBit server and its record: the update worker's order of doing things, and the machine, without bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from edge_agent.config.settings import HawkbitSettings
from edge_agent.update import Lead, Verdict
from edge_agent.update.hawkbit import NAME, Hawkbit
from edge_agent.update.machine import (
    Begins,
    Cancelled,
    Event,
    Failed,
    Fetched,
    Found,
    Installed,
    Passed,
    Reported,
    Soaked,
    after,
    why_not,
)
from edge_agent.update.record import Candidate, Held, Record
from edge_agent.update.sources import attributes
from tests.unit.update.clocks import At, Longest

Fate = Literal["commits", "cannot-be-installed", "fails-probe", "fails-trial"]
STEP_S = 20.0
POLL_S = 60.0


def settle(source: Hawkbit) -> None:
    """Until the exchange under way has ended. The thread is nobody else's business, so that it has to be looked for."""
    errand = source._courier._errand
    if errand is not None:
        errand.join(20)
        assert not errand.is_alive()


def action_of(ticket: str) -> int:
    """The number of the action that a ticket stands for."""
    return int(ticket.partition(".")[0])


class Device:
    """One that can be cut off at any step: what it has then is its record."""

    def __init__(self, url: str, folder: Path, fate: Fate = "commits", token: str = "secret", **settings: object) -> None:
        secret = folder / "token"
        secret.write_text(f"{token}\n")
        self.clock = At()
        self.fate = fate
        self.settings = HawkbitSettings(url=url, token_file=str(secret), poll_min_s=5.0, **settings)  # type: ignore[arg-type]  # whichever a test names
        self.record = Record()
        self.verdicts: list[Verdict] = []
        """Told instead of taking what a lead leads to, one after the other."""
        self.leads: list[Lead] = []
        self.busy_steps = 1
        self.asks_every = 1
        """How often, in steps, the source is asked whether it wants its candidate no more: a worker does that now and then."""
        self._waited = 0
        self._asked = 0
        self.start()

    def start(self) -> None:
        """The agent starts, or starts again."""
        self.source = Hawkbit(self.settings, "gw-1", self.clock, Longest(), lambda: attributes(self.record))
        self.looking: Lead | None = None

    @property
    def stage(self) -> str:
        """The record's, or what the worker is at in it."""
        if self.looking is not None and self.record.stage == "idle":
            return "looking"
        return self.record.stage

    @property
    def told(self) -> bool:
        """Whether nothing is left to be told."""
        return all(ended.reported for ended in self.record.ended) and self.record.candidate is None

    def step(self) -> None:
        """One step of the worker."""
        self._asked += 1
        if self._asked % self.asks_every == 0:
            self._see_withdrawal()
        for ended in self.record.ended:
            if not ended.reported and self.source.ended(ended):
                self.apply(Reported(NAME, ended.ticket))
            settle(self.source)
        self._work()
        settle(self.source)
        self.clock.s += STEP_S

    def steps(self, count: int = 400) -> None:
        """Until nothing is left to do, as far as can be seen; `count` at most."""
        quiet = 0
        while quiet < 12 and count:
            self.step()
            count -= 1
            quiet = quiet + 1 if self.told and self.looking is None else 0
        assert count, f"not done: {self.record}"

    def apply(self, event: Event) -> None:
        self.record = after(self.record, event, self.clock.now_s())

    def _see_withdrawal(self) -> None:
        candidate = self.record.candidate
        why = self.source.withdrawn(candidate.ticket if candidate is not None and candidate.source == NAME else "")
        settle(self.source)
        if why:
            self.apply(Cancelled(why))
            if self.looking is not None:
                self.looking.tell(Verdict.failed, why)
                self.looking = None

    def _work(self) -> None:
        self._waited += 1
        if self.stage != "idle" and self._waited % self.busy_steps:
            return
        if self.looking is not None:
            self._look(self.looking)
            return
        match self.record.stage:
            case "idle" | "fetching":
                self.looking = self.source.lead()
                if self.looking is not None:
                    self.leads.append(self.looking)
            case "verified":
                self.apply(Failed("no room") if self.fate == "cannot-be-installed" else Installed())
            case "staged":
                self.apply(Begins())
            case "probing":
                self.apply(Failed("it hangs") if self.fate == "fails-probe" else Passed())
            case "trial":
                self.apply(Failed("it leaks") if self.fate == "fails-trial" else Soaked())

    def _look(self, lead: Lead) -> None:
        candidate = self.record.candidate
        if candidate is not None and candidate.ticket == lead.ticket:
            self.looking = None
            self.apply(Fetched())
            lead.tell(Verdict.taken)
            return
        number = action_of(lead.ticket)
        held = Held(release=f"r-{number}", counter=number, manifest_sha256=f"{number:064x}")
        refused = why_not(self.record, held)
        if self.verdicts or refused:
            running = self.record.active
            runs = running is not None and running.manifest_sha256 == held.manifest_sha256
            self.looking = None
            lead.tell(self.verdicts.pop(0) if self.verdicts else Verdict.runs if runs else Verdict.unwanted, refused or "because")
            return
        self.apply(Found(Candidate(held=held, source=NAME, ticket=lead.ticket)))
