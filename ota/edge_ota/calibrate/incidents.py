"""The distribution that a release is certified on: whole incidents, seeded, of every kind, ending, grouping and gap.

Rules: a part is what the device's own detection makes of simulated sensors (`simulated`), the rest is drawn by hand-set chances,
so that what is rare in the simulation (missing and contradictory values, odd names, other time zones, a storm, a past incident)
is met often. Sets for development, calibration and test are drawn from seeds that have nothing in common. No public series
is read: the set is the same on every machine. `GENERATOR_VERSION` changes with anything here that draws another set.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from random import Random
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from edge_agent.detect.contract import Classifier
from edge_agent.values import KINDS, Anomaly, Direction, Ending, Evidence, Incident, Kind
from edge_ota.calibrate import simulated

GENERATOR_VERSION = 1
Split = Literal["development", "calibration", "test"]
SIMULATED_SHARE = 0.4
"""The part of a set that comes from simulated sensors."""
_YEAR_S = 365 * 86_400
_FIRST_S = 1_767_225_600.0
_ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata")
_ASSETS = ("pump-{n}", "line-{n}/press", "hall {n} north", "AHU{n}", "boiler-{n}", "plant/cooling-{n}", "Verdichter-{n}")
_ODD_ASSETS = ("pump {n} and motor", "x, y {n}", "press left of {n}", "a" * 130 + "-{n}", "tank.{n}.", 'the "old" fan {n}')
_CAUSES = ("bearing wear", "valve stuck closed", 'sensor "B" replaced', "power cut, see log", "filter clogged.")
_KIND_WEIGHTS = (22, 16, 22, 12, 8, 10, 10)
_ENDINGS: tuple[Ending, ...] = ("ongoing", "returned", "adopted", "unknown")
_DIRECTED = frozenset({"spike", "dip", "shift", "drift"})


class Drawn(Struct, frozen=True):
    """One incident of a set, and what its text is made with."""

    incident: Incident
    evidence: Evidence | None
    zone_name: str

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of its text."""
        return ZoneInfo(self.zone_name)


def draw(split: Split, seed: int, count: int, classifier: Classifier | None = None) -> list[Drawn]:
    """Draw a set. `classifier` names kinds as it does on a device; without it the set is another one, named by rule alone."""
    if count < 1:
        return []
    detected = simulated.incidents(_number(split, seed), classifier)
    drawn = []
    for index in range(count):
        random = Random(f"{split}/{seed}/{index}")
        incident = next(detected) if random.random() < SIMULATED_SHARE else imagined(random)
        drawn.append(Drawn(incident, _evidence(random, incident), random.choices(_ZONES, (70, 10, 10, 10))[0]))
    return drawn


def digest(drawn: list[Drawn]) -> str:
    """SHA-256 of a set, so that two machines can tell whether they measured on the same one."""
    return hashlib.sha256(msgspec.json.encode(drawn)).hexdigest()


def imagined(random: Random) -> Incident:
    """An incident drawn by chance alone."""
    odd = random.random() < 0.05
    asset = random.choice(_ODD_ASSETS if odd else _ASSETS).format(n=random.randrange(1, 40))
    sensors = random.sample(simulated.SENSORS, k=len(simulated.SENSORS))
    start_s = _FIRST_S + round(random.random() * _YEAR_S, random.choice((0, 3)))
    most = random.choices((1, 2, 3, 6, 14), (32, 25, 15, 18, 10))[0]
    anomalies: dict[tuple[str, float], Anomaly] = {}
    at_s = start_s
    while len(anomalies) < most:
        for anomaly in _event(random, asset, sensors, at_s, most - len(anomalies)):
            anomalies.setdefault(anomaly.key, anomaly)
        at_s += random.choice((0.0, 0.4, 1.0, 3.0, 20.0, 90.0)) * random.uniform(0.5, 1.3)
    listed = tuple(sorted(_one_goes_on(anomalies.values()), key=lambda a: (a.onset_s, a.stream)))
    storm = random.random() < 0.01
    return Incident(
        id=f"calibration-{random.randrange(16**6):06x}",
        asset="site" if storm else asset,
        state="open",
        revision=random.randrange(1, 6),
        opened_s=start_s,
        updated_s=at_s,
        anomalies=listed,
        anomaly_count=len(listed) + (random.randrange(1, 400) if storm or random.random() < 0.05 else 0),
        stream_count=len({a.stream for a in listed}),
        severity=max(a.score for a in listed),
        storm=storm,
    )


