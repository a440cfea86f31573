"""Past incidents by the likeness of their waveforms: a usearch index over the classifier's int8 embeddings.

Rules: one owner thread, because usearch's binding is not safe to share. The journal is the truth and the index a cache of
it: the file is loaded only when the sidecar beside it names its SHA-256, this classifier and exactly the journal's rows,
and is otherwise built anew from them, since usearch checks nothing and a damaged file can end the process. What is hashed
is what is loaded, one read of the file. Nothing here raises because a cache is bad. usearch is imported when the first
incident is remembered, not before.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from edge_agent.atomic import write_atomic
from edge_agent.detect.contract import SIGNATURE_BYTES
from edge_agent.errors import EngineError
from edge_agent.values import Evidence, PastIncident

CACHE_FORMAT = 1
SIMILARITY_FLOOR = 0.75
"""Cosine from which two waveforms are called alike. Of 12,000 generated events, 1 in 10,000 of another kind is that much alike,
3 in 100 of other events of the same kind, and 71 in 100 of second recordings of one event, seen at any age and 12 % other in
size (`edge_ota.train.classifier --evaluate` measures it)."""
SAME_ASSET_MARGIN = 0.03
"""An incident of the same asset is preferred to one that is more similar by no more than this."""
SIMILARITY_DIGITS = 4
"""Similarities are compared and told rounded, so that processors whose kernels differ in the last bits agree."""
MAX_SIDECAR_BYTES = 4096
INCIDENTS_MAX = 10_000


class _Sidecar(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What must hold for the index file beside it to be loaded."""

    format: int
    usearch: str
    model: str
    """Digest of the classifier that made the signatures."""
    rows: int
    highest: int
    """The highest journal number in the index."""
    content: str
    """SHA-256 over the numbers and signatures, by `_content_digest`."""
    index_bytes: int
    index: str
    """SHA-256 of the index file."""


