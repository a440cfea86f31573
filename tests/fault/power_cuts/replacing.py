"""The program that is recorded for `write_atomic`: it replaces one file again and again.

`python -m tests.fault.power_cuts.replacing FILE COUNT` writes the contents `version(1)` to `version(COUNT)`, with the line
`? N` on its standard output before and `! N` after each.
"""

from __future__ import annotations

import os
import random
import sys

from edge_agent.atomic import write_atomic


def version(number: int) -> bytes:
    """The content of that number: of several sectors, none of them like any of another version."""
    dice = random.Random(number)
    return dice.randbytes(dice.randint(1, 10_000))


def main() -> None:
    for number in range(1, int(sys.argv[2]) + 1):
        os.write(1, f"? {number}\n".encode())
        write_atomic(sys.argv[1], version(number))
        os.write(1, f"! {number}\n".encode())


if __name__ == "__main__":
    main()