def _event(random: Random, asset: str, sensors: list[simulated.Sensor], at_s: float, room: int) -> Iterator[Anomaly]:
    """One thing that happens: to one stream, or the same to several within seconds."""
    kind = random.choices(KINDS, _KIND_WEIGHTS)[0]
    up = random.random() < 0.5 if kind in ("shift", "drift") else kind != "dip"
    together = min(room, random.choices((1, 2, 3, 4, 6), (66, 16, 9, 6, 3))[0])
    ending = random.choices(_ENDINGS, (35, 45, 12, 8))[0]
    for sensor in random.sample(sensors, k=together):
        onset_s = at_s + (random.uniform(0, 9) if together > 1 else 0.0)
        own = ending if random.random() < 0.8 else random.choice(_ENDINGS)
        yield _anomaly(random, f"{asset}/{sensor.name}", sensor, kind, up, round(onset_s, 3), own)


def _anomaly(
    random: Random, stream: str, sensor: simulated.Sensor, kind: Kind, up: bool, onset_s: float, ending: Ending
) -> Anomaly:
    away = sensor.noise * random.uniform(6, 60) * (1 if up else -1)
    baseline: float | None = sensor.level + random.gauss(0, sensor.noise)
    observed: float | None = sensor.level + away
    if kind == "noise":
        baseline = sensor.noise * random.uniform(0.8, 1.2)
        observed = baseline * random.uniform(1.6, 12)
    elif kind == "stuck":
        observed = sensor.level + random.gauss(0, 2 * sensor.noise)
    elif kind == "silence":
        observed, baseline = random.uniform(5, 90), 1.0
    peak_s = onset_s + (round(random.expovariate(1 / 3), 3) if kind in ("spike", "dip") else random.choice((0.0, 2.0)))
    lasts_s = random.choice(
        (random.uniform(0.2, 9), random.uniform(9, 60), random.uniform(60, 4_000), random.uniform(4_000, 300_000))
    )
    over = ending not in ("ongoing", "unknown") or (ending == "unknown" and random.random() < 0.7)
    direction: Direction = "none" if kind not in _DIRECTED else "up" if up else "down"
    magnitude = min(abs(away) / sensor.noise, 1e6)
    whole = Anomaly(
        stream=stream,
        kind=kind,
        direction=direction,
        onset_s=onset_s,
        peak_s=peak_s,
        end_s=round(peak_s + lasts_s, 3) if over else None,
        score=round(random.uniform(0.5, 1.0), 3),
        observed=observed,
        baseline=baseline,
        unit="s" if kind == "silence" else sensor.unit,
        magnitude=random.choices((magnitude, 1e6, 0.0), (96, 2, 2))[0],
        ending=ending,
    )
    return _damaged(random, whole) if random.random() < 0.1 else whole


def _damaged(random: Random, anomaly: Anomaly) -> Anomaly:
    """The anomaly as a poor source tells it: something missing, not finite, or at odds with the rest."""
    match random.randrange(7):
        case 0:
            return replace(anomaly, observed=None)
        case 1:
            return replace(anomaly, baseline=None)
        case 2:
            return replace(anomaly, observed=None, baseline=None, direction="none")
        case 3:
            return replace(anomaly, baseline=anomaly.observed)
        case 4:
            return replace(anomaly, observed=anomaly.baseline, baseline=anomaly.observed)
        case 5:
            return replace(anomaly, baseline=math.inf)
        case _:
            return replace(anomaly, end_s=anomaly.onset_s - 5.0)


def _one_goes_on(anomalies: Iterable[Anomaly]) -> Iterator[Anomaly]:
    """As incidents are kept: of one stream only the newest anomaly may be going on; one time in four it is left as it is."""
    newest_s: dict[str, float] = {}
    kept = list(anomalies)
    for anomaly in kept:
        newest_s[anomaly.stream] = max(anomaly.onset_s, newest_s.get(anomaly.stream, anomaly.onset_s))
    for number, anomaly in enumerate(kept):
        if anomaly.end_s is None and anomaly.onset_s < newest_s[anomaly.stream] and number % 4:
            yield replace(anomaly, end_s=newest_s[anomaly.stream], ending="unknown")
        else:
            yield anomaly


def _evidence(random: Random, incident: Incident) -> Evidence | None:
    if random.random() >= 0.25:
        return None
    return Evidence(
        incident_id="past-1",
        asset=incident.asset if random.random() < 0.7 else "pump-77",
        opened_s=incident.opened_s - random.uniform(1, 400) * 86_400,
        cause=random.choice(_CAUSES),
        similarity=random.uniform(0.9, 1.0),
    )


def _number(split: Split, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{split}/{seed}".encode()).digest()[:4])
