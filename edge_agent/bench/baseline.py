"""What ingest is compared with: a bare paho client whose callback only counts. It decodes nothing and detects nothing.

Rules: no faster loop can be built on paho, so the ratio to this one says what everything else costs. Started by the bench
as `python -m edge_agent.bench.baseline`; it prints `subscribed`, then the messages a second once all have come.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

GIVE_UP_S = 120.0
READ_BURST = 256
"""Packets read between two waits on the socket; paho's own loop takes one, which is slower."""
PROTOCOLS = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}


def count(port: int, messages: int, qos: int, protocol: str = "5") -> tuple[int, float]:
    """Count up to `messages`; returns how many came, and the seconds from the first to the last."""
    client = Client(CallbackAPIVersion.VERSION2, client_id="bench-baseline", protocol=PROTOCOLS[protocol])
    came = 0
    first_s = last_s = 0.0

    def on_message(_client: Client, _data: Any, _message: MQTTMessage) -> None:
        nonlocal came, first_s, last_s
        if came == messages:  # one burst of reading may hold more
            return
        came += 1
        if came == 1:
            first_s = time.monotonic()
        elif came == messages:
            last_s = time.monotonic()

    def on_subscribe(*_: Any) -> None:
        print("subscribed", flush=True)

    client.on_message = on_message
    client.on_subscribe = on_subscribe
    client.connect("127.0.0.1", port, keepalive=60)
    client.subscribe("bench/#", qos)
    give_up_s = time.monotonic() + GIVE_UP_S
    while came < messages and time.monotonic() < give_up_s:
        client.loop(timeout=0.1)
        client.loop_read(READ_BURST)
    client.disconnect()
    return came, (last_s or time.monotonic()) - first_s


def main(argv: Sequence[str] | None = None) -> int:
    """The process: subscribe, count, print the messages a second; fails when not all of them came."""
    parser = argparse.ArgumentParser(prog="python -m edge_agent.bench.baseline", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--messages", type=int, required=True)
    parser.add_argument("--qos", type=int, choices=(0, 1), default=0)
    parser.add_argument("--protocol", choices=tuple(PROTOCOLS), default="5")
    options = parser.parse_args(argv)
    came, took_s = count(options.port, options.messages, options.qos, options.protocol)
    print(f"{came / took_s:.1f}" if took_s > 0 else "0", flush=True)
    return 0 if came == options.messages else 1


if __name__ == "__main__":
    sys.exit(main())
