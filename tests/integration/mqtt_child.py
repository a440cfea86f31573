"""A process with a link of its own, to be killed: drains, acknowledges the first ARGV[2] messages, says what it got."""

from __future__ import annotations

import sys

from tests.mqtt_links import new_link, settings_for


def main() -> None:
    """Arguments: port, how many messages to acknowledge, how many to wait for."""
    port, acknowledge, expected = map(int, sys.argv[1:4])
    link = new_link(settings_for(port))
    link.start()
    link.wait_connected(30.0)
    print("connected", flush=True)
    got = 0
    while True:
        for arrival in link.drain(1_000, 0.1):
            if got < acknowledge:
                link.ack([arrival])
            got += 1
            if got == expected:
                print("received", flush=True)


if __name__ == "__main__":
    main()
