"""What a repository of releases says, believed or not: python-tuf's client inside a durable transaction.

The client keeps its metadata in a folder that it neither syncs nor protects from an older copy of itself. So it works on a
scratch copy, in memory where there is such a file system. After each step, whatever came of it, what it verified is held
against the floor (`floor`) and then written durably (`trusted`); only then is a target named to anyone.

Stricter than python-tuf's client alone:
* nothing below the floor is believed, even where the metadata that the client would compare with is gone;
* expiry is judged once more, against the later of the clock and what is known of the time: when this agent was built, and the
  latest time that a timestamp under the present keys says it was signed (`ISSUED_FIELD`);
* a threshold counts public keys, not key ids: one key under two ids counts once;
* lengths, rotations, delegations and versions have limits (`Limits`, `MAX_VERSION`), also where signed metadata names more.

Rules: one session at a time in a folder; a session is one look at one state of the repository, used by one thread. The clock
is the caller's. Expiry and refusal keep new releases out; what runs is not touched. A clock that stands in the future makes all
metadata look expired: that is not told apart from a repository that was left alone, and cures itself when the clock is set.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import IO, TypeVar

from tuf.api.exceptions import DownloadError, RepositoryError
from tuf.api.metadata import Metadata, Root, TargetFile, Targets
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from edge_agent.errors import EdgeAgentError, LinkError, ReleaseError, RepositoryRefusedError, StorageError, TrustLostError
from edge_agent.update.floor import ROOT, TARGETS, TOP_LEVEL, Floor
from edge_agent.update.seen import checked_role, told, vouching_for_timestamp
from edge_agent.update.target import Target, verified
from edge_agent.update.trusted import Trusted, TrustedFile
from edge_agent.update.working_copy import Bounded, Limits, WorkingCopy, trusted_root

_MEMORY = Path("/dev/shm")  # where there is no such folder, the system's temporary one is used
_Result = TypeVar("_Result")

_HOSTILE = (RepositoryError, DownloadError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What the client raises over what it was sent. It names the first two; the others are JSON of shapes that it did not expect."""


