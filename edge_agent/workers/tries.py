"""Installations and probes of the release on its way in: each is a try, in a child process, and counted before it is made.

What the release is to blame for ends it. What this device is to blame for, its disk, its key, its memory, puts the try off: it is
made again later, and sources are looked at meanwhile.

Rules: one owner, which runs the child and hands it back when it has ended. The record is saved before anything is done about it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

from msgspec import Struct

from edge_agent.clock import Clock
from edge_agent.config.settings import UpdateSettings
from edge_agent.engines.instruction_set import instruction_set
from edge_agent.errors import ChildFailedError, ReleaseError
from edge_agent.metrics import Metrics
from edge_agent.update.child import Child, ChildLimits
from edge_agent.update.jobs import CUDA_HOST_BYTES, Installed, InstallJob, Probed, ProbeJob
from edge_agent.update.machine import Begins, Broke, Event, Failed, Passed, Spared
from edge_agent.update.machine import Installed as IsInstalled
from edge_agent.update.record import Held, Stage
from edge_agent.workers.keeper import Keeper

INSTALL = "edge_agent.update.install"
PROBE = "edge_agent.probe"
INSTALL_LIMITS = ChildLimits(timeout_s=7_200.0, silent_s=7_200.0, max_rss_bytes=1 << 30)
PROBE_S = 1_800.0
PROBE_SILENT_S = 120.0
"""Longest that a probe says nothing while it loads; it says a line for each sentence."""
PROBE_SPARE_BYTES = 256 << 20
"""What a probe takes besides the release: the interpreter and its libraries."""
TRYING: Mapping[Stage, str] = {"verified": "update install", "probing": "update probe"}
"""The condition that says why a try is put off, by stage."""
RETRY_S = 60.0
"""Pause after this device could not make a try: the disk refused, a key was missing, memory was short."""
MAX_RETRY_S = 900.0
"""It doubles each time in a row up to this: what is made again for nothing wears the flash."""

Device: TypeAlias = Literal["auto", "cpu", "cuda"]
Start: TypeAlias = Callable[[str, Struct, ChildLimits, Callable[[Child], None]], None]
"""Starts a child of a module with a job, and calls what follows when it has ended. Raises ChildFailedError."""

_log = logging.getLogger(__name__)


class Tries:
    """Tries of the candidate in one record."""

    def __init__(
        self,
        *,
        keeper: Keeper,
        settings: UpdateSettings,
        device: Device,
        apply: Callable[[Event], bool],
        start: Start,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        """`apply` lets the record take an event, and raises StorageError. `device` is what the writer is to run on."""
        self._keeper = keeper
        self._settings = settings
        self._device: Device = device
        self.cuda_bytes = CUDA_HOST_BYTES if instruction_set(device) == "cuda" else 0
        """Of the host's memory, which no release answers for."""
        self._apply = apply
        self._start = start
        self._metrics = metrics
        self._clock = clock
        self._not_before_s = clock.monotonic_s()
        self._hurried_s = -math.inf
        self._pause_s = RETRY_S
        self._waits: tuple[Stage, Held | None] | None = None
        """What was put off last; another release does not wait for it."""

    @property
    def are_put_off(self) -> bool:
        """Whether none is to be made now."""
        return self._waiting() == self._waits and self._clock.monotonic_s() < self._not_before_s

    def put_off(self) -> float:
        """Make none for a while; how long, in seconds."""
        waits = self._waiting()
        self._pause_s = min(2 * self._pause_s, MAX_RETRY_S) if waits == self._waits else RETRY_S
        self._waits = waits
        self._not_before_s = self._clock.monotonic_s() + self._pause_s
        return self._pause_s

    def hurry(self) -> None:
        """What stood in the way may be gone: the next one is made now, unless that was asked for just before."""
        now_s = self._clock.monotonic_s()
        if now_s - self._hurried_s >= RETRY_S:
            self._hurried_s = now_s
            self._waits = None

    def _waiting(self) -> tuple[Stage, Held | None]:
        candidate = self._keeper.record.candidate
        return self._keeper.record.stage, None if candidate is None else candidate.held

    def install(self) -> bool:
        """One that was begun and did not end took the device, or the agent, down with it: the record counts it."""
        self._apply(Begins(self._keeper.boot))
        candidate = self._keeper.record.candidate
        if candidate is None:
            return True
        job = InstallJob(
            store_folder=str(self._keeper.folder),
            manifest_sha256=candidate.held.manifest_sha256,
            min_free_bytes=self._settings.min_free_bytes,
        )
        try:
            self._start(INSTALL, job, INSTALL_LIMITS, self._installed)
        except ChildFailedError as error:
            self._spare(f"the installation could not be made: {error}")
        return True

    def _installed(self, child: Child) -> None:
        self._metrics.conditions.clear(TRYING["verified"])
        try:
            problem = child.result(Installed).problem
        except ChildFailedError as error:
            # What ended it may be memory that is short now, or the disk: another try tells, as long as there is one.
            if self._keeper.record.tries_left > 0:
                self._put_off(f"the installation was ended: {error}")
            else:
                self._apply(Failed(f"it could not be installed: {error}"))
            return
        if problem is None:
            self._apply(IsInstalled())
        elif problem.kind == "storage":
            self._apply(Broke(problem.detail))
            self._put_off(f"the release could not be installed: {problem.detail}")
        else:
            self._apply(Failed(f"it could not be installed: {problem.detail}"))

    def probe(self) -> bool:
        """A probe that was begun and did not end took the device, or the agent, down with it: the record counts it."""
        self._apply(Begins(self._keeper.boot))
        candidate = self._keeper.record.candidate
        if candidate is None:
            return True
        try:
            folder = self._keeper.folder_of(candidate.held)
            limits = self._keeper.store.manifest(candidate.held.manifest_sha256).limits
        except ReleaseError as error:
            self._apply(Failed(str(error)))
            return True
        key_file, decrypt_folder = self._settings.key_file, self._settings.decrypt_folder
        job = ProbeJob(folder=str(folder), device=self._device, key_file=key_file, decrypt_folder=decrypt_folder)
        bounds = ChildLimits(
            timeout_s=PROBE_S,
            silent_s=PROBE_SILENT_S + 4 * limits.max_sentence_s,
            max_rss_bytes=limits.max_rss_bytes + PROBE_SPARE_BYTES + self.cuda_bytes,
            bounds_data=not self.cuda_bytes,
        )
        try:
            self._start(PROBE, job, bounds, self._probed)
        except ChildFailedError as error:
            self._spare(f"the probe could not be made: {error}")
        return True

    def _spare(self, why: str) -> None:
        """The try that was counted could not be made, which is not the release's fault: it waits."""
        self._put_off(why)
        self._apply(Spared())

    def _put_off(self, why: str) -> None:
        self._metrics.conditions.set(TRYING[self._keeper.record.stage], why)
        _log.warning("%s; it is tried again in %g s", why, self.put_off())

    def _probed(self, child: Child) -> None:
        self._metrics.conditions.clear(TRYING["probing"])
        try:
            problem = child.result(Probed).problem
        except ChildFailedError as error:
            # Memory that is short now may be anybody's fault: another try tells, as long as there is one.
            if error.reason == "taken" and self._keeper.record.tries_left > 0:
                self._put_off(f"the probe was ended: {error}")
            else:
                self._apply(Failed(f"its probe failed: {error}"))
            return
        if problem is None:
            self._apply(Passed())
        elif problem.kind == "storage":  # this device's key or disk is at fault
            self._spare(f"the probe could not be made: {problem.detail}")
        else:
            self._apply(Failed(f"its probe found: {problem.reason}: {problem.detail}"))
