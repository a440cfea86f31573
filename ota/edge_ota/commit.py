"""Publishes what waits for signatures, once there are enough.

    edge-ota commit REPO --key ONLINE_KEY...

Rules: those of `pending`; with nothing waiting it renews the snapshot and the timestamp.
"""

from __future__ import annotations

from collections.abc import Sequence

from edge_ota.pending import finish
from edge_ota.task import parser, run


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = parser("commit", __doc__).parse_args(argv)
    return run("commit", options, lambda signers, now: finish(options.repository, {}, signers, now))
