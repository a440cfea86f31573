"""The load: a process that floods a broker with readings that it encoded beforehand, over one bare socket.

Rules: encoding happens before the first byte is sent, so that this process takes as little of the machine as it can; with
QoS 1 at most `WINDOW` messages are unacknowledged. Started by the bench as `python -m edge_agent.bench.publisher`; it prints
one line, the seconds that sending took.
"""

from __future__ import annotations

import argparse
import itertools
import socket
import sys
import time
from collections.abc import Sequence

from edge_agent.bench.packets import CONNACK_BYTES, PUBACK_BYTES, connect, disconnect, publish

WINDOW = 200
CHUNK_MESSAGES = 100


def encode(streams: int, messages: int, qos: int, first: int = 0) -> list[bytes]:
    """`messages` readings over `streams` streams in turn, in chunks of packets; values repeat a short uneven pattern.

    `first` is the number of the first message, so that a second flood goes on where the first one stopped.
    """
    packets = (_packet(number, streams, qos) for number in range(first, first + messages))
    chunks: list[bytes] = []
    while chunk := b"".join(itertools.islice(packets, CHUNK_MESSAGES)):
        chunks.append(chunk)
    return chunks


def _packet(number: int, streams: int, qos: int) -> bytes:
    stream = number % streams
    # A fixed scramble instead of a random generator: uneven enough not to be stuck, without anything to detect in it.
    value = 20.0 + stream % 7 + ((number * 2_654_435_761) >> 7) % 1000 / 1000.0
    return publish(topic_of(stream), b'{"value": %.3f}' % value, number % 65_535 + 1 if qos else 0)


def topic_of(stream: int) -> str:
    """The topic of a stream by number: ten streams an asset."""
    return f"bench/asset-{stream // 10}/s{stream % 10}"


def flood(port: int, chunks: Sequence[bytes], confirm: int = 0, *, rate_hz: float = 0.0) -> float:
    """Send all chunks; returns the seconds it took.

    `confirm`: the QoS 1 messages in them, all of which the broker must acknowledge; 0 for QoS 0.
    `rate_hz`: messages a second, 0 for as fast as it goes.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=60.0) as broker:
        broker.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        broker.sendall(connect(f"bench-{time.monotonic_ns()}"))
        if len(_receive_exactly(broker, CONNACK_BYTES)) < CONNACK_BYTES:
            raise ConnectionError(f"the broker on port {port} closed the connection")
        started_s = time.monotonic()
        _send(broker, chunks, confirm, rate_hz, started_s)
        took_s = time.monotonic() - started_s
        broker.sendall(disconnect())
    return took_s


def _send(broker: socket.socket, chunks: Sequence[bytes], confirm: int, rate_hz: float, started_s: float) -> None:
    sent = confirmed_bytes = 0
    for chunk in chunks:
        broker.sendall(chunk)
        sent += CHUNK_MESSAGES
        while confirm and sent - confirmed_bytes // PUBACK_BYTES > WINDOW:
            confirmed_bytes += _receive_some(broker)
        if rate_hz and (ahead_s := started_s + sent / rate_hz - time.monotonic()) > 0:
            time.sleep(ahead_s)
    while confirmed_bytes < confirm * PUBACK_BYTES:
        confirmed_bytes += _receive_some(broker)


def _receive_some(broker: socket.socket) -> int:
    received = len(broker.recv(65_536))
    if not received:
        raise ConnectionError("the broker closed the connection")
    return received


def _receive_exactly(broker: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size and (part := broker.recv(size - len(received))):
        received += part
    return received


def main(argv: Sequence[str] | None = None) -> int:
    """The process: encode, wait for a line on standard input, send, print the seconds."""
    parser = argparse.ArgumentParser(prog="python -m edge_agent.bench.publisher", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--messages", type=int, required=True)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--qos", type=int, choices=(0, 1), default=0)
    parser.add_argument("--rate-hz", type=float, default=0.0)
    options = parser.parse_args(argv)
    chunks = encode(options.streams, options.messages, options.qos, options.first)
    print("encoded", flush=True)
    sys.stdin.readline()
    print(f"{flood(options.port, chunks, options.messages * options.qos, rate_hz=options.rate_hz):.6f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
