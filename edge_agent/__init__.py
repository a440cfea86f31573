"""edge-agent: explains anomalies of sensor streams on an IoT gateway, in sentences whose every fact is verified."""

__version__ = "0.3.0"
BUILT = "2026-11-23T00:00:00+00:00"
"""When this version was made: no clock that stands before it is right."""
