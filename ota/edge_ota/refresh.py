"""Renews what expires soon: the snapshot and the timestamp, for a timer; with `--role` an offline document too.

    edge-ota refresh REPO --key ONLINE_KEY... [--role targets --key ...]

Rules: what it says does not change, only until when; run it at least twice as often as the timestamp expires. While documents
wait for signatures it renews what stands and leaves them waiting.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime

from securesystemslib.signer import Signer

from edge_ota.pending import finish, renew_online
from edge_ota.repository import load_folder
from edge_ota.roles import renewed
from edge_ota.task import parser, run


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    arguments = parser("refresh", __doc__)
    arguments.add_argument(
        "--role", action="append", default=[], metavar="ROLE", help="root, targets or group-NAME; again for more"
    )
    options = arguments.parse_args(argv)

    def work(signers: Sequence[Signer], now: datetime) -> int:
        state = load_folder(options.repository)
        if options.role:
            return finish(options.repository, renewed(state, options.role, now), signers, now)
        renew_online(options.repository, state, signers, now)
        until = load_folder(options.repository).timestamp.signed.expires
        print(f"{options.repository}: renewed, until {until:%Y-%m-%d %H:%M} UTC")
        return 0

    return run("refresh", options, work)


if __name__ == "__main__":
    sys.exit(main())
