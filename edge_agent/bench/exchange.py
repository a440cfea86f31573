"""Exchange of releases in running workers: the pause of explaining, readings lost, memory and files, over many exchanges.

Two releases take turns, each with a writer of its own, as large as is asked for (`widened`). They are exchanged twice over:
with the steps of the workers called in turn (`swap`), and on the workers' own threads, with a broker and a flood of readings
(`swapper`).

Rules: what is taken off a pause on threads is the load where nothing else goes on, by its median.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from edge_agent.bench import swap
from edge_agent.bench.harness import STOP_TIMEOUT_S, child, go, read_line
from edge_agent.bench.report import Figure, percentile
from edge_agent.bench.swapper import Ended, Loaded, Swapped
from edge_agent.bench.widened import write_widened
from edge_agent.demo.broker import Broker
from edge_agent.engines.loading import FACTORY
from edge_agent.release.manifest import MANIFEST_NAME, Component, encode_manifest, parse_manifest

READINGS = 500
"""Published around each exchange."""
RATE_HZ = 500.0
STREAMS = 100
FIRST = 2
"""Exchanges that open what later ones exchange."""
_MODEL = "writer/model.bin"


def measure(broker: Broker, swaps: int, writer_bytes: int = 0) -> Iterator[Figure]:
    """Both measurements, with a writer of about `writer_bytes`; 0: as large as the one inside the package."""
    with tempfile.TemporaryDirectory(prefix="edge-agent-bench-") as name:
        folders = [_release(Path(name) / f"bench-{number}", writer_bytes) for number in range(2)]
        yield from swap.measure(swaps, folders[0])
        yield from _on_threads(broker, swaps, folders)


def _on_threads(broker: Broker, swaps: int, folders: Sequence[Path]) -> Iterator[Figure]:
    offered = (swaps + FIRST) * READINGS
    arguments = ["--port", str(broker.port), "--swaps", str(swaps + FIRST), "--readings", str(offered)]
    for folder in folders:
        arguments += ["--release", str(folder)]
    with child("edge_agent.bench.swapper", *arguments) as process:
        load_s = msgspec.json.decode(read_line(process), type=Loaded).load_s
        swapped = []
        for number in range(swaps + FIRST):
            with _flood(broker, number) as flood:
                go(process)
                swapped.append(msgspec.json.decode(read_line(process), type=Swapped))
                read_line(flood)
        ended = msgspec.json.decode(read_line(process), type=Ended)
        process.wait(STOP_TIMEOUT_S)
    yield from _figures(load_s, swapped, ended, offered)


def _figures(load_s: float, swapped: Sequence[Swapped], ended: Ended, offered: int) -> Iterator[Figure]:
    before, taken = swapped[FIRST - 1], swapped[FIRST:]
    pauses_s = [each.pause_s for each in taken]
    note = f"the load in it took up to {max(each.load_s for each in taken):.2f} s"
    sentence_s = percentile([each.sentence_s for each in taken], 50)
    first_s = percentile([each.first_s for each in taken], 50)
    lost = offered - ended.readings
    told = f"{ended.sentences} sentences; {ended.rejected} set aside, {ended.failed_steps} steps failed"
    alone = "loading the writer alone"
    beyond_s = max(0.0, max(pauses_s) - load_s)
    yield _figure("pause on threads, median", percentile(pauses_s, 50), "s", len(taken), alone, load_s, note=note)
    yield _figure("pause on threads beyond the load, worst", beyond_s, "s", len(taken), aim=f"{swap.AIM_S:.0f} s")
    yield _figure("first sentence after an exchange, median", first_s, "s", len(taken), "one before it", sentence_s)
    yield _figure("readings lost on threads", float(lost), "readings", offered, aim="0", note=told)
    most = max(each.rss_bytes for each in taken) / 1e6
    first = "after the first exchanges"
    after, at_first = taken[-1].rss_bytes / 1e6, before.rss_bytes / 1e6
    yield _figure("memory after all exchanges", after, "MB", len(taken), first, at_first, note=f"at most {most:.1f}")
    yield _figure("open files after all exchanges", float(taken[-1].files), "files", len(taken), first, float(before.files))


def _figure(
    name: str, value: float | None, unit: str, n: int, against: str = "", than: float | None = None, aim: str = "", note: str = ""
) -> Figure:
    return Figure(part="swap", name=name, value=value, unit=unit, n=n, against=against, against_value=than, aim=aim, note=note)


@contextlib.contextmanager
def _flood(broker: Broker, number: int) -> Iterator[subprocess.Popen[str]]:
    """Readings that are being published; the process prints a line when they all are."""
    arguments = ["--port", str(broker.port), "--messages", str(READINGS), "--first", str(number * READINGS), "--qos", "1"]
    arguments += ["--streams", str(STREAMS), "--rate-hz", str(RATE_HZ)]
    with child("edge_agent.bench.publisher", *arguments) as process:
        read_line(process)
        go(process)
        yield process


def _release(folder: Path, writer_bytes: int) -> Path:
    """The release inside the package with another name, and a writer of its own of that size."""
    shutil.copytree(FACTORY, folder)
    manifest = parse_manifest((folder / MANIFEST_NAME).read_bytes(), MANIFEST_NAME)
    write_widened(FACTORY / _MODEL, folder / _MODEL, writer_bytes)
    with (folder / "writer/config.json").open("ab") as file:
        file.write(b" " * (1 + folder.name.endswith("1")) + b"\n")
    components = {}
    for name in manifest.components:
        if name != manifest.certificate:  # it is of another writer
            with (folder / name).open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            components[name] = Component(sha256=sha256, size_bytes=(folder / name).stat().st_size)
    changed = replace(manifest, id=folder.name, components=components, certificate=None)
    (folder / MANIFEST_NAME).write_bytes(encode_manifest(changed))
    return folder