class Trust:
    """One repository, as this device has seen it so far."""

    def __init__(
        self,
        folder: Path,
        factory_root: bytes,
        *,
        build_time_s: float = 0.0,
        limits: Limits | None = None,
        scratch: Path | None = None,
    ) -> None:
        """`folder` exists and is the owner's. `scratch` is where the working copy stands for the time of a session."""
        self._file = TrustedFile(folder)
        self._folder = folder
        self._factory_root = factory_root
        self._build_time_s = build_time_s
        self._limits = limits or Limits()
        self._scratch = scratch or (_MEMORY if os.access(_MEMORY, os.W_OK) else None)

    def start(self) -> bool:
        """Start from the factory root where nothing was trusted before; False where something was, which then stands.

        Raises ReleaseError for a factory root that is none, TrustLostError, StorageError.
        """
        with self._file.locked():
            if self._file.load() is not None:
                return False
            self._file.save(self._anew(0))
            return True

    def start_anew(self) -> None:
        """Forget what was trusted and start from the factory root. Only where a person says so: after TrustLostError.

        A floor in the agent's own record still holds. Raises ReleaseError, StorageError.
        """
        with self._file.locked():
            try:
                loaded = self._file.load()
            except TrustLostError:
                loaded = None
            self._file.save(self._anew(loaded.trusted.generation + 1 if loaded else 0))

    def held(self) -> Trusted | None:
        """What is trusted now; None where nothing ever was. Raises TrustLostError, StorageError."""
        loaded = self._file.load()
        return loaded.trusted if loaded else None

    @contextlib.contextmanager
    def session(
        self, fetcher: FetcherInterface, metadata_url: str, now_s: float, known: Floor | None = None
    ) -> Iterator[Session]:
        """One look at the repository whose metadata stands below `metadata_url`.

        `now_s` is the system's clock; `known` the floor in the agent's own record. Raises TrustLostError where the record knows
        of a repository but nothing is left of it here; ReleaseError, StorageError.
        """
        with self._file.locked(), self._scratch_folder() as scratch:
            loaded = self._file.load()
            if loaded is None and known is not None and known.roles:
                raise TrustLostError(
                    f"{self._folder}: nothing is there, but this device has seen the repository before. Nothing is installed"
                    " until a person decides: check the disk, then start anew from the factory root"
                )
            trusted = self._on_newest_root(loaded.trusted) if loaded else self._anew(0)
            bounded = Bounded(fetcher, self._limits)
            yield Session(
                WorkingCopy(
                    self._file, scratch, trusted, whole=loaded is not None and loaded.whole and loaded.trusted is trusted
                ),
                _client(scratch, metadata_url, trusted, bounded, self._limits),
                fetcher,
                max(now_s, self._build_time_s),
                known or Floor(),
                self._limits,
            )

    def _anew(self, generation: int) -> Trusted:
        trusted_root(self._factory_root)
        return Trusted(
            generation=generation,
            factory_sha256=hashlib.sha256(self._factory_root).hexdigest(),
            metadata={ROOT: self._factory_root},
            floor=Floor(),
        )

    def _on_newest_root(self, trusted: Trusted) -> Trusted:
        """As `trusted`, but from the factory root where a newer package brought a newer one than was ever seen."""
        if trusted_root(self._factory_root).version <= trusted_root(trusted.metadata[ROOT]).version:
            return trusted
        return Trusted(
            generation=trusted.generation,
            factory_sha256=hashlib.sha256(self._factory_root).hexdigest(),
            metadata={**trusted.metadata, ROOT: self._factory_root},
            floor=trusted.floor,
        )

    @contextlib.contextmanager
    def _scratch_folder(self) -> Iterator[Path]:
        try:
            folder = Path(tempfile.mkdtemp(prefix="edge-agent-trust-", dir=self._scratch))
        except OSError as error:
            raise StorageError(f"no room for a working copy of the metadata: {error.strerror}; check free memory") from error
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class Session:
    """One look at the repository. `refresh`, then `target` and `fetch` as often as needed."""

    def __init__(
        self, work: WorkingCopy, updater: Updater, fetcher: FetcherInterface, now_s: float, known: Floor, limits: Limits
    ) -> None:
        self._work = work
        self._updater = updater
        self._fetcher = fetcher
        self._now_s = now_s
        self._floor = work.trusted.floor.joined(known)
        self._limits = limits
        self._refreshed = False
        self._refused: EdgeAgentError | None = None

    @property
    def floor(self) -> Floor:
        """What was seen so far, for the agent's own record."""
        return self._floor

    @property
    def time_s(self) -> float:
        """The time that expiry is judged by, in seconds since 1970: the clock's, or later where more is known."""
        return max(self._now_s, self._floor.time_s(vouching_for_timestamp(self._work.trusted.metadata[ROOT])))

    def refresh(self) -> None:
        """Take over what the repository says now, as far as it is verified; durable when this returns or raises.

        Once a session. Raises RepositoryRefusedError, LinkError, StorageError; the session names no target then.
        """
        if self._refused is not None:
            raise self._refused
        self._step(self._updater.refresh)
        self._in_time(TOP_LEVEL)
        self._refreshed = True

    def target(self, name: str) -> Target | None:
        """The target `name`, as the repository names it now; None where no role that may name it does. Raises like `refresh`."""
        if not self._refreshed:
            self.refresh()
        if self._refused is not None:
            raise self._refused
        info = self._step(lambda: self._updater.get_targetinfo(name))
        visited = self._visited(name)
        self._in_time((*TOP_LEVEL, *visited))
        if info is None:
            return None
        return Target(name=name, role=visited[-1], length=info.length, hashes=dict(info.hashes), path=self._path(info))

    def beside(self, target: Target, names: Collection[str]) -> dict[str, Target]:
        """Those of `names` that the role which names `target` may name and names too, by name. No other role is asked.

        `target` is of this session, and its role one that the top-level targets role delegates to: others have nothing beside.
        """
        if self._refused is not None:
            raise self._refused
        metadata = self._work.trusted.metadata
        delegations = Metadata[Targets].from_bytes(metadata[TARGETS]).signed.delegations
        delegated = (delegations.roles or {}).get(target.role) if delegations is not None else None
        if delegated is None:
            return {}
        named = Metadata[Targets].from_bytes(metadata[target.role]).signed.targets
        return {
            name: Target(name=name, role=target.role, length=info.length, hashes=dict(info.hashes), path=self._path(info))
            for name in names
            if (info := named.get(name)) is not None and delegated.is_delegated_path(name)
        }

    def fetch(self, target: Target, base_url: str, file: IO[bytes]) -> None:
        """Write the bytes of `target` to `file`, a part at a time; they are its own only when this returns.

        Raises RepositoryRefusedError where they are not those that the repository vouches for, LinkError.
        """
        for part in verified(target, _parts(self._fetcher, f"{base_url.rstrip('/')}/{target.path}")):
            file.write(part)

    def _path(self, info: TargetFile) -> str:
        root = trusted_root(self._work.trusted.metadata[ROOT])
        if not root.consistent_snapshot:
            return info.path
        folder, slash, name = info.path.rpartition("/")
        return f"{folder}{slash}{next(iter(info.hashes.values()))}.{name}"

    def _step(self, do: Callable[[], _Result]) -> _Result:
        """Let the client `do` something, then keep what it verified, whatever came of it."""
        problem: Exception | None = None
        try:
            result = do()
        except (*_HOSTILE, OSError) as error:
            problem = error
        try:
            self._floor = self._work.keep(self._floor)
            if problem is not None:
                raise told(problem) from problem
        except EdgeAgentError as error:
            self._refused = error
            raise
        return result

    def _visited(self, name: str) -> list[str]:
        """The targets roles that were asked for `name`, in order; the last one names it, if any does."""
        visited: list[str] = []
        waiting = [(TARGETS, ROOT)]
        while waiting and len(visited) <= self._limits.delegations:
            role, parent = waiting.pop()
            if role in visited:
                continue
            targets = self._believed(role, parent)
            visited.append(role)
            if name in targets.targets:
                break
            children: list[tuple[str, str]] = []
            for child, terminating in targets.delegations.get_roles_for_target(name) if targets.delegations else ():
                children.append((child, role))
                if terminating:
                    waiting = []
                    break
            waiting += reversed(children)
        return visited

    def _believed(self, role: str, parent: str) -> Targets:
        """A targets role, whose signatures are counted by key once more."""
        metadata = self._work.trusted.metadata
        delegator: Root | Targets = (
            trusted_root(metadata[ROOT]) if parent == ROOT else Metadata[Targets].from_bytes(metadata[parent]).signed
        )
        try:
            return checked_role(delegator, role, Metadata[Targets].from_bytes(metadata[role]))
        except RepositoryRefusedError as error:
            self._refused = error
            raise

    def _in_time(self, roles: tuple[str, ...]) -> None:
        """Hold the expiry of `roles` against what is known of the time. Raises RepositoryRefusedError."""
        for role in dict.fromkeys(roles):
            expires = Metadata.from_bytes(self._work.trusted.metadata[role]).signed.expires
            if expires.timestamp() <= self.time_s:
                self._refused = RepositoryRefusedError("expired", f"{role}: expired at {expires:%Y-%m-%d %H:%M} UTC")
                raise self._refused


def _client(scratch: Path, metadata_url: str, trusted: Trusted, fetcher: FetcherInterface, limits: Limits) -> Updater:
    config = UpdaterConfig(
        max_root_rotations=limits.root_rotations,
        max_delegations=limits.delegations,
        root_max_length=limits.root_bytes,
        timestamp_max_length=limits.timestamp_bytes,
        snapshot_max_length=limits.snapshot_bytes,
        targets_max_length=limits.targets_bytes,
    )
    try:
        return Updater(str(scratch), metadata_url, fetcher=fetcher, config=config, bootstrap=trusted.metadata[ROOT])
    except RepositoryError as error:
        raise ReleaseError(f"the root that is trusted cannot be used: {error}; start anew from a good factory root") from error
    except OSError as error:
        raise StorageError(f"{scratch}: {error.strerror}; check free memory") from error


def _parts(fetcher: FetcherInterface, url: str) -> Iterator[bytes]:
    """What stands at `url`, a part at a time. Raises LinkError."""
    try:
        yield from fetcher.fetch(url)
    except (DownloadError, OSError) as error:
        raise LinkError(f"{url}: {error}") from error
