"""The host's metrics, from a machine made of files and from the real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.demo.host import UNITS, HostMetrics

STAT = "cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 1 1 1\n"
NET = "Inter-|   Receive\n face |bytes\n    lo: 999 0 0 0 0 0 0 0 999 0\n  eth0: {into} 1 0 0 0 0 0 0 {out} 1\n"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    write(tmp_path, "proc/loadavg", "1.25 0.80 0.50 1/200 1234\n")
    write(tmp_path, "proc/meminfo", "MemTotal:  1000 kB\nMemFree: 100 kB\nMemAvailable:  250 kB\n")
    write(tmp_path, "proc/stat", STAT.format(busy=100, idle=900))
    write(tmp_path, "proc/net/dev", NET.format(into=1_000, out=500))
    write(tmp_path, "sys/class/thermal/thermal_zone0/temp", "41500\n")
    write(tmp_path, "sys/class/thermal/thermal_zone1/temp", "48000\n")
    return tmp_path


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_levels_are_there_at_once_and_rates_from_the_second_read_on(machine: Path) -> None:
    metrics = HostMetrics(machine)
    first = metrics.read(10.0)
    assert (first["load"], first["memory"], first["temperature"]) == (1.25, 75.0, 48.0)
    assert not {"cpu", "network-in", "network-out"} & set(first)
    write(machine, "proc/stat", STAT.format(busy=130, idle=970))
    write(machine, "proc/net/dev", NET.format(into=5_000, out=2_500))
    second = metrics.read(12.0)
    assert (second["cpu"], second["network-in"], second["network-out"]) == (30.0, 2.0, 1.0)


def test_what_the_machine_does_not_have_is_left_out(machine: Path) -> None:
    for zone in (machine / "sys/class/thermal").iterdir():
        (zone / "temp").write_text("not a number")
    (machine / "proc/meminfo").unlink()
    (machine / "proc/stat").unlink()
    metrics = HostMetrics(machine)
    metrics.read(0.0)
    assert set(metrics.read(1.0)) == {"load", "disk"}


def test_a_counter_that_starts_over_gives_no_negative_rate(machine: Path) -> None:
    metrics = HostMetrics(machine)
    metrics.read(0.0)
    write(machine, "proc/net/dev", NET.format(into=10, out=10))
    assert metrics.read(1.0)["network-in"] == 0.0


def test_the_real_machine_has_at_least_load_memory_and_disk() -> None:
    metrics = HostMetrics()
    metrics.read(0.0)
    values = metrics.read(1.0)
    assert {"load", "memory", "disk"} <= set(values) <= set(UNITS)
    assert 0.0 < values["memory"] < 100.0
