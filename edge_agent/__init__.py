"""edge-agent: explains anomalies of sensor streams on an IoT gateway, in sentences whose every fact is verified."""

__version__ = "0.2.0"