class IncidentMemory:
    """Implements `pipeline.Memory`. Holds at most `max_incidents`, the newest by journal number."""

    def __init__(self, path: Path, model_digest: str, *, floor: float, max_incidents: int) -> None:
        self._path = path
        self._model = model_digest
        self._floor = floor
        self._max = max_incidents
        self._past: dict[int, PastIncident] = {}
        self._index: Any = None  # a usearch Index, which is untyped; None until something is remembered
        self._unsaved = False
        self.origin = ""
        """`cache`, or `rebuilt: <why the cache was not used>`; for the log and the health topic."""

    @classmethod
    def open(
        cls,
        path: Path,
        model_digest: str,
        past: Callable[[], Iterable[PastIncident]],
        *,
        floor: float = SIMILARITY_FLOOR,
        max_incidents: int = INCIDENTS_MAX,
    ) -> IncidentMemory:
        """Open the memory whose cache is `path` (and `path` + `.json`), from the closed incidents that `past` yields.

        `past` must yield only incidents whose signature the classifier `model_digest` made: embeddings of two classifiers
        are not comparable. Incidents without a signature (`SIGNATURE_BYTES` long, not all zero) are passed over. Nothing
        is written. Raises EngineError if usearch is needed and cannot be used, and whatever `past` raises.
        """
        memory = cls(Path(path), model_digest, floor=floor, max_incidents=max_incidents)
        newest = heapq.nlargest(max_incidents, filter(_comparable, past()), key=attrgetter("number"))
        memory._past = {each.number: each for each in newest}
        if not memory._past:
            memory.origin = "rebuilt: nothing to remember yet"
            return memory
        problem = memory._load()
        if problem:
            memory._rebuild()
        memory.origin = f"rebuilt: {problem}" if problem else "cache"
        return memory

    def __len__(self) -> int:
        return len(self._past)

    def add(self, past: PastIncident) -> None:
        """Remember `past`, or replace what was remembered under its number; the oldest goes when the memory is full.

        Without a usable signature it cannot be found again and is not kept. Raises EngineError if usearch fails.
        """
        old = self._past.get(past.number)
        if not _comparable(past):
            self._forget(past.number)
            return
        if old is None or old.signature != past.signature:
            self._forget(past.number)
            self._insert([past])
            self._unsaved = True
        self._past[past.number] = past
        if len(self._past) > self._max:
            self._forget(min(self._past))

    def nearest(self, signature: bytes, before_s: float, asset: str = "") -> Evidence | None:
        """The most similar incident opened before `before_s`, or None if none reaches the floor.

        Similarity is the cosine of the int8 embeddings. Among incidents within `SAME_ASSET_MARGIN` of the best, one of
        `asset` is preferred; then the more similar, then the more recent. A signature that cannot be compared (empty, of
        another length, all zero) has no nearest incident. Raises EngineError if usearch fails.
        """
        if not self._past or not _usable(signature):
            return None
        chosen: tuple[tuple[bool, float, float, int], PastIncident] | None = None
        best = self._floor
        for number, similarity in self._ranked(signature):
            if similarity < max(self._floor, best - SAME_ASSET_MARGIN):
                break
            past = self._past[number]
            if past.opened_s >= before_s:
                continue
            best = max(best, similarity)
            rank = (bool(asset) and past.asset == asset, similarity, past.opened_s, number)
            if chosen is None or rank > chosen[0]:
                chosen = (rank, past)
        return None if chosen is None else _evidence(chosen[1], chosen[0][1])

    def save(self) -> None:
        """Write the cache if it changed since it was loaded or saved. Raises StorageError, EngineError.

        Called at a clean stop and seldom otherwise: a memory that was not saved is only built anew at the next start.
        """
        if not self._unsaved or not self._past:
            return
        blob = _native("saving the index", lambda: bytes(self._index.save()))
        sidecar = _Sidecar(
            format=CACHE_FORMAT,
            usearch=_usearch_version(),
            model=self._model,
            rows=len(self._past),
            highest=max(self._past),
            content=_content_digest(self._past),
            index_bytes=len(blob),
            index=hashlib.sha256(blob).hexdigest(),
        )
        # A crash between the two leaves a sidecar that does not fit, so the next start rebuilds.
        write_atomic(self._path, blob)
        write_atomic(self._sidecar_path, msgspec.json.encode(sidecar))
        self._unsaved = False

    @property
    def _sidecar_path(self) -> Path:
        return self._path.with_name(self._path.name + ".json")

    def _ranked(self, signature: bytes) -> Iterator[tuple[int, float]]:
        """Every remembered number with its similarity, the most similar first.

        The scan is exhaustive (`exact`): at `INCIDENTS_MAX` it takes milliseconds, once an incident, and its answer does
        not depend on the order in which the graph was built, so a rebuilt index answers as the lost one did.
        """
        query = np.frombuffer(signature, dtype=np.int8)
        found = _native("searching", lambda: self._index.search(query, len(self._past), exact=True, threads=1))
        for number, distance in zip(found.keys, found.distances, strict=True):
            yield int(number), round(1.0 - float(distance), SIMILARITY_DIGITS)

    def _insert(self, incidents: list[PastIncident]) -> None:
        """Put incidents whose numbers are not in the index into it."""
        if self._index is None:
            self._index = _new_index()
        numbers = np.array([each.number for each in incidents], dtype=np.uint64)
        vectors = np.frombuffer(b"".join(each.signature for each in incidents), dtype=np.int8)
        vectors = vectors.reshape(len(incidents), SIGNATURE_BYTES)
        _native("adding to the index", lambda: self._index.add(numbers, vectors, threads=1))

    def _forget(self, number: int) -> None:
        """Take an incident out, if it is there."""
        if self._past.pop(number, None) is not None:
            _native("removing from the index", lambda: self._index.remove(number, threads=1))
            self._unsaved = True

    def _rebuild(self) -> None:
        """Build the index from the incidents, in the order of their numbers."""
        self._index = None
        self._insert([self._past[number] for number in sorted(self._past)])
        self._unsaved = True

    def _load(self) -> str:
        """Load the cache; the answer says why it was not, or is empty when it was."""
        try:
            # A named pipe in the place of a file would never end.
            absent = [each.name for each in (self._sidecar_path, self._path) if not each.is_file()]
            if absent:
                return f"no {absent[0]}"
            with self._sidecar_path.open("rb") as file:
                text = file.read(MAX_SIDECAR_BYTES)
            sidecar = msgspec.json.decode(text, type=_Sidecar)
            problem = self._mismatch(sidecar)
            if problem:
                return problem
            with self._path.open("rb") as file:
                # One byte more than expected is enough to see that the file is too long.
                blob = file.read(sidecar.index_bytes + 1)
        except OSError as error:
            return f"cache not readable: {error.strerror or error}"
        except (msgspec.DecodeError, UnicodeDecodeError):
            return f"{self._sidecar_path.name} is damaged"
        if len(blob) != sidecar.index_bytes or hashlib.sha256(blob).hexdigest() != sidecar.index:
            return f"{self._path.name} does not match its checksum"
        index = _new_index()
        try:
            _native("loading the index", lambda: index.load(blob))
        except EngineError as error:
            return str(error)
        self._index = index
        return ""

    def _mismatch(self, sidecar: _Sidecar) -> str:
        """What in the sidecar does not fit this agent or its journal; empty when all does."""
        if sidecar.format != CACHE_FORMAT or sidecar.usearch != _usearch_version():
            return "written by another version"
        if sidecar.model != self._model:
            return "signatures of another classifier"
        if (sidecar.rows, sidecar.highest) != (len(self._past), max(self._past)):
            return "the journal has changed since"
        if sidecar.content != _content_digest(self._past):
            return "signatures in the journal have changed since"
        # A row takes its vector and its share of the graph; beyond this the number itself is damaged.
        if not 0 < sidecar.index_bytes <= 65_536 + 4_096 * self._max:
            return "unlikely index size in the sidecar"
        return ""


