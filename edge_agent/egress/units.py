"""The units that may leave: a closed list, because the text of a unit comes from sensors and could hold anything.

Rules: pure data; a unit leaves only if it stands here character for character. Whoever adds one has read it: a unit names a
physical quantity and nothing of a plant.
"""

from __future__ import annotations

from typing import Final

REVIEWED_UNITS: Final = frozenset(
    (
        # ratios and counts
        "%", "%RH", "ppm", "ppb", "1/min", "1/s", "rpm", "rps",
        # temperature
        "°C", "°F", "K",
        # pressure and vacuum
        "Pa", "hPa", "kPa", "MPa", "bar", "mbar", "psi", "mmHg",
        # length, area, volume, mass, angle
        "m", "km", "cm", "mm", "µm", "μm", "nm", "m²", "m2", "m³", "m3", "l", "L", "ml", "mL", "kg", "g", "mg", "t", "°", "deg",
        "rad",
        # time and speed
        "s", "ms", "µs", "μs", "min", "h", "d", "m/s", "mm/s", "cm/s", "km/h", "mm/s²", "mm/s2", "m/s²", "m/s2", "rad/s", "°/s",
        # flow
        "l/s", "L/s", "l/min", "L/min", "l/h", "L/h", "m³/s", "m3/s", "m³/min", "m3/min", "m³/h", "m3/h", "kg/s", "kg/h", "t/h",
        # electricity and energy
        "V", "mV", "kV", "A", "mA", "µA", "μA", "kA", "W", "mW", "kW", "MW", "VA", "kVA", "var", "kvar", "Wh", "kWh", "MWh", "Ah",
        "mAh", "J", "kJ", "MJ", "Ω", "kΩ", "MΩ", "ohm", "F", "µF", "μF", "H", "mH", "Hz", "kHz", "MHz", "GHz",
        # force, sound, light, chemistry, radiation
        "N", "kN", "Nm", "N·m", "dB", "dBA", "dB(A)", "dBm", "lx", "lm", "cd", "W/m²", "W/m2", "pH", "mol", "mg/l", "mg/L",
        "g/m³", "g/m3", "µg/m³", "μg/m³", "µg/m3", "mS/cm", "µS/cm", "μS/cm", "Bq", "Bq/m³", "Sv", "µSv/h", "μSv/h",
        # computing
        "B", "kB", "KB", "MB", "GB", "KiB", "MiB", "GiB", "B/s", "kB/s", "MB/s", "bit/s", "kbit/s", "Mbit/s",
    )
)  # fmt: skip
