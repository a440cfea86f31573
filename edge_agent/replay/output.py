"""What a replay found, in files: scores as CSV, everything else as JSON, one document a line.

Rules: the documents are those that the agent publishes; the same replay gives the same bytes. Files are UTF-8 with `\\n` at the
end of each line, whatever the locale.
"""

from __future__ import annotations

import csv
from pathlib import Path

from edge_agent.messages.documents import encode, event_document, incident_document
from edge_agent.replay.run import Replayed

SCORE_DIGITS = 6


def write_scores(path: Path, replayed: Replayed) -> None:
    """Write the scores as CSV: the input's time, then `anomaly_score`, or one column a stream where there are several."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        single = len(replayed.streams) == 1
        writer.writerow(["timestamp", *(("anomaly_score",) if single else replayed.streams)])
        for stamp, scores in zip(replayed.stamps, replayed.scores, strict=True):
            writer.writerow([stamp, *(f"{score:.{SCORE_DIGITS}f}" for score in scores)])


def event_lines(replayed: Replayed) -> list[bytes]:
    """The anomalies as JSON, one a line, by onset, with times as the input writes them."""
    return [encode(event_document(anomaly, replayed.stamp)) + b"\n" for anomaly in replayed.anomalies]


def incident_lines(replayed: Replayed) -> list[bytes]:
    """The incidents as JSON, one a line, by opening, as they stand after the last row."""
    return [encode(incident_document(incident)) + b"\n" for incident in replayed.incidents]