def _usable(signature: bytes) -> bool:
    """Whether a cosine with this signature means something."""
    return len(signature) == SIGNATURE_BYTES and any(signature)


def _comparable(past: PastIncident) -> bool:
    return _usable(past.signature)


def _evidence(past: PastIncident, similarity: float) -> Evidence:
    return Evidence(
        incident_id=past.incident_id,
        asset=past.asset,
        opened_s=past.opened_s,
        cause=past.cause,
        similarity=max(-1.0, min(1.0, similarity)),
    )


def _content_digest(past: dict[int, PastIncident]) -> str:
    """SHA-256 over number (8 bytes, little-endian) and signature of each incident, ordered by number."""
    digest = hashlib.sha256()
    for number in sorted(past):
        digest.update(number.to_bytes(8, "little") + past[number].signature)
    return digest.hexdigest()


def _usearch_version() -> str:
    return metadata.version("usearch")


def _new_index() -> Any:
    """An empty index. usearch is imported here, late: it takes 11 MB that an agent without closed incidents does not need."""
    try:
        from usearch.index import Index
    except ImportError as error:
        raise EngineError(f"memory: usearch cannot be imported ({error}); install usearch or run without the memory") from error
    return _native("creating an index", lambda: Index(ndim=SIGNATURE_BYTES, metric="cos", dtype="i8"))


def _native(doing: str, call: Callable[[], Any]) -> Any:
    """Run one call into usearch; its failures, which have no common base, become EngineError."""
    try:
        return call()
    except (RuntimeError, ValueError, TypeError, MemoryError, OSError) as error:
        raise EngineError(f"memory: {doing} failed: {error}; the index is rebuilt from the journal at the next start") from error
